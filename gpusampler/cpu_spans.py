"""CPU spans: the draws of a slab of batches by spans of one class and one key, compiled by numba.

Takes the rows of a fixed plan, members, a seed, and batches g0, g0 + stride, ...
Fills drawn: class by class, each in batch order. Spans lie side by side until they fill a chunk,
in whole vectors each. What a class's grid sends beyond the class waits, as lanes, for others.
Knows nothing of slots.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, uint32, uint64

from gpusampler.cpu_bits import CHUNK, WHOLE, compiled, gather, trailing_zeros
from gpusampler.cpu_lanes import make_lanes, member_keys, permute_each
from gpusampler.cpu_permute import RIGHT, ROUNDS, rank_points, split, two_rounds, whole_vectors
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, SIZE, START
from gpusampler.random_bits import RANK_BELOW

MOST_SPANS = CHUNK // WHOLE
LOOKED_THROUGH = 128  # lanes at once, for any beyond its class
WAITING = 256  # lanes, at most


@compiled
def draw_spans(drawn, g0, stride, n_rows, rows, members, identity, seed):
    """Cut a class's draws where a cycle ends or the chunk is full; a full chunk is drawn."""
    points, stride, g0 = np.empty(CHUNK, np.uint32), uint64(stride), uint64(g0)
    begins, tos = np.zeros(MOST_SPANS + 1, np.int64), np.zeros(MOST_SPANS + 1, np.int64)
    row, cycle = np.empty(MOST_SPANS, np.int64), np.zeros(MOST_SPANS, np.uint64)
    spans, room, lanes = (begins, tos, row, cycle), _make_room(), make_lanes(WAITING)
    done, s, waiting = 0, 0, 0
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
            if end == CHUNK or done + tos[s] == len(drawn):
                _draw_chunk(drawn, done, points, s, spans, rows, members, identity, seed, room)
                waiting = _find_beyond(
                    drawn, done, waiting, s, spans, lanes, rows, members, identity, room
                )
                done += tos[s]
                s = 0
    _walk_on(drawn, waiting, lanes, members, identity)


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
def _draw_chunk(drawn, done, points, filled, spans, rows, members, identity, seed, room):
    """drawn[done + tos[s]..]: the members at the points of span s in its cycle's permutation.

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
    gather(drawn[done : done + tos[filled]], places, members, identity)


@compiled
def _join(places, beyond, to, begin, end, n, b, first, halves):
    """places[to..]: back from the grid to [0, a * b), and whether that is beyond [0, n): then the
    last of the class. Lanes that fill the last vector go where the next span's will."""
    side, last, back = uint32(b), uint32(n) - uint32(1), uint64(begin - to)
    for e in range(uint64(begin), uint64(end)):
        i = uint32(uint32(uint32(halves[e]) * side) + uint32(halves[e + RIGHT]))
        places[e - back], beyond[e - back] = first + min(i, uint32(last)), i > last


@compiled
def _find_beyond(drawn, done, waiting, filled, spans, lanes, rows, members, identity, room):
    """Let what is beyond its class wait; gives how many do. Those of all chunks walk on together.

    A class's grid is larger than the class by a few places in a hundred, or a thousand.
    """
    words, sides, wide = lanes
    _, key0, key1, _, beyond, halves, _ = room
    begins, tos, row, _ = spans
    flags, end, s = beyond.view(np.uint64), uint64(tos[filled]), 0
    for at in range(0, end, LOOKED_THROUGH):
        some = uint64(0)
        for w in range(LOOKED_THROUGH // 8):
            some |= flags[at // 8 + w]
        if some == 0:
            continue
        for w in range(at // 8, at // 8 + LOOKED_THROUGH // 8):
            left = flags[w]
            while left:
                e = uint64(8 * w) + trailing_zeros(left) // uint64(8)
                left &= left - uint64(1)
                if e >= end:
                    break
                while uint64(tos[s + 1]) <= e:
                    s += 1
                c, lane = row[s], uint64(begins[s] - tos[s]) + e
                side = uint32(rows[c, GRID_B])
                i = uint32(halves[lane]) * side + uint32(halves[lane + RIGHT])
                words[0, waiting], words[1, waiting] = i, rows[c, SIZE]
                words[3, waiting], words[4, waiting] = key0[s], key1[s]
                sides[0, waiting], sides[1, waiting] = rows[c, GRID_A], side
                wide[0, waiting], wide[1, waiting] = uint64(done) + e, rows[c, FIRST]
                waiting += 1
                if waiting == WAITING:
                    _walk_on(drawn, waiting, lanes, members, identity)
                    waiting = 0
    return waiting


@compiled
def _walk_on(drawn, waiting, lanes, members, identity):
    words, sides, wide = lanes
    i, n, key0, key1 = (
        words[0, :waiting], words[1, :waiting], words[3, :waiting], words[4, :waiting],
    )  # fmt: skip
    permute_each(i, n, sides[0, :waiting], sides[1, :waiting], key0, key1, words[5:], sides[2:])
    for e in range(waiting):
        place = wide[1, e] + i[e]
        drawn[wide[0, e]] = place if identity else members[place]
