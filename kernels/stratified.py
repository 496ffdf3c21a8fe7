"""Stratified batches: the tables of a plan in, all batches of a window out.

    window_keys   one lane per key: where each class with base draws stands at the first batch of
                  the window, and every permutation key that the window's base draws and slots use
    class_extras  one lane per (batch, class with base draws): the extras it had before
    draw_base     one lane per (batch, rank) of base draws
    draw_extra    one lane per (batch, rank) of extras: its class on the way down the tree, its key
                  by Philox, as most such classes have no second draw in a window

in    rows [C, 8] i32, base_rows [A, 2] i32, rank_row i32, start [C] i64, leaf_class [L] i32,
      class_leaf [C] i32, shares [L] i64, links [L, 3] i32 of StratifiedPlan; members [M] i32 | i64,
      scalars
out   indices [n, B] i64, every element written once, by one of the last two; no atomics
keys  Philox4x32-10, one purpose word per use; in a plan of rounds every extra's leaf is permuted
twin  gpusampler/cpu/stratified.py, equal bit for bit
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .draw import as_i32, load_key, load_u32, upper_bound
from .even_tree import extras_before, leaf_of
from .launch import FIXED_BLOCK, TABLE_BLOCK, WARPS, inverse, row_sizes, sides, slot_sizes
from .permutation import divide, permute
from .philox import words

# One row a class with base draws, i32: position, class, key row.
ROW = tl.constexpr(3)


@triton.jit
def wide(low, high):
    return low.to(tl.int64) | (high.to(tl.int64) << 32)


@triton.jit(
    do_not_specialize=[
        "n_rows", "root", "height", "n_keys", "n", "key_steps", "key_0", "key_1", "seed", "g0",
        "stride", "first",
    ]
)  # fmt: skip
def window_keys(
    window_ptr, keys_ptr, rows_ptr, base_rows_ptr, start_ptr, class_leaf_ptr, shares_ptr,
    links_ptr, key_ends_ptr,
    n_rows: "i32", root: "i32", height: "i32", n_keys: "i64", n: "i64", key_steps: "i32",
    key_0: "u32", key_1: "u32", seed: "i64", g0: "i64", stride: "i64", first: "i64",
    MEMBER: tl.constexpr, SLOT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """keys [n_keys + n, 2] i32: one per (base row, cycle), then one per batch; window [A, 3]."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mine = lane < n_keys
    row = upper_bound(key_ends_ptr, n_rows, key_steps, lane, mine).to(tl.int64)
    begin = tl.load(key_ends_ptr + row - 1, mask=mine & (row > 0), other=0)
    label = tl.load(base_rows_ptr + row * 2, mask=mine, other=0).to(tl.int64)
    rank = tl.load(base_rows_ptr + row * 2 + 1, mask=mine, other=0).to(tl.int64)
    size = load_u32(rows_ptr + label * 8, mine, 1).to(tl.int64)
    base = load_u32(rows_ptr + label * 8 + 5, mine, 0).to(tl.int64)
    leaf = tl.load(class_leaf_ptr + label, mask=mine, other=-1)
    r = (lane * 0 + (g0 - first)).to(tl.uint64)
    k0, k1 = key_0.to(tl.uint32), key_1.to(tl.uint32)
    extras = extras_before(r, leaf, root, height, shares_ptr, links_ptr, k0, k1, mine)
    earlier = tl.load(start_ptr + label, mask=mine, other=0) + (g0 - first) * base
    ordinal = earlier + extras.to(tl.int64)
    passed = ordinal // size

    head = mine & (lane == begin)  # a class's first lane writes what draw_base reads of it
    at_ptr = window_ptr + row * ROW
    tl.store(at_ptr, as_i32(earlier - passed * size - rank), mask=head)
    tl.store(at_ptr + 1, as_i32(label), mask=head)
    tl.store(at_ptr + 2, as_i32(begin), mask=head)

    x = tl.where(mine, passed + (lane - begin), g0 + (lane - n_keys) * stride)
    w0, w1, _, _ = words(seed, x, tl.where(mine, label, 0), tl.where(mine, MEMBER, SLOT))
    mask = lane < n_keys + n
    tl.store(keys_ptr + lane * 2, as_i32(w0), mask=mask)
    tl.store(keys_ptr + lane * 2 + 1, as_i32(w1), mask=mask)


@triton.jit(
    do_not_specialize=[
        "n_lanes", "n_rows", "rows_inverse", "root", "height", "key_0", "key_1", "r0", "stride"
    ]
)  # fmt: skip
def class_extras(
    extras_ptr, base_rows_ptr, class_leaf_ptr, shares_ptr, links_ptr,
    n_lanes: "i32", n_rows: "u32", rows_inverse: "u32", root: "i32", height: "i32", key_0: "u32",
    key_1: "u32", r0: "i64", stride: "i64", BLOCK: tl.constexpr,
):  # fmt: skip
    """extras [n, A] i32: the low words."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, row = divide(lane, n_rows.to(tl.uint32), rows_inverse.to(tl.uint32))
    label = tl.load(base_rows_ptr + row.to(tl.int64) * 2, mask=mask, other=0).to(tl.int64)
    leaf = tl.load(class_leaf_ptr + label, mask=mask, other=-1)
    r = (r0 + t.to(tl.int64) * stride).to(tl.uint64)
    k0, k1 = key_0.to(tl.uint32), key_1.to(tl.uint32)
    extras = extras_before(r, leaf, root, height, shares_ptr, links_ptr, k0, k1, mask)
    tl.store(extras_ptr + lane.to(tl.int64), as_i32(extras), mask=mask)


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
        "n_lanes", "n_rows", "slot_keys", "stride", "ranks", "ranks_inverse", "size", "slot_a",
        "slot_b", "slot_inverse",
    ]
)  # fmt: skip
def draw_base(
    out_ptr, members_ptr, rows_ptr, rank_row_ptr, window_ptr, extras_ptr, keys_ptr,
    n_lanes: "i32", n_rows: "u32", slot_keys: "u32", stride: "u32", ranks: "u32",
    ranks_inverse: "u32", size: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    IDENTITY: tl.constexpr, SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first `ranks` ranks of each batch of a window of less than 2^31 slots; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, rank = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.uint32)
    at_ptr = window_ptr + row.to(tl.int64) * ROW
    position, label = load_u32(at_ptr, mask, 0), load_u32(at_ptr + 1, mask, 0)
    key_row = load_u32(at_ptr + 2, mask, 0)
    row_ptr = rows_ptr + label.to(tl.int64) * 8
    n, a, side = (
        load_u32(row_ptr, mask, 1),
        load_u32(row_ptr + 1, mask, 1),
        load_u32(row_ptr + 2, mask, 1),
    )
    side_inverse, n_inverse = load_u32(row_ptr + 3, mask, 0), load_u32(row_ptr + 4, mask, 0)
    position += t * stride.to(tl.uint32) * load_u32(row_ptr + 5, mask, 0) + rank
    position += load_u32(extras_ptr + (t * n_rows.to(tl.uint32) + row).to(tl.int64), mask, 0)
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
def drawn_extra(
    rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, t, k, root, height, key_0, key_1,
    seed, r0, stride, round_batches, round_draws, order, leaves, order_a, order_b, order_inverse,
    mask, ROUNDS: tl.constexpr, ORDER_SIZES: tl.constexpr,
):  # fmt: skip
    """The class of extra k of batch r0 + t * stride of the plan, and which of its draws it is."""
    r = r0 + t.to(tl.int64) * stride
    number = r // round_batches if ROUNDS else r * 0
    leaf, extras = leaf_of(
        (r - number * round_batches).to(tl.uint64), k, root, height, shares_ptr, links_ptr,
        key_0, key_1, mask,
    )  # fmt: skip
    ordinal = extras.to(tl.int64)
    if ROUNDS:
        k0, k1, _, _ = words(seed, number, k * 0, k * 0 + order.to(tl.uint32))
        leaf = permute(
            leaf.to(tl.uint32), k * 0 + leaves, order_a, order_b, order_inverse, k0, k1, mask,
            ORDER_SIZES,
        )  # fmt: skip
        ordinal += number * round_draws
    label = tl.load(leaf_class_ptr + leaf.to(tl.int64), mask=mask, other=0).to(tl.int64)
    base = load_u32(rows_ptr + label * 8 + 5, mask, 0)
    ordinal += tl.load(start_ptr + label, mask=mask, other=0) + (r + 1) * base.to(tl.int64)
    return label, ordinal


@triton.jit(
    do_not_specialize=[
        "n_lanes", "root", "height", "key_0", "key_1", "seed", "r0", "stride", "slot_keys",
        "first_rank", "ranks", "ranks_inverse", "size", "slot_a", "slot_b", "slot_inverse",
        "round_batches", "round_draws", "order", "leaves", "order_a", "order_b", "order_inverse",
    ]
)  # fmt: skip
def draw_extra(
    out_ptr, members_ptr, rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, keys_ptr,
    n_lanes: "i32", root: "i32", height: "i32", key_0: "u32", key_1: "u32", seed: "i64",
    r0: "i64", stride: "i64", slot_keys: "u32", first_rank: "u32", ranks: "u32",
    ranks_inverse: "u32", size: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    round_batches: "i64", round_draws: "i64", order: "i32", leaves: "u32", order_a: "u32",
    order_b: "u32", order_inverse: "u32",
    MEMBER: tl.constexpr, ROUNDS: tl.constexpr, IDENTITY: tl.constexpr, SIZES: tl.constexpr,
    SLOT_SIZES: tl.constexpr, ORDER_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The other `ranks` ranks, from first_rank on, of each batch of a window."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, k = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    label, ordinal = drawn_extra(
        rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, t, k, root, height,
        key_0.to(tl.uint32), key_1.to(tl.uint32), seed, r0, stride, round_batches, round_draws,
        order, leaves.to(tl.uint32), order_a.to(tl.uint32), order_b.to(tl.uint32),
        order_inverse.to(tl.uint32), mask, ROUNDS, ORDER_SIZES,
    )  # fmt: skip
    row_ptr = rows_ptr + label * 8
    n, a, side = (
        load_u32(row_ptr, mask, 1),
        load_u32(row_ptr + 1, mask, 1),
        load_u32(row_ptr + 2, mask, 1),
    )
    side_inverse = load_u32(row_ptr + 3, mask, 0)
    cycle = ordinal // n.to(tl.int64)
    i = (ordinal - cycle * n.to(tl.int64)).to(tl.uint32)
    k0, k1, _, _ = words(seed, cycle, label, label * 0 + MEMBER)
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
    out: Tensor, members: Tensor | None, tables: list[Tensor], given, purposes,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a stratified plan; n * B * stride
    < 2^31, or n = 1. As launch.draw_fixed().
    """
    p, first, grid, tree = given.plan, given.first, given.plan.grid, given.plan.tree
    tie_key, member = purposes.tree_key(seed, given.segment), purposes.MEMBER
    rows, base_rows, rank_row, start, leaf_class, class_leaf, shares, links = tables
    n, size = out.shape
    key_ends, n_keys = given.key_ends((n - 1) * stride + 1, out.device)
    n_rows, ranks, leaves = len(base_rows), len(rank_row), len(leaf_class)
    keys = torch.empty((n_keys + n, 2), dtype=torch.int32, device=out.device)
    window = torch.empty((n_rows, ROW.value), dtype=torch.int32, device=out.device)
    window_keys[(triton.cdiv(n_keys + n, TABLE_BLOCK),)](
        window, keys, rows, base_rows, start, class_leaf, shares, links, key_ends, n_rows, *tree,
        n_keys, n, n_rows.bit_length(), *tie_key, seed, g0, stride, first,
        MEMBER=member, SLOT=purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    held, slots = out if members is None else members, (size, *sides(*grid))
    chosen = {
        "IDENTITY": members is None, "SIZES": row_sizes(p.smallest, p.largest),
        "SLOT_SIZES": slot_sizes(size, *grid, given.by_class), "BLOCK": FIXED_BLOCK,
        "num_warps": WARPS,
    }  # fmt: skip
    if ranks:
        extras = torch.empty((n, n_rows), dtype=torch.int32, device=out.device)
        class_extras[(triton.cdiv(n * n_rows, TABLE_BLOCK),)](
            extras, base_rows, class_leaf, shares, links, n * n_rows, n_rows, inverse(n_rows),
            *tree, *tie_key, g0 - first, stride, BLOCK=TABLE_BLOCK, num_warps=WARPS,
        )  # fmt: skip
        draw_base[(triton.cdiv(n * ranks, FIXED_BLOCK),)](
            out, held, rows, rank_row, window, extras, keys, n * ranks, n_rows, n_keys, stride,
            ranks, inverse(ranks), *slots, **chosen,
        )  # fmt: skip
    if size > ranks:
        order, batches = purposes.CLASS_ORDER | given.segment << 8, p.round_batches
        draw_extra[(triton.cdiv(n * (size - ranks), FIXED_BLOCK),)](
            out, held, rows, start, leaf_class, shares, links, keys, n * (size - ranks), *tree,
            *tie_key, seed, g0 - first, stride, n_keys, ranks, size - ranks, inverse(size - ranks),
            *slots, batches, p.round_draws, order, leaves, *sides(*p.order_grid), MEMBER=member,
            ROUNDS=batches > 0, ORDER_SIZES=slot_sizes(leaves, *p.order_grid), **chosen,
        )  # fmt: skip
