"""Draws of which a batch has none twice: the blocks of a plan in, all batches of a window out.

    draw_fixed    one lane per slot
    draw_base     one lane per (batch, rank) of base draws, after stratified's class_extras
    draw_extra    stratified's, by blocks

in    the tables of FixedPlan or StratifiedPlan; blocks, a row of BLOCK_ROW a row of these
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
twin  gpusampler/cpu/unique.c, equal bit for bit
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import BLOCK_ROW, place_in_members, place_of
from .columns import CLASS_ROW
from .fixed import ROW
from .launch import NARROW_BLOCK, TABLE_BLOCK, WARPS, Call, inverse, kernel, row_sizes
from .members import load_u32, put, store_key
from .permutation import divide
from .philox import words
from .stratified import BASE_ROW, launch_extra, launch_extras


@kernel
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
    row_ptr = rows_ptr + row * ROW.WIDTH
    label = tl.load(row_ptr + ROW.CLASS, mask=mask, other=0)
    n = tl.load(row_ptr + ROW.SIZE, mask=mask, other=1).to(tl.uint32)
    count = tl.load(row_ptr + ROW.COUNT, mask=mask, other=0)
    j = rank.to(tl.int64) - tl.load(row_ptr + ROW.RANK, mask=mask, other=0)
    a = tl.maximum(tl.load(row_ptr + ROW.GRID_A, mask=mask, other=1), 1).to(tl.uint32)
    b = tl.maximum(tl.load(row_ptr + ROW.GRID_B, mask=mask, other=1), 1).to(tl.uint32)
    ordinal = tl.load(row_ptr + ROW.START, mask=mask, other=0) + j
    ordinal += (g0 + t.to(tl.int64) * stride) * count
    place = place_of(
        ordinal, label, n, a, b, blocks_ptr + row * BLOCK_ROW.WIDTH, seed, mask, MEMBER, SCATTER,
        SIZES, BLOCK_SIZES,
    )  # fmt: skip
    index = tl.load(row_ptr + ROW.FIRST, mask=mask, other=0) + place.to(tl.int64)
    put(
        out_ptr, members_ptr, keys_ptr, t, index, t, rank, size, slot_a, slot_b, slot_inverse,
        mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


@kernel
def draw_base(
    out_ptr, members_ptr, rows_ptr, base_rows_ptr, rank_row_ptr, start_ptr, extras_ptr, blocks_ptr,
    keys_ptr, n_lanes: "i32", n_rows: "u32", ranks: "u32", ranks_inverse: "u32", seed: "i64",
    r0: "i64", stride: "i64", size: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    MEMBER: tl.constexpr, SCATTER: tl.constexpr, IDENTITY: tl.constexpr, SIZES: tl.constexpr,
    BLOCK_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first `ranks` ranks of each batch of a window of less than 2^31 slots; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_lanes.to(tl.uint32)
    t, rank = divide(lane, ranks.to(tl.uint32), ranks_inverse.to(tl.uint32))
    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.int64)
    base_ptr = base_rows_ptr + row * BASE_ROW.WIDTH
    label = tl.load(base_ptr + BASE_ROW.CLASS, mask=mask, other=0).to(tl.int64)
    j = rank.to(tl.int64) - tl.load(base_ptr + BASE_ROW.RANK, mask=mask, other=0)
    at_ptr = extras_ptr + t.to(tl.int64) * n_rows.to(tl.uint32).to(tl.int64) + row
    base = load_u32(rows_ptr + label * CLASS_ROW.WIDTH + CLASS_ROW.BASE, mask, 0).to(tl.int64)
    ordinal = tl.load(start_ptr + label, mask=mask, other=0) + tl.load(at_ptr, mask=mask, other=0)
    ordinal += (r0 + t.to(tl.int64) * stride) * base + j
    index = place_in_members(
        ordinal, label, rows_ptr, blocks_ptr, seed, mask, MEMBER, SCATTER, SIZES, BLOCK_SIZES
    )
    put(
        out_ptr, members_ptr, keys_ptr, t, index, t, rank, size, slot_a, slot_b, slot_inverse,
        mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


@kernel
def slot_keys(
    keys_ptr, n: "i32", seed: "i64", g0: "i64", stride: "i64",
    SLOT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """keys [n, 2] i32: one per batch."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    k0, k1, _, _ = words(seed, g0 + lane * stride, lane * 0, lane * 0 + SLOT)
    store_key(keys_ptr, lane, k0, k1, lane < n)


def keys_of(call: Call) -> Tensor:
    """Of each batch the key of its slots, [n, 2]."""
    n = len(call.out)
    keys = torch.empty((n, 2), dtype=torch.int32, device=call.out.device)
    slot_keys[(triton.cdiv(n, TABLE_BLOCK),)](
        keys, n, call.seed, call.g0, call.stride,
        SLOT=call.purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    return keys


def options_of(call: Call) -> dict[str, Any]:
    # few or mixed: blocks all large are 1 % fewer instructions, and of another mix they may not be
    _, largest = call.given.plan.blocks.span
    more = {"SCATTER": call.purposes.SCATTER, "BLOCK_SIZES": row_sizes(1, largest)}
    return call.options(NARROW_BLOCK) | more


def launch_fixed(*given: Any) -> None:
    """Fill a window with batches of a fixed plan. Takes what makes a Call."""
    call = Call(*given)
    (n, size), (rows, rank_row, blocks) = call.out.shape, call.tables
    keys = keys_of(call)
    _, *grid = call.slots
    draw_fixed[(triton.cdiv(n * size, NARROW_BLOCK),)](
        call.out, call.held, rows, rank_row, blocks, keys, n * size, size, inverse(size), *grid,
        call.seed, call.g0, call.stride, MEMBER=call.purposes.MEMBER, **options_of(call),
    )  # fmt: skip


def launch_stratified(*given: Any) -> None:
    """Fill a window with batches of a stratified plan. Takes what makes a Call."""
    call = Call(*given)
    rows, base_rows, rank_row, start, *_, blocks = call.tables
    (n, size), ranks = call.out.shape, len(rank_row)
    keys, options = keys_of(call), options_of(call)
    if ranks:
        draw_base[(triton.cdiv(n * ranks, NARROW_BLOCK),)](
            call.out, call.held, rows, base_rows, rank_row, start,
            launch_extras(call, torch.int64), blocks, keys, n * ranks, len(base_rows), ranks,
            inverse(ranks), call.seed, call.g0 - call.given.first, call.stride, *call.slots,
            MEMBER=call.purposes.MEMBER, **options,
        )  # fmt: skip
    if size > ranks:
        launch_extra(call, blocks, keys, 0, options | {"UNIQUE": True})
