"""Class numbers: one number a class, as callers pass them.

Takes lists, arrays or tensors of floats, integers, Fractions or Decimals, on any device.
Gives them as one array [C] of exact numbers, or says what is wrong with them.
Knows nothing of what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from torch import Tensor

from gpusampler import checks, exact

WHOLE_FLOATS = 1 << 53  # above, a float64 may not be the integer that was written


def read(name: str, values: Any, classes: int) -> np.ndarray:
    """[C], each finite and >= 0: float64 or longdouble, integers, or objects, all Fractions.

    Floats that are narrower than float64 come as the float64 that prints the same.

    >>> read("weights", [np.float32(0.6), 2], 2).tolist()
    [Fraction(3, 5), Fraction(2, 1)]
    """
    if isinstance(values, Tensor):
        found = exact.written(checks.plain_tensor(name, values).cpu())
    else:
        found = _array(name, values)
    if found.dtype.kind not in "iuf" + "O" * (found.ndim == 1):
        raise _no_numbers(name, values, found.dtype)
    if found.shape != (classes,):
        raise ValueError(
            f"{name} must have one number for each of the {classes} classes, "
            f"not shape {found.shape}; pass {classes} of them"
        )
    if found.dtype == object:
        found = _fractions(name, values, found)
    if found.dtype.name in exact.NARROW:
        found = exact.widened(found)
    _refuse_out_of_range(name, found)
    return found


def by_name(name: str, values: Any, names: Sequence[Any] | None) -> Any:
    """A dict by class name as a list in the order of the classes; all else as it is.

    >>> by_name("shares", {"dog": 1, "cat": 3}, ("cat", "dog"))
    [3, 1]
    """
    if names is None or not isinstance(values, Mapping):
        return values
    without = [label for label in names if label not in values]
    unknown = [label for label in values if label not in names]
    if without or unknown:
        fault = f"{without[0]!r} has none" if without else f"{unknown[0]!r} is no class"
        raise ValueError(
            f"{name} must have a number for each class by its name, and {fault}; name all of "
            f"index.names, and no other, with 0 for what is not to be drawn"
        )
    return [values[label] for label in names]


def _array(name: str, values: Any) -> np.ndarray:
    types = set(map(type, values)) if isinstance(values, (list, tuple)) else {type(values)}
    if not types <= {int, float}:
        checks.refuse_masked(name, values)
        if isinstance(values, (list, tuple)) and all(map(_is_scalar, values)):
            return _objects(values)
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one-dimensional, not ragged rows; mend them") from error
    if int in types and found.dtype == np.float64 and np.any(np.abs(found) >= WHOLE_FLOATS):
        return _objects(values)
    return found


def _is_scalar(value: Any) -> bool:
    return value.ndim == 0 if hasattr(value, "ndim") else not hasattr(value, "__len__")


def _objects(values: Any) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = [_scalar(value) for value in values]
    return found


def _scalar(value: Any) -> Any:
    if isinstance(value, Tensor) and value.ndim == 0:
        return exact.written(checks.plain_tensor("a weight", value).cpu())[()]
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _fractions(name: str, values: Any, found: np.ndarray) -> np.ndarray:
    numbers = np.empty(len(found), object)
    for c, value in enumerate(found.tolist()):
        checks.refuse_masked(name, value)
        number = exact.number(value)
        if number is None and not _is_real(value):
            raise _no_numbers(name, values, np.asarray(values).dtype)
        if number is None or not exact.in_range(number):
            raise _out_of_range(name, c, value)
        numbers[c] = number
    return numbers


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, Decimal)) and not isinstance(value, bool)


def _refuse_out_of_range(name: str, found: np.ndarray) -> None:
    if found.dtype == object:
        wrong = [c for c, value in enumerate(found.tolist()) if value < 0]
    else:
        near = found.astype(np.float64)
        fine = np.isfinite(near) & (found >= 0) & ((near > 0) | (found == 0))
        wrong = np.flatnonzero(~fine).tolist()
    if wrong:
        raise _out_of_range(name, wrong[0], found[wrong[0]])


def _out_of_range(name: str, c: int, value: Any) -> ValueError:
    rule = f"{name} must be finite and >= 0"
    for low, high, met in ((1, float("inf"), "above 1e308"), (0, 1, "below 1e-323")):
        if not exact.in_range(value) and exact.between(value, low, high) and value != high:
            return ValueError(
                f"{rule}, and near a float64, but class {c} has one {met}; use another unit"
            )
    shown = f"{float(value):g}" if exact.in_range(value) else str(value)
    return ValueError(f"{rule}, but class {c} has {shown}; mend it")


def _no_numbers(name: str, values: Any, dtype: Any) -> TypeError:
    met = " ".join(repr(values).split())[:80]
    return TypeError(
        f"{name} must be numbers, one a class, not {met} ({dtype}); "
        f"pass floats or integers, one a class in the order of the classes"
    )
