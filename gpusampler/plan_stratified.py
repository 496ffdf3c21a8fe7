"""Stratified plan: every batch has each class's quota, rounded down or up, evenly over the batches.

Takes integer weights, class sizes and offsets, a batch size, the draws before.
Gives tables on the host, and each class's draws before any batch. Batches are counted from the
start of the plan, r. Knows nothing of devices or global batch numbers.

A class has base = B * w div S draws in every batch; the B * w mod S that is left comes as extras,
`extra` a batch in all, by systematic sampling whose offsets are evenly spread, on two levels:
    between blocks  of BLOCK batches: class c has the whole units passed by the cuts c and c + 1
                    of a line of BLOCK * extra units, cut c at (high, low) / 2^32, both moved by the
                    even points of the blocks so far
    inside a block  the classes lie on that line, each as long as it has extras, in a keyed order;
                    extra k of batch b goes to the class that holds u(b) + k * BLOCK
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from gpusampler import random_bits
from gpusampler.plan import grid_or_none
from gpusampler.random_bits import (
    CLASS_ORDER,
    HALF_ROUNDS,
    MIX_M0,
    MIX_M1,
    RANK_BELOW,
    ROUND_M0,
    ROUND_M1,
    TREE,
    U32,
    WEYL_0,
    WEYL_1,
)
from gpusampler.weights import Weights

BLOCK_BITS = 10
BLOCK = 1 << BLOCK_BITS  # batches
BETWEEN_BITS = 32  # of the number of a block
MAX_BATCHES = 1 << BLOCK_BITS + BETWEEN_BITS

# Columns of StratifiedPlan.rows; a whole row is 32 bytes, what one access of a GPU brings.
SIZE, GRID_A, GRID_B, GRID_INVERSE, SIZE_INVERSE, BASE, FIRST_LOW, FIRST_HIGH = range(8)


@dataclass(frozen=True)
class StratifiedPlan:
    """Class counts of each batch, in closed form.

    batch_size, extra  B, and how many of them are extras
    rows       [C, 8] int32, 32-bit words: SIZE (1 where a class is empty), GRID_A x GRID_B (1 x 1
               where size is small), 2^32 - 1 div GRID_B and div SIZE, BASE draws a batch, FIRST
               place in members
    base_rows  [A, 2] int32, ascending: class id and first rank of each class with base draws
    rank_row   [B - extra] int32: the base row of each rank of base draws
    start      [C] int64: draws of each class before r = 0
    cut_high, cut_low  [C + 1] int64, and int32 that holds 32 bits
    smallest, largest  sizes of the classes with a positive weight
    """

    batch_size: int
    extra: int
    rows: np.ndarray
    base_rows: np.ndarray
    rank_row: np.ndarray
    start: np.ndarray
    cut_high: np.ndarray
    cut_low: np.ndarray
    smallest: int
    largest: int

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Of the order of the classes."""
        return grid_or_none(len(self.rows))

    def key_ends(self, n_batches: int) -> np.ndarray:
        """Where each base row's keys end in a table of one key per (base row, cycle).

        [A] int64; n_batches within a block can touch so many cycles wherever they begin.
        """
        rows = self.rows[self.base_rows[:, 0]].astype(np.int64)
        size = rows[:, SIZE]
        cycles = np.where(size == 1, 1, n_batches * (rows[:, BASE] + 1) // size + 2)
        return np.cumsum(cycles)

    def draws_before(self, seed: int, segment: int, r: int) -> np.ndarray:
        """[C] int64: draws of each class in batches 0 .. r of the plan, without `start`.

        >>> from gpusampler.weights import given
        >>> plan = stratified_plan(given([3, 2, 1], [9, 9, 9]), [9, 9, 9], [0, 9, 18], 4)
        >>> plan.draws_before(0, 0, 3 * 1024).tolist()
        [6144, 4097, 2047]
        """
        j, b = divmod(r, BLOCK)
        passed, step = self._passed(seed, segment, j)
        draws = r * self.rows[:, BASE].astype(np.int64) + np.diff(passed)
        if b == 0:
            return draws
        order = _order(len(draws), random_bits.words(seed, CLASS_ORDER, j, segment=segment)[:2])
        line = np.append(0, np.cumsum(np.diff(step)[order]))
        below = _below(b, even_point(seed, segment, j + 1, b, BLOCK_BITS), line)
        draws[order] += np.diff(below)
        return draws

    def _passed(self, seed: int, segment: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole units that each cut has passed before block j, mod 2^64, and within it."""
        u = even_point(seed, segment, 0, j, BETWEEN_BITS)
        high, low = self.cut_high, self.cut_low.view(np.uint32).astype(np.int64)
        passed = np.array(j, np.int64) * high
        for shift, remainder in strides(u, j, BETWEEN_BITS):
            passed += (low + remainder) >> shift
        return passed, high + ((low + u) >> BETWEEN_BITS)


def stratified_plan(
    weights: Weights,
    sizes: np.ndarray,
    offsets: np.ndarray,
    batch_size: int,
    start: np.ndarray | None = None,
) -> StratifiedPlan:
    """Tables for class counts of batch_size * w_c / total, rounded down or up in each batch.

    start  [C] draws of each class before the first batch; None: none.
    """
    quotients = [divmod(batch_size * value, weights.total) for value in weights.values]
    base = np.array([quotient for quotient, _ in quotients], np.int64)[weights.which]
    cuts = _cuts([rest for _, rest in quotients], weights)
    drawn = np.flatnonzero(base)
    counts = base[drawn]
    base_rows = np.stack([drawn, np.cumsum(counts) - counts], axis=1).astype(np.int32)
    sizes = np.asarray(sizes, np.int64)
    used = sizes[weights.positive()]
    return StratifiedPlan(
        batch_size,
        batch_size - int(counts.sum()),
        _rows(sizes, np.asarray(offsets, np.int64)[: len(sizes)], base),
        base_rows,
        np.repeat(np.arange(len(drawn), dtype=np.int32), counts),
        np.zeros(len(sizes), np.int64) if start is None else np.asarray(start, np.int64),
        np.array([cut >> 32 for cut in cuts], np.int64),
        np.array([cut & U32 for cut in cuts], np.uint32).view(np.int32),
        int(used.min()),
        int(used.max()),
    )


def _cuts(rests: list[int], weights: Weights) -> list[int]:
    """BLOCK * 2^32 * (sum of rests below class c) div total, for c in 0 .. C: Python ints, as the
    total may have hundreds of bits."""
    below = accumulate((rests[i] for i in weights.which.tolist()), initial=0)
    return [(f << BLOCK_BITS + 32) // weights.total for f in below]


def _rows(sizes: np.ndarray, first: np.ndarray, base: np.ndarray) -> np.ndarray:
    rows = np.zeros((len(sizes), 8), np.int64)
    distinct, which = np.unique(sizes, return_inverse=True)
    rows[:, GRID_A : GRID_B + 1] = np.array([grid_or_none(n) for n in distinct.tolist()])[which]
    rows[:, SIZE] = sizes
    rows[:, : GRID_B + 1] = np.maximum(rows[:, : GRID_B + 1], 1)
    rows[:, GRID_INVERSE] = U32 // rows[:, GRID_B]
    rows[:, SIZE_INVERSE] = U32 // rows[:, SIZE]
    rows[:, BASE], rows[:, FIRST_LOW], rows[:, FIRST_HIGH] = base, first & U32, first >> 32
    return rows.astype(np.uint32).view(np.int32)


def even_point(seed: int, segment: int, z: int, i: int, bits: int) -> int:
    """u_z(i): bit k of i from below, xor a key bit of (z, k, i >> k + 1), is bit k from above.

    A permutation of [0, 2^bits) of which every aligned run of points is evenly spread.
    """
    u = 0
    for k in range(bits):
        x = i >> k + 1 << 6 | k
        flip = random_bits.words(seed, TREE, x, z & U32, segment)[0] >> 31
        u |= (i >> k & 1 ^ flip) << bits - 1 - k
    return u


def strides(u: int, i: int, bits: int) -> list[tuple[int, int]]:
    """The points before i, u = u(i), as arithmetic progressions that fill [0, 2^bits).

    (shift, remainder) of each set bit of i: all numbers that leave remainder modulo 2^shift.
    """
    shifts = [bits - k for k in range(bits) if i >> k & 1]
    return [(s, (u ^ 1 << s - 1) & (1 << s) - 1) for s in shifts]


def _below(b: int, u: int, y: np.ndarray) -> np.ndarray:
    """How many extras of the first b batches of a block, u = u(b), lie below y on the line."""
    return sum(((y + (1 << s) - 1 - r) >> s for s, r in strides(u, b, BLOCK_BITS)), 0 * y)


def _order(n: int, key: tuple[int, int]) -> np.ndarray:
    """perm(i, n, key) for every i in [0, n), [n] int64."""
    places = np.arange(n)
    if n < RANK_BELOW:
        return np.argsort(np.argsort(_hashes(places, key), kind="stable"))
    a, b = random_bits.grid(n)
    order = _feistel(places, a, b, key)
    while len(walking := np.flatnonzero(order >= n)):
        order[walking] = _feistel(order[walking], a, b, key)
    return order


def _hashes(j: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    def mix(x: np.ndarray) -> np.ndarray:
        x = x * MIX_M0 & U32
        return (x ^ x >> 15) * MIX_M1 & U32

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
