"""CPU bits: Philox, hashes and the arithmetic that numba lacks, compiled by numba.

Takes keys and counters. Gives words.
Knows nothing of permutations, classes or batches. Numba's integer arithmetic widens to 64 bits,
hence the casts; the vector loops are those over e.
"""

from __future__ import annotations

import llvmlite.ir as ir
from numba import types, uint32, uint64
from numba.extending import intrinsic

from gpusampler.bits.random_bits import MIX_M0, MIX_M1, PHILOX_M0, PHILOX_M1, PHILOX_W0, PHILOX_W1
from gpusampler.cpu.compiling import compiled, inlined

CHUNK = 2048  # lanes of one vector loop; its scratch stays in the first-level cache
WHOLE = 32  # lanes in whole vectors of any machine; what is left of one would go lane by lane


@intrinsic
def mulhi16(context, x, y):
    """The high half of a 16 x 16 bit product, one instruction of 16-bit lanes.

    By name: of a shifted 32-bit product that half is not found where a loop's lanes share y.
    """

    def code(context, builder, signature, args):
        half = ir.IntType(16)
        of = ir.FunctionType(half, [half, half, ir.IntType(32)])
        high = builder.module.declare_intrinsic("llvm.umul.fix", [half], of)
        return builder.call(high, [*args, ir.Constant(ir.IntType(32), 16)])

    return types.uint16(types.uint16, types.uint16), code


@intrinsic
def mulhi64(context, x, y):
    """The high half of a 64 x 64 bit product, one instruction."""

    def code(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@intrinsic
def trailing_zeros(context, x):
    """How many bits below the lowest that is set, one instruction; x is not 0."""

    def code(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), code


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
def mix(x):
    x = uint32(uint32(x) * uint32(MIX_M0))
    x = uint32(x ^ uint32(x >> uint32(15)))
    return uint32(x * uint32(MIX_M1))


@inlined
def lowbias32(x):
    x = mix(uint32(x ^ uint32(x >> uint32(16))))
    return uint32(x ^ uint32(x >> uint32(16)))


@compiled
def gather(out, places, members, identity):
    """out[e] = members[places[e]], in a loop of its own: many loads are then under way at once."""
    if identity:
        for e in range(len(out)):
            out[e] = places[e]
    else:
        for e in range(len(out)):
            out[e] = members[places[e]]
