"""Draws of which a batch has none twice: the blocks of a plan in, all batches of a window out.

    draw_fixed    one lane per slot
    base_ordinals one lane per (batch, class with base draws): its draws before the batch
    draw_base     one lane per (batch, rank) of base draws
    draw_extra    one lane per (batch, rank) of extras

in    the tables of FixedPlan or StratifiedPlan; blocks, one row a row of these, [., 8] i32: length,
      sides a and b, number of them; length and sides of the last; shift (plans/blocks.py)
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
keys  Philox4x32-10: a block's carries its number, the scattering of a class's places has one
twin  gpusampler/cpu/unique.py, equal bit for bit
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import draw
from .draw import load_u32
from .even_tree import extras_before
from .launch import TABLE_BLOCK, WARPS, inverse, row_sizes, sides, slot_sizes
from .permutation import divide, permute
from .philox import words
from .stratified import drawn_extra, put, wide

DRAW_BLOCK = 128  # lanes a program: one a thread keeps a third permutation within 64 registers


@triton.jit
def place_of(
    ordinal, label, n, a, b, blocks_ptr, seed, mask,
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr,
):  # fmt: skip
    """The place in a class of n of its draw `ordinal` (i64), by the row of blocks at blocks_ptr;
    a x b is the grid of n."""
    cycle = ordinal // n.to(tl.int64)
    i = (ordinal - cycle * n.to(tl.int64)).to(tl.uint32)
    length, number = load_u32(blocks_ptr, mask, 1), load_u32(blocks_ptr + 3, mask, 1)
    block = i // length
    begin = block * length
    last = block == number - 1
    at_ptr = blocks_ptr + tl.where(last, 4, 0)
    size, side = load_u32(at_ptr, mask, 1), load_u32(at_ptr + 2, mask, 1)
    second = last & (i - begin >= size)  # of the two behind the first
    block, begin = block + second.to(tl.uint32), begin + tl.where(second, size, 0)
    k0, k1, _, _ = words(seed, cycle, label, block << 8 | MEMBER)
    i = begin + permute(
        i - begin, size, load_u32(at_ptr + 1, mask, 1), side, 0xFFFFFFFF // side, k0, k1, mask,
        BLOCK_SIZES,
    )  # fmt: skip
    shift = (cycle + 1) * load_u32(blocks_ptr + 7, mask, 0).to(tl.int64) % n.to(tl.int64)
    i += shift.to(tl.uint32)
    i = tl.minimum(i, i - n)  # mod n: i - n wraps high where i < n
    parted = mask & (number > 1)
    k0, k1, _, _ = words(seed, cycle * 0, label, label * 0 + SCATTER)
    scattered = permute(i, n, a, b, 0xFFFFFFFF // b, k0, k1, parted, SIZES)
    return tl.where(parted, scattered, i)


@triton.jit(
    do_not_specialize=[
        "n_slots", "size", "size_inverse", "slot_a", "slot_b", "slot_inverse", "seed", "g0",
        "stride",
    ]
)  # fmt: skip
def draw_fixed(
    out_ptr, members_ptr, rows_ptr, rank_row_ptr, blocks_ptr, keys_ptr,
    n_slots: "i32", size: "u32", size_inverse: "u32", slot_a: "u32", slot_b: "u32",
    slot_inverse: "u32", seed: "i64", g0: "i64", stride: "i64",
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, IDENTITY: tl.constexpr, SIZES: tl.constexpr,
    BLOCK_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per (batch, rank) of a window of less than 2^31 slots; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    t, rank = divide(lane, size.to(tl.uint32), size_inverse.to(tl.uint32))
    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.int64)
    row_ptr = rows_ptr + row * draw.ROW
    label = tl.load(row_ptr, mask=mask, other=0)
    n = tl.load(row_ptr + 1, mask=mask, other=1).to(tl.uint32)
    count = tl.load(row_ptr + 3, mask=mask, other=0)
    j = rank.to(tl.int64) - tl.load(row_ptr + 4, mask=mask, other=0)
    a = tl.maximum(tl.load(row_ptr + 5, mask=mask, other=1), 1).to(tl.uint32)
    b = tl.maximum(tl.load(row_ptr + 6, mask=mask, other=1), 1).to(tl.uint32)
    ordinal = tl.load(row_ptr + 7, mask=mask, other=0) + j
    ordinal += (g0 + t.to(tl.int64) * stride) * count
    place = place_of(
        ordinal, label, n, a, b, blocks_ptr + row * 8, seed, mask, MEMBER, SCATTER, SIZES,
        BLOCK_SIZES,
    )  # fmt: skip
    index = tl.load(row_ptr + 2, mask=mask, other=0) + place.to(tl.int64)
    put(
        out_ptr, members_ptr, keys_ptr, index, t, rank, size.to(tl.uint32), slot_a.to(tl.uint32),
        slot_b.to(tl.uint32), slot_inverse.to(tl.uint32), t * 0, mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=[
        "n_lanes", "n_rows", "rows_inverse", "root", "height", "key_0", "key_1", "r0", "stride"
    ]
)  # fmt: skip
def base_ordinals(
    ordinals_ptr, rows_ptr, base_rows_ptr, start_ptr, class_leaf_ptr, shares_ptr, links_ptr,
    n_lanes: "i32", n_rows: "u32", rows_inverse: "u32", root: "i32", height: "i32", key_0: "u32",
    key_1: "u32", r0: "i64", stride: "i64", BLOCK: tl.constexpr,
):  # fmt: skip
    """ordinals [n, A] i64: of the first draw of each class with base draws in each batch."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, row = divide(lane, n_rows.to(tl.uint32), rows_inverse.to(tl.uint32))
    label = tl.load(base_rows_ptr + row.to(tl.int64) * 2, mask=mask, other=0).to(tl.int64)
    leaf = tl.load(class_leaf_ptr + label, mask=mask, other=-1)
    r = r0 + t.to(tl.int64) * stride
    k0, k1 = key_0.to(tl.uint32), key_1.to(tl.uint32)
    extras = extras_before(
        r.to(tl.uint64), leaf, root, height, shares_ptr, links_ptr, k0, k1, mask
    )  # fmt: skip
    base = load_u32(rows_ptr + label * 8 + 5, mask, 0).to(tl.int64)
    ordinal = tl.load(start_ptr + label, mask=mask, other=0) + r * base + extras.to(tl.int64)
    tl.store(ordinals_ptr + lane.to(tl.int64), ordinal, mask=mask)


@triton.jit
def place_of_class(
    ordinal, label, rows_ptr, blocks_ptr, seed, mask,
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr,
):  # fmt: skip
    """The place in members of a class's draw."""
    row_ptr = rows_ptr + label * 8
    n, a = load_u32(row_ptr, mask, 1), load_u32(row_ptr + 1, mask, 1)
    b = load_u32(row_ptr + 2, mask, 1)
    place = place_of(
        ordinal, label, n, a, b, blocks_ptr + label * 8, seed, mask, MEMBER, SCATTER, SIZES,
        BLOCK_SIZES,
    )  # fmt: skip
    first = wide(load_u32(row_ptr + 6, mask, 0), load_u32(row_ptr + 7, mask, 0))
    return first + place.to(tl.int64)


@triton.jit(
    do_not_specialize=[
        "n_lanes", "n_rows", "ranks", "ranks_inverse", "seed", "size", "slot_a", "slot_b",
        "slot_inverse",
    ]
)  # fmt: skip
def draw_base(
    out_ptr, members_ptr, rows_ptr, base_rows_ptr, rank_row_ptr, ordinals_ptr, blocks_ptr, keys_ptr,
    n_lanes: "i32", n_rows: "u32", ranks: "u32", ranks_inverse: "u32", seed: "i64", size: "u32",
    slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, IDENTITY: tl.constexpr, SIZES: tl.constexpr,
    BLOCK_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first `ranks` ranks of each batch of a window of less than 2^31 slots; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, rank = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.int64)
    label = tl.load(base_rows_ptr + row * 2, mask=mask, other=0).to(tl.int64)
    j = rank.to(tl.int64) - tl.load(base_rows_ptr + row * 2 + 1, mask=mask, other=0)
    at_ptr = ordinals_ptr + t.to(tl.int64) * n_rows.to(tl.uint32).to(tl.int64) + row
    index = place_of_class(
        tl.load(at_ptr, mask=mask, other=0) + j, label, rows_ptr, blocks_ptr, seed, mask, MEMBER,
        SCATTER, SIZES, BLOCK_SIZES,
    )  # fmt: skip
    put(
        out_ptr, members_ptr, keys_ptr, index, t, rank, size.to(tl.uint32), slot_a.to(tl.uint32),
        slot_b.to(tl.uint32), slot_inverse.to(tl.uint32), t * 0, mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=[
        "n_lanes", "root", "height", "key_0", "key_1", "seed", "r0", "stride", "first_rank",
        "ranks", "ranks_inverse", "size", "slot_a", "slot_b", "slot_inverse", "round_batches",
        "round_draws", "order", "leaves", "order_a", "order_b", "order_inverse",
    ]
)  # fmt: skip
def draw_extra(
    out_ptr, members_ptr, rows_ptr, start_ptr, leaf_class_ptr, shares_ptr, links_ptr, blocks_ptr,
    keys_ptr, n_lanes: "i32", root: "i32", height: "i32", key_0: "u32", key_1: "u32", seed: "i64",
    r0: "i64", stride: "i64", first_rank: "u32", ranks: "u32", ranks_inverse: "u32", size: "u32",
    slot_a: "u32", slot_b: "u32", slot_inverse: "u32", round_batches: "i64", round_draws: "i64",
    order: "i32", leaves: "u32", order_a: "u32", order_b: "u32", order_inverse: "u32",
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, ROUNDS: tl.constexpr, IDENTITY: tl.constexpr,
    SIZES: tl.constexpr, BLOCK_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr,
    ORDER_SIZES: tl.constexpr, BLOCK: tl.constexpr,
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
    index = place_of_class(
        ordinal, label, rows_ptr, blocks_ptr, seed, mask, MEMBER, SCATTER, SIZES, BLOCK_SIZES
    )
    put(
        out_ptr, members_ptr, keys_ptr, index, t, k + first_rank.to(tl.uint32),
        size.to(tl.uint32), slot_a.to(tl.uint32), slot_b.to(tl.uint32), slot_inverse.to(tl.uint32),
        t * 0, mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n", "seed", "g0", "stride"])
def slot_keys(
    keys_ptr, n: "i32", seed: "i64", g0: "i64", stride: "i64",
    SLOT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """keys [n, 2] i32: one per batch."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    w0, w1, _, _ = words(seed, g0 + lane * stride, lane * 0, lane * 0 + SLOT)
    tl.store(keys_ptr + lane * 2, draw.as_i32(w0), mask=lane < n)
    tl.store(keys_ptr + lane * 2 + 1, draw.as_i32(w1), mask=lane < n)


def keys_of(n: int, device: torch.device, purposes: Any, seed: int, g0: int, stride: int) -> Tensor:
    keys = torch.empty((n, 2), dtype=torch.int32, device=device)
    slot_keys[(triton.cdiv(n, TABLE_BLOCK),)](
        keys, n, seed, g0, stride, SLOT=purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS
    )
    return keys


def chosen(members: Tensor | None, given: Any, purposes: Any, size: int) -> dict[str, Any]:
    p = given.plan
    return {
        "MEMBER": purposes.MEMBER, "SCATTER": purposes.SCATTER, "IDENTITY": members is None,
        "SIZES": row_sizes(p.smallest, p.largest), "BLOCK_SIZES": row_sizes(*p.blocks.span),
        "SLOT_SIZES": slot_sizes(size, *p.grid, given.by_class), "BLOCK": DRAW_BLOCK,
        "num_warps": WARPS,
    }  # fmt: skip


def launch_fixed(
    out: Tensor, members: Tensor | None, tables: Sequence[Tensor], given: Any, purposes: Any,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a fixed plan. As
    launch.draw_fixed()."""
    n, size = out.shape
    rows, rank_row, blocks = tables
    keys = keys_of(n, out.device, purposes, seed, g0, stride)
    draw_fixed[(triton.cdiv(n * size, DRAW_BLOCK),)](
        out, out if members is None else members, rows, rank_row, blocks, keys,
        n * size, size, inverse(size), *sides(*given.plan.grid), seed, g0, stride,
        **chosen(members, given, purposes, size),
    )  # fmt: skip


def launch_stratified(
    out: Tensor, members: Tensor | None, tables: Sequence[Tensor], given: Any, purposes: Any,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a stratified plan. As
    launch.draw_fixed()."""
    p, r0, (n, size) = given.plan, g0 - given.first, out.shape
    rows, base_rows, rank_row, start, leaf_class, class_leaf, shares, links, blocks = tables
    n_rows, ranks, extra = len(base_rows), len(rank_row), size - len(rank_row)
    tree = *p.tree, *purposes.tree_key(seed, given.segment)
    keys = keys_of(n, out.device, purposes, seed, g0, stride)
    held, slots = out if members is None else members, (size, *sides(*p.grid))
    options = chosen(members, given, purposes, size)
    if ranks:
        ordinals = torch.empty((n, n_rows), dtype=torch.int64, device=out.device)
        base_ordinals[(triton.cdiv(n * n_rows, TABLE_BLOCK),)](
            ordinals, rows, base_rows, start, class_leaf, shares, links, n * n_rows, n_rows,
            inverse(n_rows), *tree, r0, stride, BLOCK=TABLE_BLOCK, num_warps=WARPS,
        )  # fmt: skip
        draw_base[(triton.cdiv(n * ranks, DRAW_BLOCK),)](
            out, held, rows, base_rows, rank_row, ordinals, blocks, keys, n * ranks, n_rows, ranks,
            inverse(ranks), seed, *slots, **options,
        )  # fmt: skip
    if extra:
        draw_extra[(triton.cdiv(n * extra, DRAW_BLOCK),)](
            out, held, rows, start, leaf_class, shares, links, blocks, keys, n * extra, *tree,
            seed, r0, stride, ranks, extra, inverse(extra), *slots, p.round_batches,
            p.round_draws, purposes.CLASS_ORDER | given.segment << 8, len(leaf_class),
            *sides(*p.order_grid), ROUNDS=p.round_batches > 0,
            ORDER_SIZES=slot_sizes(len(leaf_class), *p.order_grid), **options,
        )  # fmt: skip
