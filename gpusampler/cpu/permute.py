"""CPU permute: the keyed permutation, compiled by numba.

Takes runs or points of [0, n), a grid and a key. Gives where the permutation sends them.
Knows nothing of classes, members or batches. The vector loops are those over e.
"""

from __future__ import annotations

from numba import float32, float64, int32, uint16, uint32, uint64

from gpusampler.bits.random_bits import HALF_ROUNDS, RANK_BELOW, ROUND_M0, ROUND_M1, WEYL_0, WEYL_1
from gpusampler.cpu.bits import CHUNK, WHOLE, compiled, inlined, lowbias32, mix, mulhi16

FLOAT32_BELOW = 1 << 21  # where 32 bits are enough to divide
FEW_LANES = 3  # up to here one lane after another is faster
LONG = 288  # lanes
ROUNDS = HALF_ROUNDS // 2
RIGHT = uint64(CHUNK)  # halves[e] is left of a lane and halves[e + RIGHT] right of it: one array,
# so that no loop has to find out first whether its two overlap


@compiled
def _hash_all(hashes, n, k0, k1):
    for j in range(n):
        # the index below the hash breaks ties and makes one comparison of two
        h = lowbias32(uint32(mix(uint32(uint32(j) ^ k0)) ^ k1))
        hashes[j] = uint64(h) << uint64(5) | uint64(j)


@compiled
def permute_ranked(out, i0, m, n, k0, k1, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for n < RANK_BELOW."""
    _hash_all(hashes, n, k0, k1)
    for e in range(m):
        mine = hashes[i0 + e]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        out[e] = rank


@compiled
def rank_points(points, m, n, k0, k1, hashes):
    _hash_all(hashes, n, k0, k1)
    for e in range(m):
        mine = hashes[points[e]]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        points[e] = rank


@inlined
def whole_vectors(m):
    return (m + WHOLE - 1) // WHOLE * WHOLE


@compiled
def _split_run(i0, m, b, halves):
    """Left and right: divmod(i0 + e, b); exact as split() is, as i0 % b + e < 2^17."""
    above = i0 // b
    rest, inverse, side = uint32(i0 - above * b), float32(1.0) / float32(b), uint16(b)
    for e in range(uint64(m)):
        x = float32(int32(uint32(rest + uint32(e)))) + float32(0.5)
        quotient = uint16(int32(x * inverse))
        halves[e] = uint16(quotient + uint16(above))
        halves[e + RIGHT] = uint16(uint16(uint16(rest) + uint16(e)) - uint16(quotient * side))


@compiled
def split(points, begin, end, n, b, halves):
    """Left and right: divmod(points[e], b), for points below n.

    Exact: a point and a half is 1 / 2b from a whole quotient, or more, and off by less than
    n * 2^-22 of that in 32 bits, n * 2^-51 in 64.
    """
    begin, end, side = uint64(begin), uint64(end), uint16(b)
    if n < FLOAT32_BELOW:
        inverse = float32(1.0) / float32(b)
        for e in range(begin, end):
            halves[e] = uint16(int32((float32(int32(points[e])) + float32(0.5)) * inverse))
    else:
        wide_inverse = 1.0 / float64(b)
        for e in range(begin, end):
            halves[e] = uint16(int32((float64(int32(points[e])) + 0.5) * wide_inverse))
    for e in range(begin, end):  # apart: these lanes have 16 bits
        halves[e + RIGHT] = uint16(uint16(points[e]) - uint16(halves[e] * side))


@inlined
def half_round(x, y, key_low, key_high, side):
    h = uint16(uint16(y ^ key_low) * uint16(ROUND_M0))
    h = uint16(h ^ uint16(h >> uint16(8)) ^ key_high)
    # x - (side - v) mod side, since x + v may pass 16 bits
    back = uint16(side - uint16(mulhi16(uint16(h * uint16(ROUND_M1)), side)))
    moved = uint16(x - back)
    return uint16(moved + side) if x < back else moved


@inlined
def two_rounds(halves, begin, end, a, b, k0, k1, t):
    """Half-rounds 2t and 2t + 1 of lanes begin..end, whole vectors.

    In one loop where that ends soon; else in two, where lanes wait for less of what is before.
    """
    a, b = uint16(a), uint16(b)
    w0 = uint32(k0 + uint32(t) * uint32(WEYL_0))
    w1 = uint32(k1 + uint32(t) * uint32(WEYL_1))
    low0, high0 = uint16(w0), uint16(w0 >> uint32(16))
    low1, high1 = uint16(w1), uint16(w1 >> uint32(16))
    if end - begin < LONG:
        for at in range(uint64(begin), uint64(end), uint64(WHOLE)):
            for d in range(WHOLE):
                e = at + uint64(d)
                x = half_round(halves[e], halves[e + RIGHT], low0, high0, a)
                halves[e] = x
                halves[e + RIGHT] = half_round(halves[e + RIGHT], x, low1, high1, b)
    else:
        for at in range(uint64(begin), uint64(end), uint64(WHOLE)):
            for d in range(WHOLE):
                e = at + uint64(d)
                halves[e] = half_round(halves[e], halves[e + RIGHT], low0, high0, a)
        for at in range(uint64(begin), uint64(end), uint64(WHOLE)):
            for d in range(WHOLE):
                e = at + uint64(d)
                halves[e + RIGHT] = half_round(halves[e + RIGHT], halves[e], low1, high1, b)


@compiled
def _rounds(halves, m, a, b, k0, k1):
    for t in range(ROUNDS):
        two_rounds(halves, 0, whole_vectors(m), a, b, k0, k1, t)


@inlined
def _half_round_one(x, y, w, side):
    """half_round of one lane, in 32 bits: it waits for one multiply less."""
    h = uint32(uint32(y ^ w) * uint32(ROUND_M0 << 16))
    h = uint32(uint32(h ^ uint32(h >> uint32(8)) ^ w) >> uint32(16))
    h = uint32(h * uint32(ROUND_M1 << 16))
    x = uint32(x + uint32(uint64(h) * uint64(side) >> uint64(32)))
    return uint32(x - side) if x >= side else x


@compiled
def permute_one(i, n, a, b, k0, k1):
    """perm(i, n, (k0, k1)) of one place, n >= RANK_BELOW."""
    i, n, a, b = uint32(i), uint32(n), uint32(a), uint32(b)
    while True:
        left = uint32(i // b)
        right = uint32(i - left * b)
        for t in range(ROUNDS):
            w0 = uint32(k0 + uint32(t) * uint32(WEYL_0))
            w1 = uint32(k1 + uint32(t) * uint32(WEYL_1))
            left = _half_round_one(left, right, w0, a)
            right = _half_round_one(right, left, w1, b)
        i = uint32(left * b + right)
        if i < n:
            return i


@compiled
def permute(out, i0, m, n, a, b, k0, k1, halves, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for 0 <= e < m <= CHUNK; halves [2 * CHUNK] uint16."""
    if n < RANK_BELOW:
        permute_ranked(out, i0, m, n, k0, k1, hashes)
        return
    if m <= FEW_LANES:
        for e in range(m):
            out[e] = permute_one(i0 + e, n, a, b, k0, k1)
        return
    _split_run(i0, m, b, halves)
    _rounds(halves, m, a, b, k0, k1)
    _join(out, halves, m, n, a, b, k0, k1)


@compiled
def _join(out, halves, m, n, a, b, k0, k1):
    """Back from the grid to [0, a * b), and on from there to [0, n)."""
    side, highest = uint32(b), uint32(0)
    for e in range(uint64(m)):
        i = uint32(uint32(uint32(halves[e]) * side) + uint32(halves[e + RIGHT]))
        out[e] = i
        highest = max(highest, i)
    if highest >= n:
        for e in range(m):
            if out[e] >= n:
                out[e] = permute_one(out[e], n, a, b, k0, k1)
