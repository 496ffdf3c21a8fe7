"""Weights: how much of each class a batch should have, in exact integers.

Takes class sizes [C] and alpha, or one number a class.
Gives integer weights w_c in lowest terms; class c is due w_c / sum(w) of all draws.
Integers, so that every rank and machine agrees on every count. Knows nothing of batches.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np

from gpusampler import checks, exact
from gpusampler.plans import class_numbers

WEIGHT_BITS = 62
LEAST_REST = Fraction(1, 10**20)  # of 1, beside beta: what _by_size() tells to 30 digits
Ratio = float | Fraction


@dataclass(frozen=True, eq=False)
class Weights:
    """One integer weight a class, in lowest terms, held once per distinct value.

    values  distinct weights, ascending; Python ints of any size that no number above 1 divides all
    which   [C] int64: class c weighs values[which[c]]
    total   the sum over all classes
    Two are equal where all shares are, in whatever unit they were given.
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


def linear(sizes: np.ndarray, alpha: Ratio, drop_empty: bool = False) -> Weights:
    """Between the true class mix (alpha 0) and a uniform one (alpha 1).

    p_c = alpha / C + (1 - alpha) * n_c / M, with alpha taken as the decimal it prints as, or
    exactly, if it is a Fraction or a Decimal.

    sizes       [C] members of each class.
    drop_empty  True: an empty class weighs 0 and does not count in C.
                False: it is refused wherever its weight would be positive.

    >>> weights = linear(np.array([90, 10]), 0.5)
    >>> [str(Fraction(value, weights.total)) for value in weights.values]
    ['3/10', '7/10']
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    distinct, which, times = np.unique(sizes, return_inverse=True, return_counts=True)
    ratio = _exact(alpha)
    a, d = ratio.numerator, ratio.denominator
    members = int(sizes.sum())
    classes = int(np.count_nonzero(sizes)) if drop_empty else len(sizes)
    values = [
        0 if n == 0 and drop_empty else a * members + (d - a) * classes * n
        for n in distinct.tolist()
    ]
    return _checked(values, which, times, sizes)


def power(sizes: np.ndarray, alpha: Ratio, drop_empty: bool = False) -> Weights:
    """n_c^(1 - alpha): natural at alpha 0, square-root sampling at 0.5, uniform at 1.

    A mix of corpora at temperature t is alpha = 1 - 1/t.

    >>> power(np.array([9, 4]), 0.5).values
    (2, 3)
    """

    ratio = _exact(alpha)

    def rate(n: int) -> Decimal:
        if n == 0:  # 0^0 = 1: uniform over all classes, and an empty one is refused
            return Decimal(int(alpha == 1 and not drop_empty))
        return Decimal(n) ** (1 - _decimal(ratio))

    return _by_size(rate, sizes)


def effective_number(sizes: np.ndarray, beta: Ratio) -> Weights:
    """n_c / E_c with the effective number E_c = (1 - beta^n_c) / (1 - beta) of a class.

    beta in [0, 1): 0 is the true class mix, towards 1 it becomes uniform.
    Source  Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.
    """
    ratio = _exact(checks.fraction("beta", beta, below_one=True))
    if 1 - ratio < LEAST_REST:
        raise ValueError(
            f"beta must be at most 1 - {float(LEAST_REST):.0e}, not 1 - {float(1 - ratio):.0e}; "
            f"pass that, or alpha=1 in place of weighting and beta, as the mix is uniform there"
        )

    def rate(n: int) -> Decimal:
        b = _decimal(ratio)
        return n * (1 - b) / (1 - b**n) if n else Decimal(0)

    return _by_size(rate, sizes)


def repeat_factor(sizes: np.ndarray, threshold: Ratio, num_samples: int) -> Weights:
    """n_c r_c with the repeat factor r_c = max(1, sqrt(threshold / f_c)), f_c = n_c / num_samples.

    threshold in [0, 1]: classes with a smaller share of the samples are drawn more often.
    Source  Gupta et al., "LVIS: a dataset for large vocabulary instance segmentation", CVPR 2019.
    """
    ratio = _exact(checks.fraction("threshold", threshold))

    def rate(n: int) -> Decimal:
        t = _decimal(ratio)
        return n * max(Decimal(1), (t * num_samples / n).sqrt()) if n else Decimal(0)

    return _by_size(rate, sizes)


def _exact(value: Any) -> Fraction:
    """A checked alpha, beta or threshold: the decimal that a float prints as."""
    return exact.number(value)  # type: ignore[return-value]


def _decimal(ratio: Fraction) -> Decimal:
    """To the digits of the context; a decimal of few digits is itself."""
    return Decimal(ratio.numerator) / Decimal(ratio.denominator)


def _by_size(rate: Callable[[int], Decimal], sizes: np.ndarray) -> Weights:
    """One evaluation for each distinct size: in 60 digits, of which 30 are kept, so that all
    machines agree, which float powers do not."""
    sizes = np.asarray(sizes, dtype=np.int64)
    distinct, which, times = np.unique(sizes, return_inverse=True, return_counts=True)
    with localcontext(Context(prec=60)):
        found = [rate(n) for n in distinct.tolist()]
    kept = [Fraction(Context(prec=30).plus(x)) for x in found]
    return _checked(_scaled(kept), which, times, sizes)


def _scaled(rates: list[Fraction]) -> list[int]:
    """By the power of two that brings the largest to 62 bits; rounded down, 1 at least where
    positive."""
    scale = Fraction(2) ** (WEIGHT_BITS - 1 - _floor_log2(max(rates)))
    return [max(1, int(value * scale)) if value else 0 for value in rates]


def _floor_log2(x: Fraction) -> int:
    """The k with 2**k <= x < 2**(k+1)."""
    k = x.numerator.bit_length() - x.denominator.bit_length()
    return k if Fraction(2) ** k <= x else k - 1


def given(
    weights: Any, sizes: np.ndarray, drop_empty: bool = False, name: str = "weights"
) -> Weights:
    """One weight a class, in any unit; only their ratios count.

    weights  [C] finite, >= 0, not all zero: floats of any width, each the decimal that it prints
             as; integers, Fractions and Decimals. An empty class must weigh 0, unless drop_empty,
             which makes it so.
    name     what the caller calls them.
    Exact where the integers in lowest terms are below 2^62; else the largest becomes 2^62 - 1, the
    others in proportion, rounded down, and at least 1 where positive.

    >>> given([0.6, 0.3, 0.1], np.array([5, 5, 5])).values
    (1, 3, 6)
    """
    values, which, times = exact.integers(_positive(weights, sizes, drop_empty, name))
    return _checked(values, which, times, np.asarray(sizes))


def rates(rates: Any, sizes: np.ndarray, drop_empty: bool = False, name: str = "rates") -> Weights:
    """How often one member of each class is drawn, in any unit; its class is due rate x size.

    rates  [C] as the weights of given().

    >>> rates([1, 10], np.array([90, 10])).shares().round(3).tolist()
    [0.474, 0.526]
    """
    sizes = np.asarray(sizes, np.int64)
    values, which, times = exact.integers(_positive(rates, sizes, drop_empty, name))
    _refuse_stranded(values, which, sizes, name)
    pairs, which, times = np.unique(which << 31 | sizes, return_inverse=True, return_counts=True)
    due = [values[pair >> 31] * (pair & checks.MAX_CLASS_SIZE) for pair in pairs.tolist()]
    return _checked(exact.lowest(due), which, times, sizes)


def _positive(weights: Any, sizes: np.ndarray, drop_empty: bool, name: str) -> np.ndarray:
    x = class_numbers.read(name, weights, len(sizes))
    if drop_empty:
        x = np.where(np.asarray(sizes) == 0, x.dtype.type(0) if x.dtype != object else 0, x)
    if not np.any(x > 0):
        raise ValueError(
            f"{name} must have a positive one, and all are 0; give some class with members one"
        )
    return x


def _refuse_stranded(
    values: Sequence[int], which: np.ndarray, sizes: np.ndarray, name: str
) -> None:
    drawn = np.array([value > 0 for value in values])[which]
    stranded = np.flatnonzero(drawn & (sizes == 0))
    if len(stranded):
        c = stranded[0]
        raise ValueError(
            f"class {c} has a positive {name} and no members ({len(stranded)} such in all); "
            f"set it to 0, or pass drop_empty=True"
        )


def _checked(
    values: Sequence[int], which: np.ndarray, times: np.ndarray, sizes: np.ndarray
) -> Weights:
    """In lowest terms, distinct and ascending; no class that is drawn is empty."""
    _refuse_stranded(values, which, sizes, "weight")
    total = sum(value * count for value, count in zip(values, times.tolist(), strict=True))
    if total == 0:
        raise ValueError("every class is empty; give at least one class a member")
    if not all(map(operator.lt, values, values[1:])):
        distinct = sorted(set(values))
        place = {value: i for i, value in enumerate(distinct)}
        which, values = np.array([place[value] for value in values])[which], distinct
    divisor = gcd(*values)
    if divisor > 1:
        values = [value // divisor for value in values]
    return Weights(tuple(values), which.astype(np.int64), total // divisor)


ALPHA_WEIGHTINGS = {"linear": linear, "power": power}  # by alpha; the others by a number fixed
WEIGHTINGS = (*ALPHA_WEIGHTINGS, "effective_number", "repeat_factor")
