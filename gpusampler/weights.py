"""Weights: how much of each class a batch should have, in exact integers.

Takes class sizes [C] and alpha, or one number a class.
Gives integer weights w_c; class c is due w_c / sum(w) of all draws.
Integers, so that every rank and machine agrees on every count. Knows nothing of batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpusampler import checks

WEIGHT_BITS = 62


@dataclass(frozen=True, eq=False)
class Weights:
    """One integer weight a class, held once per distinct value.

    values  distinct weights, Python ints of any size
    which   [C] int64: class c weighs values[which[c]]
    total   the sum over all classes
    """

    values: tuple[int, ...]
    which: np.ndarray
    total: int

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Weights):
            return NotImplemented
        return self.values == other.values and np.array_equal(self.which, other.which)

    __hash__ = None  # type: ignore[assignment]

    def shares(self) -> np.ndarray:
        """w_c / total, [C] float64, each correctly rounded."""
        return np.array([value / self.total for value in self.values])[self.which]

    def positive(self) -> np.ndarray:
        """[C] bool: which classes are ever drawn."""
        return np.array([value > 0 for value in self.values])[self.which]


def linear(sizes: np.ndarray, alpha: float, drop_empty: bool = False) -> Weights:
    """Between the true class mix (alpha 0) and a uniform one (alpha 1).

    p_c = alpha / C + (1 - alpha) * n_c / M, with alpha taken as the decimal it prints as.

    sizes       [C] members of each class.
    drop_empty  True: an empty class weighs 0 and does not count in C.
                False: it is refused wherever its weight would be positive.

    >>> weights = linear(np.array([90, 10]), 0.5)
    >>> [str(Fraction(value, weights.total)) for value in weights.values]
    ['3/10', '7/10']
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    distinct, which, times = np.unique(sizes, return_inverse=True, return_counts=True)
    ratio = Fraction(repr(float(alpha)))
    a, d = ratio.numerator, ratio.denominator
    members = int(sizes.sum())
    classes = int(np.count_nonzero(sizes)) if drop_empty else len(sizes)
    values = [
        0 if n == 0 and drop_empty else a * members + (d - a) * classes * n
        for n in distinct.tolist()
    ]
    return _checked(values, which, times, sizes)


def power(sizes: np.ndarray, alpha: float, drop_empty: bool = False) -> Weights:
    """n_c^(1 - alpha): natural at alpha 0, square-root sampling at 0.5, uniform at 1.

    A mix of corpora at temperature t is alpha = 1 - 1/t.

    >>> power(np.array([9, 4]), 0.5).values
    (2, 3)
    """

    def rate(n: int) -> Decimal:
        if n == 0:  # 0^0 = 1: uniform over all classes, and an empty one is refused
            return Decimal(int(alpha == 1 and not drop_empty))
        return Decimal(n) ** (1 - _decimal(alpha))

    return _by_size(rate, sizes)


def effective_number(sizes: np.ndarray, beta: float) -> Weights:
    """n_c / E_c with the effective number E_c = (1 - beta^n_c) / (1 - beta) of a class.

    beta in [0, 1): 0 is the true class mix, towards 1 it becomes uniform.
    Source  Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.
    """
    b = _decimal(checks.fraction("beta", beta, below_one=True))
    return _by_size(lambda n: n * (1 - b) / (1 - b**n) if n else Decimal(0), sizes)


def repeat_factor(sizes: np.ndarray, threshold: float, num_samples: int) -> Weights:
    """n_c r_c with the repeat factor r_c = max(1, sqrt(threshold / f_c)), f_c = n_c / num_samples.

    threshold in [0, 1]: classes with a smaller share of the samples are drawn more often.
    Source  Gupta et al., "LVIS: a dataset for large vocabulary instance segmentation", CVPR 2019.
    """
    t = _decimal(checks.fraction("threshold", threshold))

    def rate(n: int) -> Decimal:
        return n * max(Decimal(1), (t * num_samples / n).sqrt()) if n else Decimal(0)

    return _by_size(rate, sizes)


def _decimal(value: float) -> Decimal:
    """The decimal that a float prints as."""
    return Decimal(repr(float(value)))


def _by_size(rate: Callable[[int], Decimal], sizes: np.ndarray) -> Weights:
    """One evaluation for each distinct size: in 60 digits, of which 30 are kept, so that all
    machines agree, which float powers do not."""
    sizes = np.asarray(sizes, dtype=np.int64)
    distinct, which, times = np.unique(sizes, return_inverse=True, return_counts=True)
    with localcontext(Context(prec=60)):
        found = [rate(n) for n in distinct.tolist()]
    kept = [Fraction(Context(prec=30).plus(x)) for x in found]
    return _checked(_scaled(kept), which, times, sizes)


def _scaled(exact: list[Fraction]) -> list[int]:
    """By the power of two that brings the largest to 62 bits; rounded down, 1 at least where
    positive."""
    scale = Fraction(2) ** (WEIGHT_BITS - 1 - _floor_log2(max(exact)))
    return [max(1, int(value * scale)) if value else 0 for value in exact]


def given(weights: ArrayLike, sizes: np.ndarray, drop_empty: bool = False) -> Weights:
    """One weight a class, in any unit; only their ratios count.

    weights  [C] finite, >= 0, not all zero. An empty class must weigh 0, unless drop_empty,
             which makes it so.
    The largest is scaled by a power of two to 62 bits, the others with it, rounded down,
    and at least 1 where positive.
    """
    x = as_weights(weights, len(sizes))
    if drop_empty:
        x = np.where(np.asarray(sizes) == 0, 0.0, x)
    if not np.any(x > 0):
        raise ValueError(
            "weights must have a positive one, and all are 0; give some class with members a weight"
        )
    distinct, which, times = np.unique(x, return_inverse=True, return_counts=True)
    exact = [Fraction(value) for value in distinct.tolist()]
    return _checked(_scaled(exact), which, times, np.asarray(sizes))


def as_weights(weights: Any, classes: int) -> np.ndarray:
    """One number a class as [C] float64, each finite and >= 0."""
    if hasattr(weights, "detach"):
        weights = weights.detach().cpu()
        weights = (weights.double() if weights.is_floating_point() else weights).numpy()
    try:
        found = np.asarray(weights)
    except ValueError as error:
        raise ValueError("weights must be one-dimensional, not ragged rows; mend them") from error
    if found.dtype.kind not in "iuf":
        raise TypeError(
            f"weights must be numbers, one a class, not {weights!r} ({found.dtype}); "
            f"pass floats or integers"
        )
    x = found.astype(np.float64)
    if x.shape != (classes,):
        raise ValueError(
            f"weights must have one number for each of the {classes} classes, "
            f"not shape {x.shape}; pass {classes} of them"
        )
    wrong = np.flatnonzero(~(np.isfinite(x) & (x >= 0)))
    if len(wrong):
        c = wrong[0]
        raise ValueError(f"weights must be finite and >= 0, but class {c} has {x[c]:g}; mend it")
    return x


def _floor_log2(x: Fraction) -> int:
    """The k with 2**k <= x < 2**(k+1)."""
    k = x.numerator.bit_length() - x.denominator.bit_length()
    return k if Fraction(2) ** k <= x else k - 1


def _checked(
    values: Sequence[int], which: np.ndarray, times: np.ndarray, sizes: np.ndarray
) -> Weights:
    drawn = np.array([value > 0 for value in values])[which]
    stranded = np.flatnonzero(drawn & (sizes == 0))
    if len(stranded):
        c = stranded[0]
        raise ValueError(
            f"class {c} has a positive weight and no members ({len(stranded)} such in all); "
            f"set its weight to 0, or pass drop_empty=True"
        )
    total = sum(value * count for value, count in zip(values, times.tolist(), strict=True))
    if total == 0:
        raise ValueError("every class is empty; give at least one class a member")
    distinct = sorted(set(values))
    place = {value: i for i, value in enumerate(distinct)}
    order = np.array([place[value] for value in values])
    divisor = gcd(*distinct)
    lowest = tuple(value // divisor for value in distinct)
    return Weights(lowest, order[which].astype(np.int64), total // divisor)


ALPHA_WEIGHTINGS = {"linear": linear, "power": power}  # by alpha; the others by a number fixed
WEIGHTINGS = (*ALPHA_WEIGHTINGS, "effective_number", "repeat_factor")
