"""Uneven: what is said where whole counts are not what the class mix asks for.

Takes integer weights and the counts of a batch. Gives warnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from gpusampler import checks, frames
from gpusampler.plans.weights import Weights


class UnevenShareWarning(UserWarning):
    """The counts of a fixed batch give a class over 10 % more or less than it was to have."""


class StarvedClassWarning(UnevenShareWarning):
    """A class with a positive weight has no slot in a fixed batch, and is never drawn."""


def warn_uneven(weights: Weights, counts: np.ndarray, names: Sequence[Any] | None = None) -> None:
    """Tell how many classes get over 10 % more or less than they are due, and which is the worst;
    and of those that get nothing the names, 10 at most."""
    off, worst = _far_off(weights, counts)
    if off == 0:
        return
    size, classes = int(counts.sum()), len(counts)

    def called(c: int) -> str:
        return str(c) if names is None else repr(names[c])

    larger = enough(weights, size)
    by_size = "" if larger is None else f", or batch_size={larger}, where none does"
    due = size * weights.values[weights.which[worst]] / weights.total
    far = (
        f"{off} of {classes} classes get over 10 % more or less than their share; the worst, "
        f"class {called(worst)}, gets {counts[worst]} of {size} draws in every batch, and is due "
        f"{due:.4g} ({counts[worst] / due - 1:+.0%}). "
    )
    starved = np.flatnonzero(weights.positive() & (counts == 0))
    if len(starved) == 0:
        text = (
            f"{far}Use kind='stratified', which keeps each share over time, kind='random', which "
            f"does by chance{by_size}"
        )
        frames.warn(text, UnevenShareWarning)
        return
    named = ", ".join(map(called, starved[:10].tolist()))
    more = f" and {len(starved) - 10} more" if len(starved) > 10 else ""
    text = (
        f"every batch leaves out {len(starved)} of {classes} classes: {named}{more}; "
        f"a batch of {size} is too small to give each a slot by its weight. {far}"
        f"Use kind='stratified', give them more weight{by_size}"
    )
    frames.warn(text, StarvedClassWarning)


def enough(weights: Weights, size: int) -> int | None:
    """A batch size above this one at which no class gets over 10 % more or less than it is due:
    each is due 10 draws, of which less than one is lost or won, or all are due whole draws."""
    least = min(value for value in weights.values if value)
    found = min(-(-10 * weights.total // least), weights.total * (size // weights.total + 1))
    return found if found <= checks.MAX_BATCH_SIZE else None


def _far_off(weights: Weights, counts: np.ndarray) -> tuple[int, int]:
    """How many classes are over 10 % off what they are due, and the first of those that are off
    the most."""
    size = int(counts.sum())
    pairs, first, times = np.unique(
        weights.which * (size + 1) + counts, return_index=True, return_counts=True
    )
    found = []
    for pair, c, time in zip(pairs.tolist(), first.tolist(), times.tolist(), strict=True):
        due = size * weights.values[pair // (size + 1)]
        off = abs(pair % (size + 1) * weights.total - due)
        if 10 * off > due:
            found.append((Fraction(off, due), -c, time))
    return (sum(time for *_, time in found), -max(found)[1]) if found else (0, 0)
