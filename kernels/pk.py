"""Kernels of kind pk: the tables of a plan in, all batches of a window out.

    pk_visits   one lane per (batch, class of it): which class, how often it came before, and all
                that its members' rotation needs at this visit; then one lane per batch: slot keys
    draw_pk     one lane per (batch, rank): rotate the members, permute the slots, gather

in    rows [A, 3] and rotations [1 + D, 9] i64 of PKPlan, members [M] i32 | i64, scalars
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
keys  Philox4x32-10, one purpose word per use; those of rho and sigma carry the segment
twin  gpusampler/cpu/pk.c, equal bit for bit
"""

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl

from .columns import Columns
from .launch import NARROW_BLOCK, TABLE_BLOCK, WARPS, Call, inverse, kernel, row_sizes, slot_sizes
from .members import as_i32, load_key, load_u32, put, store_key
from .permutation import divide, permute
from .philox import words

VISITS_AT_ONCE = 1 << 20  # whose table is 72 MiB
PURPOSES = ("SLOT", "RHO", "SIGMA", "MEMBER_RHO", "MEMBER_SIGMA")

# A row a class and one a rotation, i64 (gpusampler/plans/pk.py).
ROW = Columns("CLASS", "FIRST", "ROTATION")
TURN = Columns(
    "SIZE", "TAKE", "PER_CYCLE", "LEAVE", "PERIOD", "SIGMA_A", "SIGMA_B", "RHO_A", "RHO_B"
)
# A row a visit, i32: n, points of sigma, first point, shift, two keys of sigma and of rho, sides
# a, b and 1/b of both grids, whole copies, 1/n.
VISIT = Columns(
    "SIZE", "KEPT", "POINT", "SHIFT", "SIGMA_KEY", "SIGMA_KEY_1", "RHO_KEY", "RHO_KEY_1",
    "SIGMA_A", "SIGMA_B", "SIGMA_INVERSE", "RHO_A", "RHO_B", "RHO_INVERSE", "WHOLE",
    "SIZE_INVERSE",
)  # fmt: skip


@triton.jit
def load_rotation(at_ptr, column: tl.constexpr, mask):
    return tl.load(at_ptr + column, mask=mask, other=1).to(tl.uint64)


@triton.jit
def load_side(at_ptr, column: tl.constexpr, mask):
    """A side of a grid, 1 where there is none."""
    return tl.maximum(load_rotation(at_ptr, column, mask), 1).to(tl.uint32)


@triton.jit
def stand(visit, at_ptr, mask):
    """Where a visit stands, all u64: its cycle, place there and turn; each item was left out in
    `rounds` earlier cycles, and those below `lag` in one more."""
    n, per_cycle = (
        load_rotation(at_ptr, TURN.SIZE, mask),
        load_rotation(at_ptr, TURN.PER_CYCLE, mask),
    )
    leave = load_rotation(at_ptr, TURN.LEAVE, mask)
    cycle = visit // per_cycle
    turn = cycle // load_rotation(at_ptr, TURN.PERIOD, mask)
    lost = cycle * leave
    rounds = lost // n
    return cycle, visit - cycle * per_cycle, turn, rounds, lost - rounds * n


@triton.jit
def moved(point, shift, n):
    """(point + shift) mod n on u32, both below n."""
    point += shift
    return tl.minimum(point, point - n)  # point - n wraps high where point < n


@triton.jit
def shift_of(lag, at_ptr, mask):
    """Where sigma's points begin: past those that this cycle leaves out."""
    lag = lag.to(tl.uint32)
    leave = load_rotation(at_ptr, TURN.LEAVE, mask).to(tl.uint32)
    return moved(lag, leave, load_rotation(at_ptr, TURN.SIZE, mask).to(tl.uint32))


@triton.jit
def drawn_class(lane, per_batch, per_batch_inverse, r0, stride, rotations_ptr, seed, segment, mask,
                RHO: tl.constexpr, SIGMA: tl.constexpr,
                SIGMA_SIZES: tl.constexpr, RHO_SIZES: tl.constexpr):  # fmt: skip
    """The row of class x of batch r0 + t * stride, lane = t * P + x, and its visits before."""
    t, x = divide(lane, per_batch, per_batch_inverse)
    visit = r0.to(tl.uint64) + t.to(tl.uint64) * stride.to(tl.uint64)
    at_ptr = rotations_ptr + lane.to(tl.int64) * 0
    cycle, i, turn, rounds, lag = stand(visit, at_ptr, mask)
    n = load_rotation(at_ptr, TURN.SIZE, mask).to(tl.uint32)
    kept = n - load_rotation(at_ptr, TURN.LEAVE, mask).to(tl.uint32)
    none = lane * 0
    s0, s1, _, _ = words(seed, cycle, none, none + (SIGMA | segment << 8))
    r0, r1, _, _ = words(seed, turn, none, none + (RHO | segment << 8))
    a, b = load_side(at_ptr, TURN.SIGMA_A, mask), load_side(at_ptr, TURN.SIGMA_B, mask)
    first = i.to(tl.uint32) * per_batch + x
    point = permute(first, kept, a, b, none + (0xFFFFFFFF // b), s0, s1, mask, SIGMA_SIZES)
    point = moved(point, shift_of(lag, at_ptr, mask), n)
    a, b = load_side(at_ptr, TURN.RHO_A, mask), load_side(at_ptr, TURN.RHO_B, mask)
    row = permute(point, n, a, b, none + (0xFFFFFFFF // b), r0, r1, mask, RHO_SIZES)
    return row.to(tl.int64), cycle - rounds - (point < lag.to(tl.uint32)).to(tl.uint64)


@triton.jit
def store_grid(to_ptr, at_ptr, mask):
    """The sides at at_ptr of a rotation, and the inverse of the second."""
    a, b = load_side(at_ptr, 0, mask), load_side(at_ptr, 1, mask)
    tl.store(to_ptr, as_i32(a), mask=mask)
    tl.store(to_ptr + 1, as_i32(b), mask=mask)
    tl.store(to_ptr + 2, as_i32(0xFFFFFFFF // b), mask=mask)


@triton.jit
def load_grid(at_ptr, mask):
    """What store_grid() stored."""
    return (
        load_u32(at_ptr, mask, 1), load_u32(at_ptr + 1, mask, 1), load_u32(at_ptr + 2, mask, 0)
    )  # fmt: skip


@kernel
def pk_visits(
    visits_ptr, first_ptr, keys_ptr, rows_ptr, rotations_ptr,
    n_visits: "i64", n: "i64", per_batch: "u32", per_batch_inverse: "u32", per_class: "u32",
    seed: "i64", segment: "i64", g0: "i64", stride: "i64", r0: "i64",
    SLOT: tl.constexpr, RHO: tl.constexpr, SIGMA: tl.constexpr, MEMBER_RHO: tl.constexpr,
    MEMBER_SIGMA: tl.constexpr, SIGMA_SIZES: tl.constexpr, RHO_SIZES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """visits [n * P, 16] i32, first [n * P] i64: the visit's first place in members; keys [n, 2]"""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mine = lane < n_visits
    row, visit = drawn_class(
        tl.where(mine, lane, 0).to(tl.uint32), per_batch.to(tl.uint32),
        per_batch_inverse.to(tl.uint32), r0, stride, rotations_ptr, seed, segment, mine,
        RHO, SIGMA, SIGMA_SIZES, RHO_SIZES,
    )  # fmt: skip
    row_ptr = rows_ptr + row * ROW.WIDTH
    label = tl.load(row_ptr + ROW.CLASS, mask=mine, other=0)
    tl.store(first_ptr + lane, tl.load(row_ptr + ROW.FIRST, mask=mine, other=0), mask=mine)
    at_ptr = rotations_ptr + tl.load(row_ptr + ROW.ROTATION, mask=mine, other=0) * TURN.WIDTH
    cycle, i, turn, _, lag = stand(visit, at_ptr, mine)
    size = load_rotation(at_ptr, TURN.SIZE, mine).to(tl.uint32)
    take = load_rotation(at_ptr, TURN.TAKE, mine).to(tl.uint32)
    leave = load_rotation(at_ptr, TURN.LEAVE, mine).to(tl.uint32)
    whole = per_class.to(tl.uint32) - take
    to_ptr = visits_ptr + lane * VISIT.WIDTH
    tl.store(to_ptr + VISIT.SIZE, as_i32(size), mask=mine)
    tl.store(to_ptr + VISIT.KEPT, as_i32(size - leave), mask=mine)
    tl.store(to_ptr + VISIT.POINT, as_i32(i.to(tl.uint32) * take - whole), mask=mine)
    tl.store(to_ptr + VISIT.SHIFT, as_i32(shift_of(lag, at_ptr, mine)), mask=mine)
    store_grid(to_ptr + VISIT.SIGMA_A, at_ptr + TURN.SIGMA_A, mine)
    store_grid(to_ptr + VISIT.RHO_A, at_ptr + TURN.RHO_A, mine)
    tl.store(to_ptr + VISIT.WHOLE, as_i32(whole), mask=mine)
    tl.store(to_ptr + VISIT.SIZE_INVERSE, as_i32(0xFFFFFFFF // size), mask=mine)
    k0, k1, _, _ = words(seed, turn, label, label * 0 + (MEMBER_RHO | segment << 8))
    store_key(to_ptr + VISIT.RHO_KEY, lane * 0, k0, k1, mine)

    batch = lane - n_visits  # from here on the slot keys of the lanes past the visits, too
    x = tl.where(mine, cycle, (g0 + batch * stride).to(tl.uint64))
    purpose = tl.where(mine, MEMBER_SIGMA | segment << 8, SLOT)
    k0, k1, _, _ = words(seed, x, tl.where(mine, label, 0), purpose)
    to_ptr = tl.where(mine, to_ptr + VISIT.SIGMA_KEY, keys_ptr + batch * 2)
    store_key(to_ptr, lane * 0, k0, k1, lane < n_visits + n)


@triton.jit
def rotated(at_ptr, m, mask, SIGMA_SIZES: tl.constexpr, RHO_SIZES: tl.constexpr):
    """The place among n of member m of a visit, m past its whole copies where mask."""
    n, kept = load_u32(at_ptr + VISIT.SIZE, mask, 1), load_u32(at_ptr + VISIT.KEPT, mask, 1)
    point = tl.where(mask, load_u32(at_ptr + VISIT.POINT, mask, 0) + m, 0)
    shift = load_u32(at_ptr + VISIT.SHIFT, mask, 0)
    k0, k1 = load_key(at_ptr + VISIT.SIGMA_KEY, point * 0, mask)
    a, b, b_inverse = load_grid(at_ptr + VISIT.SIGMA_A, mask)
    point = permute(point, kept, a, b, b_inverse, k0, k1, mask, SIGMA_SIZES)
    point = moved(point, shift, n)
    k0, k1 = load_key(at_ptr + VISIT.RHO_KEY, point * 0, mask)
    a, b, b_inverse = load_grid(at_ptr + VISIT.RHO_A, mask)
    return permute(point, n, a, b, b_inverse, k0, k1, mask, RHO_SIZES)


@kernel
def draw_pk(
    out_ptr, members_ptr, visits_ptr, first_ptr, keys_ptr,
    n_slots: "i32", size: "u32", size_inverse: "u32", per_class: "u32", per_class_inverse: "u32",
    per_batch: "u32", slot_a: "u32", slot_b: "u32", slot_inverse: "u32",
    IDENTITY: tl.constexpr, COPIES: tl.constexpr, SIGMA_SIZES: tl.constexpr,
    RHO_SIZES: tl.constexpr, SLOT_SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per (batch, rank); COPIES: some class has at most K members."""
    lane = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.uint32)  # [BLOCK]
    mask = lane < n_slots.to(tl.uint32)
    size, per_class = size.to(tl.uint32), per_class.to(tl.uint32)
    batch, rank = divide(lane, size, size_inverse.to(tl.uint32))
    x, m = divide(rank, per_class, per_class_inverse.to(tl.uint32))
    visit = (batch * per_batch.to(tl.uint32) + x).to(tl.int64)
    at_ptr = visits_ptr + visit * VISIT.WIDTH
    if COPIES:
        turning = mask & (m >= load_u32(at_ptr + VISIT.WHOLE, mask, 0))
        n = load_u32(at_ptr + VISIT.SIZE, mask, 1)
        _, copied = divide(m, n, load_u32(at_ptr + VISIT.SIZE_INVERSE, mask, 0))
        place = rotated(at_ptr, m, turning, SIGMA_SIZES, RHO_SIZES)
        place = tl.where(turning, place, copied)
    else:
        place = rotated(at_ptr, m, mask, SIGMA_SIZES, RHO_SIZES)
    index = tl.load(first_ptr + visit, mask=mask, other=0) + place.to(tl.int64)
    put(
        out_ptr, members_ptr, keys_ptr, batch, index, batch, rank, size, slot_a, slot_b,
        slot_inverse, mask, IDENTITY, SLOT_SIZES,
    )  # fmt: skip


def launch(*given: Any) -> None:
    """Fill a window with batches of a pk plan. Takes what makes a Call."""
    call = Call(*given)
    step = max(1, VISITS_AT_ONCE // call.given.plan.classes_per_batch)
    for begin in range(0, len(call.out), step):
        part, g0 = call.out[begin : begin + step], call.g0 + begin * call.stride
        _launch(replace(call, out=part, g0=g0))


def _launch(call: Call) -> None:
    (n, size), (rows, rotations), p = call.out.shape, call.tables, call.given.plan
    per_batch, per_class, n_visits = (
        p.classes_per_batch,
        p.members_per_class,
        n * p.classes_per_batch,
    )
    classes, device = len(rows), rows.device
    kept = classes - classes % per_batch
    visits = torch.empty((n_visits, len(VISIT.value)), dtype=torch.int32, device=device)
    firsts = torch.empty(n_visits, dtype=torch.int64, device=device)
    keys = torch.empty((n, 2), dtype=torch.int32, device=device)
    pk_visits[(triton.cdiv(n_visits + n, TABLE_BLOCK),)](
        visits, firsts, keys, rows, rotations, n_visits, n, per_batch, inverse(per_batch),
        per_class, call.seed, call.given.segment, call.g0, call.stride, call.g0 - call.given.first,
        **{name: getattr(call.purposes, name) for name in PURPOSES},
        SIGMA_SIZES=row_sizes(kept, kept), RHO_SIZES=row_sizes(classes, classes),
        BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    if call.given.by_class:  # of two classes the first places ascend as the classes do
        order = firsts.view(n, per_batch).argsort(dim=1)
        order += torch.arange(0, n_visits, per_batch, device=device).unsqueeze(1)
        order = order.flatten()
        visits, firsts = visits[order], firsts[order]
    _, *grid = call.slots
    draw_pk[(triton.cdiv(n * size, NARROW_BLOCK),)](
        call.out, call.held, visits, firsts, keys, n * size, size, inverse(size), per_class,
        inverse(per_class), per_batch, *grid,
        IDENTITY=call.members is None, COPIES=p.copies, SIGMA_SIZES=row_sizes(*p.spans[:2]),
        RHO_SIZES=row_sizes(*p.spans[2:]),
        SLOT_SIZES=slot_sizes(size, *p.grid, call.given.by_class),
        BLOCK=NARROW_BLOCK, num_warps=WARPS,
    )  # fmt: skip
