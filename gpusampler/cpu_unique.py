"""CPU draws of which a batch has none twice, compiled by numba: one lane each.

Takes draws (of which class, which of its draws), the class's row, its blocks and a seed.
Gives places in members, or fills drawn from the rows of a fixed plan. Twin of kernels/unique.py.
Knows nothing of slots.
"""

from __future__ import annotations

import numpy as np
from numba import uint16, uint32, uint64

from gpusampler.blocks import BLOCKS, LAST, LENGTH, SHIFT
from gpusampler.cpu_bits import compiled, gather, philox_pairs
from gpusampler.cpu_lanes import permute_each
from gpusampler.plan import CLASS, COUNT, FIRST, GRID_A, GRID_B, SIZE, START
from gpusampler.plan_stratified import FIRST_HIGH, FIRST_LOW
from gpusampler.plan_stratified import GRID_A as CLASS_A
from gpusampler.plan_stratified import GRID_B as CLASS_B
from gpusampler.plan_stratified import SIZE as CLASS_SIZE
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
def draw_wanted(out, wanted, rows, blocks, members, identity, seed):
    """out[-1 - e]: draw wanted[1, e] of class wanted[0, e], which is its row of a stratified plan;
    at most LANES of them."""
    lanes, m = make_lanes(), len(out)
    wide, words, sides = lanes
    for e in range(m):
        c, at = wanted[0, e], m - 1 - e
        wide[ORDINAL, at], wide[LABEL, at], wide[ROW, at] = wanted[1, e], c, c
        low, high = uint64(uint32(rows[c, FIRST_LOW])), uint64(uint32(rows[c, FIRST_HIGH]))
        wide[PLACE, at] = low | high << uint64(32)
        words[N, at] = uint32(rows[c, CLASS_SIZE])
        sides[SIDE_A, at], sides[SIDE_B, at] = rows[c, CLASS_A], rows[c, CLASS_B]
    place_lanes(m, lanes, blocks, seed)
    gather(out, wide[PLACE], members, identity)


@compiled
def draw_fixed_classes(drawn, n_rows, g0, stride, rows, blocks, members, identity, seed):
    """drawn [n_rows * B]: the draws of class row c from B's rank RANK on times n_rows."""
    lanes = make_lanes()
    wide, words, sides = lanes
    done, m = 0, 0
    for c in range(len(rows)):
        count, label, first = rows[c, COUNT], uint64(rows[c, CLASS]), uint64(rows[c, FIRST])
        a, b = uint16(max(rows[c, GRID_A], 1)), uint16(max(rows[c, GRID_B], 1))
        for t in range(n_rows):
            ordinal = uint64(rows[c, START]) + uint64(g0 + t * stride) * uint64(count)
            for j in range(count):
                wide[ORDINAL, m], wide[LABEL, m] = ordinal + uint64(j), label
                wide[ROW, m], wide[PLACE, m] = c, first
                words[N, m], sides[SIDE_A, m], sides[SIDE_B, m] = rows[c, SIZE], a, b
                m += 1
                if m == LANES or done + m == len(drawn):
                    place_lanes(m, lanes, blocks, seed)
                    gather(drawn[done : done + m], wide[PLACE], members, identity)
                    done += m
                    m = 0
