"""CPU bits: Philox and the keyed permutation, compiled by numba.

Takes keys and counters. Gives words, and permuted runs of [0, n).
Knows nothing of classes, members or batches. Numba's integer arithmetic widens to 64 bits, hence
the casts; the vector loops are those over e.
"""

from __future__ import annotations

import llvmlite.ir as ir
from numba import njit, types, uint16, uint32, uint64
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
def _mulhi16(context, x, y):
    """The high half of a 16 x 16 bit product; numba would widen it to 64 bits."""

    def code(context, builder, signature, args):
        wide = ir.IntType(32)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 16)), ir.IntType(16))

    return types.uint16(types.uint16, types.uint16), code


@inlined
def _half_round(x, y, key_low, key_high, side):
    h = uint16(uint16(y ^ key_low) * uint16(ROUND_M0))
    h = uint16(h ^ uint16(h >> uint16(8)) ^ key_high)
    # x - (side - v) mod side, since x + v may pass 16 bits
    back = uint16(side - _mulhi16(uint16(h * uint16(ROUND_M1)), side))
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
def _permute_ranked(out, i0, m, n, k0, k1, hashes):
    """out[e] = perm(i0 + e, n, (k0, k1)) for n < RANK_BELOW."""
    for j in range(n):
        # the index below the hash breaks ties and makes one comparison of two
        h = _lowbias32(uint32(_mix(uint32(uint32(j) ^ k0)) ^ k1))
        hashes[j] = uint64(h) << uint64(5) | uint64(j)
    for e in range(m):
        mine = hashes[i0 + e]
        rank = uint32(0)
        for j in range(n):
            rank += uint32(hashes[j] < mine)
        out[e] = rank


@compiled
def _split(i0, m, b, left, right):
    """left[e], right[e] = divmod(i0 + e, b), in runs of equal left."""
    quotient = i0 // b
    remainder = i0 - quotient * b
    e = 0
    while e < m:
        run = min(b - remainder, m - e)
        for d in range(run):
            left[e + d] = uint16(quotient)
            right[e + d] = uint16(remainder + d)
        e += run
        quotient += 1
        remainder = 0


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
    outside = 0
    for e in range(m):
        i = uint32(left[e]) * uint32(b) + uint32(right[e])
        out[e] = i
        outside += i >= n
    if outside:
        for e in range(m):
            if out[e] >= n:
                out[e] = permute_one(out[e], n, a, b, k0, k1)
