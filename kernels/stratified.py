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
twin  gpusampler/cpu/stratified.c, equal bit for bit
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import place_in_members
from .columns import CLASS_ROW, Columns
from .even_tree import extras_before, leaf_of
from .launch import DRAW_BLOCK, TABLE_BLOCK, WARPS, Call, inverse, kernel, row_sizes, sides
from .members import as_i32, first_place, load_u32, place_in_window, put, store_key, upper_bound
from .permutation import divide, permute
from .philox import words

# A row a class with base draws, i32: its class and first rank (gpusampler/plans/stratified.py).
BASE_ROW = Columns("CLASS", "RANK")
# And of a window: the place of rank 0 of its first batch in the pass, without the extras; the row
# of the pass's key.
WINDOW = Columns("POSITION", "CLASS", "KEY_ROW")


@kernel
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
    base_ptr = base_rows_ptr + row * BASE_ROW.WIDTH
    label = tl.load(base_ptr + BASE_ROW.CLASS, mask=mine, other=0).to(tl.int64)
    rank = tl.load(base_ptr + BASE_ROW.RANK, mask=mine, other=0).to(tl.int64)
    row_ptr = rows_ptr + label * CLASS_ROW.WIDTH
    size = load_u32(row_ptr + CLASS_ROW.SIZE, mine, 1).to(tl.int64)
    base = load_u32(row_ptr + CLASS_ROW.BASE, mine, 0).to(tl.int64)
    leaf = tl.load(class_leaf_ptr + label, mask=mine, other=-1)
    r = (lane * 0 + (g0 - first)).to(tl.uint64)
    k0, k1 = key_0.to(tl.uint32), key_1.to(tl.uint32)
    extras = extras_before(r, leaf, root, height, shares_ptr, links_ptr, k0, k1, mine)
    earlier = tl.load(start_ptr + label, mask=mine, other=0) + (g0 - first) * base
    ordinal = earlier + extras.to(tl.int64)
    passed = ordinal // size

    head = mine & (lane == begin)  # a class's first lane writes what draw_base reads of it
    at_ptr = window_ptr + row * WINDOW.WIDTH
    tl.store(at_ptr + WINDOW.POSITION, as_i32(earlier - passed * size - rank), mask=head)
    tl.store(at_ptr + WINDOW.CLASS, as_i32(label), mask=head)
    tl.store(at_ptr + WINDOW.KEY_ROW, as_i32(begin), mask=head)

    x = tl.where(mine, passed + (lane - begin), g0 + (lane - n_keys) * stride)
    k0, k1, _, _ = words(seed, x, tl.where(mine, label, 0), tl.where(mine, MEMBER, SLOT))
    store_key(keys_ptr, lane, k0, k1, lane < n_keys + n)


@kernel
def class_extras(
    extras_ptr, base_rows_ptr, class_leaf_ptr, shares_ptr, links_ptr,
    n_lanes: "i32", n_rows: "u32", rows_inverse: "u32", root: "i32", height: "i32", key_0: "u32",
    key_1: "u32", r0: "i64", stride: "i64", BLOCK: tl.constexpr,
):  # fmt: skip
    """extras [n, A] i64, or i32: the low words."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, row = divide(lane, n_rows.to(tl.uint32), rows_inverse.to(tl.uint32))
    base_ptr = base_rows_ptr + row.to(tl.int64) * BASE_ROW.WIDTH
    label = tl.load(base_ptr + BASE_ROW.CLASS, mask=mask, other=0).to(tl.int64)
    leaf = tl.load(class_leaf_ptr + label, mask=mask, other=-1)
    r = (r0 + t.to(tl.int64) * stride).to(tl.uint64)
    k0, k1 = key_0.to(tl.uint32), key_1.to(tl.uint32)
    extras = extras_before(r, leaf, root, height, shares_ptr, links_ptr, k0, k1, mask)
    extras = extras.to(extras_ptr.dtype.element_ty)
    tl.store(extras_ptr + lane.to(tl.int64), extras, mask=mask)


@kernel
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
    at_ptr = window_ptr + row.to(tl.int64) * WINDOW.WIDTH
    label = load_u32(at_ptr + WINDOW.CLASS, mask, 0).to(tl.int64)
    row_ptr = rows_ptr + label * CLASS_ROW.WIDTH
    position = load_u32(at_ptr + WINDOW.POSITION, mask, 0) + rank
    position += t * stride.to(tl.uint32) * load_u32(row_ptr + CLASS_ROW.BASE, mask, 0)
    position += load_u32(extras_ptr + (t * n_rows.to(tl.uint32) + row).to(tl.int64), mask, 0)
    key_row = load_u32(at_ptr + WINDOW.KEY_ROW, mask, 0)
    place = place_in_window(row_ptr, position, keys_ptr, key_row, mask, SIZES)
    put(
        out_ptr, members_ptr, keys_ptr, slot_keys.to(tl.uint32) + t,
        first_place(row_ptr, mask) + place.to(tl.int64), t, rank, size, slot_a, slot_b,
        slot_inverse, mask, IDENTITY, SLOT_SIZES,
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
    base = load_u32(rows_ptr + label * CLASS_ROW.WIDTH + CLASS_ROW.BASE, mask, 0)
    ordinal += tl.load(start_ptr + label, mask=mask, other=0) + (r + 1) * base.to(tl.int64)
    return label, ordinal


@triton.jit
def place_by_itself(
    ordinal, label, rows_ptr, seed, mask, MEMBER: tl.constexpr, SIZES: tl.constexpr
):
    """The place in members of draw `ordinal` of class `label`, with a key of its own."""
    row_ptr = rows_ptr + label * CLASS_ROW.WIDTH
    n = load_u32(row_ptr + CLASS_ROW.SIZE, mask, 1)
    a = load_u32(row_ptr + CLASS_ROW.GRID_A, mask, 1)
    b = load_u32(row_ptr + CLASS_ROW.GRID_B, mask, 1)
    b_inverse = load_u32(row_ptr + CLASS_ROW.GRID_INVERSE, mask, 0)
    cycle = ordinal // n.to(tl.int64)
    i = (ordinal - cycle * n.to(tl.int64)).to(tl.uint32)
    k0, k1, _, _ = words(seed, cycle, label, label * 0 + MEMBER)
    place = permute(i, n, a, b, b_inverse, k0, k1, mask, SIZES)
    return first_place(row_ptr, mask) + place.to(tl.int64)


@kernel
def draw_extra(
    out_ptr, members_ptr, rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, blocks_ptr,
    keys_ptr, n_lanes: "i32", root: "i32", height: "i32", key_0: "u32", key_1: "u32", seed: "i64",
    r0: "i64", stride: "i64", slot_keys: "u32", first_rank: "u32", ranks: "u32",
    ranks_inverse: "u32", size: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    round_batches: "i64", round_draws: "i64", order: "i32", leaves: "u32", order_a: "u32",
    order_b: "u32", order_inverse: "u32",
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, ROUNDS: tl.constexpr, IDENTITY: tl.constexpr,
    UNIQUE: tl.constexpr, SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr,
    ORDER_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The other `ranks` ranks, from first_rank on, of each batch; UNIQUE: by blocks."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, k = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    label, ordinal = drawn_extra(
        rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, t, k, root, height,
        key_0.to(tl.uint32), key_1.to(tl.uint32), seed, r0, stride, round_batches, round_draws,
        order, leaves.to(tl.uint32), order_a.to(tl.uint32), order_b.to(tl.uint32),
        order_inverse.to(tl.uint32), mask, ROUNDS, ORDER_SIZES,
    )  # fmt: skip
    if UNIQUE:
        index = place_in_members(
            ordinal, label, rows_ptr, blocks_ptr, seed, mask, MEMBER, SCATTER, SIZES, BLOCK_SIZES
        )
    else:
        index = place_by_itself(ordinal, label, rows_ptr, seed, mask, MEMBER, SIZES)
    put(
        out_ptr, members_ptr, keys_ptr, slot_keys.to(tl.uint32) + t, index, t,
        k + first_rank.to(tl.uint32), size, slot_a, slot_b, slot_inverse, mask, IDENTITY,
        SLOT_SIZES,
    )  # fmt: skip


def launch(*given: Any) -> None:
    """Fill a window with batches of a stratified plan. Takes what makes a Call."""
    call = Call(*given)
    (n, size), purposes, p = call.out.shape, call.purposes, call.given.plan
    rows, base_rows, rank_row, start, _, class_leaf, shares, links = call.tables
    n_rows, ranks = len(base_rows), len(rank_row)
    key_ends, n_keys = call.given.key_ends((n - 1) * call.stride + 1, rows.device)
    keys = torch.empty((n_keys + n, 2), dtype=torch.int32, device=rows.device)
    window = torch.empty((n_rows, len(WINDOW.value)), dtype=torch.int32, device=rows.device)
    window_keys[(triton.cdiv(n_keys + n, TABLE_BLOCK),)](
        window, keys, rows, base_rows, start, class_leaf, shares, links, key_ends,
        n_rows, *p.tree, n_keys, n, n_rows.bit_length(), *tie_key(call),
        call.seed, call.g0, call.stride, call.given.first,
        MEMBER=purposes.MEMBER, SLOT=purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    options = call.options(DRAW_BLOCK)
    if ranks:
        extras = launch_extras(call, torch.int32)
        draw_base[(triton.cdiv(n * ranks, DRAW_BLOCK),)](
            call.out, call.held, rows, rank_row, window, extras, keys, n * ranks, n_rows, n_keys,
            call.stride, ranks, inverse(ranks), *call.slots, **options,
        )  # fmt: skip
    if size > ranks:
        unused = {"UNIQUE": False, "SCATTER": None, "BLOCK_SIZES": None}
        launch_extra(call, rows, keys, n_keys, options | unused)


def tie_key(call: Call) -> tuple[int, int]:
    return call.purposes.tree_key(call.seed, call.given.segment)


def launch_extras(call: Call, dtype: torch.dtype) -> Tensor:
    """Of each batch and class with base draws the extras before it, [n, A]."""
    n, (_, base_rows, _, _, _, class_leaf, shares, links, *_) = len(call.out), call.tables
    n_rows = len(base_rows)
    extras = torch.empty((n, n_rows), dtype=dtype, device=base_rows.device)
    class_extras[(triton.cdiv(n * n_rows, TABLE_BLOCK),)](
        extras, base_rows, class_leaf, shares, links, n * n_rows, n_rows, inverse(n_rows),
        *call.given.plan.tree, *tie_key(call), call.g0 - call.given.first, call.stride,
        BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    return extras


def launch_extra(
    call: Call, blocks: Tensor, keys: Tensor, slot_keys: int, options: dict[str, Any]
) -> None:
    """Fill the ranks behind those of base draws; the keys of slots begin at row slot_keys."""
    rows, _, rank_row, start, leaf_class, _, shares, links, *_ = call.tables
    (n, size), p, leaves, ranks = call.out.shape, call.given.plan, len(leaf_class), len(rank_row)
    lanes, extra, rounds = n * (size - ranks), size - ranks, p.round_batches > 0
    draw_extra[(triton.cdiv(lanes, options["BLOCK"]),)](
        call.out, call.held, rows, start, leaf_class, shares, links, blocks, keys, lanes, *p.tree,
        *tie_key(call), call.seed, call.g0 - call.given.first, call.stride, slot_keys, ranks,
        extra, inverse(extra), *call.slots, p.round_batches, p.round_draws,
        call.purposes.CLASS_ORDER | call.given.segment << 8, leaves, *sides(*p.order_grid),
        MEMBER=call.purposes.MEMBER, ROUNDS=rounds,
        ORDER_SIZES=row_sizes(leaves, leaves) if rounds else None, **options,
    )  # fmt: skip
