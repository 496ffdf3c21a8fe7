"""CPU stratified runs: the members that each class gives to a slab of batches, compiled by numba.

Takes the tables of a stratified plan and of one block (cpu_stratified_blocks), members, a seed,
and batches b0, b0 + stride, ... of the block.
Fills drawn, class by class and each in batch order, and says where each class begins. Three ways,
the same draws: those of consecutive batches are one run of ordinals a class, permuted as a vector;
those of batches further apart are listed; and where a class has few with the same key, every draw
is a lane.
Knows nothing of slots, or of which batch a draw is for.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint16, uint32, uint64

from gpusampler.cpu_bits import CHUNK, compiled, gather, inlined, key, permute, permute_points
from gpusampler.cpu_lanes import member_keys, permute_each
from gpusampler.cpu_stratified_blocks import CYCLE_HIGH, CYCLE_LOW, POSITION, SPAN, SPAN_BITS
from gpusampler.plan_stratified import (
    BASE,
    BLOCK,
    FIRST_HIGH,
    FIRST_LOW,
    GRID_A,
    GRID_B,
    SIZE,
)
from gpusampler.random_bits import MEMBER, RANK_BELOW

LANES = 512  # draws of classes with few of them, that wait to be drawn together
LONG_RUN = 32  # draws of a class from which on they are vectors of their own,
LONG_CYCLE = 8  # if so many of them have the same key

# What a slab has come to: `drawn` is filled by vectors from its front and by lanes from its back,
# and places of the first and draws of the second wait for others.
FRONT, BACK, PLACES, WAITING = range(4)


@inlined
def _wide(low, high):
    return uint64(uint32(low)) | uint64(uint32(high)) << uint64(32)


@inlined
def ends_of(span):
    """Where a class begins and ends on the line, mod BLOCK and BLOCK at most after that."""
    low = int64(uint32(span) >> uint32(SPAN_BITS))
    return low, low + int64(uint32(span) & uint32((1 << SPAN_BITS) - 1))


@compiled
def count_below(below, points, b0, stride):
    """below[y, t], y < 2 * BLOCK: how many of the batches before b0 + t * stride have a point
    below y, where a point comes again each BLOCK."""
    n = below.shape[1]
    later = np.empty(BLOCK, np.int64)  # from this t on, the batch of point y is an earlier one
    for b in range(BLOCK):
        ahead = b - b0
        later[points[b]] = 0 if ahead < 0 else ahead // stride + 1
    for t in range(n):
        below[0, t] = 0
    for y in range(2 * BLOCK - 1):
        first = later[y & BLOCK - 1]
        for t in range(n):
            below[y + 1, t] = below[y, t] + uint16(t >= first)


@compiled
def _list_draws(aheads, c, b0, stride, points, below, draws, rows):
    """The ordinals of class c in the slab's batches, counted from its first one in batch b0. Gives
    how many, and how far that one is after the block's first."""
    base, (low, high) = int64(rows[c, BASE]), ends_of(draws[c, SPAN])
    if base == 0 and low == high:
        return 0, 0
    before, until, found = below[low], below[high], 0
    first = b0 * base + int64(until[0]) - int64(before[0])
    for t in range(below.shape[1]):
        b = b0 + t * stride
        ahead = b * base + int64(until[t]) - int64(before[t]) - first
        todo = base + int64((int64(points[b]) - low & BLOCK - 1) < high - low)
        for d in range(todo):
            aheads[found + d] = ahead + d
        found += todo
    return found, first


@compiled
def draw_places(drawn, state, members, identity, places):
    """Gather the places that wait."""
    end = state[FRONT] + state[PLACES]
    gather(drawn[state[FRONT] : end], places, members, identity)
    state[FRONT] = end
    state[PLACES] = 0


@compiled
def _draw_run(
    drawn, state, c, ahead, todo, draws, rows, members, identity, seed, places, ordinals, left,
    right, hashes,
):  # fmt: skip
    """`todo` draws of class c, from `ahead` after the block's first, as vectors: to drawn's front.

    A run of ordinals, cut where a cycle ends or the chunk of places to be gathered is full.
    """
    n, first = uint64(uint32(rows[c, SIZE])), _wide(rows[c, FIRST_LOW], rows[c, FIRST_HIGH])
    a, b = rows[c, GRID_A], rows[c, GRID_B]
    i = uint64(uint32(draws[c, POSITION])) + uint64(ahead)
    cycle = _wide(draws[c, CYCLE_LOW], draws[c, CYCLE_HIGH]) + i // n
    i %= n
    while todo:
        k0, k1 = key(seed, MEMBER, cycle, c)
        end = min(uint64(todo), n - i)
        while end:
            filled = state[PLACES]
            m = min(int64(end), CHUNK - filled)
            permute(ordinals, int64(i), m, int64(n), a, b, k0, k1, left, right, hashes)
            for e in range(m):
                places[filled + e] = first + ordinals[e]
            i += uint64(m)
            end -= uint64(m)
            todo -= m
            state[PLACES] = filled + m
            if filled + m == CHUNK:
                draw_places(drawn, state, members, identity, places)
        cycle += uint64(1)
        i = uint64(0)


@compiled
def _draw_listed(
    drawn, state, c, ahead, aheads, draws, rows, members, identity, seed, places, points, left,
    right, hashes,
):  # fmt: skip
    """The same for draws that are listed, ascending, as further ahead by aheads."""
    n, first = uint64(uint32(rows[c, SIZE])), _wide(rows[c, FIRST_LOW], rows[c, FIRST_HIGH])
    a, b = rows[c, GRID_A], rows[c, GRID_B]
    position = uint64(uint32(draws[c, POSITION])) + uint64(ahead)
    cycle, at = _wide(draws[c, CYCLE_LOW], draws[c, CYCLE_HIGH]), 0
    while at < len(aheads):
        passed = (position + uint64(aheads[at])) // n
        k0, k1 = key(seed, MEMBER, cycle + passed, c)
        shift, end = position - passed * n, len(aheads)
        if uint64(aheads[-1]) + shift >= n:
            end = at + np.searchsorted(aheads[at:], uint64(n - shift))
        while at < end:
            filled = state[PLACES]
            m = min(end - at, CHUNK - filled)
            for e in range(m):
                points[e] = uint32(aheads[at + e]) + uint32(shift)
            permute_points(points, m, int64(n), a, b, k0, k1, left, right, hashes)
            for e in range(m):
                places[filled + e] = first + points[e]
            at += m
            state[PLACES] = filled + m
            if filled + m == CHUNK:
                draw_places(drawn, state, members, identity, places)


@compiled
def draw_waiting(
    drawn, state, wanted, draws, rows, members, identity, seed, wide, words, halves
):  # fmt: skip
    """Draw what waits, one lane each, to drawn's back: wanted[0] are the classes, wanted[1] how
    far after the block's first draw, and the first is the last in drawn."""
    m = state[WAITING]
    classes, cycles, places = wanted[0, :m], wide[0, :m], wide[1, :m]
    i, n, key0, key1 = words[0, :m], words[1, :m], words[2, :m], words[3, :m]
    a, b = halves[0, :m], halves[1, :m]
    for e in range(m):
        c = classes[e]
        size = uint64(uint32(rows[c, SIZE]))
        ordinal = uint64(uint32(draws[c, POSITION])) + uint64(wanted[1, e])
        cycles[e] = _wide(draws[c, CYCLE_LOW], draws[c, CYCLE_HIGH])
        if ordinal >= size:
            cycles[e] += ordinal // size
            ordinal %= size
        i[e], n[e], a[e], b[e] = ordinal, size, rows[c, GRID_A], rows[c, GRID_B]
        places[m - 1 - e] = _wide(rows[c, FIRST_LOW], rows[c, FIRST_HIGH])
    member_keys(cycles, classes, key0, key1, seed)
    permute_each(i, n, a, b, key0, key1, words[4:], halves[2:])
    for e in range(m):
        places[m - 1 - e] += uint64(i[e])
    state[BACK] -= m
    gather(drawn[state[BACK] : state[BACK] + m], places, members, identity)
    state[WAITING] = 0


@compiled
def draw_classes(
    drawn, state, cursor, base_rows, b0, stride, n, draws, points, below, rows, members, identity,
    seed, wanted, wide, words, halves,
):  # fmt: skip
    """The draws of n batches, class by class: of every class where cursor [C], or, with their
    extras, of those with base draws. Then cursor[cell] is where they begin in drawn, and a cell is
    a class or a base row. below is of batches b0 and b0 + n where stride is 1, else of them all.
    """
    ordinals, hashes = np.empty(CHUNK, np.uint32), np.empty(RANK_BELOW, np.uint64)
    left, right = np.empty(CHUNK, np.uint16), np.empty(CHUNK, np.uint16)
    listed = len(drawn) + n if stride > 1 else 0  # all draws of one class, at most
    places, aheads = np.empty(CHUNK, np.uint64), np.empty(listed, np.uint32)
    every = len(cursor) == len(rows)
    for cell in range(len(cursor)):
        c = cell if every else int64(base_rows[cell, 0])
        if stride == 1:
            base, (low, high) = int64(rows[c, BASE]), ends_of(draws[c, SPAN])
            ahead = b0 * base + int64(below[high, 0]) - int64(below[low, 0])
            todo = (b0 + n) * base + int64(below[high, 1]) - int64(below[low, 1]) - ahead
            span = todo
        else:
            todo, ahead = _list_draws(aheads, c, b0, stride, points, below, draws, rows)
            span = int64(aheads[todo - 1]) + 1 if todo else 0
        size = int64(uint32(rows[c, SIZE]))
        if todo >= LONG_RUN and size * todo >= LONG_CYCLE * span:
            cursor[cell] = state[FRONT] + state[PLACES]
            if stride == 1:
                _draw_run(
                    drawn, state, c, ahead, todo, draws, rows, members, identity, seed, places,
                    ordinals, left, right, hashes,
                )  # fmt: skip
            else:
                _draw_listed(
                    drawn, state, c, ahead, aheads[:todo], draws, rows, members, identity, seed,
                    places, ordinals, left, right, hashes,
                )  # fmt: skip
            continue
        for d in range(todo - 1, -1, -1):
            if state[WAITING] == LANES:
                draw_waiting(
                    drawn, state, wanted, draws, rows, members, identity, seed, wide, words, halves
                )
            at = state[WAITING]
            wanted[0, at] = c
            wanted[1, at] = ahead + (d if stride == 1 else int64(aheads[d]))
            state[WAITING] = at + 1
        cursor[cell] = state[BACK] - state[WAITING]
    draw_places(drawn, state, members, identity, places)
