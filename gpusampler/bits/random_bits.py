"""Random bits: Philox4x32-10, the purposes of its keys, the constants of the keyed permutation.

Takes a seed, a purpose and counters.
Gives words, keys, and the grid on which a permutation of [0, n) walks.
Knows nothing of classes or batches. This is the bit contract. The CPU twin takes its constants
from here; the kernels, which import nothing, repeat them, and the parity tests hold them equal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

U32 = 0xFFFFFFFF
U64 = 0xFFFFFFFFFFFFFFFF
I63 = 0x7FFFFFFFFFFFFFFF

# One purpose a use, so that no two uses share a key. The word is purpose | segment << 8;
# only uses that restart with a segment put it there.
SLOT, MEMBER, PICK, DRAW_BLOCK = 1, 2, 7, 8
CLASS_ORDER, TREE = 3, 4
RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA = 5, 6, 9, 10
SCATTER = 11  # and MEMBER carries the number of a block, as others carry a segment's

PHILOX_M0, PHILOX_M1 = 0xD2511F53, 0xCD9E8D57
PHILOX_W0, PHILOX_W1 = 0x9E3779B9, 0xBB67AE85

# The keyed permutation, n >= RANK_BELOW: a Feistel network of HALF_ROUNDS on an a x b grid with
#   x' = (x + (g(y, w) * a >> 16)) mod a
#   g(y, w): y = ((y ^ w) * ROUND_M0) mod 2^16;  y ^= y >> 8 ^ w >> 16;  (y * ROUND_M1) mod 2^16
# Sixteen-bit arithmetic: a CPU vector holds twice the lanes and every multiply is one
# instruction (a permuted element took 0.6 of the time of a 32-bit round with two multiplies,
# same run). Chosen by test: chi-squared over all ordered triples at
# n = 32..100 (45 position sets, 100 a cell: z <= 1.9, mean 0.03, deviation 1.03) and over
# 4-tuples at the corners of grid rectangles, n = 32..42 (z <= 1.6); joint triples of high and
# low bits, shared rows, shared columns and order at n = 100..2^31-1, 8e6 keys (|z| <= 2.7 of 135).
# What failed there: one folded multiply (z 4293; with a keyed multiplier 52), and 8 half-rounds
# even of the 32-bit function (z 17). tests/cpu/test_permutation.py repeats the test in small.
HALF_ROUNDS = 12
ROUND_M0, ROUND_M1 = 0x9E3B, 0xB979
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85

# n < RANK_BELOW: the rank of a hash among n hashes. Exactly as uniform as the hash, no walk;
# a Feistel network of any affordable length fails chi-squared over all n! orders here.
RANK_BELOW = 32
MIX_M0, MIX_M1 = 0x7FEB352D, 0x846CA68B

GRID_SIDE_MAX = 0xFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four random 32-bit words from a counter of four and a key of two.

    Source  Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> [hex(word) for word in philox((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p, q = PHILOX_M0 * c0, PHILOX_M1 * c2
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & U32, (p >> 32) ^ c3 ^ k1, p & U32
        k0, k1 = (k0 + PHILOX_W0) & U32, (k1 + PHILOX_W1) & U32
    return c0, c1, c2, c3


def words(
    seed: int, purpose: int, x: int, y: int = 0, segment: int = 0
) -> tuple[int, int, int, int]:
    """The four words of one use: x is a batch, cycle or block (64 bits), y a class or slot."""
    return philox((x & U32, x >> 32, y, purpose | segment << 8), (seed & U32, seed >> 32 & U32))


@lru_cache(maxsize=64)
def tree_key(seed: int, segment: int) -> tuple[int, int]:
    """Words 0 and 1 of a stratified segment's use TREE; seed of 64 bits, with or without a sign."""
    return words(seed, TREE, 0, segment=segment)[:2]


def signed(seed: int) -> int:
    """The 64 bits of a seed as a signed integer, as torch ops and kernels take them."""
    return seed - (1 << 64) if seed >> 63 else seed


@lru_cache(maxsize=1 << 16)
def grid(n: int) -> tuple[int, int]:
    """The sides (a, b) of the grid on which [0, n) is permuted, n >= RANK_BELOW.

    a is even (both parities occur), 1/2 <= a/b <= 2; then least a*b - n (least walking),
    least |a - b|, least a.

    >>> grid(1024), grid(1000), grid(33)
    ((32, 32), (40, 25), (6, 6))
    """
    root = int(np.sqrt(n))
    a = np.arange(max(2, root * 7 // 20 * 2), 2 * root + 4, 2, dtype=np.int64)
    b = -(-n // a)
    fits = (b <= 2 * a) & (a <= 2 * b) & (a <= GRID_SIDE_MAX) & (b <= GRID_SIDE_MAX)
    a, b = a[fits], b[fits]
    best = np.lexsort((a, abs(a - b), a * b - n))[0]
    return int(a[best]), int(b[best])


@lru_cache(maxsize=1 << 16)
def grid_or_none(n: int) -> tuple[int, int]:
    """The permutation grid of [0, n), or (0, 0) where n is small enough to be ranked."""
    return grid(n) if n >= RANK_BELOW else (0, 0)
