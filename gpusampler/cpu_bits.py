"""CPU bits: Philox and the keyed permutation, compiled by numba.

Takes keys and counters. Gives words, and permuted runs of [0, n).
Knows nothing of classes, members or batches. Numba's integer arithmetic widens to 64 bits, hence
the casts; the vector loops are those over e.
"""

from __future__ import annotations

import llvmlite.ir as ir
from numba import float64, int32, njit, types, uint16, uint32, uint64
from numba.extending import intrinsic

from gpusampler.random_bits import (
    HALF_ROUNDS,
    MIX_M0,
    MIX_M1,
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_W0,
    PHILOX_W1,
    RANK_BELOW,
    ROUND_M0,
    ROUND_M1,
    WEYL_0,
    WEYL_1,
)

CHUNK = 2048  # lanes of one vector loop; its scratch stays in the first-level cache
FEW_LANES = 3  # up to here one lane after another is faster
ROUNDS = HALF_ROUNDS // 2

compiled = njit(nogil=True, cache=True)
inlined = njit(nogil=True, inline="always")


@intrinsic
def _less_share(context, h, side):
    """side - (h * side >> 16) in 16 bits throughout: numba would widen each step to 64 bits,
    and the multiply-high of 16-bit lanes would not be found."""

    def code(context, builder, signature, args):
        wide = ir.IntType(32)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        share = builder.trunc(builder.lshr(product, ir.Constant(wide, 16)), ir.IntType(16))
        return builder.sub(args[1], share)

    return types.uint16(types.uint16, types.uint16), code


@intrinsic
def mulhi64(context, x, y):
    """The high half of a 64 x 64 bit product, one instruction."""

    def code(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@inlined
def _half_round(x, y, key_low, key_high, side):
    h = uint16(uint16(y ^ key_low) * uint16(ROUND_M0))
    h = uint16(h ^ uint16(h >> uint16(8)) ^ key_high)
    # x - (side - v) mod side, since x + v may pass 16 bits
    back: int = _less_share(uint16(h * uint16(ROUND_M1)), side)
    moved = uint16(x - back)
    return uint16(moved + side) if x < back else moved


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    for _ in range(10):
        p = uint64(uint32(c0)) * uint64(PHILOX_M0)
        q = uint64(uint32(c2)) * uint64(PHILOX_M1)
        c0 = uint32(uint32(q >> uint64(32)) ^ c1 ^ k0)
        c2 = uint32(uint32(p >> uint64(32)) ^ c3 ^ k1)
        c1 = uint32(q)
        c3 = uint32(p)
        k0 = uint32(k0 + uint32(PHILOX_W0))
        k1 = uint32(k1 + uint32(PHILOX_W1))
    return c0, c1, c2, c3


@inlined
def philox_pairs(c0, c1, c2, c3, k0, k1):
    """philox() as two 64-bit numbers, words 0-1 and 2-3, for vector loops.

    Counters in 64-bit lanes whose high halves may hold anything: a 32 x 32 -> 64 bit multiply
    does not read them, so nothing is masked or packed between rounds.
    """
    low, half = uint64(0xFFFFFFFF), uint64(32)
    for _ in range(10):
        p = (c0 & low) * uint64(PHILOX_M0)
        q = (c2 & low) * uint64(PHILOX_M1)
        c0 = (q >> half) ^ c1 ^ uint64(k0)
        c2 = (p >> half) ^ c3 ^ uint64(k1)
        c1 = q
        c3 = p
        k0 = uint32(k0 + uint32(PHILOX_W0))
        k1 = uint32(k1 + uint32(PHILOX_W1))
    return c1 << half | c0 & low, c3 << half | c2 & low


@compiled
def key(seed, purpose, x, y):
    """Words 0 and 1 of Philox(seed; x, y, purpose)."""
    x, seed = uint64(x), uint64(seed)
    k0, k1, _, _ = philox(
        uint32(x),
        uint32(x >> uint64(32)),
        uint32(y),
        uint32(purpose),
        uint32(seed),
        uint32(seed >> uint64(32)),
    )
    return k0, k1


@inlined
def _mix(x):
    x = uint32(uint32(x) * uint32(MIX_M0))
    x = uint32(x ^ uint32(x >> uint32(15)))
    return uint32(x * uint32(MIX_M1))


@inlined
def _lowbias32(x):
    x = _mix(uint32(x ^ uint32(x >> uint32(16))))
    return uint32(x ^ uint32(x >> uint32(16)))


@compiled
def _hash_all(hashes, n, k0, k1):
    for j in range(n):
        # the index below the hash breaks ties and makes one comparison of two
        h = _lowbias32(uint32(_mix(uint32(uint32(j) ^ k0)) ^ k1))
        hashes[j] = uint64(h) << uint64(5) | uint64(j)


@compiled
def _permute_ranked(out, i0, m, n, k0, k1, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for n < RANK_BELOW."""
    _hash_all(hashes, n, k0, k1)
    for e in range(m):
        mine = hashes[i0 + e]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        out[e] = rank


@compiled
def _permute_points_ranked(points, m, n, k0, k1, hashes):
    _hash_all(hashes, n, k0, k1)
    for e in range(m):
        mine = hashes[points[e]]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        points[e] = rank


@compiled
def _split(i0, m, b, left, right):
    """left[e], right[e] = divmod(i0 + e, b), by a multiplication.

    floor(x * inverse / 2^33) = x // b for x * b < 2^33, and here x < b + CHUNK, b < 2^16.
    """
    above = i0 // b
    rest = uint64(i0 - above * b)
    side = uint64(b)
    inverse = (uint64(1) << uint64(33)) // side + uint64(1)
    for e in range(m):
        x = rest + uint64(e)
        quotient = x * inverse >> uint64(33)
        left[e] = uint16(quotient + uint64(above))
        right[e] = uint16(x - quotient * side)


@compiled
def _rounds(left, right, m, a, b, k0, k1):
    a, b = uint16(a), uint16(b)
    for t in range(ROUNDS):
        w0 = uint32(k0 + uint32(t) * uint32(WEYL_0))
        w1 = uint32(k1 + uint32(t) * uint32(WEYL_1))
        low0, high0 = uint16(w0), uint16(w0 >> uint32(16))
        low1, high1 = uint16(w1), uint16(w1 >> uint32(16))
        for e in range(m):
            x = _half_round(left[e], right[e], low0, high0, a)
            left[e] = x
            right[e] = _half_round(right[e], x, low1, high1, b)


@inlined
def _half_round_one(x, y, w, side):
    """_half_round of one lane, in 32 bits: it waits for one multiply less."""
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
def permute(out, i0, m, n, a, b, k0, k1, left, right, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for 0 <= e < m <= CHUNK."""
    if n < RANK_BELOW:
        _permute_ranked(out, i0, m, n, k0, k1, hashes)
        return
    if m <= FEW_LANES:
        for e in range(m):
            out[e] = permute_one(i0 + e, n, a, b, k0, k1)
        return
    _split(i0, m, b, left, right)
    _rounds(left, right, m, a, b, k0, k1)
    _join(out, left, right, m, n, a, b, k0, k1)


@compiled
def _join(out, left, right, m, n, a, b, k0, k1):
    """Back from the grid to [0, a * b), and on from there to [0, n)."""
    side, highest = uint32(b), uint32(0)
    for e in range(m):
        i = uint32(uint32(uint32(left[e]) * side) + uint32(right[e]))
        out[e] = i
        highest = max(highest, i)
    if highest >= n:
        for e in range(m):
            if out[e] >= n:
                out[e] = permute_one(out[e], n, a, b, k0, k1)


@compiled
def permute_points(points, m, n, a, b, k0, k1, left, right, hashes):
    """points[e] = perm(points[e], n, (k0, k1)) for the first m of them."""
    if n < RANK_BELOW:
        _permute_points_ranked(points, m, n, k0, k1, hashes)
        return
    if m <= FEW_LANES:
        for e in range(m):
            points[e] = permute_one(points[e], n, a, b, k0, k1)
        return
    inverse, side = 1.0 / float64(b), uint32(b)
    for e in range(m):
        # exact: half a step from a whole number is 2^-17 of one at least, and the error 2^-23
        quotient = uint32(int32((float64(int32(points[e])) + 0.5) * inverse))
        left[e] = uint16(quotient)
        right[e] = uint16(points[e] - quotient * side)
    _rounds(left, right, m, a, b, k0, k1)
    _join(points, left, right, m, n, a, b, k0, k1)


@compiled
def gather(out, places, members, identity):
    """out[e] = members[places[e]], in a loop of its own: many loads are then under way at once."""
    if identity:
        for e in range(len(out)):
            out[e] = places[e]
    else:
        for e in range(len(out)):
            out[e] = members[places[e]]
