"""CPU twin: the same indices as the kernels, bit for bit, compiled by numba.

Takes the tables of a plan, members, a seed and the first batch number.
Fills out [n, B] int64. Knows nothing of samplers, epochs or devices.

How it is fast: a slab of batches stays in the cache. Class by class, a slab's draws are one
run of ordinals, so one key serves a whole run, the rounds are vectors of 16-bit lanes, and the
members come as one gather. Then batch by batch the slots are permuted and the draws scattered.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint32, uint64

from gpusampler import parallel
from gpusampler.cpu_bits import CHUNK, compiled, inlined, key, permute, philox
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, RANK, SIZE, START
from gpusampler.random_bits import MEMBER, PICK, RANK_BELOW, SLOT

SLAB = 1 << 18  # draws held at once
LEAST_PER_THREAD = 1 << 15


@compiled
def _gather(out, places, members, identity):
    """out[e] = members[places[e]], in a loop of its own: many loads are then under way at once."""
    if identity:
        for e in range(len(out)):
            out[e] = places[e]
    else:
        for e in range(len(out)):
            out[e] = members[places[e]]


@compiled
def _draw_classes(drawn, n_rows, g0, rows, members, identity, seed, scratch):
    """Class by class, the draws of n_rows batches: a run of ordinals each, cut where a cycle ends
    or the chunk of places to be gathered is full."""
    ordinals, left, right, hashes, places = scratch
    filled, done = 0, 0
    for c in range(len(rows)):
        n, first, count = uint64(rows[c, SIZE]), uint64(rows[c, FIRST]), uint64(rows[c, COUNT])
        a, b = rows[c, GRID_A], rows[c, GRID_B]
        before = uint64(rows[c, START]) + uint64(g0) * count
        cycle = before // n
        i = before - cycle * n
        todo = int64(count) * n_rows
        while todo:
            k0, k1 = key(seed, MEMBER, cycle, rows[c, CLASS])
            end = min(uint64(todo), n - i)
            while end:
                m = min(int64(end), CHUNK - filled)
                permute(ordinals, int64(i), m, int64(n), a, b, k0, k1, left, right, hashes)
                for e in range(m):
                    places[filled + e] = first + ordinals[e]
                filled += m
                i += uint64(m)
                end -= uint64(m)
                todo -= m
                if filled == CHUNK:
                    _gather(drawn[done : done + CHUNK], places, members, identity)
                    done += CHUNK
                    filled = 0
            cycle += uint64(1)
            i = uint64(0)
    _gather(drawn[done:], places, members, identity)


@compiled
def _scatter_row(out_row, drawn, source, steps, g, a, b, seed, scratch):
    """Rank r of batch g goes to slot perm(r, B, key(SLOT, g)); source[r] moves on to batch g+1."""
    slots, left, right, hashes, _ = scratch
    size = len(out_row)
    k0, k1 = key(seed, SLOT, g, 0)
    for r in range(0, size, CHUNK):
        m = min(CHUNK, size - r)
        permute(slots, r, m, size, a, b, k0, k1, left, right, hashes)
        froms = source[r : r + m]
        for e in range(m):
            out_row[slots[e]] = drawn[froms[e]]
    for r in range(size):
        source[r] += steps[r]


@compiled
def _fixed_slab(out, rows, members, identity, a, b, seed, g0):
    n_rows, size = out.shape
    scratch = (
        np.empty(CHUNK, np.uint32),
        np.empty(CHUNK, np.uint16),
        np.empty(CHUNK, np.uint16),
        np.empty(RANK_BELOW, np.uint64),
        np.empty(CHUNK, np.uint64),
    )
    drawn = np.empty(out.size, members.dtype)  # class by class, each in batch order
    _draw_classes(drawn, n_rows, g0, rows, members, identity, seed, scratch)
    source = np.empty(size, np.uint32)  # where each rank of the current batch lies in drawn
    steps = np.empty(size, np.uint32)
    for c in range(len(rows)):
        count, rank = rows[c, COUNT], rows[c, RANK]
        for j in range(count):
            source[rank + j] = rank * n_rows + j
            steps[rank + j] = count
    for t in range(n_rows):
        _scatter_row(out[t], drawn, source, steps, g0 + t, a, b, seed, scratch)


@compiled
def _random_words(at, m, batch_size, seed, g0, words):
    """The four words of each flat slot at + e, counter (g, slot)."""
    row = at // batch_size
    slot = at - row * batch_size
    e = 0
    while e < m:
        run = min(batch_size - slot, m - e)
        g = uint64(g0 + row)
        for d in range(run):
            words[0, e + d] = uint32(g)
            words[1, e + d] = uint32(g >> uint64(32))
            words[2, e + d] = uint32(slot + d)
        e += run
        row += 1
        slot = 0
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    for e in range(m):
        w0, w1, w2, w3 = philox(words[0, e], words[1, e], words[2, e], uint32(PICK), k0, k1)
        words[0, e] = w0
        words[1, e] = w1
        words[2, e] = w2
        words[3, e] = w3


@inlined
def _drawn_row(low, high, cuts, guide, shift):
    u = uint64(high) << uint64(32) | uint64(low)
    row = uint64(guide[u >> shift])
    while row + uint64(1) < uint64(len(cuts)) and cuts[row + uint64(1)] <= u:
        row += uint64(1)
    return row


@inlined
def _picked(low, high, n):
    """(64 bits * n) >> 64 for n < 2^31."""
    return (uint64(high) * uint64(n) + (uint64(low) * uint64(n) >> uint64(32))) >> uint64(32)


@compiled
def _random_places(places, words, classes, drawn, rows, cuts, guide, shift):
    """The place in members of each slot, from its words."""
    for e in range(len(places)):
        if drawn:
            row = uint64(classes[e])
        else:
            row = _drawn_row(words[0, e], words[1, e], cuts, guide, shift)
        places[e] = uint64(rows[row, 2]) + _picked(words[2, e], words[3, e], rows[row, 1])


@compiled
def _random_slab(
    out, at, classes, drawn, rows, cuts, guide, shift, members, identity, seed, g0, size
):
    """Flat slots at.. of a window whose batch 0 is g0; classes[at..] where they were drawn."""
    words = np.empty((4, CHUNK), np.uint32)
    places = np.empty(CHUNK, np.uint64)
    for begin in range(0, len(out), CHUNK):
        m = min(CHUNK, len(out) - begin)
        _random_words(at + begin, m, size, seed, g0, words)
        given = classes[begin : begin + m]
        _random_places(places[:m], words, given, drawn, rows, cuts, guide, shift)
        _gather(out[begin : begin + m], places, members, identity)


NO_MEMBERS = np.empty(0, np.int64)


def draw_fixed(
    out: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    grid: tuple[int, int],
    seed: int,
    g0: int,
) -> None:
    """Fill out [n, B] int64 with batches g0 .. g0 + n of a fixed plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    rows     [A, 8] int64: FixedPlan.rows
    grid     the permutation grid of [0, B)
    """
    n, batch_size = out.shape
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    slabs = threads * -(-out.size // (threads * SLAB))
    rows_each = min(max(1, SLAB // batch_size), -(-n // slabs))
    held = NO_MEMBERS if members is None else members

    def task(first: int, end: int) -> None:
        part = out[first:end]
        _fixed_slab(part, rows, held, members is None, *grid, np.uint64(seed), g0 + first)

    parallel.run(task, n, rows_each, threads)


def draw_random(
    out: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    cuts: np.ndarray,
    guide: np.ndarray,
    classes: np.ndarray | None,
    seed: int,
    g0: int,
) -> None:
    """Fill out [n, B] int64 with batches g0 .. g0 + n, each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    rows     [A, 3] int64, cuts [A] uint64, guide [2^k + 1] int32: of RandomPlan
    classes  [n, B] int64, the row of each slot where they are already drawn; None: by `cuts`
    """
    flat = out.reshape(-1)
    held = NO_MEMBERS if members is None else members
    drawn = flat[:0] if classes is None else classes.reshape(-1)
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    size = out.shape[1]
    shift = np.uint64(65 - (len(guide) - 1).bit_length())

    def task(first: int, end: int) -> None:
        _random_slab(
            flat[first:end], first, drawn[first:end], classes is not None, rows, cuts, guide,
            shift, held, members is None, np.uint64(seed), g0, size,
        )  # fmt: skip

    parallel.run(task, out.size, SLAB, threads)
