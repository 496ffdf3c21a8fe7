"""CPU lanes of kind pk: keyed permutations of many short runs at once, each with its own key.

Takes, for each of `count` runs, a size, a grid and a key, and up to `deep` points of each: point m
of run v lies at points[m * count + v], so that the runs are the lanes of every vector loop.
Gives the permuted points, in place. Knows nothing of classes, members or batches.
"""

from __future__ import annotations

import numpy as np
from numba import float64, int32, uint16, uint32, uint64

from gpusampler.bits.random_bits import RANK_BELOW, WEYL_0, WEYL_1
from gpusampler.cpu.bits import compiled, lowbias32, mix
from gpusampler.cpu.compiling import compiled_without_checks
from gpusampler.cpu.permute import ROUNDS, half_round, permute_one

LANES = 2048  # points at once; their scratch stays in the first-level cache
STRIP = 64  # of them, looked through one by one if any has to walk on


@compiled
def make_scratch():
    """What the permutations below need, for up to LANES points and runs."""
    return (
        np.empty(LANES, np.uint16),
        np.empty(LANES, np.uint16),
        np.empty((4, LANES), np.uint16),
        np.empty(LANES, np.float64),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(RANK_BELOW * LANES, np.uint32),
    )


@compiled
def _halves(low, high, key, weyl, count):
    for v in range(count):
        w = uint32(key[v] + weyl)
        low[v] = uint16(w)
        high[v] = uint16(w >> uint32(16))


@compiled_without_checks
def _invert(inverse, b, count):
    for v in range(count):
        inverse[v] = 1.0 / float64(int32(b[v]))


@compiled
def _split(points, left, right, b, inverse, deep, count):
    """left, right = divmod(point, b): the quotient of reals, half a step up, rounds down right."""
    _invert(inverse, b, count)
    for m in range(deep):
        at, lefts, rights = points[m * count :], left[m * count :], right[m * count :]
        for v in range(count):
            quotient = uint32(int32((float64(int32(at[v])) + 0.5) * inverse[v]))
            lefts[v] = uint16(quotient)
            rights[v] = uint16(uint32(at[v] - uint32(quotient * uint32(b[v]))))


@compiled
def _round(left, right, a, b, low0, high0, low1, high1, deep, count):
    for m in range(deep):
        lefts, rights = left[m * count :], right[m * count :]
        for v in range(count):
            x = half_round(lefts[v], rights[v], low0[v], high0[v], a[v])
            lefts[v] = x
            rights[v] = half_round(rights[v], x, low1[v], high1[v], b[v])


@compiled
def _join(points, left, right, deep, count, n, a, b, k0, k1):
    for m in range(deep):
        at, lefts, rights = points[m * count :], left[m * count :], right[m * count :]
        for begin in range(0, count, STRIP):
            strip = range(uint64(begin), uint64(min(begin + STRIP, count)))
            outside = uint32(0)
            for v in strip:
                i = uint32(uint32(uint32(lefts[v]) * uint32(b[v])) + uint32(rights[v]))
                at[v] = i
                outside |= uint32(i >= n[v])
            if outside:
                for v in strip:
                    if at[v] >= n[v]:
                        at[v] = permute_one(at[v], n[v], a[v], b[v], k0[v], k1[v])


@compiled
def permute_lanes(points, deep, count, n, a, b, k0, k1, scratch):
    """points = perm(points, n, (k0, k1)), on grids a x b; 0 where a = b = 1 (n < RANK_BELOW)."""
    left, right, halves, inverse, _, _, _ = scratch
    low0, high0, low1, high1 = halves[0], halves[1], halves[2], halves[3]
    _split(points, left, right, b, inverse, deep, count)
    for t in range(ROUNDS):
        _halves(low0, high0, k0, uint32(uint32(t) * uint32(WEYL_0)), count)
        _halves(low1, high1, k1, uint32(uint32(t) * uint32(WEYL_1)), count)
        _round(left, right, a, b, low0, high0, low1, high1, deep, count)
    _join(points, left, right, deep, count, n, a, b, k0, k1)


@compiled
def _hash(hashes, j, n, k0, k1, count):
    """The hash of j, and the highest where there is no j: it then comes before none."""
    for v in range(count):
        h = lowbias32(uint32(mix(uint32(uint32(j) ^ k0[v])) ^ k1[v]))
        hashes[v] = h if uint32(j) < n[v] else uint32(0xFFFFFFFF)


@compiled
def _count_before(ranks, hashes, mine, points, j, count):
    for v in range(count):
        tie = (hashes[v] == mine[v]) & (uint32(j) < points[v])
        ranks[v] += uint32((hashes[v] < mine[v]) | tie)


@compiled
def rank_lanes(points, deep, count, n, k0, k1, scratch):
    """points = perm(points, n, (k0, k1)) for n < RANK_BELOW."""
    _, _, _, _, mine, ranks, hashes = scratch
    most = 0
    for v in range(count):
        most = max(most, int32(n[v]))
    for j in range(most):
        _hash(hashes[j * count :], j, n, k0, k1, count)
    for m in range(0, deep * count, count):
        at = points[m : m + count]
        for v in range(count):
            mine[v] = hashes[at[v] * uint32(count) + uint32(v)]
            ranks[v] = uint32(0)
        for j in range(most):
            _count_before(ranks, hashes[j * count :], mine, at, j, count)
        for v in range(count):
            at[v] = ranks[v]
