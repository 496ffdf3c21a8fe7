"""The keyed permutation on lanes: a bijection on [0, n) evaluated at one point each.

All values are u32. Twin: gpusampler/cpu/permute.c, equal bit for bit.
The tests that chose the constants are told in gpusampler/bits/random_bits.py.
"""

import triton
import triton.language as tl

FEW = tl.constexpr(0)  # every n < 32: the rank of a hash
GRID = tl.constexpr(1)  # every n >= 32: a Feistel network on an a x b grid
MIXED = tl.constexpr(2)
FULL_GRID = tl.constexpr(3)  # GRID, and every a * b == n: no lane ever walks
IN_ORDER = tl.constexpr(4)  # i itself


@triton.jit
def divide(i, n, inverse):
    """divmod(i, n) by a multiply-high; inverse = (2^32 - 1) // n, so the guess is at most 1 low."""
    quotient = tl.umulhi(i, inverse)
    remainder = i - quotient * n
    short = remainder >= n
    return quotient + short.to(tl.uint32), tl.where(short, remainder - n, remainder)


@triton.jit
def half_round(x, y, w, side):
    """(x + (g(y, w) * side >> 16)) mod side, of 16-bit values in 32-bit lanes."""
    # shifted up 16, products wrap mod 2^16 for free and the last one is a multiply-high
    h = (y ^ w) * 0x9E3B0000
    h = ((h ^ (h >> 8) ^ w) >> 16) * 0xB9790000
    x += tl.umulhi(h, side)
    return tl.minimum(x, x - side)  # mod: x - side wraps high where x < side


@triton.jit
def feistel(i, a, b, b_inverse, k0, k1):
    """One pass over the grid: a bijection on [0, a*b)."""
    left, right = divide(i, b, b_inverse)
    for _ in tl.static_range(6):
        left = half_round(left, right, k0, a)
        right = half_round(right, left, k1, b)
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return left * b + right


@triton.jit
def mix(x):
    x *= 0x7FEB352D
    x ^= x >> 15
    return x * 0x846CA68B


@triton.jit
def hash_of(j, k0, k1):
    """lowbias32 of the twice keyed j."""
    h = mix(j ^ k0) ^ k1
    h = mix(h ^ (h >> 16))
    return h ^ (h >> 16)


@triton.jit
def hash_pair(low, high, y, k0, k1):
    """lowbias32 of the keyed 64 bits (low, high) and y."""
    h = (mix(low ^ k0) ^ k1) + y * 0x9E3779B9 + high * 0xBB67AE85
    h = mix(h ^ (h >> 16))
    return h ^ (h >> 16)


@triton.jit
def ranked(i, n, k0, k1):
    """The rank of i's hash among those of [0, n), n < 32; a lane of larger n gives nonsense."""
    mine = hash_of(i, k0, k1)
    rank = i * 0
    j = i * 0
    for _ in range(tl.max(tl.where(n < 32, n, 0).to(tl.int32))):
        other = hash_of(j, k0, k1)
        before = (other < mine) | ((other == mine) & (j < i))
        rank += ((j < n) & before).to(tl.uint32)
        j += 1
    return rank


@triton.jit
def permute(i, n, a, b, b_inverse, k0, k1, mask, SIZES: tl.constexpr):
    """perm(i, n, (k0, k1)) where mask; i < n there, and a = b = 1 where n < 32."""
    if SIZES == IN_ORDER:
        out = i
    elif SIZES == FEW:
        out = ranked(i, n, k0, k1)
    else:
        out = feistel(i, a, b, b_inverse, k0, k1)
        if SIZES != FULL_GRID:
            walking = mask & (out >= n) & (n >= 32)
            while tl.max(walking.to(tl.int32)) > 0:
                out = tl.where(walking, feistel(out, a, b, b_inverse, k0, k1), out)
                walking = walking & (out >= n)
        if SIZES == MIXED:
            out = tl.where(n < 32, ranked(i, n, k0, k1), out)
    return out
