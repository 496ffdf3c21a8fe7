"""CPU twin of kind pk: the same indices as the kernels, bit for bit, compiled by numba.

Takes the tables of a PKPlan, members, a seed and batch numbers.
Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

How it is fast: first the classes of a slab of batches, then the visits to each class in a row
(sorted by class where classes come back within the slab), so that a visit's place in its rotation
follows from the last one's without a division, and a key serves a cycle. Runs of a few points, of
whatever sizes and keys, are then the lanes of vector loops (pk_lanes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint32

from gpusampler.bits.random_bits import MEMBER_RHO, MEMBER_SIGMA, RANK_BELOW, RHO, SIGMA, SLOT
from gpusampler.cpu import parallel
from gpusampler.cpu.bits import CHUNK, compiled, key
from gpusampler.cpu.permute import permute
from gpusampler.cpu.rotations import rotate
from gpusampler.plans.pk import CLASSES, FIRST, ROTATION, SIZE, TAKE

SLAB = 1 << 18  # draws held at once
LEAST_PER_THREAD = 1 << 15


@compiled
def _upwards(n):
    order = np.empty(n, np.uint32)
    for v in range(n):
        order[v] = v
    return order


@compiled
def _draw_classes(row_of, visit_of, r0, stride, n_batches, rotations, seed, words):
    """The row of each visit of the batches r0, r0 + stride, ... of a segment, and how often it
    came before. The classes are the items of one row, which each batch visits."""
    only, visits = np.zeros(n_batches, np.uint32), np.empty(n_batches, np.uint64)
    for t in range(n_batches):
        visits[t] = r0 + t * stride
    rows = np.zeros((1, 3), np.int64)
    rows[0, ROTATION] = CLASSES
    take, ranked = rotations[CLASSES, TAKE], rotations[CLASSES, SIZE] < RANK_BELOW
    target = (True, row_of, visit_of, row_of, row_of, False)
    order = _upwards(n_batches)
    rotate(order, only, visits, rows, rotations, take, ranked, take, words, target, seed)


@compiled
def _by_class(row_of, n_rows):
    """The visits in the order of their classes, each class's in stream order."""
    ends = np.zeros(n_rows + 1, np.uint32)
    for v in range(len(row_of)):
        ends[row_of[v] + uint32(1)] += uint32(1)
    for row in range(n_rows):
        ends[row + 1] += ends[row]
    order = np.empty(len(row_of), np.uint32)
    for v in range(len(row_of)):
        row = row_of[v]
        order[ends[row]] = v
        ends[row] += uint32(1)
    return order


@compiled
def _whole_copies(drawn, members, identity, row_of, rows, rotations, width):
    """The first places of each visit to a class of at most `width` members: all of them."""
    for v in range(len(row_of)):
        at, first = rows[row_of[v], ROTATION], rows[row_of[v], FIRST]
        n = rotations[at, SIZE]
        for m in range(width - rotations[at, TAKE]):
            place = first + m % n
            drawn[v * width + m] = place if identity else members[place]


@compiled
def _draw_members(drawn, members, identity, row_of, visit_of, rows, rotations, width, seed, words):
    """The members of each visit, by rank. Visits are sorted by class where they come back."""
    sort = 2 * len(row_of) >= len(rows)
    order = _by_class(row_of, len(rows)) if sort else _upwards(len(row_of))
    sizes, most = rotations[CLASSES + 1 :, SIZE], 0
    for at in range(CLASSES + 1, len(rotations)):
        most = max(most, rotations[at, TAKE])
    if sizes[0] <= width:
        _whole_copies(drawn, members, identity, row_of, rows, rotations, width)
    target = (False, row_of, visit_of, drawn, members, identity)
    for ranked in (True, False):
        if (sizes[0] < RANK_BELOW) if ranked else (sizes[-1] >= RANK_BELOW):
            rotate(
                order, row_of, visit_of, rows, rotations, most, ranked, width, words, target, seed
            )


@compiled
def _sort_classes(row_of, visit_of, per_batch):
    """The visits of each batch in the order of their classes."""
    for begin in range(0, len(row_of), per_batch):
        rows, visits = row_of[begin : begin + per_batch], visit_of[begin : begin + per_batch]
        order = np.argsort(rows)
        rows[:] = rows[order]
        visits[:] = visits[order]


@compiled
def _scatter(out, drawn, g0, stride, a, b, seed):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g)), or r where a < 0."""
    slots, hashes = np.empty(CHUNK, np.uint32), np.empty(RANK_BELOW, np.uint64)
    halves = np.empty(2 * CHUNK, np.uint16)
    n_batches, size = out.shape
    for t in range(n_batches):
        out_row, ranked = out[t], drawn[t * size : (t + 1) * size]
        k0, k1 = key(seed, SLOT, g0 + t * stride, 0)
        if a < 0:
            for r in range(size):
                out_row[r] = ranked[r]
        for r in range(0, 0 if a < 0 else size, CHUNK):
            m = min(CHUNK, size - r)
            permute(slots, r, m, size, a, b, k0, k1, halves, hashes)
            for e in range(m):
                out_row[slots[e]] = ranked[r + e]


@compiled
def _pk_slab(out, members, identity, rows, rotations, width, a, b, seed, words, g0, r0, stride):
    row_of = np.empty(out.size // width, np.uint32)
    visit_of = np.empty(len(row_of), np.uint64)
    drawn = np.empty(out.size, members.dtype)
    _draw_classes(row_of, visit_of, r0, stride, len(out), rotations, seed, words[:2])
    if a < 0:
        _sort_classes(row_of, visit_of, len(row_of) // len(out))
    _draw_members(
        drawn, members, identity, row_of, visit_of, rows, rotations, width, seed, words[2:]
    )
    _scatter(out, drawn, g0, stride, a, b, seed)


NO_MEMBERS = np.empty(0, np.int64)


def draw_pk(
    out: np.ndarray,
    members: np.ndarray | None,
    given: Any,
    seed: int,
    g0: int,
    stride: int,
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a pk plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a PKPlan
    """
    plan, first = given.plan, given.first
    n, size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    rows_each = min(max(1, SLAB // size), -(-n // slabs))
    held = NO_MEMBERS if members is None else members
    purposes = (RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA)
    words = np.array([purpose | given.segment << 8 for purpose in purposes], dtype=np.uint64)

    def task(begin: int, end: int) -> None:
        g = g0 + begin * stride
        _pk_slab(
            out[begin:end], held, members is None, plan.rows, plan.rotations,
            plan.members_per_class, *given.slot_grid, np.uint64(seed), words, g, g - first, stride,
        )  # fmt: skip

    parallel.run(task, n, rows_each, threads)
