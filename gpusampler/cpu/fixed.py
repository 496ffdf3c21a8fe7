"""CPU twin: the same indices as the kernels, bit for bit, compiled by numba.

Takes the tables of a plan, members, a seed and the first batch number.
Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

How it is fast: a slab of batches stays in the cache. Class by class, a slab's draws are one
run of ordinals, so one key serves a whole run, the rounds are vectors of 16-bit lanes, and the
members come as one gather. Then batch by batch the slots are permuted and the draws scattered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint32, uint64

from gpusampler.bits.random_bits import PICK, SLOT
from gpusampler.cpu import parallel
from gpusampler.cpu.bits import CHUNK, compiled, gather, inlined, key, mulhi64, philox_pairs
from gpusampler.cpu.members import ask, draw_asked, few_apart, finish, make_back, slot_room
from gpusampler.cpu.permute import permute
from gpusampler.plans.fixed import CLASS, COUNT, FIRST, RANK, SIZE, START

SLAB = 1 << 18  # draws held at once
LEAST_PER_THREAD = 1 << 15


@compiled
def _scatter_row(out_row, drawn, source, steps, g, a, b, seed, scratch):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g)), or r where a < 0; source[r] moves on
    to batch g+1."""
    slots, halves, hashes = scratch
    size = len(out_row)
    k0, k1 = key(seed, SLOT, g, 0)
    if a < 0:
        for r in range(size):
            out_row[r] = drawn[source[r]]
    for r in range(0, 0 if a < 0 else size, CHUNK):
        m = min(CHUNK, size - r)
        permute(slots, r, m, size, a, b, k0, k1, halves, hashes)
        froms = source[r : r + m]
        for e in range(m):
            out_row[slots[e]] = drawn[froms[e]]
    for r in range(size):
        source[r] += steps[r]


@inlined
def _ask_all(asked, source, steps, rows, n_rows, g0, stride, as_lanes):
    """Ask each class for its draws of all batches, as lanes or as they are best. source, steps:
    where each rank of the first batch will lie in drawn, and how far on that of the next."""
    front, rear = 0, len(source) * n_rows - 1
    for c in range(len(rows)):
        count, rank = rows[c, COUNT], rows[c, RANK]
        todo = count * n_rows
        few = as_lanes or few_apart(rows[c, SIZE], todo, count, stride)
        ordinal = uint64(rows[c, START]) + uint64(g0) * uint64(count)
        ask(asked, c, c, rows[c, CLASS], ordinal, todo, count, few)
        at, step = (rear, -1) if few else (front, 1)
        for j in range(count):
            source[rank + j] = at + step * j
            steps[rank + j] = step * count
        if few:
            rear -= todo
        else:
            front += todo


@compiled
def _fixed_slab(out, rows, class_rows, blocks, members, identity, a, b, seed, g0, stride):
    """blocks: None, or a table of them."""
    n_rows, size = out.shape
    drawn, back = np.empty(out.size, members.dtype), make_back(out.size)
    source, steps = np.empty(size, np.uint32), np.empty(size, np.uint32)
    asked, none = np.empty((len(rows), 6), np.uint64), np.empty(0, np.uint64)
    _ask_all(asked, source, steps, rows, n_rows, g0, stride, blocks is not None)
    draw_asked(
        drawn, back, asked, len(rows), none, stride, class_rows, blocks, members, identity, seed
    )
    finish(drawn, back, class_rows, blocks, members, identity, seed)
    scratch = slot_room(back)
    for t in range(n_rows):
        _scatter_row(out[t], drawn, source, steps, g0 + t * stride, a, b, seed, scratch)


@compiled
def _random_bits(at, m, batch_size, seed, g0, stride, class_bits, member_bits):
    """64 bits for the class and 64 for the member of each flat slot at + e, counter (g, slot)."""
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    row = at // batch_size
    slot = at - row * batch_size
    e = 0
    while e < m:
        run = min(batch_size - slot, m - e)
        g = uint64(g0 + row * stride)
        high = g >> uint64(32)
        first, second = class_bits[e : e + run], member_bits[e : e + run]
        for d in range(run):
            first[d], second[d] = philox_pairs(g, high, uint64(slot + d), uint64(PICK), k0, k1)
        e += run
        row += 1
        slot = 0


@compiled
def _drawn_rows(found, bits, cuts, guide, shift, steps):
    """The row of each slot whose class bits are given: the last with cuts[row] <= bits.

    One compare without a branch is enough where no part of the guide has two cuts.
    """
    last = uint64(len(cuts) - 2)
    for e in range(len(found)):
        row = uint64(guide[bits[e] >> shift])
        found[e] = min(row + uint64(cuts[row + uint64(1)] <= bits[e]), last)
    if steps > 1:
        for e in range(len(found)):
            row = found[e]
            while row < last and cuts[row + uint64(1)] <= bits[e]:
                row += uint64(1)
            found[e] = row


@compiled
def _picked_places(places, bits, rows):
    """From the row of each slot to the place of one of its members: (64 bits * n) >> 64."""
    for e in range(len(places)):
        row = places[e]
        places[e] = uint64(rows[row, FIRST]) + mulhi64(bits[e], uint64(rows[row, SIZE]))


@compiled
def _random_slab(
    out, at, classes, drawn, rows, cuts, guide, shift, steps, members, identity, seed, g0,
    stride, size, strangers,
):  # fmt: skip
    """Flat slots at.. of a window whose batch 0 is g0; classes[at..] where they were drawn. One
    that is no row sets strangers, and the last row stands for it."""
    last = uint64(len(rows) - 1)
    class_bits = np.empty(CHUNK, np.uint64)
    member_bits = np.empty(CHUNK, np.uint64)
    places = np.empty(CHUNK, np.uint64)
    for begin in range(0, len(out), CHUNK):
        m = min(CHUNK, len(out) - begin)
        _random_bits(at + begin, m, size, seed, g0, stride, class_bits, member_bits)
        if drawn:
            highest = uint64(0)
            for e in range(m):
                row = uint64(classes[begin + e])
                highest = max(highest, row)
                places[e] = min(row, last)
            if highest > last:
                strangers[0] = True
        else:
            _drawn_rows(places[:m], class_bits, cuts, guide, shift, steps)
        _picked_places(places[:m], member_bits, rows)
        gather(out[begin : begin + m], places, members, identity)


NO_MEMBERS, NONE_STRANGE = np.empty(0, np.int64), np.zeros(1, np.bool_)


def draw_fixed(
    out: np.ndarray,
    members: np.ndarray | None,
    given: Any,
    seed: int,
    g0: int,
    stride: int,
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a fixed plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a FixedPlan
    """
    p, grid = given.plan, given.slot_grid
    blocks = None if p.blocks is None else p.blocks.table
    n, batch_size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    rows_each = min(max(1, SLAB // batch_size), -(-n // slabs))
    held = NO_MEMBERS if members is None else members

    def task(first: int, end: int) -> None:
        _fixed_slab(
            out[first:end], p.rows, p.class_rows, blocks, held, members is None, *grid,
            np.uint64(seed), g0 + first * stride, stride,
        )  # fmt: skip

    parallel.run(task, n, rows_each, threads)


def draw_random(
    out: np.ndarray,
    members: np.ndarray | None,
    given: Any,
    seed: int,
    g0: int,
    stride: int,
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a RandomPlan
    Raises   ValueError: given.classes names a row that the plan has not.
    """
    rows, cuts, guide, steps = given.plan.rows, given.plan.cuts, given.plan.guide, given.plan.steps
    classes = None if given.classes is None else np.asarray(given.classes)
    flat = out.reshape(-1)
    held = NO_MEMBERS if members is None else members
    drawn = flat[:0] if classes is None else classes.reshape(-1)
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    size = out.shape[1]
    shift = np.uint64(65 - (len(guide) - 1).bit_length())
    strangers = NONE_STRANGE if classes is None else np.zeros(1, np.bool_)

    def task(first: int, end: int) -> None:
        _random_slab(
            flat[first:end], first, drawn[first:end], classes is not None, rows, cuts, guide,
            shift, steps, held, members is None, np.uint64(seed), g0, stride, size, strangers,
        )  # fmt: skip

    parallel.run(task, out.size, SLAB, threads)
    if strangers[0]:
        raise ValueError(
            f"classes must be rows of the plan, in [0, {len(rows)}), and some are not; "
            f"pass what torch.multinomial drew by the plan's shares"
        )
