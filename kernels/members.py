"""Members: what the kernels of several kinds share, on lanes.

Words and keys as tables hold them; the place in a class of a draw whose keys are in a table; the
way of a place in members to its slot of the output.
"""

import triton
import triton.language as tl

from .columns import CLASS_ROW
from .permutation import divide, permute


@triton.jit
def as_i32(x):
    return x.to(tl.uint32).to(tl.int32, bitcast=True)


@triton.jit
def load_u32(ptr, mask, other: tl.constexpr):
    return tl.load(ptr, mask=mask, other=other).to(tl.uint32, bitcast=True)


@triton.jit
def load_key(keys_ptr, row, mask):
    at_ptr = keys_ptr + row.to(tl.int64) * 2
    return load_u32(at_ptr, mask, 0), load_u32(at_ptr + 1, mask, 0)


@triton.jit
def store_key(keys_ptr, row, k0, k1, mask):
    at_ptr = keys_ptr + row * 2
    tl.store(at_ptr, as_i32(k0), mask=mask)
    tl.store(at_ptr + 1, as_i32(k1), mask=mask)


@triton.jit
def upper_bound(ends_ptr, count, steps, value, mask):
    """The first i in [0, count) with ends[i] > value, by bisection; ends ascend."""
    low = value.to(tl.int32) * 0
    high = low + count
    for _ in range(steps):
        middle = (low + high) >> 1
        inside = mask & (low < high)
        above = tl.load(ends_ptr + middle, mask=inside, other=0) > value
        high = tl.where(inside & above, middle, high)
        low = tl.where(inside & (above == 0), middle + 1, low)
    return low


@triton.jit
def first_place(row_ptr, mask):
    """The first place in members of a class, by its row of 32-bit words."""
    low = load_u32(row_ptr + CLASS_ROW.FIRST_LOW, mask, 0)
    high = load_u32(row_ptr + CLASS_ROW.FIRST_HIGH, mask, 0)
    return low.to(tl.int64) | (high.to(tl.int64) << 32)


@triton.jit
def place_in_window(row_ptr, position, keys_ptr, key_row, mask, SIZES: tl.constexpr):
    """The place in a class of its draw at `position`, counted from the pass that the window begins
    in, whose key is at key_row; row_ptr is of CLASS_ROW, as far as SIZE_INVERSE."""
    n = load_u32(row_ptr + CLASS_ROW.SIZE, mask, 1)
    a = load_u32(row_ptr + CLASS_ROW.GRID_A, mask, 1)
    b = load_u32(row_ptr + CLASS_ROW.GRID_B, mask, 1)
    b_inverse = load_u32(row_ptr + CLASS_ROW.GRID_INVERSE, mask, 0)
    n_inverse = load_u32(row_ptr + CLASS_ROW.SIZE_INVERSE, mask, 0)
    cycle, i = divide(position, n, n_inverse)
    k0, k1 = load_key(keys_ptr, key_row + tl.where(n == 1, 0, cycle), mask)
    return permute(i, n, a, b, b_inverse, k0, k1, mask, SIZES)


@triton.jit
def member_at(members_ptr, index, mask, IDENTITY: tl.constexpr):
    """The dataset's index at a place in members; the place itself, where there are none."""
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)
    return index


@triton.jit
def put(
    out_ptr, members_ptr, keys_ptr, key_row, index, t, rank, size, slot_a, slot_b, slot_inverse,
    mask, IDENTITY: tl.constexpr, SLOT_SIZES: tl.constexpr,
):  # fmt: skip
    """Place `index` of members goes to the slot of this rank of batch t of the window, whose key is
    at key_row."""
    index = member_at(members_ptr, index, mask, IDENTITY)
    k0, k1 = load_key(keys_ptr, key_row, mask)
    size, a, b = size.to(tl.uint32), slot_a.to(tl.uint32), slot_b.to(tl.uint32)
    inverse = slot_inverse.to(tl.uint32)
    slot = permute(rank, rank * 0 + size, a, b, inverse, k0, k1, mask, SLOT_SIZES)
    tl.store(out_ptr + (t * size + slot).to(tl.int64), index, mask=mask)
