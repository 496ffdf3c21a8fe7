"""Launches: tensors and Python ints in, out filled. Asynchronous; nothing waits for the device."""

import torch
import triton
from torch import Tensor

from . import draw, permutation

# Lanes a program, by measurement on an H100 (bench/RESULTS.md): few, so that many are resident.
FIXED_BLOCK, RANDOM_BLOCK, TABLE_BLOCK = 256, 128, 128
WARPS = 4


def row_sizes(smallest: int, largest: int) -> int:
    """The SIZES of permute() for classes of smallest to largest members."""
    if largest < 32:
        return permutation.FEW.value
    return permutation.MIXED.value if smallest < 32 else permutation.GRID.value


def slot_sizes(n: int, a: int, b: int, in_order: bool = False) -> int:
    """The SIZES of permute() for slots [0, n)."""
    if in_order:
        return permutation.IN_ORDER.value
    if n < 32:
        return permutation.FEW.value
    return permutation.FULL_GRID.value if a * b == n else permutation.GRID.value


def inverse(n: int) -> int:
    return 0xFFFFFFFF // n


def sides(a: int, b: int) -> tuple[int, int, int]:
    """A grid as permute() takes it: its sides, and the inverse of the second."""
    return a, max(b, 1), inverse(max(b, 1))


def draw_fixed(
    out: Tensor, members: Tensor | None, tables: list[Tensor], given, purposes,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a fixed plan; n * B * stride < 2^31.

    tables    of the plan, on the device
    given     the plan, what it knows of itself, and key_ends(n) on the device
    purposes  MEMBER, SLOT, ...: the words that tell keys' uses apart
    seed      64 bits, as a signed integer
    """
    n, size = out.shape
    rows, rank_row = tables
    key_ends, n_keys = given.key_ends((n - 1) * stride + 1, out.device)
    window = torch.empty((len(rows), draw.ROW.value), dtype=torch.int32, device=out.device)
    keys = torch.empty((n_keys + n, 2), dtype=torch.int32, device=out.device)
    draw.window_tables[(triton.cdiv(n_keys + n, TABLE_BLOCK),)](
        window, keys, rows, key_ends,
        len(rows), n_keys, n, len(rows).bit_length(), seed, g0, stride,
        MEMBER=purposes.MEMBER, SLOT=purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    a, b = given.plan.grid
    span = given.plan.smallest, given.plan.largest
    draw.draw_fixed[(triton.cdiv(n * size, FIXED_BLOCK),)](
        out, out if members is None else members, rows, rank_row, window, keys,
        n * size, n_keys, size, inverse(size), *sides(a, b),
        IDENTITY=members is None, SIZES=row_sizes(*span),
        SLOT_SIZES=slot_sizes(size, a, b, given.by_class),
        BLOCK=FIXED_BLOCK, num_warps=WARPS,
    )  # fmt: skip


def draw_random(
    out: Tensor, members: Tensor | None, tables: list[Tensor], given, purposes,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ..., each slot drawn; n * B < 2^31.

    As draw_fixed(); given.classes is [n, B] i64, the row of each slot where already drawn.
    """
    n, size = out.shape
    (rows, cuts, guide), classes = tables[:3], given.classes
    bits = (len(guide) - 1).bit_length() - 1
    draw.draw_random[(triton.cdiv(n * size, RANDOM_BLOCK),)](
        out, out if members is None else members, rows, cuts, guide,
        out if classes is None else classes,
        n * size, size, inverse(size), given.plan.steps, 32 - bits, seed, g0, stride,
        PICK=purposes.PICK, DRAWN=classes is not None, IDENTITY=members is None,
        BLOCK=RANDOM_BLOCK, num_warps=WARPS,
    )  # fmt: skip
