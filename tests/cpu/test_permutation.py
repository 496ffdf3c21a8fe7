"""The keyed permutation: an exact bijection whose orders look uniform.

What runs is permute_run of gpusampler/cpu/permute.c, under the keys of one class, cycle by cycle: a
sample is one key. The statistics read blocks of orders [keys, points]; each notices a weakness.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from probe import CHUNK, disagreements, member_keys, permute, shipped, tally
from reference import slow_reference

from gpusampler.bits.random_bits import MEMBER, U32, WEYL_0, WEYL_1, grid

SEED = 20
BLOCK = 1 << 14  # keys at a time
LARGEST = 2**31 - 1
LIMIT = 4.9  # of a standard normal: 1 in 10**6 for both sides, 1 in 2 * 10**6 for one
CORNERS = [(0, 1, grid(32)[1], grid(32)[1] + 1)]
KEY = slow_reference.key(20, MEMBER, 0)


def round_bits(y, w, folded=False):
    """32 bits: the 16 of the shipped round function above zeros, or one folded multiply."""
    if folded:
        return ((wide := (y ^ w) * 0x9E3779B1) ^ wide >> 32) & U32
    h = ((y ^ w) & 0xFFFF) * 0x9E3B & 0xFFFF
    return ((h ^ h >> 8 ^ w >> 16) * 0xB979 & 0xFFFF) << 16


def round_keys(key, half_rounds=12):
    both = list(zip(key, (WEYL_0, WEYL_1), strict=True))
    return [[(word + t * weyl) & U32 for word, weyl in both] for t in range(half_rounds // 2)]


def feistel(i, a, b, key, half_rounds=12, folded=False):
    x, y = divmod(i, b)
    for w0, w1 in round_keys(key, half_rounds):
        x = (x + (round_bits(y, w0, folded) * a >> 32)) % a
        y = (y + (round_bits(x, w1, folded) * b >> 32)) % b
    return x * b + y


def inverse_feistel(i, a, b, key):
    x, y = divmod(i, b)
    for w0, w1 in reversed(round_keys(key)):
        y = (y - (round_bits(x, w1) * b >> 32)) % b
        x = (x - (round_bits(y, w0) * a >> 32)) % a
    return x * b + y


def walk(one_pass, i, n):
    """Pass until inside [0, n)."""
    i = one_pass(i)
    while (outside := i >= n).any():
        i = np.where(outside, one_pass(i), i)
    return i


def plain(out, points, n, a, b, keys, sides=None, key_mask=U32, **weakness):
    """What `shipped` does for n >= 32, written plainly; the arguments from `sides` on weaken it."""
    key = (keys.astype(np.int64) & key_mask).T[:, :, None]
    start = np.broadcast_to(points, out.shape)
    out[:] = walk(lambda i: feistel(i, *(sides or (a, b)), key, **weakness), start, n)


def run_of(n: int, first: int, m: int, key: tuple[int, int]) -> np.ndarray:
    """perm(first + e, n, key) for e in range(m), m <= CHUNK."""
    return permute(first, m, n, grid(n), key)


def orders(n: int, total: int, points, perm=shipped):
    """Blocks [keys, points]: where each key of class n, cycle 0 and on, sends the points."""
    points = np.array(points)
    for cycle in range(0, total, BLOCK):
        keys = member_keys(min(BLOCK, total - cycle), SEED, cycle, n)
        out = np.empty((len(keys), len(points)), np.uint32)
        perm(out, points, n, *grid(n), keys)
        yield out


def chi2_z(chi2, degrees: int):
    """Wilson and Hilferty's normal approximation, the worst of an array."""
    spread = 2 / (9 * degrees)
    return float(((np.max(chi2) / degrees) ** (1 / 3) - 1 + spread) / spread**0.5)


def tuples_z(n: int, places: list, per_cell: int, perm=shipped) -> float:
    """z of chi-squared over all ordered values at the places, the worst of them."""
    cells = math.perm(n, len(places[0]))
    points, columns = np.unique(places, return_inverse=True)
    tables = np.zeros((len(places), n ** len(places[0])), np.int64)
    for block in orders(n, per_cell * cells, points, perm):
        tally(tables, block, columns.reshape(np.shape(places)), n)
    return chi2_z((tables.astype(float) ** 2).sum(1) / per_cell - per_cell * cells, cells - 1)


def triples(n: int) -> list[tuple[int, int, int]]:
    """Positions that share a row of the grid, a column, or neither."""
    b = grid(n)[1]
    return [(0, 1, 2), (0, 1, b), (0, b, 2 * b), (1, b, n - 1)]


def coarse_z(n: int, total: int, perm=shipped) -> float:
    """z of chi-squared over 16^3 joint bins of triples, by high and by low bits, the worst."""
    points, columns = np.unique(triples(n), return_inverse=True)
    tables = np.zeros((2, 4, 16**3), np.int64)
    for block in orders(n, total, points, perm):
        for view, bins in zip(tables, (block.astype(np.int64) * 16 // n, block % 16), strict=True):
            tally(view, bins, columns.reshape(4, 3), 16)
    high, low = np.diff(-(-np.arange(17) * n // 16)), (n - 1 - np.arange(16)) // 16 + 1
    size, same = np.array([high, low], float)[:, :, None, None], np.eye(16)
    second = size.reshape(2, 1, 16, 1) - same[:, :, None]  # what the first leaves of each bin
    third = size.reshape(2, 1, 1, 16) - same[:, None, :] - same
    expected = (size * second * third).reshape(2, 1, -1) * (total / math.perm(n, 3))
    return chi2_z(((tables - expected) ** 2 / expected).sum(2), 16**3 - 1)


def collisions_z(n: int, total: int, perm=shipped) -> float:
    """|z| of how often two positions land in one row, or one column, of the grid, the worst."""
    b = grid(n)[1]
    met, (first, second) = np.zeros((2, 6)), np.triu_indices(4, 1)
    for block in orders(n, total, [0, 1, b, n - 1], perm):
        lines = np.stack([block // b, block % b])
        met += (lines[:, :, first] == lines[:, :, second]).sum(1)
    sizes = [np.bincount(line).astype(float) for line in divmod(np.arange(n), b)]
    p = np.array([[(size * (size - 1)).sum() / math.perm(n, 2)] for size in sizes])
    return float(abs((met - total * p) / np.sqrt(total * p * (1 - p))).max())


def mallows_z(n: int, pairs: int, perm=shipped) -> float:
    """z of the squared maximum mean discrepancy from uniform, Mallows kernel of lambda 5.

    Its mean over pairs of samples less that over uniform pairs is the squared discrepancy, since
    the kernel stays when both orders are permuted alike.
    Source  Mitchell et al., "Bandwidth-optimal random shuffling for GPUs", 2021.
    """
    rate = 5 / math.comb(n, 2)
    blocks = orders(n, 2 * pairs, range(n), perm)
    kernel = np.exp(-rate * np.concatenate([disagreements(x[::2], x[1::2]) for x in blocks]))
    uniform = math.prod(math.expm1(-rate * j) / (j * math.expm1(-rate)) for j in range(1, n + 1))
    return float((kernel.mean() - uniform) / (kernel.std() / pairs**0.5))


def parity_z(n: int, total: int, perm=shipped) -> float:
    """|z| of the number of odd orders: those with an odd number of inversions."""
    ascending = np.tile(np.arange(n, dtype=np.uint32), (BLOCK, 1))
    odd = sum((disagreements(x, ascending) & 1).sum() for x in orders(n, total, range(n), perm))
    return float(abs(2 * odd - total) / total**0.5)


def repeats(n: int, total: int, perm=shipped) -> int:
    """How many orders had come before, by a random linear hash of 64 bits."""
    weights = np.random.default_rng(22).integers(0, 2**64, n, np.uint64)
    codes = [(x * weights).sum(1) for x in orders(n, total, range(n), perm)]
    return total - len(np.unique(np.concatenate(codes)))


@pytest.mark.parametrize("n", [32, 33, 1000, 65537])
def test_the_plain_feistel_that_is_weakened_below_is_the_shipped_permutation(n):
    points = [0, 1, n // 2, n - 1]
    assert (next(orders(n, 50, points)) == next(orders(n, 50, points, plain))).all()


def test_every_size_up_to_2000_is_permuted_exactly():
    for n in range(1, 2001):
        for key in [KEY, (0, 0), (U32, U32)]:
            assert (np.sort(run_of(n, 0, n, key)) == np.arange(n)).all(), (n, key)


@pytest.mark.parametrize("n", [2049, 4097, 65537, 10**6 + 3, 2**24 + 1, 2**26 + 1])
def test_a_large_size_is_permuted_exactly(n):
    seen = np.zeros(n, bool)  # n places and none left out: each is taken once
    for first in range(0, n, CHUNK):
        seen[run_of(n, first, min(CHUNK, n - first), KEY)] = True
    assert seen.all()


@pytest.mark.parametrize("n", [10**6 + 3, 2**30 + 1, LARGEST - 1, LARGEST])
def test_the_inverse_leads_back_from_wherever_the_largest_sizes_go(n):
    first = np.linspace(0, n - CHUNK, 150).astype(int).tolist()
    places = np.concatenate([run_of(n, i, CHUNK, KEY) for i in first]).astype(np.int64)
    back = walk(lambda i: inverse_feistel(i, *grid(n), KEY), places, n)
    assert (back == np.add.outer(first, np.arange(CHUNK)).ravel()).all()
    assert places.max() < n and len(np.unique(places)) == len(places)


@pytest.mark.parametrize("n", range(2, 9))
def test_all_orders_of_up_to_8_are_equally_frequent(n):
    z = tuples_z(n, [tuple(range(n - 1))], max(250, 2**18 // math.factorial(n)))
    assert z < LIMIT  # 1 in 2 * 10**6, and rarer at n <= 3


@pytest.mark.parametrize("n", [9, 16, 31, 32, 33, 36, 37, 64])
def test_ordered_triples_are_equally_frequent(n):
    z = tuples_z(n, triples(n), max(20, 2**20 // math.perm(n, 3)))
    assert z < LIMIT  # 1 in 2 * 10**6 for each of 4 triples


def test_values_at_the_corners_of_a_grid_rectangle_are_equally_frequent():
    assert tuples_z(32, CORNERS, 10) < LIMIT  # 1 in 2 * 10**6


@pytest.mark.parametrize("n", [100, 1000, 10**6, LARGEST])
def test_high_and_low_bits_of_triples_are_jointly_uniform(n):
    assert coarse_z(n, 2**19) < LIMIT  # 1 in 2 * 10**6 for each of 8 tables


@pytest.mark.parametrize("n", [1000, 65537])
def test_rows_and_columns_are_shared_as_often_as_by_chance(n):
    assert collisions_z(n, 2**19) < LIMIT  # 1 in 10**6 for each of 12 counts


@pytest.mark.parametrize("n", [50, 100])
def test_no_mean_discrepancy_from_uniform_shows_in_the_mallows_kernel(n):
    assert mallows_z(n, 2**16) < LIMIT  # 1 in 2 * 10**6


@pytest.mark.parametrize("n", [*range(32, 41), 100])
def test_half_of_the_orders_are_odd(n):
    assert parity_z(n, 2**17) < LIMIT  # 1 in 10**6


def test_no_order_comes_twice_in_2_to_the_18_keys():
    assert repeats(100, 2**18) == 0  # 1 in 10**8: 2**35 pairs of 64-bit hashes


SIX, FOUR, TWO = (partial(plain, half_rounds=rounds) for rounds in (6, 4, 2))
WEAK = {
    "Feistel network at n = 8": partial(tuples_z, 8, [tuple(range(7))], 5, plain),
    "6 half-rounds, triples": partial(tuples_z, 32, triples(32), 20, SIX),
    "folded multiply, corners": partial(tuples_z, 32, CORNERS, 1, partial(plain, folded=True)),
    "4 half-rounds, joint bins": partial(coarse_z, 100, 2**18, FOUR),
    "2 half-rounds, rows and columns": partial(collisions_z, 65537, 2**18, TWO),
    "2 half-rounds, Mallows kernel": partial(mallows_z, 50, 2**14, TWO),
    "odd sides, parity": partial(parity_z, 35, 2**14, partial(plain, sides=(5, 7))),
    "20-bit keys, repeats": partial(repeats, 100, 2**14, partial(plain, key_mask=0x3FF)),
}


@pytest.mark.parametrize("weakness", WEAK)
def test_a_planted_weakness_is_noticed(weakness):
    assert WEAK[weakness]() > 20  # beyond doubt
