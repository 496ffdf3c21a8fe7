"""CPU lanes: draws of many classes at once, one a lane, each with a class and key of its own.

Takes classes, and how far each has come in which of its cycles. Gives places in members.
For classes whose runs are too short to be vectors of their own (permute.permute).
Knows nothing of plans or batches.
"""

from __future__ import annotations

import numpy as np
from numba import float64, int32, uint16, uint32, uint64

from gpusampler.bits.random_bits import MEMBER, RANK_BELOW, WEYL_0, WEYL_1
from gpusampler.cpu.bits import compiled, inlined, lowbias32, mix, philox_pairs
from gpusampler.cpu.compiling import compiled_without_checks
from gpusampler.cpu.permute import ROUNDS, half_round, permute_one

FEW = 3  # up to here lanes one after another are faster
ROOM, ROW = 5, 12  # of a lane's words: the first of 7 to work in, and where its class's row is kept


@compiled
def make_lanes(lanes):
    """words: ordinals, n, labels and keys, room for permute_each(), and rows; halves: sides and
    room; wide: cycles or where in drawn, and the class's first place. An even number of lanes."""
    some = np.empty(10 * lanes, np.uint64)  # one array: making one costs as a vector
    words = some[2 * lanes : 2 * lanes + (ROW + 1) * lanes // 2].view(np.uint32)
    halves = some[17 * lanes // 2 :].view(np.uint16)
    return (
        words.reshape((ROW + 1, lanes)),
        halves.reshape((6, lanes)),
        some[: 2 * lanes].reshape((2, lanes)),
    )


@compiled
def member_keys(cycles, classes, key0, key1, seed):
    """Words 0 and 1 of Philox(seed; cycle, class, MEMBER)."""
    k0, k1 = uint32(seed), uint32(uint64(seed) >> uint64(32))
    for e in range(len(cycles)):
        x = cycles[e]
        pair, _ = philox_pairs(x, x >> uint64(32), uint64(classes[e]), uint64(MEMBER), k0, k1)
        key0[e] = uint32(pair)
        key1[e] = uint32(pair >> uint64(32))


@compiled
def permute_each(i, n, a, b, key0, key1, words, halves):
    """i[e] = perm(i[e], n[e], key[e]): each lane has its own set, grid (1 x 1 where n is ranked)
    and key. words [7, lanes] uint32 and halves [4, lanes] uint16 are room to work in."""
    ranked = 0
    for e in range(len(i)):
        ranked += n[e] < uint32(RANK_BELOW)
    if ranked < len(i):
        _feistel(i, n, a, b, key0, key1, halves[0], halves[1])
        _walk_on(i, n, a, b, key0, key1, words, halves)
    if ranked:
        _rank_some(i, n, key0, key1, words)


@compiled_without_checks
def _split_each(i, b, left, right):
    for e in range(len(i)):
        # exact: a quotient that is no whole number is 2^-16 from one, relative 2^-48; below 2^32,
        # since a grid may reach beyond 2^31, by way of a sign: vectors convert no unsigned numbers
        point = float64(int32(uint32(i[e] ^ uint32(1 << 31)))) + float64(1 << 31)
        quotient = int32(point / float64(int32(b[e])))
        left[e] = quotient
        right[e] = uint32(i[e]) - uint32(quotient) * uint32(b[e])


@compiled
def _feistel(i, n, a, b, key0, key1, left, right):
    _split_each(i, b, left, right)
    for t in range(ROUNDS):
        weyl0, weyl1 = uint32(t) * uint32(WEYL_0), uint32(t) * uint32(WEYL_1)
        for e in range(len(i)):
            w0, w1 = uint32(key0[e] + weyl0), uint32(key1[e] + weyl1)
            low0, high0 = uint16(w0), uint16(w0 >> uint32(16))
            low1, high1 = uint16(w1), uint16(w1 >> uint32(16))
            x = half_round(left[e], right[e], low0, high0, a[e])
            left[e] = x
            right[e] = half_round(right[e], x, low1, high1, b[e])
    for e in range(len(i)):
        found = uint32(uint32(left[e]) * uint32(b[e])) + uint32(right[e])
        i[e] = i[e] if n[e] < uint32(RANK_BELOW) else found


@compiled
def _walk_on(i, n, a, b, key0, key1, words, halves):
    """Lanes beyond [0, n): once more, side by side, and what is left of them one by one."""
    at, m = words[0], 0
    for e in range(len(i)):
        if i[e] >= n[e]:
            at[m] = e
            m += 1
    if m > FEW:
        others, halves_of = words[1:, :m], halves[:, :m]
        for d in range(m):
            e = at[d]
            others[0, d], others[1, d], others[2, d], others[3, d] = i[e], n[e], key0[e], key1[e]
            halves_of[2, d], halves_of[3, d] = a[e], b[e]
        _feistel(
            others[0], others[1], halves_of[2], halves_of[3], others[2], others[3],
            halves_of[0], halves_of[1],
        )  # fmt: skip
        for d in range(m):
            i[at[d]] = others[0, d]
    for d in range(m):
        e = at[d]
        if i[e] >= n[e]:
            i[e] = permute_one(i[e], n[e], a[e], b[e], key0[e], key1[e])


@compiled
def _rank_some(i, n, key0, key1, words):
    """Of the lanes with 1 < n < RANK_BELOW, put side by side and then back."""
    m = 0
    for e in range(len(i)):
        if uint32(1) < n[e] < uint32(RANK_BELOW):
            words[0, m], words[1, m], words[2, m] = i[e], n[e], e
            words[3, m], words[4, m] = key0[e], key1[e]
            m += 1
    _rank(words[0, :m], words[1, :m], words[3, :m], words[4, :m], words[5, :m], words[6, :m])
    for d in range(m):
        i[words[2, d]] = words[5, d]


@inlined
def _hash(j, k0, k1):
    return lowbias32(uint32(mix(uint32(j ^ k0)) ^ k1))


@compiled
def _rank(i, n, key0, key1, rank, mine):
    """The rank of each i's hash among those of [0, n)."""
    most = uint32(0)
    for e in range(len(i)):
        mine[e] = _hash(i[e], key0[e], key1[e])
        rank[e] = 0
        most = max(most, n[e])
    for j in range(most):
        for e in range(len(i)):
            other = _hash(uint32(j), key0[e], key1[e])
            before = (other < mine[e]) | ((other == mine[e]) & (uint32(j) < i[e]))
            rank[e] += uint32(before & (uint32(j) < n[e]))
