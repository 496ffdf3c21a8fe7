"""Draw kernels: the tables of a plan in, all batches of a window out.

    window_tables  one lane per key: where each class stands at the window's first batch,
                   and every permutation key that the window can use
    draw_fixed     one lane per slot: permute members and slots, gather
    draw_random    one lane per slot: draw a class (or take it), pick a member, gather

in    plan tables on the device, members [M] i32 | i64, seed and first batch g0 as scalars
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
twin  gpusampler/cpu/fixed.py, equal bit for bit
"""

import triton
import triton.language as tl

from .permutation import divide, permute
from .philox import words

# One row a class, i64: class, size, first, count, rank, a, b, start (gpusampler/plans/fixed.py).
# One row a class of a window, i32: size, a, b, 1/b, 1/size, draws a row, position, key row.
ROW = tl.constexpr(8)


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
def as_i32(x):
    return x.to(tl.uint32).to(tl.int32, bitcast=True)


@triton.jit(do_not_specialize=["n_rows", "n_keys", "n_batches", "steps", "seed", "g0", "stride"])
def window_tables(
    window_ptr, keys_ptr, rows_ptr, key_ends_ptr,
    n_rows: "i32", n_keys: "i64", n_batches: "i64", steps: "i32", seed: "i64", g0: "i64",
    stride: "i32",
    MEMBER: tl.constexpr, SLOT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """keys [n_keys + n_batches, 2] i32: one per (row, cycle), then per batch; window [A, 8]."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mine = lane < n_keys
    row = upper_bound(key_ends_ptr, n_rows, steps, lane, mine).to(tl.int64)
    begin = tl.load(key_ends_ptr + row - 1, mask=mine & (row > 0), other=0)
    row_ptr = rows_ptr + row * ROW
    label = tl.load(row_ptr, mask=mine, other=0)
    n = tl.load(row_ptr + 1, mask=mine, other=1)
    count = tl.load(row_ptr + 3, mask=mine, other=0)
    rank = tl.load(row_ptr + 4, mask=mine, other=0)
    a = tl.maximum(tl.load(row_ptr + 5, mask=mine, other=1), 1).to(tl.uint32)
    b = tl.maximum(tl.load(row_ptr + 6, mask=mine, other=1), 1).to(tl.uint32)
    drawn = tl.load(row_ptr + 7, mask=mine, other=0) + g0 * count
    cycle = drawn // n

    head = mine & (lane == begin)  # a class's first lane writes what draw_fixed reads of it
    at_ptr = window_ptr + row * ROW
    most = tl.full([BLOCK], 0xFFFFFFFF, tl.uint32)
    tl.store(at_ptr, as_i32(n), mask=head)
    tl.store(at_ptr + 1, as_i32(a), mask=head)
    tl.store(at_ptr + 2, as_i32(b), mask=head)
    tl.store(at_ptr + 3, as_i32(most // b), mask=head)
    tl.store(at_ptr + 4, as_i32(most // n.to(tl.uint32)), mask=head)
    tl.store(at_ptr + 5, as_i32(count * stride), mask=head)
    tl.store(at_ptr + 6, as_i32(drawn - cycle * n - rank), mask=head)
    tl.store(at_ptr + 7, as_i32(begin), mask=head)

    x = tl.where(mine, cycle + (lane - begin), g0 + (lane - n_keys) * stride)
    purpose = tl.where(mine, MEMBER, SLOT)
    w0, w1, _, _ = words(seed, x, tl.where(mine, label, 0), purpose)
    mask = lane < n_keys + n_batches
    tl.store(keys_ptr + lane * 2, as_i32(w0), mask=mask)
    tl.store(keys_ptr + lane * 2 + 1, as_i32(w1), mask=mask)


@triton.jit
def load_u32(ptr, mask, other: tl.constexpr):
    return tl.load(ptr, mask=mask, other=other).to(tl.uint32, bitcast=True)


@triton.jit
def load_key(keys_ptr, row, mask):
    at_ptr = keys_ptr + row.to(tl.int64) * 2
    return load_u32(at_ptr, mask, 0), load_u32(at_ptr + 1, mask, 0)


@triton.jit(
    do_not_specialize=[
        "n_slots", "n_keys", "size", "size_inverse", "slot_a", "slot_b", "slot_inverse"
    ]
)  # fmt: skip
def draw_fixed(
    out_ptr, members_ptr, rows_ptr, rank_row_ptr, window_ptr, keys_ptr,
    n_slots: "i32", n_keys: "i32", size: "u32", size_inverse: "u32",
    slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    IDENTITY: tl.constexpr, SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per (batch, rank) of a window of less than 2^31 / stride; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    size, slot_a, slot_b = size.to(tl.uint32), slot_a.to(tl.uint32), slot_b.to(tl.uint32)
    batch, rank = divide(lane, size, size_inverse.to(tl.uint32))

    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.int64)
    at_ptr = window_ptr + row * ROW
    n, a = load_u32(at_ptr, mask, 1), load_u32(at_ptr + 1, mask, 1)
    b, b_inverse = load_u32(at_ptr + 2, mask, 1), load_u32(at_ptr + 3, mask, 0)
    n_inverse, count = load_u32(at_ptr + 4, mask, 0), load_u32(at_ptr + 5, mask, 0)
    position = load_u32(at_ptr + 6, mask, 0) + batch * count + rank
    cycle, i = divide(position, n, n_inverse)
    key_row = load_u32(at_ptr + 7, mask, 0) + tl.where(n == 1, 0, cycle)
    k0, k1 = load_key(keys_ptr, key_row, mask)
    place = permute(i, n, a, b, b_inverse, k0, k1, mask, SIZES)
    index = tl.load(rows_ptr + row * ROW + 2, mask=mask, other=0) + place.to(tl.int64)
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)

    k0, k1 = load_key(keys_ptr, n_keys.to(tl.uint32) + batch, mask)
    inverse = slot_inverse.to(tl.uint32)
    slot = permute(rank, rank * 0 + size, slot_a, slot_b, inverse, k0, k1, mask, SLOT_SIZES)
    tl.store(out_ptr + (batch * size + slot).to(tl.int64), index, mask=mask)


@triton.jit
def picked(high, low, n):
    """(64 bits * n) >> 64 on u32 halves, n < 2^31: bias below n / 2^64."""
    carried = high.to(tl.uint64) * n.to(tl.uint64) + tl.umulhi(low, n).to(tl.uint64)
    return (carried >> 32).to(tl.int64)


@triton.jit
def drawn_row(cuts_ptr, guide_ptr, high, low, shift, steps, mask):
    """The last row whose cut is at most the 64 bits: the guide gives a span, bisection the row."""
    u = (high.to(tl.uint64) << 32) | low.to(tl.uint64)
    part_ptr = guide_ptr + (high >> shift.to(tl.uint32)).to(tl.int64)
    first = tl.load(part_ptr, mask=mask, other=0)
    last = tl.load(part_ptr + 1, mask=mask, other=0)
    for _ in range(steps):
        middle = (first + last + 1) >> 1
        cut = tl.load(cuts_ptr + middle, mask=mask, other=0).to(tl.uint64, bitcast=True)
        reached = cut <= u
        last = tl.where(reached, last, tl.maximum(first, middle - 1))
        first = tl.where(reached, middle, first)
    return first.to(tl.int64)


@triton.jit(
    do_not_specialize=[
        "n_slots", "size", "size_inverse", "steps", "guide_shift", "seed", "g0", "stride"
    ]
)  # fmt: skip
def draw_random(
    out_ptr, members_ptr, rows_ptr, cuts_ptr, guide_ptr, classes_ptr,
    n_slots: "i32", size: "u32", size_inverse: "u32", steps: "i32", guide_shift: "i32",
    seed: "i64", g0: "i64", stride: "i32",
    PICK: tl.constexpr, DRAWN: tl.constexpr, IDENTITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per slot: the class from words 0 and 1 of (g, slot), the member from 2 and 3."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    batch, slot = divide(lane, size.to(tl.uint32), size_inverse.to(tl.uint32))
    w0, w1, w2, w3 = words(seed, g0 + batch.to(tl.int64) * stride, slot, slot * 0 + PICK)
    if DRAWN:
        row = tl.load(classes_ptr + lane.to(tl.int64), mask=mask, other=0)
    else:
        row = drawn_row(cuts_ptr, guide_ptr, w1, w0, guide_shift, steps, mask)
    n = tl.load(rows_ptr + row * 3 + 1, mask=mask, other=1).to(tl.uint32)
    index = tl.load(rows_ptr + row * 3 + 2, mask=mask, other=0) + picked(w3, w2, n)
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)
    tl.store(out_ptr + lane.to(tl.int64), index, mask=mask)
