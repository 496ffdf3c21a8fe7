"""Launch: how kernels are compiled, what the launch of each kind is given, and they of it.

Launches are asynchronous; nothing waits for the device.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from .permutation import FEW, FULL_GRID, GRID, IN_ORDER, MIXED

# Lanes a program, by measurement on an H100 (bench/RESULTS.md): few, so that many are resident. One
# a thread keeps a third permutation within 64 registers.
DRAW_BLOCK, NARROW_BLOCK, TABLE_BLOCK = 256, 128, 128
WARPS = 4


def kernel(fn: Callable[..., None]) -> Any:
    """triton.jit, but compiled once for all numbers and addresses: Triton alone would compile anew
    for a number that is 1 or a multiple of 16, and for an address that is none, as every other
    batch's is where a batch has an odd size."""
    given = inspect.signature(fn).parameters
    names = [name for name, p in given.items() if p.annotation is not tl.constexpr]
    return triton.jit(fn, do_not_specialize=names, do_not_specialize_on_alignment=names)


def row_sizes(smallest: int, largest: int) -> int:
    """The SIZES of permute() for classes of smallest to largest members."""
    if largest < 32:
        return FEW.value
    return MIXED.value if smallest < 32 else GRID.value


def slot_sizes(n: int, a: int, b: int, in_order: bool = False) -> int:
    """The SIZES of permute() for slots [0, n)."""
    if in_order:
        return IN_ORDER.value
    if n < 32:
        return FEW.value
    return FULL_GRID.value if a * b == n else GRID.value


def inverse(n: int) -> int:
    return 0xFFFFFFFF // n


def sides(a: int, b: int) -> tuple[int, int, int]:
    """A grid as permute() takes it: its sides, and the inverse of the second."""
    return a, max(b, 1), inverse(max(b, 1))


@dataclass(frozen=True)
class Call:
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a plan; n * B * stride < 2^31, or
    n = 1.

    members   [M] i32 | i64; None: the dataset is sorted by class
    tables    of the plan, on the device
    given     the plan, what it knows of itself, and key_ends(n) on the device
    purposes  MEMBER, SLOT, ...: the words that tell keys' uses apart
    seed      64 bits, as a signed integer
    """

    out: Tensor
    members: Tensor | None
    tables: list[Tensor]
    given: Any
    purposes: Any
    seed: int
    g0: int
    stride: int

    @property
    def held(self) -> Tensor:
        """Members, or some tensor that is not read."""
        return self.out if self.members is None else self.members

    @property
    def slots(self) -> tuple[int, int, int, int]:
        """B, and the grid of its permutation."""
        return self.out.shape[1], *sides(*self.given.plan.grid)

    def options(self, block: int) -> dict[str, Any]:
        """What kernels that draw members of classes are compiled for."""
        plan, (_, size) = self.given.plan, self.out.shape
        return {
            "IDENTITY": self.members is None, "SIZES": row_sizes(plan.smallest, plan.largest),
            "SLOT_SIZES": slot_sizes(size, *plan.grid, self.given.by_class), "BLOCK": block,
            "num_warps": WARPS,
        }  # fmt: skip
