"""Slow reference: the sampling mathematics, one integer at a time.

Takes class sizes or weights, lists of members, a seed and a batch number.
Gives integer weights, counts per class and whole batches of dataset indices.
Plain Python and exact: what the fast paths must equal bit for bit.
Knows nothing of tensors, devices, ranks, epochs or the package under test.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import gcd, isqrt, prod
from typing import Any

U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1
SLOT, MEMBER, PICK, DRAW_BLOCK, SCATTER = 1, 2, 7, 8, 11  # low byte of the purpose word

Key = tuple[int, int]
Members = Sequence[Sequence[int]]


def philox(counter: Sequence[int], key: Key) -> list[int]:
    """Philox4x32-10: four 32-bit words (Salmon et al., SC 2011).

    >>> [f"{word:08x}" for word in philox((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        even, odd = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = odd >> 32 ^ c1 ^ k0, odd & U32, even >> 32 ^ c3 ^ k1, even & U32
        k0, k1 = (k0 + 0x9E3779B9) & U32, (k1 + 0xBB67AE85) & U32
    return [c0, c1, c2, c3]


@lru_cache(maxsize=2**16)
def bits(seed: int, purpose: int, x: int, y: int = 0) -> tuple[int, ...]:
    """Four words for one use: x has 64 bits, y 32; purpose is `purpose | segment << 8`."""
    return tuple(philox((x & U32, x >> 32, y, purpose), (seed & U32, seed >> 32 & U32)))


def key(seed: int, purpose: int, x: int, y: int = 0) -> Key:
    """The two words that choose one permutation."""
    k0, k1, _, _ = bits(seed, purpose, x, y)
    return k0, k1


@lru_cache(maxsize=2**12)
def grid(n: int) -> tuple[int, int]:
    """Sides (a, b) of the tightest, then squarest, then lowest grid of n >= 32 cells or more.

    a is even, neither side is above 65535 nor above twice the other.

    >>> grid(33), grid(1000)
    ((6, 6), (40, 25))
    """
    fits = []
    for a in range(isqrt(n // 2) // 2 * 2, min(2 * isqrt(n) + 4, U16) + 1, 2):
        b = -(-n // a)
        if b <= U16 and a <= 2 * b and b <= 2 * a:
            fits.append((a * b - n, abs(a - b), a, b))
    _, _, a, b = min(fits)
    return a, b


def _hash32(j: int, k0: int, k1: int) -> int:
    """lowbias32(f(j ^ k0) ^ k1), where f is lowbias32 without its outer shifts."""

    def f(x: int) -> int:
        x = x * 0x7FEB352D & U32
        return (x ^ x >> 15) * 0x846CA68B & U32

    x = f(j ^ k0) ^ k1
    x = f(x ^ x >> 16)
    return x ^ x >> 16


def _round16(x: int, w: int) -> int:
    """Feistel round function: 16 bits from x and the 32-bit round key w."""
    y = ((x ^ w) & U16) * 0x9E3B & U16
    y ^= y >> 8 ^ w >> 16
    return y * 0xB979 & U16


def perm(i: int, n: int, key: Key) -> int:
    """Where the keyed permutation of range(n) sends i.

    >>> sorted(perm(i, 40, (1, 2)) for i in range(40)) == list(range(40))
    True
    """
    k0, k1 = key
    if n < 32:
        order = sorted(range(n), key=lambda j: (_hash32(j, k0, k1), j))
        return order.index(i)
    a, b = grid(n)
    while True:
        left, right = divmod(i, b)
        for t in range(6):
            w0, w1 = (k0 + t * 0x9E3779B9) & U32, (k1 + t * 0xBB67AE85) & U32
            left = (left + (_round16(right, w0) * a >> 16)) % a
            right = (right + (_round16(left, w1) * b >> 16)) % b
        i = left * b + right
        if i < n:
            return i


def linear_weights(sizes: Sequence[int], alpha: float, drop_empty: bool = False) -> list[int]:
    """Integer weights between natural (alpha 0) and uniform (alpha 1).

    drop_empty gives an empty class weight 0 and leaves it out of the class count.

    >>> linear_weights([1, 3], 0.5), linear_weights([1, 0, 3], 0.5, drop_empty=True)
    ([6, 10], [6, 0, 10])
    """
    exact = Fraction(repr(float(alpha)))
    uniform, natural = exact.numerator, exact.denominator - exact.numerator
    kept = [n > 0 or not drop_empty for n in sizes]
    total = sum(sizes)
    return [
        uniform * total + natural * sum(kept) * n if keep else 0
        for n, keep in zip(sizes, kept, strict=True)
    ]


def given_weights(values: Sequence[float]) -> list[int]:
    """Weights scaled by the power of two that brings the largest into [2^61, 2^62).

    Rounded down, but at least 1 where the value is positive. The values may be Decimals.

    >>> [w / 2**61 for w in given_weights([3, 0, 1.5])]
    [1.5, 0.0, 0.75]
    """
    exact = [Fraction(x) for x in values]
    largest = max(exact)
    # within one of the exponent wanted, from above
    k = 62 - largest.numerator.bit_length() + largest.denominator.bit_length()
    while largest * Fraction(2) ** k >= 2**62:
        k -= 1
    return [max(int(x * Fraction(2) ** k), int(x > 0)) for x in exact]


def lowest_terms(values: Sequence[int]) -> list[int]:
    """The same ratios in the least whole numbers.

    >>> lowest_terms([6, 0, 10])
    [3, 0, 5]
    """
    divisor = gcd(*values)
    return [value // divisor for value in values]


def said_weights(values: Sequence[object]) -> list[int]:
    """What people write, as the least whole numbers in those ratios: .6, .3, .1 are 6, 3, 1.

    From 2^62 on the largest becomes 2^62 - 1, the others in proportion, rounded down, but at least
    1 where positive; in lowest terms again.

    >>> said_weights([0.6, 0.3, 0.1]), said_weights([1, 2**63])
    ([6, 3, 1], [1, 4611686018427387903])
    """
    exact = [Fraction(str(x)) for x in values]
    whole = lowest_terms([int(x * prod(y.denominator for y in set(exact))) for x in exact])
    if max(whole) >= 2**62:
        whole = [max(w * (2**62 - 1) // max(whole), int(w > 0)) for w in whole]
    return lowest_terms(whole)


def fixed_counts(weights: Sequence[int], batch_size: int) -> list[int]:
    """Members of each class in every batch: Hamilton's method, a tie to the lower id.

    >>> fixed_counts([1, 1, 1], 5)
    [2, 2, 1]
    """
    total = sum(weights)
    counts = [batch_size * w // total for w in weights]
    remainders = [batch_size * w % total for w in weights]
    by_remainder = sorted(range(len(weights)), key=lambda c: (-remainders[c], c))
    for c in by_remainder[: batch_size - sum(counts)]:
        counts[c] += 1
    return counts


Blocks = tuple[tuple[int, ...], int]  # sizes, and by how much a pass moves on


@lru_cache(maxsize=2**12)
def block_length(n: int, draws: tuple[int, ...], unit: int = 1) -> int:
    """The longest blocks by which a class of n may be gone through, pass after pass, if a member
    stays within its block, and of m draws in a row each member has m / n, rounded down or up.

    draws are the m to be; unit: n and all m are whole multiples of it, and so is where m begin.

    >>> block_length(10, (8,)), block_length(10, (8,), 2), block_length(10, (5,), 5)
    (3, 4, 10)
    """
    for length in range(n, 0, -unit):
        off = length - unit  # so far may a member be from where it was in the last pass
        fits = True
        for m in filter(None, draws):
            low, high = m // n, -(-m // n)
            nearest = high * n - off  # high + 1 times the same member, from first to last
            farthest = low * n + off  # with low - 1 of it between
            fits = fits and nearest >= m and (low == 0 or farthest - unit < m)
        if fits:
            return length
    raise AssertionError("a length of one unit always fits")


def unique_blocks(n: int, draws: tuple[int, ...], unit: int = 1) -> Blocks:
    """The blocks of a pass. Where a pass has only few members more than its longest block, these
    come last in it, and next to last in the next one; others are last then.

    That they are few is rounded up to a power of two, where they are few still.

    >>> unique_blocks(10, (8,)), unique_blocks(10, (3,)), unique_blocks(10, (5,), 5)
    (((3, 3, 3, 1), 0), ((6, 2, 2), 2), ((10,), 0))
    >>> unique_blocks(100, (7,)), unique_blocks(100, (6,), 2)
    (((84, 8, 8), 8), ((84, 8, 8), 8))
    """
    length = block_length(n, draws, unit)
    few = n - length
    rounded = next(2**k for k in range(64) if 2**k >= max(draws) - 1)
    if few and 4 * rounded <= n:
        few, length = rounded, n - rounded
    if 0 < 4 * few <= n and max(draws) <= n:
        return (n - 2 * few, few, few), few
    return tuple(min(length, n - begin) for begin in range(0, n, length)), 0


def place_of(q: int, n: int, blocks: Blocks | None, seed: int, c: int) -> int:
    """Which of the n members of class c its draw q takes; blocks are unique ones.

    >>> [place_of(q, 4, ((3, 1), 0), 0, 0) for q in range(8)]
    [0, 1, 3, 2, 1, 0, 3, 2]
    """
    cycle, i = divmod(q, n)
    if blocks is None or len(blocks[0]) == 1:
        return perm(i, n, key(seed, MEMBER, cycle, c))
    sizes, shift = blocks
    ends = list(accumulate(sizes))
    block = bisect_right(ends, i)
    begin = ends[block] - sizes[block]
    i = begin + perm(i - begin, sizes[block], key(seed, MEMBER | block << 8, cycle, c))
    return perm((i + (cycle + 1) * shift) % n, n, key(seed, SCATTER, 0, c))


def arranged(ranked: Sequence[tuple[int, Any]], seed: int, g: int, order: str) -> list[Any]:
    """(class, index) by rank as a batch by slot: shuffled, or class by class."""
    if order == "class":
        return [index for _, index in sorted(ranked, key=lambda drawn: drawn[0])]
    batch = [-1] * len(ranked)
    for rank, (_, index) in enumerate(ranked):
        batch[perm(rank, len(ranked), key(seed, SLOT, g))] = index
    return batch


def fixed_batch(
    members_by_class: Members,
    counts: Sequence[int],
    seed: int,
    g: int,
    start: Sequence[int] | None = None,
    unique: bool = False,
    order: str = "shuffle",
) -> list[int]:
    """Batch g by slot, with counts[c] members of class c.

    A class goes through all its members, in a fresh order each time, before any repeats;
    start[c] is the number of draws of class c that came before batch 0 of this plan.
    """
    ranked = []
    for c, (members, count) in enumerate(zip(members_by_class, counts, strict=True)):
        n, blocks = len(members), None
        if unique and count:
            blocks = unique_blocks(n, (count,), gcd(n, count))
        for j in range(count):
            q = (start[c] if start else 0) + g * count + j
            ranked.append((c, members[place_of(q, n, blocks, seed, c)]))
    return arranged(ranked, seed, g, order)


def random_batch(
    members_by_class: Members, weights: Sequence[int], batch_size: int, seed: int, g: int,
    order: str = "shuffle",
) -> list[int]:  # fmt: skip
    """Batch g by slot: class by weight, then member evenly, both with replacement."""
    total = sum(weights)
    cuts = [2**64 * below // total for below in accumulate(weights, initial=0)]
    classes = []
    for slot in range(batch_size):
        w0, w1, _, _ = bits(seed, PICK, g, slot)
        classes.append(bisect_right(cuts, w0 + 2**32 * w1) - 1)
    return picked_batch(members_by_class, classes, seed, g, order)


def picked_batch(
    members_by_class: Members, classes: Sequence[int], seed: int, g: int, order: str = "shuffle"
) -> list[int]:
    """Batch g by slot: slot s takes any member of classes[s], with replacement."""
    batch = []
    for slot, c in enumerate(classes):
        _, _, w2, w3 = bits(seed, PICK, g, slot)
        members = members_by_class[c]
        batch.append((c, members[(w2 + 2**32 * w3) * len(members) >> 64]))
    if order == "class":
        batch.sort(key=lambda drawn: drawn[0])
    return [index for _, index in batch]
