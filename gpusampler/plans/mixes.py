"""Mix: what the class mix was asked for by, as weights.

Takes class sizes [C] and one of: alpha, beta or threshold with its weighting; shares; rates.
Gives Weights. Knows nothing of kinds or batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gpusampler import checks
from gpusampler.plans import weights as rules
from gpusampler.plans.weights import Weights

NUMBERS = {"alpha": "alpha in [0, 1]", "beta": "beta in [0, 1)", "threshold": "threshold in [0, 1]"}
NEEDED = {"effective_number": "beta", "repeat_factor": "threshold"}  # the others: alpha
SHARES = ("weights", "shares")


def mix(
    sizes: np.ndarray,
    *,
    alpha: Any = None,
    weights: Any = None,
    shares: Any = None,
    rates: Any = None,
    weighting: str = "linear",
    beta: Any = None,
    threshold: Any = None,
    drop_empty: bool = False,
    num_samples: int = 0,
) -> Weights:
    """The class mix, from the one thing that says it.

    alpha, beta, threshold  the number that goes with the weighting, see gpusampler.plans.weights.
    shares       [C] what part of the draws each class has, in any unit. weights: the same.
    rates        [C] how often one member of each class is drawn: its share is rate x size.
    num_samples  of the dataset, for the weighting "repeat_factor".
    Raises       ValueError: none of them, or several.

    >>> sizes = np.array([90, 10])
    >>> [mix(sizes, **{by: [1, 9]}).shares().tolist() for by in ("shares", "rates")]
    [[0.1, 0.9], [0.5, 0.5]]
    """
    given = {
        "alpha": alpha, "beta": beta, "threshold": threshold,
        "weights": weights, "shares": shares, "rates": rates,
    }  # fmt: skip
    name, value = _only(given, weighting)
    if name in SHARES:
        return rules.given(value, sizes, drop_empty, name)
    if name == "rates":
        return rules.rates(value, sizes, drop_empty)
    if name == "beta":
        return rules.effective_number(sizes, value)
    if name == "threshold":
        return rules.repeat_factor(sizes, value, num_samples)
    return rules.ALPHA_WEIGHTINGS[weighting](sizes, checks.alpha(value), drop_empty)


def _only(given: dict[str, Any], weighting: Any) -> tuple[str, Any]:
    """The one that was given, where it is one that goes with the weighting."""
    checks.choice("weighting", weighting, rules.WEIGHTINGS)
    needed = NEEDED.get(weighting, "alpha")
    passed = [name for name, value in given.items() if value is not None]
    if len(passed) == 1 and passed[0] in (needed, *SHARES, "rates"):
        return passed[0], given[passed[0]]
    met = " and ".join(passed) + (" were" if len(passed) > 1 else " was") if passed else "none was"
    of = "" if needed == "alpha" else f" with weighting={weighting!r}"
    told = [
        f"; {name} goes with weighting={' or '.join(map(repr, _weightings(name)))}"
        for name in passed
        if name in NUMBERS and name != needed
    ]
    raise ValueError(
        f"the class mix comes from {needed}, from shares (or weights, the same), or from rates"
        f"{of}, and {met} given; pass one: {NUMBERS[needed]}, or shares or rates of one number "
        f"a class{''.join(told)}"
    )


def _weightings(number: str) -> list[str]:
    """Those that go with this number."""
    return [name for name in rules.WEIGHTINGS if NEEDED.get(name, "alpha") == number]


def counts(values: Any) -> np.ndarray:
    """class_samples_per_batch as [C] int64, whose sum is a batch size."""
    name = "class_samples_per_batch"
    found = checks.whole_numbers(name, values, "pass one count a class")
    if found.dtype == torch.bool:
        raise TypeError(f"{name} must be a list of integers, not bool; pass one count a class")
    given = found.cpu().numpy().astype(np.int64)
    if (given < 0).any():
        c = int(np.argmax(given < 0))
        raise ValueError(f"a count per batch must be >= 0, but class {c} has {given[c]}; mend it")
    checks.batch_size(sum(given.tolist()))  # in Python ints, which do not wrap
    return given


def of_counts(counts: np.ndarray, sizes: np.ndarray) -> Weights:
    """The mix that gives these counts."""
    if len(counts) != len(sizes):
        raise ValueError(
            f"class_samples_per_batch must have one count for each of the {len(sizes)} "
            f"classes, not {len(counts)}; pass {len(sizes)} of them"
        )
    stranded = np.flatnonzero((counts > 0) & (sizes == 0))
    if len(stranded):
        c = stranded[0]
        raise ValueError(
            f"class {c} has a count of {counts[c]} per batch and no members; set it to 0"
        )
    return rules.given(counts, sizes)
