"""Stratified batches: the tables of a plan and of its blocks in, all batches of a window out.

    window_keys   one lane per key: where each class with base draws stands at the first batch of
                  each block of the window, and every permutation key that the window's base draws
                  and slots can use
    draw_base     one lane per (batch, rank) of base draws
    draw_extra    one lane per (batch, rank) of extras: its class by bisection of the line, its key
                  by Philox, as most such classes have no second draw in a window

in    rows [C, 8] i32, base_rows [A, 2] i32, rank_row i32 of StratifiedPlan; draws, ends, classes,
      guide, points of stratified_blocks.py; members [M] i32 | i64, scalars
out   indices [n, B] i64, every element written once, by one of the two; no atomics
keys  Philox4x32-10, one purpose word per use
twin  gpusampler/cpu_stratified.py, equal bit for bit
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .draw import as_i32, load_key, load_u32, upper_bound
from .launch import FIXED_BLOCK, TABLE_BLOCK, WARPS, inverse, row_sizes, slot_sizes
from .permutation import divide, permute
from .philox import words
from .stratified_blocks import BITS, LAST

# One row a class with base draws, of a window's block, i32: position, span, class, key row.
ROW = tl.constexpr(4)
NARROW_BATCH = 1 << 20  # up to here a class's draws of a block, and its size, fit 32 bits


@triton.jit
def extras_before(b, u, span):
    """Extras that a class has before batch b of the block, u = u(b), all u32.

    Each set bit k of b stands for 2^k earlier batches, whose points are all that leave some
    remainder modulo 2^(BITS - k): `above` short of the next multiple.
    """
    low = span >> (BITS + 1)
    high = low + (span & (2 * LAST + 1))
    found = b * 0
    for k in tl.static_range(BITS):
        above = (u ^ (LAST >> (k + 1))) & (LAST >> k)
        passed = ((high + above) >> (BITS - k)) - ((low + above) >> (BITS - k))
        found += passed * ((b >> k) & 1)
    return found


@triton.jit
def wide(low, high):
    return low.to(tl.int64) | (high.to(tl.int64) << 32)


@triton.jit(
    do_not_specialize=[
        "n_rows", "count", "n_keys", "n_slots", "n", "steps", "b0", "stride", "seed", "g0"
    ]
)  # fmt: skip
def window_keys(
    window_ptr, keys_ptr, rows_ptr, base_rows_ptr, key_ends_ptr, draws_ptr, points_ptr,
    n_rows: "i32", count: "i32", n_keys: "i64", n_slots: "i64", n: "i64", steps: "i32", b0: "i64",
    stride: "i64", seed: "i64", g0: "i64",
    MEMBER: tl.constexpr, SLOT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """keys [J * n_keys + n, 2] i32: of each block one per (base row, cycle), then one per batch;
    window [J, A, 4]."""
    block = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mine = lane < n_keys
    row = upper_bound(key_ends_ptr, n_rows, steps, lane, mine).to(tl.int64)
    begin = tl.load(key_ends_ptr + row - 1, mask=mine & (row > 0), other=0)
    label = tl.load(base_rows_ptr + row * 2, mask=mine, other=0).to(tl.int64)
    rank = tl.load(base_rows_ptr + row * 2 + 1, mask=mine, other=0).to(tl.int64)
    size = load_u32(rows_ptr + label * 8, mine, 1).to(tl.int64)
    base = load_u32(rows_ptr + label * 8 + 5, mine, 0).to(tl.int64)
    at_ptr = draws_ptr + (block * count + label) * 4
    span = load_u32(at_ptr + 1, mine, 0)
    t0 = tl.maximum((block << BITS) - b0 + stride - 1, 0) // stride  # the window's first here
    first = b0 + t0 * stride - (block << BITS)
    u = tl.load(points_ptr + (block << BITS) + first).to(tl.uint32)
    earlier = extras_before((lane * 0 + first).to(tl.uint32), u, span).to(tl.int64) + first * base
    ordinal = load_u32(at_ptr, mine, 0).to(tl.int64) + earlier
    passed = ordinal // size

    head = mine & (lane == begin)  # a class's first lane writes what draw_base reads of it
    to_ptr = window_ptr + (block * n_rows + row) * ROW
    tl.store(to_ptr, as_i32(ordinal - passed * size - earlier - rank), mask=head)
    tl.store(to_ptr + 1, as_i32(span), mask=head)
    tl.store(to_ptr + 2, as_i32(label), mask=head)
    tl.store(to_ptr + 3, as_i32(block * n_keys + begin), mask=head)

    cycle = wide(load_u32(at_ptr + 2, mine, 0), load_u32(at_ptr + 3, mine, 0)) + passed
    t = t0 + (lane - n_keys)
    x = tl.where(mine, cycle + (lane - begin), g0 + t * stride)
    w0, w1, _, _ = words(seed, x, tl.where(mine, label, 0), tl.where(mine, MEMBER, SLOT))
    mask = mine | ((lane < n_keys + n_slots) & (t < n))
    key_row = tl.where(mine, block * n_keys + lane, tl.num_programs(1).to(tl.int64) * n_keys + t)
    tl.store(keys_ptr + key_row * 2, as_i32(w0), mask=mask)
    tl.store(keys_ptr + key_row * 2 + 1, as_i32(w1), mask=mask)


@triton.jit
def put(
    out_ptr, members_ptr, keys_ptr, index, t, rank, size, slot_a, slot_b, slot_inverse, slot_keys,
    mask, IDENTITY: tl.constexpr, SLOT_SIZES: tl.constexpr,
):  # fmt: skip
    """Place `index` of members goes to the slot of this rank of batch t of the window."""
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)
    k0, k1 = load_key(keys_ptr, slot_keys + t, mask)
    slot = permute(rank, rank * 0 + size, slot_a, slot_b, slot_inverse, k0, k1, mask, SLOT_SIZES)
    tl.store(out_ptr + (t * size + slot).to(tl.int64), index, mask=mask)


@triton.jit(
    do_not_specialize=[
        "n_lanes", "n_rows", "slot_keys", "b0", "stride", "ranks", "ranks_inverse", "size",
        "slot_a", "slot_b", "slot_inverse",
    ]
)  # fmt: skip
def draw_base(
    out_ptr, members_ptr, rows_ptr, rank_row_ptr, window_ptr, keys_ptr, points_ptr,
    n_lanes: "i32", n_rows: "u32", slot_keys: "u32", b0: "u32", stride: "u32", ranks: "u32",
    ranks_inverse: "u32", size: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    IDENTITY: tl.constexpr, SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first `ranks` ranks of each batch of a window of less than 2^31 slots; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, rank = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    b = b0.to(tl.uint32) + t * stride.to(tl.uint32)
    block, b = b >> BITS, b & LAST
    u = load_u32(points_ptr + ((block << BITS) | b).to(tl.int64), mask, 0)

    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.uint32)
    at_ptr = window_ptr + (block * n_rows.to(tl.uint32) + row).to(tl.int64) * ROW
    position, span = load_u32(at_ptr, mask, 0), load_u32(at_ptr + 1, mask, 0)
    label, key_row = load_u32(at_ptr + 2, mask, 0), load_u32(at_ptr + 3, mask, 0)
    row_ptr = rows_ptr + label.to(tl.int64) * 8
    n, a, side = (
        load_u32(row_ptr, mask, 1),
        load_u32(row_ptr + 1, mask, 1),
        load_u32(row_ptr + 2, mask, 1),
    )
    side_inverse, n_inverse = load_u32(row_ptr + 3, mask, 0), load_u32(row_ptr + 4, mask, 0)
    position += b * load_u32(row_ptr + 5, mask, 0) + rank + extras_before(b, u, span)
    cycle, i = divide(position, n, n_inverse)
    k0, k1 = load_key(keys_ptr, key_row + tl.where(n == 1, 0, cycle), mask)
    place = permute(i, n, a, side, side_inverse, k0, k1, mask, SIZES)
    index = wide(load_u32(row_ptr + 6, mask, 0), load_u32(row_ptr + 7, mask, 0)) + place.to(
        tl.int64
    )
    put(
        out_ptr, members_ptr, keys_ptr, index, t, rank, size.to(tl.uint32), slot_a.to(tl.uint32),
        slot_b.to(tl.uint32), slot_inverse.to(tl.uint32), slot_keys.to(tl.uint32), mask, IDENTITY,
        SLOT_SIZES,
    )  # fmt: skip


@triton.jit
def owner(ends_ptr, guide_ptr, k, u, steps, mask):
    """The place on the line that holds u + (k << BITS): the first in its part that ends above."""
    low = tl.load(guide_ptr + k.to(tl.int64), mask=mask, other=0)
    high = tl.load(guide_ptr + k.to(tl.int64) + 1, mask=mask, other=0)
    for _ in range(steps):
        middle = (low + high) >> 1
        inside = mask & (low < high)
        above = load_u32(ends_ptr + middle, inside, 0) - (k << BITS) > u
        high = tl.where(inside & above, middle, high)
        low = tl.where(inside & (above == 0), middle + 1, low)
    return low


@triton.jit(
    do_not_specialize=[
        "n_lanes", "count", "steps", "seed", "slot_keys", "b0", "stride", "first_rank", "ranks",
        "ranks_inverse", "size", "slot_a", "slot_b", "slot_inverse",
    ]
)  # fmt: skip
def draw_extra(
    out_ptr, members_ptr, rows_ptr, draws_ptr, ends_ptr, classes_ptr, guide_ptr, keys_ptr,
    points_ptr,
    n_lanes: "i32", count: "i32", steps: "i32", seed: "i64", slot_keys: "u32", b0: "u32",
    stride: "u32", first_rank: "u32", ranks: "u32", ranks_inverse: "u32", size: "u32",
    slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    MEMBER: tl.constexpr, WIDE: tl.constexpr, IDENTITY: tl.constexpr, SIZES: tl.constexpr,
    SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The other `ranks` ranks, from first_rank on, of each batch of a window."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, k = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    b = b0.to(tl.uint32) + t * stride.to(tl.uint32)
    block, b = b >> BITS, b & LAST
    u = load_u32(points_ptr + ((block << BITS) | b).to(tl.int64), mask, 0)
    line = block.to(tl.int64) * count
    guides_ptr = guide_ptr + block.to(tl.int64) * (ranks.to(tl.int64) + 1)
    at = owner(ends_ptr + line, guides_ptr, k, u, steps, mask)
    label = tl.load(classes_ptr + line + at, mask=mask, other=0).to(tl.int64)

    at_ptr, row_ptr = draws_ptr + (line + label) * 4, rows_ptr + label * 8
    position, span = load_u32(at_ptr, mask, 0), load_u32(at_ptr + 1, mask, 0)
    cycle = wide(load_u32(at_ptr + 2, mask, 0), load_u32(at_ptr + 3, mask, 0))
    n, a, side = (
        load_u32(row_ptr, mask, 1),
        load_u32(row_ptr + 1, mask, 1),
        load_u32(row_ptr + 2, mask, 1),
    )
    side_inverse, n_inverse = load_u32(row_ptr + 3, mask, 0), load_u32(row_ptr + 4, mask, 0)
    base, further = load_u32(row_ptr + 5, mask, 0), extras_before(b, u, span)
    if WIDE:
        ordinal = position.to(tl.int64) + (b.to(tl.int64) + 1) * base.to(tl.int64)
        ordinal += further.to(tl.int64)
        passed = ordinal // n.to(tl.int64)
        i = (ordinal - passed * n.to(tl.int64)).to(tl.uint32)
    else:
        passed, i = divide(position + (b + 1) * base + further, n, n_inverse)
    k0, k1, _, _ = words(seed, cycle + passed.to(tl.int64), label, label * 0 + MEMBER)
    place = permute(i, n, a, side, side_inverse, k0, k1, mask, SIZES)
    index = wide(load_u32(row_ptr + 6, mask, 0), load_u32(row_ptr + 7, mask, 0)) + place.to(
        tl.int64
    )
    put(
        out_ptr, members_ptr, keys_ptr, index, t, k + first_rank.to(tl.uint32),
        size.to(tl.uint32), slot_a.to(tl.uint32), slot_b.to(tl.uint32), slot_inverse.to(tl.uint32),
        slot_keys.to(tl.uint32), mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


def draw_stratified(
    out: Tensor, members: Tensor | None, rows: Tensor, base_rows: Tensor, rank_row: Tensor,
    tables: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], key_ends: Tensor, n_keys: int,
    span: tuple[int, int], grid: tuple[int, int], seed: int, g0: int, stride: int, b0: int,
    member: int, slot: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ..., g0 being batch b0 of the tables;
    n * B * stride < 2^31, or n = 1.

    rows, base_rows, rank_row  of StratifiedPlan;  tables: of stratified_blocks
    key_ends [A] i64           StratifiedPlan.key_ends(min(n * stride, 1024)), n_keys its last, or 0
    span                       the smallest and largest class size of rows
    grid                       of [0, B);  member, slot: the purposes of the two keys
    seed                       64 bits, as a signed integer
    """
    draws, ends, classes, guide, points = tables
    n, size = out.shape
    count, ranks, extra = len(rows), len(rank_row), size - len(rank_row)
    blocks = (b0 + (n - 1) * stride >> BITS.value) + 1
    n_slots = min(n, LAST.value // stride + 1)  # of one block
    a, b = grid
    window = torch.empty((blocks, len(base_rows), ROW.value), dtype=torch.int32, device=out.device)
    keys = torch.empty((blocks * n_keys + n, 2), dtype=torch.int32, device=out.device)
    window_keys[(triton.cdiv(n_keys + n_slots, TABLE_BLOCK), blocks)](
        window, keys, rows, base_rows, key_ends, draws, points,
        len(base_rows), count, n_keys, n_slots, n, len(base_rows).bit_length(), b0, stride, seed,
        g0, MEMBER=member, SLOT=slot, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    held, window_at = out if members is None else members, (blocks * n_keys, b0, stride)
    slots = (size, a, max(b, 1), inverse(max(b, 1)))
    chosen = {
        "IDENTITY": members is None, "SIZES": row_sizes(*span),
        "SLOT_SIZES": slot_sizes(size, a, b), "BLOCK": FIXED_BLOCK, "num_warps": WARPS,
    }  # fmt: skip
    if ranks:
        draw_base[(triton.cdiv(n * ranks, FIXED_BLOCK),)](
            out, held, rows, rank_row, window, keys, points, n * ranks, len(base_rows), *window_at,
            ranks, inverse(ranks), *slots, **chosen,
        )  # fmt: skip
    if extra:
        draw_extra[(triton.cdiv(n * extra, FIXED_BLOCK),)](
            out, held, rows, draws, ends, classes, guide, keys, points, n * extra, count,
            (count - 1).bit_length(), seed, *window_at, ranks, extra, inverse(extra), *slots,
            MEMBER=member, WIDE=size > NARROW_BATCH, **chosen,
        )  # fmt: skip
