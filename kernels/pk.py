"""Kernels of kind pk: the tables of a plan in, all batches of a window out.

    pk_visits   one lane per (batch, class of it): which class, how often it came before, and all
                that its members' rotation needs at this visit; then one lane per batch: slot keys
    draw_pk     one lane per (batch, rank): rotate the members, permute the slots, gather

in    rows [A, 3] and rotations [1 + D, 9] i64 of PKPlan, members [M] i32 | i64, scalars
out   indices [n, B] i64, every element written once; no atomics, so any grid agrees
keys  Philox4x32-10, one purpose word per use; those of rho and sigma carry the segment
twin  gpusampler/cpu/pk.py, equal bit for bit
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .draw import as_i32, load_key, load_u32
from .launch import TABLE_BLOCK, WARPS, inverse, row_sizes, slot_sizes
from .permutation import divide, permute
from .philox import words

DRAW_BLOCK = 128  # lanes a program: one a thread keeps a third permutation within 64 registers
VISITS_AT_ONCE = 1 << 20  # whose table is 72 MiB
PURPOSES = ("SLOT", "RHO", "SIGMA", "MEMBER_RHO", "MEMBER_SIGMA")

# One row a rotation, i64: n, take, visits a cycle, left out a cycle, cycles a turn, and the sides
# of the grids of sigma and rho (gpusampler/plans/pk.py).
ROTATION = tl.constexpr(9)
# One row a visit, i32: n, points of sigma, first point, shift, two keys of sigma and of rho, sides
# a, b and 1/b of both grids, whole copies, 1/n.
VISIT = tl.constexpr(16)


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
    n, per_cycle = load_rotation(at_ptr, 0, mask), load_rotation(at_ptr, 2, mask)
    leave = load_rotation(at_ptr, 3, mask)
    cycle = visit // per_cycle
    turn = cycle // load_rotation(at_ptr, 4, mask)
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
    leave = load_rotation(at_ptr, 3, mask).to(tl.uint32)
    return moved(lag, leave, load_rotation(at_ptr, 0, mask).to(tl.uint32))


@triton.jit
def drawn_class(lane, per_batch, per_batch_inverse, r0, stride, rotations_ptr, seed, segment, mask,
                RHO: tl.constexpr, SIGMA: tl.constexpr,
                SIGMA_SIZES: tl.constexpr, RHO_SIZES: tl.constexpr):  # fmt: skip
    """The row of class x of batch r0 + t * stride, lane = t * P + x, and its visits before."""
    t, x = divide(lane, per_batch, per_batch_inverse)
    visit = r0.to(tl.uint64) + t.to(tl.uint64) * stride.to(tl.uint64)
    at_ptr = rotations_ptr + lane.to(tl.int64) * 0
    cycle, i, turn, rounds, lag = stand(visit, at_ptr, mask)
    n = load_rotation(at_ptr, 0, mask).to(tl.uint32)
    kept = n - load_rotation(at_ptr, 3, mask).to(tl.uint32)
    none = lane * 0
    s0, s1, _, _ = words(seed, cycle, none, none + (SIGMA | segment << 8))
    r0, r1, _, _ = words(seed, turn, none, none + (RHO | segment << 8))
    a, b = load_side(at_ptr, 5, mask), load_side(at_ptr, 6, mask)
    first = i.to(tl.uint32) * per_batch + x
    point = permute(first, kept, a, b, none + (0xFFFFFFFF // b), s0, s1, mask, SIGMA_SIZES)
    point = moved(point, shift_of(lag, at_ptr, mask), n)
    a, b = load_side(at_ptr, 7, mask), load_side(at_ptr, 8, mask)
    row = permute(point, n, a, b, none + (0xFFFFFFFF // b), r0, r1, mask, RHO_SIZES)
    return row.to(tl.int64), cycle - rounds - (point < lag.to(tl.uint32)).to(tl.uint64)


@triton.jit(do_not_specialize=["n_visits", "n", "per_batch", "per_batch_inverse", "per_class",
                               "seed", "segment", "g0", "stride", "r0"])  # fmt: skip
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
    label = tl.load(rows_ptr + row * 3, mask=mine, other=0)
    tl.store(first_ptr + lane, tl.load(rows_ptr + row * 3 + 1, mask=mine, other=0), mask=mine)
    at_ptr = rotations_ptr + tl.load(rows_ptr + row * 3 + 2, mask=mine, other=0) * ROTATION
    cycle, i, turn, _, lag = stand(visit, at_ptr, mine)
    size = load_rotation(at_ptr, 0, mine).to(tl.uint32)
    take = load_rotation(at_ptr, 1, mine).to(tl.uint32)
    whole = per_class.to(tl.uint32) - take
    to_ptr = visits_ptr + lane * VISIT
    tl.store(to_ptr, as_i32(size), mask=mine)
    tl.store(to_ptr + 1, as_i32(size - load_rotation(at_ptr, 3, mine).to(tl.uint32)), mask=mine)
    tl.store(to_ptr + 2, as_i32(i.to(tl.uint32) * take - whole), mask=mine)
    tl.store(to_ptr + 3, as_i32(shift_of(lag, at_ptr, mine)), mask=mine)
    for side in tl.static_range(2):
        b = load_side(at_ptr, 6 + 2 * side, mine)
        tl.store(to_ptr + 8 + 3 * side, as_i32(load_side(at_ptr, 5 + 2 * side, mine)), mask=mine)
        tl.store(to_ptr + 9 + 3 * side, as_i32(b), mask=mine)
        tl.store(to_ptr + 10 + 3 * side, as_i32(0xFFFFFFFF // b), mask=mine)
    tl.store(to_ptr + 14, as_i32(whole), mask=mine)
    tl.store(to_ptr + 15, as_i32(0xFFFFFFFF // size), mask=mine)
    k0, k1, _, _ = words(seed, turn, label, label * 0 + (MEMBER_RHO | segment << 8))
    tl.store(to_ptr + 6, as_i32(k0), mask=mine)
    tl.store(to_ptr + 7, as_i32(k1), mask=mine)

    batch = lane - n_visits  # from here on the slot keys of the lanes past the visits, too
    x = tl.where(mine, cycle, (g0 + batch * stride).to(tl.uint64))
    purpose = tl.where(mine, MEMBER_SIGMA | segment << 8, SLOT)
    k0, k1, _, _ = words(seed, x, tl.where(mine, label, 0), purpose)
    to_ptr = tl.where(mine, visits_ptr + lane * VISIT + 4, keys_ptr + batch * 2)
    tl.store(to_ptr, as_i32(k0), mask=lane < n_visits + n)
    tl.store(to_ptr + 1, as_i32(k1), mask=lane < n_visits + n)


@triton.jit
def rotated(at_ptr, m, mask, SIGMA_SIZES: tl.constexpr, RHO_SIZES: tl.constexpr):
    """The place among n of member m of a visit, m past its whole copies where mask."""
    n, kept = load_u32(at_ptr, mask, 1), load_u32(at_ptr + 1, mask, 1)
    point = tl.where(mask, load_u32(at_ptr + 2, mask, 0) + m, 0)
    shift = load_u32(at_ptr + 3, mask, 0)
    k0, k1 = load_u32(at_ptr + 4, mask, 0), load_u32(at_ptr + 5, mask, 0)
    a, b = load_u32(at_ptr + 8, mask, 1), load_u32(at_ptr + 9, mask, 1)
    b_inverse = load_u32(at_ptr + 10, mask, 0)
    point = permute(point, kept, a, b, b_inverse, k0, k1, mask, SIGMA_SIZES)
    point = moved(point, shift, n)
    k0, k1 = load_u32(at_ptr + 6, mask, 0), load_u32(at_ptr + 7, mask, 0)
    a, b = load_u32(at_ptr + 11, mask, 1), load_u32(at_ptr + 12, mask, 1)
    b_inverse = load_u32(at_ptr + 13, mask, 0)
    return permute(point, n, a, b, b_inverse, k0, k1, mask, RHO_SIZES)


@triton.jit(do_not_specialize=["n_slots", "size", "size_inverse", "per_class", "per_class_inverse",
                               "per_batch", "slot_a", "slot_b", "slot_inverse"])  # fmt: skip
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
    at_ptr = visits_ptr + visit * VISIT
    if COPIES:
        turning = mask & (m >= load_u32(at_ptr + 14, mask, 0))
        n = load_u32(at_ptr, mask, 1)
        _, copied = divide(m, n, load_u32(at_ptr + 15, mask, 0))
        place = rotated(at_ptr, m, turning, SIGMA_SIZES, RHO_SIZES)
        place = tl.where(turning, place, copied)
    else:
        place = rotated(at_ptr, m, mask, SIGMA_SIZES, RHO_SIZES)
    index = tl.load(first_ptr + visit, mask=mask, other=0) + place.to(tl.int64)
    if not IDENTITY:
        index = tl.load(members_ptr + index, mask=mask, other=0).to(tl.int64)

    k0, k1 = load_key(keys_ptr, batch, mask)
    a, b, b_inverse = slot_a.to(tl.uint32), slot_b.to(tl.uint32), slot_inverse.to(tl.uint32)
    slot = permute(rank, rank * 0 + size, a, b, b_inverse, k0, k1, mask, SLOT_SIZES)
    tl.store(out_ptr + (batch * size + slot).to(tl.int64), index, mask=mask)


def launch(
    out: Tensor, members: Tensor | None, tables: list[Tensor], given, purposes,
    seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] i64 with batches g0, g0 + stride, ... of a pk plan; n * B < 2^31. As
    launch.draw_fixed()."""
    step = max(1, VISITS_AT_ONCE // given.plan.classes_per_batch)
    for begin in range(0, len(out), step):
        part = out[begin : begin + step]
        _launch(part, members, tables, given, purposes, seed, g0 + begin * stride, stride)


def _launch(out, members, tables, given, purposes, seed, g0, stride):
    n, size = out.shape
    (rows, rotations), p = tables, given.plan
    per_batch, per_class, classes = p.classes_per_batch, p.members_per_class, len(rows)
    words_of = {name: getattr(purposes, name) for name in PURPOSES}
    kept, n_visits = classes - classes % per_batch, n * per_batch
    visits = torch.empty((n_visits, VISIT.value), dtype=torch.int32, device=out.device)
    firsts = torch.empty(n_visits, dtype=torch.int64, device=out.device)
    keys = torch.empty((n, 2), dtype=torch.int32, device=out.device)
    pk_visits[(triton.cdiv(n_visits + n, TABLE_BLOCK),)](
        visits, firsts, keys, rows, rotations,
        n_visits, n, per_batch, inverse(per_batch), per_class, seed,
        given.segment, g0, stride, g0 - given.first, **words_of, SIGMA_SIZES=row_sizes(kept, kept),
        RHO_SIZES=row_sizes(classes, classes), BLOCK=TABLE_BLOCK, num_warps=WARPS,
    )  # fmt: skip
    if given.by_class:  # of two classes the first places ascend as the classes do
        order = firsts.view(n, per_batch).argsort(dim=1)
        order += torch.arange(0, n_visits, per_batch, device=out.device).unsqueeze(1)
        order = order.flatten()
        visits, firsts = visits[order], firsts[order]
    a, b = p.grid
    draw_pk[(triton.cdiv(n * size, DRAW_BLOCK),)](
        out, out if members is None else members, visits, firsts, keys,
        n * size, size, inverse(size), per_class, inverse(per_class), per_batch,
        a, max(b, 1), inverse(max(b, 1)),
        IDENTITY=members is None, COPIES=p.copies, SIGMA_SIZES=row_sizes(*p.spans[:2]),
        RHO_SIZES=row_sizes(*p.spans[2:]), SLOT_SIZES=slot_sizes(size, a, b, given.by_class),
        BLOCK=DRAW_BLOCK, num_warps=WARPS,
    )  # fmt: skip
