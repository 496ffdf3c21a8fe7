"""CPU draws of which a batch has none twice, compiled by numba: one lane each.

Takes what is asked of classes, as cpu_members does, their rows and blocks, members and a seed.
Fills drawn. Twin of kernels/unique.py. Knows nothing of slots.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint16, uint32, uint64

from gpusampler.blocks import BLOCKS, LAST, LENGTH, SHIFT
from gpusampler.class_rows import GRID_A, GRID_B, SIZE
from gpusampler.cpu_bits import compiled, gather, philox_pairs
from gpusampler.cpu_lanes import permute_each
from gpusampler.cpu_members import COUNT, LISTED, TODO, draw_asked
from gpusampler.cpu_members import LABEL as ASKED_LABEL
from gpusampler.cpu_members import ORDINAL as ASKED_ORDINAL
from gpusampler.cpu_members import ROW as ASKED_ROW
from gpusampler.cpu_spans import BACK, first_place
from gpusampler.random_bits import MEMBER, SCATTER

LANES = 1024

# What is known of a lane. Wide: which draw of its class it is, the class, its row of blocks, its
# first place in members (and then the place); and words and sides of its class and block.
ORDINAL, LABEL, ROW, PLACE, CYCLE, PURPOSE = range(6)
N, AT, PART, BEGIN, KEY_0, KEY_1, ROOM = range(7)
SIDE_A, SIDE_B, PART_A, PART_B, HALVES = range(5)


@compiled
def make_lanes():
    return (
        np.empty((6, LANES), np.uint64),
        np.empty((ROOM + 7, LANES), np.uint32),
        np.empty((HALVES + 4, LANES), np.uint16),
    )


@compiled
def _stand(m, lanes, blocks):
    """Where in which block of which pass each lane is."""
    wide, words, sides = lanes
    for e in range(m):
        at, n = wide[ROW, e], uint64(words[N, e])
        cycle = wide[ORDINAL, e] // n
        i = uint32(wide[ORDINAL, e] - cycle * n)
        length, number = uint32(blocks[at, LENGTH]), uint32(blocks[at, BLOCKS])
        block = uint32(i // length)
        begin, column = uint32(block * length), LAST if block == number - 1 else LENGTH
        size = uint32(blocks[at, column])
        if uint32(i - begin) >= size:  # the second of the two behind the first
            begin, block = uint32(begin + size), uint32(block + uint32(1))
        wide[CYCLE, e], wide[PURPOSE, e] = cycle, uint64(block) << uint64(8) | uint64(MEMBER)
        words[AT, e], words[PART, e] = uint32(i - begin), size
        moved = (cycle + uint64(1)) * uint64(blocks[at, SHIFT]) + uint64(begin)
        words[BEGIN, e] = uint32(moved - moved // n * n)
        sides[PART_A, e] = uint16(blocks[at, column + 1])
        sides[PART_B, e] = uint16(blocks[at, column + 2])


@compiled
def _keys(m, lanes, seed, scatter):
    wide, words, _ = lanes
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    keep = uint64(0) if scatter else ~uint64(0)
    for e in range(m):
        x = wide[CYCLE, e] & keep
        purpose = uint64(SCATTER) if scatter else wide[PURPOSE, e]
        pair, _ = philox_pairs(x, x >> uint64(32), wide[LABEL, e], purpose, k0, k1)
        words[KEY_0, e] = uint32(pair)
        words[KEY_1, e] = uint32(pair >> uint64(32))


@compiled
def place_lanes(m, lanes, blocks, seed):
    """PLACE of the first m lanes, whose ORDINAL, LABEL, ROW, N, SIDE_A, SIDE_B and first PLACE are
    known, goes on to the place of the draw."""
    wide, words, sides = lanes
    i, part, n = words[AT, :m], words[PART, :m], words[N, :m]
    key0, key1, room, halves = words[KEY_0, :m], words[KEY_1, :m], words[ROOM:], sides[HALVES:]
    _stand(m, lanes, blocks)
    _keys(m, lanes, seed, False)
    permute_each(i, part, sides[PART_A, :m], sides[PART_B, :m], key0, key1, room, halves)
    parted = False
    for e in range(m):
        place = uint32(i[e] + words[BEGIN, e])
        parted |= part[e] != n[e]
        i[e] = part[e] = place - n[e] if place >= n[e] else place
    if parted:
        _keys(m, lanes, seed, True)
        permute_each(i, n, sides[SIDE_A, :m], sides[SIDE_B, :m], key0, key1, room, halves)
    for e in range(m):
        alone = blocks[wide[ROW, e], BLOCKS] == 1
        wide[PLACE, e] += uint64(part[e]) if alone else uint64(i[e])


@compiled
def _draw_lanes(drawn, state, m, lanes, rows, blocks, members, identity, seed):
    """Draw the first m lanes, of known ORDINAL, LABEL and ROW, to drawn's back: the first is the
    last in drawn."""
    wide, words, sides = lanes
    for e in range(m):
        c = int64(wide[ROW, e])
        wide[PLACE, e], words[N, e] = first_place(rows, c), uint32(rows[c, SIZE])
        sides[SIDE_A, e], sides[SIDE_B, e] = rows[c, GRID_A], rows[c, GRID_B]
    place_lanes(m, lanes, blocks, seed)
    places = wide[ORDINAL, :m]
    for e in range(m):
        places[m - 1 - e] = wide[PLACE, e]
    state[BACK] -= m
    gather(drawn[state[BACK] : state[BACK] + m], places, members, identity)


@compiled
def _draw_unique(
    drawn, state, asked, entries, ordinals, stride, rows, blocks, members, identity, seed
):  # fmt: skip
    """What this many entries ask for, each draw a lane; see cpu_members.draw_asked()."""
    lanes, step, m = make_lanes(), uint64(stride), 0
    wide, _, _ = lanes
    for k in range(entries):
        row, label, begin = asked[k, ASKED_ROW], asked[k, ASKED_LABEL], asked[k, ASKED_ORDINAL]
        todo, count = asked[k, TODO], asked[k, COUNT]
        now, j = begin, uint64(0)
        for d in range(todo):
            wide[ROW, m], wide[LABEL, m] = row, label
            if stride == LISTED:
                wide[ORDINAL, m] = ordinals[begin + uint64(d)]
            else:
                wide[ORDINAL, m] = now + j
                j += uint64(1)
                if j == count:
                    now, j = now + step * count, uint64(0)
            m += 1
            if m == LANES:
                _draw_lanes(drawn, state, m, lanes, rows, blocks, members, identity, seed)
                m = 0
    _draw_lanes(drawn, state, m, lanes, rows, blocks, members, identity, seed)


@compiled
def draw_asked_or_unique(
    drawn, back, asked, entries, ordinals, stride, rows, blocks, members, identity, seed
):  # fmt: skip
    """draw_asked(), or where there are blocks the same by them: then every entry asks for lanes."""
    if blocks is None:
        draw_asked(drawn, back, asked, entries, ordinals, stride, rows, members, identity, seed)
    else:
        _draw_unique(
            drawn, back[0], asked, entries, ordinals, stride, rows, blocks, members, identity, seed
        )
