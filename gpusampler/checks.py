"""Argument checks: each says the rule, the value met and the repair.

Takes what a caller passed. Gives it back as the plain type the rest of the house uses.
"""

from __future__ import annotations

import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import exact

MOST_BITS = 4096
MAX_BATCH_SIZE = (1 << 24) - 1
MAX_CLASS_SIZE = (1 << 31) - 1
MAX_BATCHES = (1 << 31) - 1
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
PLAIN_DTYPES = ("bool", *INTEGERS, *FLOATS)
UNMASKED = {int, float, bool, str, list, np.ndarray}
INTEGER_REPAIR = "pass integers, in a list, array or tensor"
MASKED_REPAIR = "give each a value with .filled(value), or leave out the samples that have none"


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """A whole number in [low, high]: Python or NumPy integers, not bools, not floats."""
    try:
        if isinstance(value, (bool, np.bool_, Tensor, np.ndarray)):
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
    name, repair = "n_batches", "an epoch of len(dataset) // batch_size batches draws it once"
    found = integer(name, value)
    if found < 1:
        raise ValueError(
            f"{name} must be at least 1, not {found}: an epoch has a batch; {repair}, where that "
            f"is 0 pass 1, or a smaller batch_size"
        )
    if found > MAX_BATCHES:
        raise ValueError(f"{name} must be below 2^31, not {found}; pass less: {repair}")
    return found


def seed(value: Any) -> int:
    """Any integer; it is taken modulo 2**64. None: torch.initial_seed(), which draws nothing."""
    return integer("seed", torch.initial_seed() if value is None else value) % (1 << 64)


def alpha(value: Any, epoch: int | None = None) -> float | Fraction:
    """A number in [0, 1]: a float where one prints as it, else exactly.

    epoch  which a function was asked for, that gave it.
    """
    of = "" if epoch is None else f" of epoch {epoch}"
    rule = f"alpha{of} must be a number in [0, 1]"
    repair = "0 keeps the true class mix, 1 makes it uniform"
    kinds = " or a function of the epoch that gives one," if epoch is None else ""
    if not _is_number(value):
        raise TypeError(f"{rule},{kinds} not {value!r} ({type(value).__name__}); {repair}")
    if not exact.between(value, 0, 1):
        raise ValueError(f"alpha{of} must be in [0, 1], not {value}; {repair}")
    return _float_or_exact(value)


def fraction(name: str, value: Any, below_one: bool = False) -> float | Fraction:
    """A number in [0, 1], or [0, 1): a float where one prints as it, else exactly."""
    rule = f"{name} must be a number in [0, 1{')' if below_one else ']'}"
    if not _is_number(value):
        raise TypeError(f"{rule}, not {value!r} ({type(value).__name__}); pass a float")
    if not exact.between(value, 0, 1) or (below_one and value == 1):
        raise ValueError(f"{rule}, not {value}; pass one in that range")
    return _float_or_exact(value)


def _is_number(value: Any) -> bool:
    kinds = (int, float, np.integer, np.floating, Fraction, Decimal)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _float_or_exact(value: Any) -> float | Fraction:
    found = exact.number(value)
    if isinstance(found, Fraction) and found.denominator.bit_length() > MOST_BITS:
        raise ValueError(
            f"a number of a class mix must have a denominator of at most {MOST_BITS} bits, not "
            f"{found.denominator.bit_length()}; round it, as with limit_denominator()"
        )
    if found is None:  # below what a float64 can tell from 0
        return 0.0
    return float(found) if Fraction(repr(float(found))) == found else found


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


def refuse_masked(name: str, values: Any, repair: str = MASKED_REPAIR) -> None:
    """A NumPy array whose mask leaves out entries: what is under it is no value."""
    if type(values) is np.ndarray:
        return
    parts = [values]
    if isinstance(values, (list, tuple)):
        others = set(map(type, values)) - UNMASKED
        parts = list(values) if any(issubclass(kind, np.ma.MaskedArray) for kind in others) else []
    masked = sum(np.ma.count_masked(part) for part in parts if np.ma.is_masked(part))
    if masked:
        raise ValueError(f"{name} must have a value everywhere, and {masked} are masked; {repair}")


def plain_tensor(name: str, values: Tensor) -> Tensor:
    """A tensor whose values can be read: dense, with data, of a dtype that holds numbers.

    Detached, where it was.
    """
    rule = f"{name} must be a tensor of plain numbers"
    if isinstance(values, torch.masked.MaskedTensor):
        raise TypeError(f"{rule}, not a MaskedTensor; pass the data that its mask leaves")
    if values.is_nested:
        raise TypeError(f"{rule}, not a nested one; pass a list of its parts, values.unbind()")
    if values.is_meta:
        raise TypeError(f"{rule}, not one on the meta device, which has no data; make it anew")
    if values.layout != torch.strided:
        raise TypeError(f"{rule}, not of layout {values.layout}; pass its .to_dense()")
    if values.is_quantized:
        raise TypeError(f"{rule}, not {values.dtype}; pass its .dequantize()")
    if str(values.dtype).removeprefix("torch.") not in PLAIN_DTYPES:
        raise TypeError(f"{rule}, not {values.dtype}; pass integers or floats")
    return values.detach().resolve_neg()


def whole_numbers(name: str, values: Any, repair: str, integers: str = INTEGER_REPAIR) -> Tensor:
    """[n] whole numbers as an integer or bool tensor, contiguous, where they were. Floats may
    hold them, and objects that are Python's integers; strings and complex numbers do not."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(f"{name} must be whole numbers, not {values.dtype}; pass integers")
        values = plain_tensor(name, values)
    else:
        values = tensor(name, values, repair, integers)
    exact_below = 2 / torch.finfo(values.dtype).eps if values.is_floating_point() else 0
    name_of_type = values.dtype
    if values.is_floating_point() and values.dtype.itemsize == 1:
        values = values.to(torch.float32)
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
        large = values.abs() >= exact_below
        if bool((large & values.isfinite()).any()):
            at = int(torch.nonzero(large & values.isfinite())[0])
            raise ValueError(
                f"{name} must be below {exact_below:.0f} as {name_of_type}, which tells no larger "
                f"ones from their neighbours, but the one at {at} is {values[at].item():.0f}; pass "
                f"integers, made from what these were before"
            )
        wrong = torch.nonzero(values != values.to(torch.int64))
        if len(wrong):
            at = int(wrong[0])
            raise ValueError(
                f"{name} must be whole numbers of at most 64 bits, but the one at {at} is "
                f"{values[at].item()}; round them, or mend the data"
            )
        values = values.to(torch.int64)
    return values.contiguous()


def tensor(name: str, values: Any, repair: str, integers: str) -> Tensor:
    """What is no tensor as one: of integers, bools or floats. It may share their memory.

    repair, integers  what to pass where it is ragged, and where it holds no numbers.
    """
    refuse_masked(name, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one-dimensional, not ragged rows; {repair}") from error
    if array.dtype == object:
        array = of_ints(array)
    if array.dtype.kind not in "iufb" or array.dtype == np.longdouble:
        raise TypeError(
            f"{name} must be whole numbers of at most 64 bits, not {array.dtype}; {integers}"
        )
    return shared(array)


def shared(array: np.ndarray) -> Tensor:
    """An array of numbers as a tensor, over the same memory where torch can take that."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch takes neither
    return torch.from_numpy(array)


def of_ints(array: np.ndarray) -> np.ndarray:
    """As int64, where all objects are Python's integers, and not too large."""
    if array.size and set(map(type, array.ravel().tolist())) <= {int}:
        try:
            return array.astype(np.int64)
        except OverflowError:
            return array
    return array
