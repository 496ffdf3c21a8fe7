"""CPU twin of stratified batches, compiled by numba.

Takes the tables of a plan and of its blocks (cpu_stratified_blocks), members, a seed, and batches
g0, g0 + stride, ... Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

As in cpu.py a slab of batches stays in the cache and is drawn class by class; then batch by batch
the slots are permuted and the draws scattered, each class from where it has come to. Where most
classes have no draw in a slab, those without base draws are not looked at: their extras are drawn
one by one, as the batches name them.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint32

from gpusampler import parallel
from gpusampler.cpu import LEAST_PER_THREAD, SLAB
from gpusampler.cpu_bits import CHUNK, compiled, key, permute
from gpusampler.cpu_stratified_blocks import SPAN
from gpusampler.cpu_stratified_runs import (
    BACK,
    LANES,
    WAITING,
    count_below,
    draw_classes,
    draw_waiting,
    ends_of,
)
from gpusampler.plan_stratified import BASE, BLOCK, BLOCK_BITS
from gpusampler.random_bits import RANK_BELOW, SLOT

MANY_BATCHES = 32  # from here on the line's owners are written out, not searched
EVERY = 2  # all classes are looked at where they have so many extras each in a slab,
EVERY_APART = 8  # or where each batch of a class must be looked at, so many
ALONE = 1 << 31


@compiled
def _find_owners(owners, b0, stride, ends, classes, guide, points):
    """owners[t, k]: the class of extra k of batch b0 + t * stride."""
    n, extra = owners.shape
    owner = np.empty(BLOCK, np.uint32)
    for k in range(extra):
        first = uint32(k << BLOCK_BITS)
        if n < MANY_BATCHES:
            for t in range(n):
                y = uint32(points[b0 + t * stride])
                low, high = guide[k], guide[k + 1]
                while low < high:
                    middle = (low + high) >> 1
                    if uint32(uint32(ends[middle]) - first) > y:
                        high = middle
                    else:
                        low = middle + 1
                owners[t, k] = classes[low]
            continue
        y, i = 0, int64(guide[k])
        while y < BLOCK:
            end = BLOCK
            if i < guide[k + 1]:
                end = int64(uint32(uint32(ends[i]) - first))
            c = uint32(classes[i])
            for at in range(y, end):
                owner[at] = c
            y = end
            i += 1
        for t in range(n):
            owners[t, k] = owner[points[b0 + t * stride]]


@compiled
def _draw_alone(
    owners, drawn, state, draws, below, rows, base_rows, members, identity, seed, wanted, wide,
    words, halves,
):  # fmt: skip
    """Draw the extras of classes without base draws one by one, as the batches name them: owners
    is then ALONE | where each lies in drawn; of the others it is the base row."""
    based = base_rows[:, 0]
    for t in range(len(owners)):
        for k in range(owners.shape[1]):
            c = int64(owners[t, k])
            if rows[c, BASE]:
                owners[t, k] = np.searchsorted(based, c)
                continue
            if state[WAITING] == LANES:
                draw_waiting(
                    drawn, state, wanted, draws, rows, members, identity, seed, wide, words, halves
                )
            low, high = ends_of(draws[c, SPAN])
            at = state[WAITING]
            wanted[0, at] = c
            wanted[1, at] = below[high, t] - below[low, t]
            state[WAITING] = at + 1
            owners[t, k] = ALONE | (state[BACK] - at - 1)


@compiled
def _sources(source, base_cells, offsets, steps, cursor, bases, owners, passed):
    """Where each rank of a batch, `passed` batches into the slab, lies in drawn: the base draws,
    then the extras, which move their classes' cursors on."""
    first = len(offsets)
    for r in range(first):
        source[r] = cursor[base_cells[r]] + offsets[r]
        offsets[r] += steps[r]
    for k in range(len(owners)):
        cell = owners[k]
        if cell & uint32(ALONE):
            source[first + k] = cell ^ uint32(ALONE)
        else:
            source[first + k] = cursor[cell] + uint32(passed + 1) * bases[cell]
            cursor[cell] += uint32(1)


@compiled
def _scatter_row(out_row, drawn, source, g, a, b, seed, slots, left, right, hashes):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g))."""
    size = len(out_row)
    k0, k1 = key(seed, SLOT, g, 0)
    for r in range(0, size, CHUNK):
        m = min(CHUNK, size - r)
        permute(slots, r, m, size, a, b, k0, k1, left, right, hashes)
        froms = source[r : r + m]
        for e in range(m):
            out_row[slots[e]] = drawn[froms[e]]


@compiled
def _scatter(
    out, drawn, owners, cursor, rows, base_rows, rank_row, a, b, seed, g0, stride
):  # fmt: skip
    """Batch by batch, from where each cell's draws begin."""
    n, size = out.shape
    every = len(cursor) == len(rows)
    ranks = len(rank_row)
    base_cells, bases = np.empty(ranks, np.uint32), np.empty(len(cursor), np.uint32)
    steps, offsets = np.empty(ranks, np.uint32), np.empty(ranks, np.uint32)
    for cell in range(len(cursor)):
        bases[cell] = rows[cell if every else base_rows[cell, 0], BASE]
    for r in range(ranks):
        row = rank_row[r]
        base_cells[r] = base_rows[row, 0] if every else row
        offsets[r] = r - base_rows[row, 1]
        steps[r] = bases[base_cells[r]]
    source, slots = np.empty(size, np.uint32), np.empty(CHUNK, np.uint32)
    left, right = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.uint16)
    hashes = np.empty(RANK_BELOW, np.uint64)
    for t in range(n):
        _sources(source, base_cells, offsets, steps, cursor, bases, owners[t], t)
        _scatter_row(out[t], drawn, source, g0 + t * stride, a, b, seed, slots, left, right, hashes)


@compiled
def _draw_slab(
    out, draws, ends, classes, guide, points, rows, base_rows, rank_row, members, identity, a, b,
    seed, g0, b0, stride,
):  # fmt: skip
    """Batches b0, b0 + stride, ... of one block."""
    n, extra = len(out), len(guide) - 1
    every = len(rows) * (EVERY if stride == 1 else EVERY_APART) <= n * extra
    wanted, wide = np.empty((2, LANES), np.uint64), np.empty((2, LANES), np.uint64)
    words, halves = np.empty((11, LANES), np.uint32), np.empty((4, LANES), np.uint16)
    drawn = np.empty(out.size, members.dtype)
    state = np.zeros(4, np.int64)
    state[BACK] = out.size
    cursor = np.empty(len(rows) if every else len(base_rows), np.uint32)
    below = np.empty((2 * BLOCK, n if stride > 1 or not every else 0), np.uint16)
    count_below(below, points, b0, stride)
    edges = np.empty((2 * BLOCK, 2), np.uint16)
    if stride == 1:
        count_below(edges, points, b0, n)
    draw_classes(
        drawn, state, cursor, base_rows, b0, stride, n, draws, points,
        edges if stride == 1 else below, rows, members, identity, seed, wanted, wide, words, halves,
    )  # fmt: skip
    # rows of an odd number of cache lines: those of many batches then have room in the cache
    owners = np.empty((n, extra + 48 - extra % 32), np.uint32)[:, :extra]
    _find_owners(owners, b0, stride, ends, classes, guide, points)
    if not every:
        _draw_alone(
            owners, drawn, state, draws, below, rows, base_rows, members, identity, seed, wanted,
            wide, words, halves,
        )  # fmt: skip
    if state[WAITING]:
        draw_waiting(
            drawn, state, wanted, draws, rows, members, identity, seed, wide, words, halves
        )
    _scatter(out, drawn, owners, cursor, rows, base_rows, rank_row, a, b, seed, g0, stride)


NO_MEMBERS = np.empty(0, np.int64)


def draw_stratified(
    out: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    base_rows: np.ndarray,
    rank_row: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    grid: tuple[int, int],
    seed: int,
    g0: int,
    stride: int,
    b0: int,
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., g0 being batch b0 of the tables.

    members  [M] int32 | int64, None where the dataset is sorted by class
    rows, base_rows, rank_row  of StratifiedPlan
    tables   of the blocks that these batches are in: see cpu_stratified_blocks
    grid     the permutation grid of [0, B)
    """
    n, batch_size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    rows_each = min(max(1, SLAB // batch_size), -(-n // slabs))
    held = NO_MEMBERS if members is None else members

    def task(first: int, end: int) -> None:
        while first < end:
            at, b = divmod(b0 + first * stride, BLOCK)
            part = out[first : min(end, first - ((b - BLOCK) // stride))]
            _draw_slab(
                part, *(table[at] for table in tables), rows, base_rows, rank_row, held,
                members is None, *grid, np.uint64(seed), g0 + first * stride, b, stride,
            )  # fmt: skip
            first += len(part)

    parallel.run(task, n, rows_each, threads)
