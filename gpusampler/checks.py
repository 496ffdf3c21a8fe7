"""Argument checks: each says the rule, the value met and the repair.

Takes what a caller passed. Gives it back as the plain type the rest of the house uses.
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

import torch

MAX_BATCH_SIZE = (1 << 24) - 1
MAX_CLASS_SIZE = (1 << 31) - 1
MAX_BATCHES = (1 << 31) - 1


def integer(name: str, value: Any, low: int, high: int) -> int:
    """A whole number in [low, high]: Python or NumPy integers, not bools, not floats."""
    if isinstance(value, (bool, torch.Tensor)) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{name} must be an integer, not {value!r} ({type(value).__name__}); "
            f"pass an int, for instance int({name})"
        )
    number = operator.index(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], not {number}; pass one in that range")
    return number


def batch_size(value: Any) -> int:
    return integer("batch_size", value, 1, MAX_BATCH_SIZE)


def n_batches(value: Any) -> int:
    return integer("n_batches", value, 1, MAX_BATCHES)


def seed(value: Any) -> int:
    """Any integer; it is taken modulo 2**64."""
    return integer("seed", value, -(1 << 63), (1 << 64) - 1) % (1 << 64)


def alpha(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"alpha must be a number in [0, 1], not {value!r} ({type(value).__name__}); "
            f"0 keeps the true class mix, 1 makes it uniform"
        )
    number = float(value)
    if math.isnan(number) or not 0 <= number <= 1:
        raise ValueError(
            f"alpha must be in [0, 1], not {number:g}; "
            f"0 keeps the true class mix, 1 makes it uniform"
        )
    return number


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        listed = " or ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be {listed}, not {value!r}")
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
