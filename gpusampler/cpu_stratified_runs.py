"""CPU stratified runs: the members that a class gives to a slab of batches, compiled by numba.

Takes a class, the ordinals of its draws (the numbers of them in its stream), members and a seed.
Fills drawn. Ordinals in a row are a run, permuted as vectors; those of batches further apart are
listed; and where a class has few with the same key, every draw is a lane that waits for others.
Knows nothing of slots, or of which batch a draw is for.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint32, uint64

from gpusampler.cpu_bits import CHUNK, compiled, gather, inlined, key
from gpusampler.cpu_lanes import member_keys, permute_each
from gpusampler.cpu_permute import permute, permute_points
from gpusampler.cpu_unique import draw_wanted
from gpusampler.plan_stratified import FIRST_HIGH, FIRST_LOW, GRID_A, GRID_B, SIZE
from gpusampler.random_bits import MEMBER, RANK_BELOW

LANES = 512  # draws of classes with few of them, that wait to be drawn together
LONG_RUN = 32  # draws of a class from which on they are vectors of their own,
LONG_CYCLE = 8  # if so many of them have the same key

# What a slab has come to: `drawn` is filled by vectors from its front and by lanes from its back,
# and places of the first and draws of the second wait for others.
FRONT, BACK, PLACES, WAITING = range(4)


@compiled
def make_room():
    """What the draws of a slab need besides: wanted [2, LANES] class and ordinal of those that
    wait, words and halves for their lanes; places, points, halves and hashes of a vector."""
    return (
        np.empty((2, LANES), np.uint64),
        np.empty((2, LANES), np.uint64),
        np.empty((11, LANES), np.uint32),
        np.empty((2, LANES), np.uint16),
        np.empty((4, LANES), np.uint16),
        np.empty(CHUNK, np.uint64),
        np.empty(CHUNK, np.uint32),
        np.empty(2 * CHUNK, np.uint16),
        np.empty(RANK_BELOW, np.uint64),
    )


@inlined
def first_place(rows, c):
    low, high = uint64(uint32(rows[c, FIRST_LOW])), uint64(uint32(rows[c, FIRST_HIGH]))
    return low | high << uint64(32)


@compiled
def draw_places(drawn, state, members, identity, places):
    """Gather the places that wait."""
    end = state[FRONT] + state[PLACES]
    gather(drawn[state[FRONT] : end], places, members, identity)
    state[FRONT] = end
    state[PLACES] = 0


@compiled
def draw_run(drawn, state, c, ordinal, todo, rows, members, identity, seed, room):
    """`todo` draws of class c, from this ordinal on, as vectors: to drawn's front.

    Cut where a cycle ends or the chunk of places to be gathered is full.
    """
    _, _, _, _, _, places, points, halves, hashes = room
    n, first = uint64(uint32(rows[c, SIZE])), first_place(rows, c)
    a, b = rows[c, GRID_A], rows[c, GRID_B]
    cycle = ordinal // n
    i = ordinal - cycle * n
    while todo:
        k0, k1 = key(seed, MEMBER, cycle, c)
        end = min(uint64(todo), n - i)
        while end:
            filled = state[PLACES]
            m = min(int64(end), CHUNK - filled)
            permute(points, int64(i), m, int64(n), a, b, k0, k1, halves, hashes)
            for e in range(m):
                places[filled + e] = first + points[e]
            i += uint64(m)
            end -= uint64(m)
            todo -= m
            state[PLACES] = filled + m
            if filled + m == CHUNK:
                draw_places(drawn, state, members, identity, places)
        cycle += uint64(1)
        i = uint64(0)


@compiled
def draw_listed(drawn, state, c, ordinals, rows, members, identity, seed, room):
    """The same for draws whose ordinals are listed, ascending."""
    _, _, _, _, _, places, points, halves, hashes = room
    n, first = uint64(uint32(rows[c, SIZE])), first_place(rows, c)
    a, b = rows[c, GRID_A], rows[c, GRID_B]
    at = 0
    while at < len(ordinals):
        cycle = ordinals[at] // n
        k0, k1 = key(seed, MEMBER, cycle, c)
        begin, end = cycle * n, len(ordinals)
        if ordinals[-1] - begin >= n:
            end = at + np.searchsorted(ordinals[at:], begin + n)
        while at < end:
            filled = state[PLACES]
            m = min(end - at, CHUNK - filled)
            for e in range(m):
                points[e] = uint32(ordinals[at + e] - begin)
            permute_points(points, m, int64(n), a, b, k0, k1, halves, hashes)
            for e in range(m):
                places[filled + e] = first + points[e]
            at += m
            state[PLACES] = filled + m
            if filled + m == CHUNK:
                draw_places(drawn, state, members, identity, places)


@compiled
def draw_waiting(drawn, state, rows, blocks, members, identity, seed, room):
    """Draw what waits, one lane each, to drawn's back: the first is the last in drawn. blocks: None
    or a table of them."""
    wanted, wide, words, sides, halves, _, _, _, _ = room
    m = state[WAITING]
    if blocks is not None:
        state[BACK] -= m
        back = drawn[state[BACK] : state[BACK] + m]
        draw_wanted(back, wanted[:, :m], rows, blocks, members, identity, seed)
        state[WAITING] = 0
        return
    classes, cycles, places = wanted[0, :m], wide[0, :m], wide[1, :m]
    i, n, key0, key1 = words[0, :m], words[1, :m], words[2, :m], words[3, :m]
    a, b = sides[0, :m], sides[1, :m]
    for e in range(m):
        c = classes[e]
        size, ordinal = uint64(uint32(rows[c, SIZE])), wanted[1, e]
        cycles[e] = ordinal // size
        i[e], n[e] = ordinal - cycles[e] * size, size
        a[e], b[e] = rows[c, GRID_A], rows[c, GRID_B]
        places[m - 1 - e] = first_place(rows, c)
    member_keys(cycles, classes, key0, key1, seed)
    permute_each(i, n, a, b, key0, key1, words[4:], halves)
    for e in range(m):
        places[m - 1 - e] += uint64(i[e])
    state[BACK] -= m
    gather(drawn[state[BACK] : state[BACK] + m], places, members, identity)
    state[WAITING] = 0


@inlined
def draw_with_others(
    drawn, state, c, ordinals, ordinal, todo, listed, rows, blocks, members, identity, seed, room
):  # fmt: skip
    """Let a class's draws wait, to be drawn to the back one before the other: those of `ordinals`
    where they are listed, else from this one on."""
    wanted, done = room[0], 0
    while done < todo:
        if state[WAITING] == LANES:
            draw_waiting(drawn, state, rows, blocks, members, identity, seed, room)
        at = state[WAITING]
        m = min(todo - done, LANES - at)
        for d in range(m):
            wanted[0, at + d] = c
            wanted[1, at + d] = ordinals[done + d] if listed else ordinal + uint64(done + d)
        state[WAITING] = at + m
        done += m
