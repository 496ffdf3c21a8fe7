"""CPU runs: the members that each class gives to a slab of batches, compiled by numba.

Takes the rows of a fixed plan, members, a seed, and batches g0, g0 + stride, ...
Fills drawn: class by class, each in batch order. Two ways, the same draws: those of one class with
one key are a span, and spans side by side fill a chunk, in whole vectors each; where classes have
few draws with the same key, every draw is a lane.
Knows nothing of slots.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, uint32, uint64

from gpusampler.cpu_bits import CHUNK, WHOLE, compiled, gather
from gpusampler.cpu_lanes import member_keys, permute_each
from gpusampler.cpu_permute import (
    RIGHT,
    ROUNDS,
    permute_one,
    rank_points,
    split,
    two_rounds,
    whole_vectors,
)
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, SIZE, START
from gpusampler.random_bits import RANK_BELOW

LANES = 256  # of different classes, in one vector loop
FEW_DRAWS = 14  # with one key, on average: below, lanes of different classes fill the vectors
MOST_SPANS = CHUNK // WHOLE
LOOKED_THROUGH = 128  # lanes at once, for any that has to walk on


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
    else:
        _draw_spans(drawn, g0, stride, n_rows, rows, members, identity, seed)


@compiled
def _draw_spans(drawn, g0, stride, n_rows, rows, members, identity, seed):
    """Cut a class's draws where a cycle ends or the chunk is full; a full chunk is drawn."""
    points, stride, g0 = np.empty(CHUNK, np.uint32), uint64(stride), uint64(g0)
    begins, tos = np.zeros(MOST_SPANS + 1, np.int64), np.zeros(MOST_SPANS + 1, np.int64)
    row, cycle = np.empty(MOST_SPANS, np.int64), np.zeros(MOST_SPANS, np.uint64)
    spans, room = (begins, tos, row, cycle), _make_room()
    done, s = 0, 0
    for c in range(len(rows)):
        n, count = uint64(rows[c, SIZE]), uint64(rows[c, COUNT])
        draw, draws = uint64(0), count * uint64(n_rows)
        while draw < draws:
            t = draw // count
            j = draw - t * count
            ordinal = uint64(rows[c, START]) + (g0 + t * stride) * count + j
            row[s], cycle[s] = c, ordinal // n
            i = ordinal - cycle[s] * n
            m = min(_draws_left(n, count, stride, i, j), draws - draw)
            m = int64(min(m, uint64(CHUNK - begins[s])))
            end = begins[s] + whole_vectors(m)
            _place(points, begins[s], end, count, stride, i, j)
            s += 1
            begins[s], tos[s] = end, tos[s - 1] + m
            draw += uint64(m)
            if end == CHUNK:
                _draw_chunk(drawn[done:], points, s, spans, rows, members, identity, seed, room)
                done += tos[s]
                s = 0
    _draw_chunk(drawn[done:], points, s, spans, rows, members, identity, seed, room)


@compiled
def _draws_left(n, count, stride, i, j):
    """How many draws are left in the cycle from ordinal i there on, which is draw j of a batch:
    those of whole batches, and what the cycle's end leaves of one. Of this batch only, where it
    has more than a chunk."""
    if count > uint64(CHUNK):
        return min(n - i, count - j)
    period, rest = stride * count, n + j - i
    whole = rest // period
    return whole * count + min(rest - whole * period, count) - j


@compiled
def _place(points, begin, end, count, stride, i, j):
    """points[begin + e]: the ordinal in its cycle of the draw e after that one; beyond the cycle
    of no meaning."""
    begin, end, i0 = uint64(begin), uint64(end), uint32(uint32(i) - uint32(begin))
    if stride == 1 or count > uint64(CHUNK):
        for e in range(begin, end):
            points[e] = uint32(i0 + uint32(e))
    else:
        # exact: draw e and a half is 1 / 2 count from a whole batch, or more, and off by less
        # than 2^-9 of that
        each, skipped = float32(1.0) / float32(count), uint32((stride - uint64(1)) * count)
        j0 = uint32(uint32(j) - uint32(begin))
        for e in range(begin, end):
            x = float32(int32(uint32(j0 + uint32(e)))) + float32(0.5)
            batch = uint32(int32(x * each))
            points[e] = uint32(uint32(i0 + uint32(e)) + uint32(batch * skipped))


@compiled
def _make_room():
    """For the spans of a chunk: class, keys; for its lanes: places, whether these are beyond the
    class, halves; for one span: hashes."""
    return (
        np.zeros(MOST_SPANS, np.uint64),
        np.empty(MOST_SPANS, np.uint32),
        np.empty(MOST_SPANS, np.uint32),
        np.empty(CHUNK + WHOLE, np.uint64),
        np.empty(CHUNK + LOOKED_THROUGH, np.bool_),
        np.empty(2 * CHUNK, np.uint16),
        np.empty(RANK_BELOW, np.uint64),
    )


@compiled
def _draw_chunk(drawn, points, filled, spans, rows, members, identity, seed, room):
    """drawn[tos[s]..]: the members at the points of span s in its cycle's permutation.

    Step by step over all spans: the lanes of one wait for their last step, the next span's do not.
    """
    label, key0, key1, places, beyond, halves, hashes = room
    begins, tos, row, cycle = spans
    for s in range(filled):
        label[s] = rows[row[s], CLASS]
    member_keys(cycle[: (filled + 7) // 8 * 8], label, key0, key1, seed)  # whole vectors
    s = 0
    while s < filled:
        c, first = row[s], s
        while s < filled and row[s] == c:
            s += 1
        if rows[c, SIZE] >= RANK_BELOW:
            split(points, begins[first], begins[s], rows[c, SIZE], rows[c, GRID_B], halves)
    for t in range(ROUNDS):
        for s in range(filled):
            a, b = rows[row[s], GRID_A], rows[row[s], GRID_B]
            if rows[row[s], SIZE] >= RANK_BELOW:
                two_rounds(halves, begins[s], begins[s + 1], a, b, key0[s], key1[s], t)
    for s in range(filled):
        n, b, first = rows[row[s], SIZE], rows[row[s], GRID_B], uint64(rows[row[s], FIRST])
        if n < RANK_BELOW:
            some, m = points[begins[s] : begins[s + 1]], tos[s + 1] - tos[s]
            rank_points(some, m, n, key0[s], key1[s], hashes)
            for e in range(m):
                places[tos[s] + e], beyond[tos[s] + e] = first + some[e], False
        else:
            _join(places, beyond, tos[s], begins[s], begins[s + 1], n, b, first, halves)
    _walk_on(places, beyond, tos[: filled + 1], row, rows, key0, key1)
    gather(drawn[: tos[filled]], places, members, identity)


@compiled
def _join(places, beyond, to, begin, end, n, b, first, halves):
    """places[to..]: back from the grid to [0, a * b), and whether that is beyond [0, n). The
    lanes that fill the last vector go where the next span's will."""
    side, n, back = uint32(b), uint32(n), uint64(begin - to)
    for e in range(uint64(begin), uint64(end)):
        i = uint32(uint32(uint32(halves[e]) * side) + uint32(halves[e + RIGHT]))
        places[e - back], beyond[e - back] = first + i, i >= n


@compiled
def _walk_on(places, beyond, tos, row, rows, key0, key1):
    """From the few places beyond their class on to those in it."""
    words, s = beyond.view(np.uint64), 0
    for begin in range(0, tos[-1], LOOKED_THROUGH):
        some = uint64(0)
        for w in range(LOOKED_THROUGH // 8):
            some |= words[begin // 8 + w]
        if some == 0:
            continue
        for e in range(begin, min(begin + LOOKED_THROUGH, tos[-1])):
            if beyond[e]:
                while tos[s + 1] <= e:
                    s += 1
                r, first = row[s], uint64(rows[row[s], FIRST])
                n, a, b = rows[r, SIZE], rows[r, GRID_A], rows[r, GRID_B]
                places[e] = first + permute_one(places[e] - first, n, a, b, key0[s], key1[s])


@compiled
def _fill_lanes(c, t, j, m, g0, stride, n_rows, rows, words, halves, wide):
    """The next m draws, from draw j of batch t of class row c on; gives where it stopped."""
    e = 0
    while e < m:
        n, count = uint64(rows[c, SIZE]), uint64(rows[c, COUNT])
        ordinal = uint64(rows[c, START]) + uint64(g0 + t * stride) * count + uint64(j)
        cycle = ordinal // n
        i, end = ordinal - cycle * n, min(m, e + rows[c, COUNT] - j)
        j += end - e
        label, first, a, b = rows[c, CLASS], rows[c, FIRST], rows[c, GRID_A], rows[c, GRID_B]
        while e < end:
            words[0, e], words[1, e], words[2, e] = i, n, label
            halves[0, e], halves[1, e] = max(a, 1), max(b, 1)
            wide[0, e], wide[1, e] = cycle, first
            e, i = e + 1, i + uint64(1)
            if i == n:
                i, cycle = uint64(0), cycle + uint64(1)
        if j == rows[c, COUNT]:
            j, t = 0, t + 1
            if t == n_rows:
                t, c = 0, c + 1
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
