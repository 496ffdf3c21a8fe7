"""Fixed batches: the tables of a plan in, all batches of a window out.

    window_tables  one lane per key: where each class stands at the window's first batch,
                   and every permutation key that the window can use
    draw_fixed     one lane per slot: permute members and slots, gather

in    rows [A, 8] i64 and rank_row [B] i32 of FixedPlan, members [M] i32 | i64, seed and first
      batch g0 as scalars
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
keys  Philox4x32-10, one purpose word per use
twin  gpusampler/cpu/fixed.c, equal bit for bit
"""

from typing import Any

import torch
import triton
import triton.language as tl

from .columns import CLASS_ROW, Columns
from .launch import DRAW_BLOCK, TABLE_BLOCK, WARPS, Call, inverse, kernel
from .members import as_i32, load_u32, place_in_window, put, store_key, upper_bound
from .permutation import divide
from .philox import words

# A row a class, i64 (gpusampler/plans/fixed.py).
ROW = Columns("CLASS", "SIZE", "FIRST", "COUNT", "RANK", "GRID_A", "GRID_B", "START")
# A row a class of a window, i32: the draws from one of its batches to the next, the place of rank 0
# of its first batch in the pass, the row of the pass's key.
WINDOW = Columns(*CLASS_ROW.value[:5], "STEP", "POSITION", "KEY_ROW")


@kernel
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
    row_ptr = rows_ptr + row * ROW.WIDTH
    label = tl.load(row_ptr + ROW.CLASS, mask=mine, other=0)
    n = tl.load(row_ptr + ROW.SIZE, mask=mine, other=1)
    count = tl.load(row_ptr + ROW.COUNT, mask=mine, other=0)
    rank = tl.load(row_ptr + ROW.RANK, mask=mine, other=0)
    a = tl.maximum(tl.load(row_ptr + ROW.GRID_A, mask=mine, other=1), 1).to(tl.uint32)
    b = tl.maximum(tl.load(row_ptr + ROW.GRID_B, mask=mine, other=1), 1).to(tl.uint32)
    drawn = tl.load(row_ptr + ROW.START, mask=mine, other=0) + g0 * count
    cycle = drawn // n

    head = mine & (lane == begin)  # a class's first lane writes what draw_fixed reads of it
    at_ptr = window_ptr + row * WINDOW.WIDTH
    most = tl.full([BLOCK], 0xFFFFFFFF, tl.uint32)
    tl.store(at_ptr + WINDOW.SIZE, as_i32(n), mask=head)
    tl.store(at_ptr + WINDOW.GRID_A, as_i32(a), mask=head)
    tl.store(at_ptr + WINDOW.GRID_B, as_i32(b), mask=head)
    tl.store(at_ptr + WINDOW.GRID_INVERSE, as_i32(most // b), mask=head)
    tl.store(at_ptr + WINDOW.SIZE_INVERSE, as_i32(most // n.to(tl.uint32)), mask=head)
    tl.store(at_ptr + WINDOW.STEP, as_i32(count * stride), mask=head)
    tl.store(at_ptr + WINDOW.POSITION, as_i32(drawn - cycle * n - rank), mask=head)
    tl.store(at_ptr + WINDOW.KEY_ROW, as_i32(begin), mask=head)

    x = tl.where(mine, cycle + (lane - begin), g0 + (lane - n_keys) * stride)
    purpose = tl.where(mine, MEMBER, SLOT)
    k0, k1, _, _ = words(seed, x, tl.where(mine, label, 0), purpose)
    store_key(keys_ptr, lane, k0, k1, lane < n_keys + n_batches)


@kernel
def draw_fixed(
    out_ptr, members_ptr, rows_ptr, rank_row_ptr, window_ptr, keys_ptr,
    n_slots: "i32", n_keys: "i32", size: "u32", size_inverse: "u32",
    slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    IDENTITY: tl.constexpr, SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per (batch, rank) of a window of less than 2^31 / stride; size is B."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    batch, rank = divide(lane, size.to(tl.uint32), size_inverse.to(tl.uint32))
    row = tl.load(rank_row_ptr + rank.to(tl.int64), mask=mask, other=0).to(tl.int64)
    at_ptr = window_ptr + row * WINDOW.WIDTH
    position = load_u32(at_ptr + WINDOW.POSITION, mask, 0) + rank
    position += batch * load_u32(at_ptr + WINDOW.STEP, mask, 0)
    key_row = load_u32(at_ptr + WINDOW.KEY_ROW, mask, 0)
    place = place_in_window(at_ptr, position, keys_ptr, key_row, mask, SIZES)
    first = tl.load(rows_ptr + row * ROW.WIDTH + ROW.FIRST, mask=mask, other=0)
    put(
        out_ptr, members_ptr, keys_ptr, n_keys.to(tl.uint32) + batch, first + place.to(tl.int64),
        batch, rank, size, slot_a, slot_b, slot_inverse, mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


def launch(*given: Any) -> None:
    """Fill a window with batches of a fixed plan. Takes what makes a Call."""
    call = Call(*given)
    (n, size), (rows, rank_row), purposes = call.out.shape, call.tables, call.purposes
    key_ends, n_keys = call.given.key_ends((n - 1) * call.stride + 1, call.out.device)
    window = torch.empty((len(rows), len(WINDOW.value)), dtype=torch.int32, device=rows.device)
    keys = torch.empty((n_keys + n, 2), dtype=torch.int32, device=rows.device)
    window_tables[(triton.cdiv(n_keys + n, TABLE_BLOCK),)](
        window, keys, rows, key_ends, len(rows), n_keys, n, len(rows).bit_length(),
        call.seed, call.g0, call.stride,
        MEMBER=purposes.MEMBER, SLOT=purposes.SLOT, BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    _, *grid = call.slots
    draw_fixed[(triton.cdiv(n * size, DRAW_BLOCK),)](
        call.out, call.held, rows, rank_row, window, keys, n * size, n_keys, size, inverse(size),
        *grid, **call.options(DRAW_BLOCK),
    )  # fmt: skip
