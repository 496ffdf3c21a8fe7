"""Argument checks: each says the rule, the value met and the repair.

Takes what a caller passed. Gives it back as the plain type the rest of the house uses.
"""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_BATCH_SIZE = (1 << 24) - 1
MAX_CLASS_SIZE = (1 << 31) - 1
MAX_BATCHES = (1 << 31) - 1


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """A whole number in [low, high]: Python or NumPy integers, not bools, not floats."""
    try:
        if isinstance(value, (bool, Tensor, np.ndarray)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, not {value!r} ({type(value).__name__}); pass an int"
        ) from None
    if low is not None and high is not None and not low <= number <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], not {number}; pass one in that range")
    return number


def batch_size(value: Any) -> int:
    return integer("batch_size", value, 1, MAX_BATCH_SIZE)


def n_batches(value: Any) -> int:
    return integer("n_batches", value, 1, MAX_BATCHES)


def seed(value: Any) -> int:
    """Any integer; it is taken modulo 2**64."""
    return integer("seed", value) % (1 << 64)


def alpha(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, numbers.Real)):
        raise TypeError(
            f"alpha must be a number in [0, 1], not {value!r} ({type(value).__name__}); "
            f"0 keeps the true class mix, 1 makes it uniform"
        )
    if not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError(
            f"alpha must be in [0, 1], not {value}; 0 keeps the true class mix, 1 makes it uniform"
        )
    return float(value)


def fraction(name: str, value: Any, below_one: bool = False) -> float:
    """A number in [0, 1], or [0, 1)."""
    rule = f"{name} must be a number in [0, 1{')' if below_one else ']'}"
    if isinstance(value, bool) or not isinstance(value, (int, float, numbers.Real)):
        raise TypeError(f"{rule}, not {value!r} ({type(value).__name__}); pass a float")
    if not 0 <= value <= 1 or (below_one and value == 1):  # type: ignore[operator]
        raise ValueError(f"{rule}, not {value}; pass one in that range")
    return float(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{name} must be True or False, not {value!r} ({type(value).__name__}); "
            f"pass one of them"
        )
    return bool(value)


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in options:
        listed = " or ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be {listed}, not {value!r}; pass one of them")
    return value


def device(value: str | torch.device | int | None) -> torch.device:
    """A device that exists here. None: the current CUDA device if there is one, else the CPU."""
    if value is None:
        value = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {value!r} is unknown to torch; pass 'cpu' or 'cuda'") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device {value!r} has no sampler; pass 'cpu' or 'cuda'")
    if found.type == "cpu":
        return torch.device("cpu")  # torch takes any index for it
    if found.type == "cuda":
        count = torch.cuda.device_count()
        if (found.index or 0) >= count:
            raise ValueError(
                f"device {value!r} does not exist: this machine has {count} CUDA devices; "
                f"pass device='cpu', or one that exists"
            )
        if found.index is None:
            found = torch.device("cuda", torch.cuda.current_device())
    return found


def byte_budget(count: int, size: int, most: Any) -> None:
    """Refuse so many batches of so many int64 indices if they take more than `most` bytes."""
    taken = 8 * count * size
    if taken > integer("max_bytes", most, 0, 1 << 62):
        raise ValueError(
            f"{count} batches of {size} take {taken} bytes, more than max_bytes={most}; "
            f"iterate on_device(), which works in windows, or raise max_bytes"
        )


def output(out: Any, shape: tuple[int, int], where: torch.device) -> None:
    """A tensor that can be filled with indices."""
    rule = f"out must be a contiguous int64 tensor of shape {shape} on {where}"
    repair = f"pass torch.empty({shape}, dtype=torch.int64, device='{where}')"
    if not isinstance(out, Tensor):
        raise TypeError(f"{rule}, not {type(out).__name__}; {repair}")
    fits = tuple(out.shape) == shape and out.dtype == torch.int64 and out.device == where
    if not (fits and out.is_contiguous()):
        raise ValueError(
            f"{rule}, not {out.dtype} of shape {tuple(out.shape)} on {out.device}; {repair}"
        )


def whole_numbers(name: str, values: Any, repair: str) -> Tensor:
    """[n] whole numbers as an integer or bool tensor, contiguous, where they were. Floats may
    hold them; strings, objects and complex numbers do not."""
    if not isinstance(values, Tensor):
        values = _tensor(name, values, repair)
    values = values.detach()
    if values.is_complex() or values.is_quantized:
        raise TypeError(f"{name} must be whole numbers, not {values.dtype}; pass integers")
    if values.ndim != 1:
        raise ValueError(
            f"{name} must be one-dimensional, not shape {tuple(values.shape)}; {repair}"
        )
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        wide = values.to(torch.int64)
        if bool((wide < 0).any()):
            high = values.tolist()[int(wide.argmin())]
            raise ValueError(f"{name} must be below 2^63, but one is {high}; mend it")
        values = wide
    if values.is_floating_point():
        wrong = torch.nonzero((values != values.to(torch.int64)) | (values.abs() >= 2.0**63))
        if len(wrong):
            at = int(wrong[0])
            raise ValueError(
                f"{name} must be whole numbers of at most 64 bits, but the one at {at} is "
                f"{values[at].item()}; round them, or mend the data"
            )
        values = values.to(torch.int64)
    return values.contiguous()


def _tensor(name: str, values: Any, repair: str) -> Tensor:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one-dimensional, not ragged rows; {repair}") from error
    if array.dtype.kind not in "iufb" or array.dtype == np.longdouble:
        raise TypeError(
            f"{name} must be whole numbers of at most 64 bits, not {array.dtype}; pass integers"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch takes neither
    return torch.from_numpy(array)
