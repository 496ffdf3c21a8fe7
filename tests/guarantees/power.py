"""Power: how many draws a chi-squared test needs to catch a bias, so that no sample is guessed.

A bias of shares p where q are due has the size w = sqrt(sum((p - q)^2 / q)) (Cohen's w): one class
of share q drawn 1 + e times as often, and the others alike less, is w = e * sqrt(q / (1 - q)).
Chi-squared of n draws with that bias is noncentral, with n * w^2.

>>> draws_needed(0.02, degrees=4, alarm=1e-6)
155288
"""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

POWER = 0.99  # how surely the bias is caught


def draws_needed(bias: float, degrees: int, alarm: float) -> int:
    """So many that a fair sampler fails with probability `alarm`, one of this bias with POWER."""
    limit = chi2.isf(alarm, degrees)
    off = brentq(lambda x: ncx2.sf(limit, degrees, x) - POWER, 1.0, 1e4)
    return ceil(off / bias**2)


def check_fair(
    observed: np.ndarray, due: np.ndarray, alarm: float, bias: float, fitted: int = 1
) -> None:
    """Fail where counts are not as due; and where they are too few to show the bias.

    fitted  constraints on the counts, as that their sum is given
    """
    degrees, draws = observed.size - fitted, int(observed.sum())
    needed = draws_needed(bias, degrees, alarm)
    assert draws >= needed, f"a bias of {bias} takes {needed} draws to be caught, not {draws}"
    found = ((observed - due) ** 2 / due).sum()
    assert found < chi2.isf(alarm, degrees), f"chi-squared of {degrees} degrees: {found}"
