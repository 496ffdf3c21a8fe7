"""CPU spans: a chunk of draws, as spans of one class and one key each, side by side; numba.

Takes spans: class row, label, cycle, and the points of each in that cycle. Fills drawn from its
front. A span is whole vectors of lanes. What a class's grid sends beyond the class waits, as lanes,
for others. Knows nothing of batches, slots or which draws a class gives.
"""

from __future__ import annotations

import numpy as np
from numba import uint32, uint64

from gpusampler.bits.random_bits import RANK_BELOW
from gpusampler.cpu.bits import CHUNK, WHOLE, compiled, gather, inlined, trailing_zeros
from gpusampler.cpu.lanes import make_lanes, member_keys, permute_each
from gpusampler.cpu.permute import RIGHT, ROUNDS, rank_points, split, two_rounds
from gpusampler.plans.columns import FIRST_HIGH, FIRST_LOW, GRID_A, GRID_B, SIZE

MOST_SPANS = CHUNK // WHOLE
LOOKED_THROUGH = 128  # lanes at once, for any beyond its class
BEYOND_LANES = 256  # that wait, at most

# What a slab has come to: how much of `drawn` is filled from its front, and where what is filled
# from its back begins; how many spans and lanes wait, and how many lanes beyond their class.
FRONT, BACK, SPANS, LANES, BEYOND = range(5)


@inlined
def first_place(rows, c):
    low, high = uint64(uint32(rows[c, FIRST_LOW])), uint64(uint32(rows[c, FIRST_HIGH]))
    return low | high << uint64(32)


@compiled
def make_spans(draws):
    """What a slab of so many draws has come to. And of each span: where its points begin, and its
    draws in the chunk; row, label and cycle."""
    numbers = np.zeros((6, MOST_SPANS + 1), np.int64)  # one array: making one costs as a vector
    numbers[5, BACK] = draws
    labels, cycles = numbers[3].view(np.uint64), numbers[4].view(np.uint64)
    return numbers[5], (numbers[0], numbers[1], numbers[2], labels, cycles)


@compiled
def make_room():
    """Points; keys of the spans; for the lanes of a chunk places, whether these are beyond the
    class, halves; for one span hashes. And the lanes that wait."""
    places, flags = CHUNK + WHOLE, (CHUNK + LOOKED_THROUGH) // 8
    some = np.empty(places + RANK_BELOW + flags + CHUNK + MOST_SPANS, np.uint64)
    beyond, rest = some[places + RANK_BELOW :], some[places + RANK_BELOW + flags :]
    words = rest[: CHUNK // 2 + MOST_SPANS].view(np.uint32)
    return (
        words[:CHUNK],
        words[CHUNK : CHUNK + MOST_SPANS],
        words[CHUNK + MOST_SPANS :],
        some[:places],
        beyond[:flags].view(np.bool_),
        rest[CHUNK // 2 + MOST_SPANS :].view(np.uint16),
        some[places : places + RANK_BELOW],
    ), make_lanes(BEYOND_LANES)


@compiled
def draw_spans(drawn, state, spans, room, rows, members, identity, seed):
    """The members at the points of each span in its cycle's permutation.

    Step by step over all spans: the lanes of one wait for their last step, the next span's do not.
    """
    begins, tos, row, labels, cycles = spans
    (points, key0, key1, places, beyond, halves, hashes), (words, sides, wide) = room
    filled, front = state[SPANS], state[FRONT]
    member_keys(cycles[: (filled + 7) // 8 * 8], labels, key0, key1, seed)  # whole vectors
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
    _place_spans(
        filled, begins, tos, row, points, key0, key1, places, beyond, halves, hashes, rows
    )  # fmt: skip
    gather(drawn[front : front + tos[filled]], places, members, identity)
    _find_beyond(
        drawn, state, begins, tos, row, key0, key1, beyond, halves, words, sides, wide, rows,
        members, identity,
    )  # fmt: skip
    state[FRONT], state[SPANS] = front + tos[filled], 0


@inlined
def _place_spans(
    filled, begins, tos, row, points, key0, key1, places, beyond, halves, hashes, rows
):  # fmt: skip
    for s in range(filled):
        n, b, first = rows[row[s], SIZE], rows[row[s], GRID_B], first_place(rows, row[s])
        if n < RANK_BELOW:
            some, m = points[begins[s] : begins[s + 1]], tos[s + 1] - tos[s]
            rank_points(some, m, n, key0[s], key1[s], hashes)
            for e in range(m):
                places[tos[s] + e], beyond[tos[s] + e] = first + some[e], False
        else:
            _join(places, beyond, tos[s], begins[s], begins[s + 1], n, b, first, halves)


@compiled
def _join(places, beyond, to, begin, end, n, b, first, halves):
    """places[to..]: back from the grid to [0, a * b), and whether that is beyond [0, n): then the
    last of the class. Lanes that fill the last vector go where the next span's will."""
    side, last, back = uint32(b), uint32(n) - uint32(1), uint64(begin - to)
    for e in range(uint64(begin), uint64(end)):
        i = uint32(uint32(uint32(halves[e]) * side) + uint32(halves[e + RIGHT]))
        places[e - back], beyond[e - back] = first + min(i, uint32(last)), i > last


@inlined
def _find_beyond(
    drawn, state, begins, tos, row, key0, key1, beyond, halves, words, sides, wide, rows, members,
    identity,
):  # fmt: skip
    """Let what is beyond its class wait. Those of all chunks walk on together.

    A class's grid is larger than the class by a few places in a hundred, or a thousand.
    """
    flags, end, s = beyond.view(np.uint64), uint64(tos[state[SPANS]]), 0
    front, waiting = uint64(state[FRONT]), state[BEYOND]
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
                wide[0, waiting], wide[1, waiting] = front + e, first_place(rows, c)
                waiting += 1
                if waiting == BEYOND_LANES:
                    state[BEYOND] = waiting
                    walk_on(drawn, state, words, sides, wide, members, identity)
                    waiting = 0
    state[BEYOND] = waiting


@compiled
def walk_on(drawn, state, words, sides, wide, members, identity):
    """Draw what waits beyond its class: each lane goes where it was to be in drawn."""
    m = state[BEYOND]
    i, n, key0, key1 = words[0, :m], words[1, :m], words[3, :m], words[4, :m]
    permute_each(i, n, sides[0, :m], sides[1, :m], key0, key1, words[5:], sides[2:])
    for e in range(m):
        place = wide[1, e] + i[e]
        drawn[wide[0, e]] = place if identity else members[place]
    state[BEYOND] = 0
