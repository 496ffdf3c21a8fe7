"""Keyed order: perm(i, n, key) for every i in [0, n) at once, on the host.

Takes n and the two words of a key. Gives [n] int64. The bit contract is random_bits.
"""

from __future__ import annotations

import numpy as np

from gpusampler.bits.random_bits import (
    HALF_ROUNDS,
    MIX_M0,
    MIX_M1,
    RANK_BELOW,
    ROUND_M0,
    ROUND_M1,
    U32,
    WEYL_0,
    WEYL_1,
    grid,
)


def mix(x: np.ndarray) -> np.ndarray:
    """The round of a hash, of 32 bits in uint64 lanes."""
    x = x * MIX_M0 & U32
    return (x ^ x >> 15) * MIX_M1 & U32


def keyed_order(n: int, key: tuple[int, int]) -> np.ndarray:
    """perm(i, n, key) for every i in [0, n), [n] int64."""
    places = np.arange(n)
    if n < RANK_BELOW:
        return np.argsort(np.argsort(_hashes(places, key), kind="stable"))
    a, b = grid(n)
    order = _feistel(places, a, b, key)
    while len(walking := np.flatnonzero(order >= n)):
        order[walking] = _feistel(order[walking], a, b, key)
    return order


def _hashes(j: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    x = mix(j.astype(np.uint64) ^ key[0]) ^ key[1]
    x = mix(x ^ x >> 16)
    return x ^ x >> 16


def _feistel(i: np.ndarray, a: int, b: int, key: tuple[int, int]) -> np.ndarray:
    def half_round(x: np.ndarray, y: np.ndarray, w: int, side: int) -> np.ndarray:
        h = ((y ^ w) & 0xFFFF) * ROUND_M0 & 0xFFFF
        h = (h ^ h >> 8 ^ w >> 16) * ROUND_M1 & 0xFFFF
        return (x + (h * side >> 16)) % side

    left, right = i // b, i % b
    for t in range(HALF_ROUNDS // 2):
        left = half_round(left, right, key[0] + t * WEYL_0 & U32, a)
        right = half_round(right, left, key[1] + t * WEYL_1 & U32, b)
    return left * b + right
