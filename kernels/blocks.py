"""Blocks on lanes: the place in a class of a draw, where no batch may have a member twice.

in    a row of blocks a class, and its ordinals
keys  Philox4x32-10: a block's carries its number, the scattering of a class's places has one
twin  gpusampler/cpu/unique.c, equal bit for bit
"""

import triton
import triton.language as tl

from .columns import CLASS_ROW, Columns
from .members import first_place, load_u32
from .permutation import permute
from .philox import words

# A row a class, i32 (gpusampler/plans/blocks.py).
BLOCK_ROW = Columns("LENGTH", "GRID_A", "GRID_B", "BLOCKS", "LAST", "LAST_A", "LAST_B", "SHIFT")


@triton.jit
def block_of(i, blocks_ptr, mask):
    """The block of draw i of a pass, its first draw and its size, and a x b, its grid."""
    length = load_u32(blocks_ptr + BLOCK_ROW.LENGTH, mask, 1)
    block = i // length
    begin = block * length
    last = block == load_u32(blocks_ptr + BLOCK_ROW.BLOCKS, mask, 1) - 1
    at_ptr = blocks_ptr + tl.where(last, BLOCK_ROW.LAST, BLOCK_ROW.LENGTH)
    size = load_u32(at_ptr, mask, 1)  # a grid follows each of the two lengths
    a = load_u32(at_ptr + BLOCK_ROW.GRID_A, mask, 1)
    b = load_u32(at_ptr + BLOCK_ROW.GRID_B, mask, 1)
    second = last & (i - begin >= size)  # of the two behind the first
    return block + second.to(tl.uint32), begin + tl.where(second, size, 0), size, a, b


@triton.jit
def place_of(
    ordinal, label, n, a, b, blocks_ptr, seed, mask,
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr,
):  # fmt: skip
    """The place in a class of n of its draw `ordinal` (i64), by the row of blocks at blocks_ptr;
    a x b is the grid of n."""
    cycle = ordinal // n.to(tl.int64)
    i = (ordinal - cycle * n.to(tl.int64)).to(tl.uint32)
    block, begin, size, block_a, block_b = block_of(i, blocks_ptr, mask)
    k0, k1, _, _ = words(seed, cycle, label, block << 8 | MEMBER)
    inverse = 0xFFFFFFFF // block_b
    i = begin + permute(
        i - begin, size, block_a, block_b, inverse, k0, k1, mask, BLOCK_SIZES
    )  # fmt: skip
    moves = load_u32(blocks_ptr + BLOCK_ROW.SHIFT, mask, 0).to(tl.int64)
    i += ((cycle + 1) * moves % n.to(tl.int64)).to(tl.uint32)
    i = tl.minimum(i, i - n)  # mod n: i - n wraps high where i < n
    parted = mask & (load_u32(blocks_ptr + BLOCK_ROW.BLOCKS, mask, 1) > 1)
    k0, k1, _, _ = words(seed, cycle * 0, label, label * 0 + SCATTER)
    scattered = permute(i, n, a, b, 0xFFFFFFFF // b, k0, k1, parted, SIZES)
    return tl.where(parted, scattered, i)


@triton.jit
def place_in_members(
    ordinal, label, rows_ptr, blocks_ptr, seed, mask,
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr,
):  # fmt: skip
    """The place in members of draw `ordinal` of class `label`, whose row is of CLASS_ROW."""
    row_ptr = rows_ptr + label * CLASS_ROW.WIDTH
    place = place_of(
        ordinal, label, load_u32(row_ptr + CLASS_ROW.SIZE, mask, 1),
        load_u32(row_ptr + CLASS_ROW.GRID_A, mask, 1),
        load_u32(row_ptr + CLASS_ROW.GRID_B, mask, 1), blocks_ptr + label * BLOCK_ROW.WIDTH, seed,
        mask, MEMBER, SCATTER, SIZES, BLOCK_SIZES,
    )  # fmt: skip
    return first_place(row_ptr, mask) + place.to(tl.int64)
