"""CPU unique: where draws lie of which a batch has none twice, one lane each, compiled by numba.

Takes lanes (lanes): how far each has come in which pass of its class; and the classes' blocks.
Gives places in the classes. Twin of kernels/unique.py.
Knows nothing of plans, batches or members.
"""

from __future__ import annotations

import numpy as np
from numba import uint16, uint32, uint64

from gpusampler.bits.random_bits import MEMBER, SCATTER
from gpusampler.cpu.bits import compiled, philox_pairs
from gpusampler.cpu.lanes import ROOM, ROW, permute_each
from gpusampler.plans.blocks import BLOCKS, LAST, LENGTH, SHIFT


@compiled
def _find_blocks(i, n, rows, passes, sizes, begins, purposes, sides, blocks):
    """From how far each lane has come in its pass to how far in a block of it: i. And of that
    block the size and sides, where it begins and its purpose."""
    for e in range(len(i)):
        row, whole = rows[e], uint64(n[e])
        length, number = uint32(blocks[row, LENGTH]), uint32(blocks[row, BLOCKS])
        block = uint32(i[e] // length)
        begin, column = uint32(block * length), LAST if block == number - 1 else LENGTH
        size = uint32(blocks[row, column])
        if uint32(i[e] - begin) >= size:  # the second of the two behind the first
            begin, block = uint32(begin + size), uint32(block + uint32(1))
        purposes[e] = uint64(block) << uint64(8) | uint64(MEMBER)
        i[e], sizes[e] = uint32(i[e] - begin), size
        moved = (passes[e] + uint64(1)) * uint64(blocks[row, SHIFT]) + uint64(begin)
        begins[e] = uint32(moved - moved // whole * whole)
        sides[0, e] = uint16(blocks[row, column + 1])
        sides[1, e] = uint16(blocks[row, column + 2])


@compiled
def _keys(passes, labels, purposes, key0, key1, seed):
    """Words 0 and 1 of Philox(seed; pass, class, purpose)."""
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    for e in range(len(passes)):
        x, label, purpose = passes[e], uint64(labels[e]), uint64(purposes[e])
        pair, _ = philox_pairs(x, x >> uint64(32), label, purpose, k0, k1)
        key0[e] = uint32(pair)
        key1[e] = uint32(pair >> uint64(32))


@compiled
def permute_in_blocks(m, lanes, blocks, seed):
    """i of the first m lanes, which is the ordinal in its pass, goes on to the place in the class:
    by its block's order, and where there are more blocks than one by the class's. The passes are
    lost."""
    words, halves, wide = lanes
    i, n, labels, rows = words[0, :m], words[1, :m], words[2, :m], words[ROW, :m]
    key0, key1, passes, room = words[3, :m], words[4, :m], wide[0, :m], words[ROOM:]
    part, sides = np.empty((3, m), np.uint32), np.empty((2, m), np.uint16)
    sizes, begins, purposes = part[0], part[1], part[2]
    _find_blocks(i, n, rows, passes, sizes, begins, purposes, sides, blocks)
    _keys(passes, labels, purposes, key0, key1, seed)
    permute_each(i, sizes, sides[0], sides[1], key0, key1, room, halves[2:])
    parted, places = False, begins
    for e in range(m):
        place = uint32(i[e] + begins[e])
        parted |= sizes[e] != n[e]
        i[e] = places[e] = place - n[e] if place >= n[e] else place
    if parted:
        passes[:], purposes[:] = 0, SCATTER
        _keys(passes, labels, purposes, key0, key1, seed)
        permute_each(i, n, halves[0, :m], halves[1, :m], key0, key1, room, halves[2:])
        for e in range(m):
            if blocks[rows[e], BLOCKS] == 1:
                i[e] = places[e]
