"""Exact: numbers as people write them, as whole numbers in the same ratios.

Takes one number, or one for each class: floats of any width, integers, Fractions, Decimals; lists,
arrays, tensors. Gives Fractions, or integers in lowest terms.
A float is the decimal that it prints as, the shortest that rounds to it in its own width: .6 is
6/10, as float32 and as float16 too. Knows nothing of classes or sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = (1 << 62) - 1  # the largest whole number that a ratio is told in
NARROW = ("float16", "float32")


def number(value: Any) -> Fraction | None:
    """One number exactly; None where it is no finite number. NumPy's scalars are numbers, too.

    >>> number(0.1), number(np.float32(0.6)), number(Decimal("2.5")), number("1")
    (Fraction(1, 10), Fraction(3, 5), Fraction(5, 2), None)
    """
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return Fraction(int(value))
    if isinstance(value, Fraction):
        return value
    if isinstance(value, (float, np.floating, Decimal)):
        plain = float(value) if isinstance(value, float) else value
        return Fraction(str(plain)) if in_range(plain) else None
    return None


def in_range(value: Any) -> bool:
    """Whether a float64 is near this number: else its exact value may be too long to hold."""
    try:
        near = float(value)
    except (OverflowError, ValueError):
        return False
    return abs(near) < float("inf") and (near != 0 or not value)


def between(value: Any, low: float, high: float) -> bool:
    """low <= value <= high; False for what is not a number, a Decimal's too."""
    try:
        return bool(low <= value <= high)
    except ArithmeticError:
        return False


def written(values: Tensor) -> np.ndarray:
    """Floats of a tensor, as float64 that print the same; other numbers as they are."""
    name = str(values.dtype).removeprefix("torch.")
    if not values.is_floating_point() or name == "float64":
        return values.numpy()
    return widened(values.numpy()) if name in NARROW else _shortest(values)


def widened(values: np.ndarray) -> np.ndarray:
    """float16 or float32, as float64 that print the same.

    >>> widened(np.array([0.6, 1], np.float32)).tolist()
    [0.6, 1.0]
    """
    distinct, which = np.unique(values, return_inverse=True)
    return distinct.astype("U").astype(np.float64)[which].reshape(values.shape)


def _shortest(values: Tensor) -> np.ndarray:
    """As widened(), of the floats that NumPy has not: bfloat16, and those of 8 bits."""
    distinct, which = np.unique(values.to(torch.float32).numpy(), return_inverse=True)
    found = distinct.astype(np.float64)
    todo = np.flatnonzero(np.isfinite(found) & (found != 0))
    for places in range(8):
        x = found[todo]
        nearest, step = _rounded(x, places), 10.0 ** (np.floor(np.log10(np.abs(x))) - places)
        near = x.copy()
        solved = np.zeros(len(x), bool)
        for tried in (nearest, _rounded(nearest + step, places), _rounded(nearest - step, places)):
            back = torch.from_numpy(tried).to(values.dtype).to(torch.float64).numpy()
            hit = (back == x) & ~solved
            near[hit] = tried[hit]
            solved |= hit
        found[todo] = near
        todo = todo[~solved]
    return found[which].reshape(tuple(values.shape))


def _rounded(x: np.ndarray, places: int) -> np.ndarray:
    """To so many places behind the first digit, as the float64 that prints so."""
    return np.char.mod(f"%.{places}e", x).astype(np.float64)


def integers(values: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """[C] numbers >= 0, one positive, as integers in the same ratios, in lowest terms.

    values   float64, longdouble, integers; or objects, all Fractions.
    Returns  distinct integers, ascending unless values are objects; [C] int64: which of them each
             place has; how often each is had.
    Where the largest in lowest terms would be above MOST, it is MOST, and the others in proportion,
    rounded down, and at least 1 where positive. So equal ratios give equal integers.

    >>> integers(np.array([0.6, 0.3, 0.1, 0.3]))[0]
    [1, 3, 6]
    >>> integers(np.array([1e-300, 1, 0]))[0]
    [0, 1, 4611686018427387903]
    """
    if values.dtype == object:
        place: dict[Fraction, int] = {}
        which = np.array([place.setdefault(x, len(place)) for x in values.tolist()], np.int64)
        return _of_fractions(list(place)), which, np.bincount(which)
    distinct, which, times = np.unique(values, return_inverse=True, return_counts=True)
    return lowest(_of_floats(distinct)), which, times


def _of_floats(values: np.ndarray) -> list[int]:
    """Over one power of ten, which is left out."""
    if values.dtype.kind in "iu":
        return values.tolist()
    texts = map(repr, values.tolist()) if values.dtype == np.float64 else map(str, values)
    digits, tens = [], []
    for text in texts:
        point, _, power = text.partition("e")
        whole, _, part = point.partition(".")
        digits.append(int(whole + part))
        tens.append((int(power) if power else 0) - len(part))
    least = min(tens)
    scale = [10**ten for ten in range(max(tens) - least + 1)]
    return [x * scale[ten - least] for x, ten in zip(digits, tens, strict=True)]


def lowest(values: list[int]) -> list[int]:
    """In lowest terms; in proportion to a largest of MOST where that is less."""
    divisor, largest = gcd(*values), max(values)
    if largest // divisor <= MOST:
        return values if divisor == 1 else [value // divisor for value in values]
    return [value * MOST // largest or int(value > 0) for value in values]


def _of_fractions(values: Sequence[Fraction]) -> list[int]:
    largest, common = max(values), 1
    ratios = [value / largest for value in values]
    for ratio in ratios:  # the largest is 1, so it is `common` in lowest terms
        common = lcm(common, ratio.denominator)
        if common > MOST:
            return [int(ratio * MOST) or int(ratio > 0) for ratio in ratios]
    return [int(ratio * common) for ratio in ratios]
