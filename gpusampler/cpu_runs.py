"""CPU runs: the members that each class gives to a slab of batches, compiled by numba.

Takes the rows of a fixed plan, members, a seed, and batches g0, g0 + stride, ...
Fills drawn: class by class, each in batch order. Three ways, the same draws: consecutive batches
are one run of ordinals a class, permuted as a vector; batches further apart are points of a
class's cycle; and where classes have few draws with the same key, every draw is a lane.
Knows nothing of slots.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint32, uint64

from gpusampler.cpu_bits import CHUNK, compiled, gather, key, permute, permute_points
from gpusampler.cpu_lanes import member_keys, permute_each
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, SIZE, START
from gpusampler.random_bits import MEMBER, RANK_BELOW

LANES = 256  # of different classes, in one vector loop
FEW_DRAWS = 16  # with one key, on average: below, lanes of different classes fill the vectors


@compiled
def draw_classes(drawn, n_rows, g0, stride, rows, members, identity, seed):
    """drawn [n_rows * B]: the draws of class row c from B's rank RANK on times n_rows."""
    keys = 0.0
    for c in range(len(rows)):
        count = float(rows[c, COUNT])
        # of one key: a batch's draws, or those of all batches that fall in one cycle
        together = max(count, min(float(rows[c, SIZE]) / stride, count * n_rows))
        keys += count * n_rows / together
    if len(drawn) < FEW_DRAWS * keys:
        _draw_lanes(drawn, g0, stride, n_rows, rows, members, identity, seed)
        return
    scratch = (
        np.empty(CHUNK, np.uint32),
        np.empty(CHUNK, np.uint16),
        np.empty(CHUNK, np.uint16),
        np.empty(RANK_BELOW, np.uint64),
        np.empty(CHUNK, np.uint64),
    )
    if stride == 1:
        _draw_runs(drawn, n_rows, g0, rows, members, identity, seed, scratch)
    else:
        _draw_points(drawn, n_rows, g0, stride, rows, members, identity, seed, scratch)


@compiled
def _draw_runs(drawn, n_rows, g0, rows, members, identity, seed, scratch):
    """A run of ordinals for each class, cut where a cycle ends or the places to be gathered are
    a full chunk."""
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
                    gather(drawn[done : done + CHUNK], places, members, identity)
                    done += CHUNK
                    filled = 0
            cycle += uint64(1)
            i = uint64(0)
    gather(drawn[done:], places, members, identity)


@compiled
def _cycle_points(points, room, n, count, stride, i, j, todo):
    """The ordinals in its cycle, from i on, of a class's next draws of which j - 1 were the last
    batch's: until the cycle, the draws or the room end. Gives how many."""
    m = 0
    while m < room and m < todo and i < n:
        run = min(int64(count) - j, room - m, int64(n - i))
        for d in range(run):
            points[m + d] = uint32(i) + uint32(d)
        m += run
        j += run
        i += uint64(run)
        if j == int64(count):
            j = 0
            i += uint64(stride - 1) * count
    return m


@compiled
def _draw_points(drawn, n_rows, g0, stride, rows, members, identity, seed, scratch):
    points, left, right, hashes, places = scratch
    filled, done = 0, 0
    for c in range(len(rows)):
        n, first, count = uint64(rows[c, SIZE]), uint64(rows[c, FIRST]), uint64(rows[c, COUNT])
        a, b = rows[c, GRID_A], rows[c, GRID_B]
        draw, draws = 0, int64(count) * n_rows
        while draw < draws:
            t = draw // int64(count)
            j = draw - t * int64(count)
            ordinal = uint64(rows[c, START]) + uint64(g0 + t * stride) * count + uint64(j)
            cycle = ordinal // n
            m = _cycle_points(
                points, CHUNK - filled, n, count, stride, ordinal - cycle * n, j, draws - draw
            )
            k0, k1 = key(seed, MEMBER, cycle, rows[c, CLASS])
            permute_points(points, m, int64(n), a, b, k0, k1, left, right, hashes)
            for e in range(m):
                places[filled + e] = first + points[e]
            filled += m
            draw += m
            if filled == CHUNK:
                gather(drawn[done : done + CHUNK], places, members, identity)
                done += CHUNK
                filled = 0
    gather(drawn[done:], places, members, identity)


@compiled
def _fill_lanes(c, t, j, m, g0, stride, n_rows, rows, words, halves, wide):
    """The next m draws, from draw j of batch t of class row c on; gives where it stopped."""
    for e in range(m):
        n, count = uint64(rows[c, SIZE]), uint64(rows[c, COUNT])
        ordinal = uint64(rows[c, START]) + uint64(g0 + t * stride) * count + uint64(j)
        cycle = ordinal // n
        words[0, e], words[1, e], words[2, e] = ordinal - cycle * n, n, rows[c, CLASS]
        halves[0, e], halves[1, e] = max(rows[c, GRID_A], 1), max(rows[c, GRID_B], 1)
        wide[0, e], wide[1, e] = cycle, rows[c, FIRST]
        j += 1
        if j == rows[c, COUNT]:
            j = 0
            t += 1
            if t == n_rows:
                t = 0
                c += 1
    return c, t, j


@compiled
def _gather_lanes(out, members, identity, seed, words, halves, wide):
    m = len(out)
    i, n, labels = words[0][:m], words[1][:m], words[2][:m]
    key0, key1, places = words[3][:m], words[4][:m], wide[1][:m]
    member_keys(wide[0][:m], labels, key0, key1, seed)
    permute_each(i, n, halves[0][:m], halves[1][:m], key0, key1, words[5:], halves[2:])
    for e in range(m):
        places[e] += i[e]
    gather(out, places, members, identity)


@compiled
def _draw_lanes(drawn, g0, stride, n_rows, rows, members, identity, seed):
    """Every draw is a lane with a key of its own."""
    words, halves = np.empty((12, LANES), np.uint32), np.empty((4, LANES), np.uint16)
    wide = np.empty((2, LANES), np.uint64)
    c, t, j = 0, 0, 0
    for done in range(0, len(drawn), LANES):
        part = drawn[done : done + LANES]
        c, t, j = _fill_lanes(c, t, j, len(part), g0, stride, n_rows, rows, words, halves, wide)
        _gather_lanes(part, members, identity, seed, words, halves, wide)
