"""The slow reference's even tree, against brute force and the guarantees of the design."""

import random
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_kinds as slow
from reference.slow_reference import (
    bits,
    key,
)

LONG = {
    "two": ([3, 4], 1),
    "few": ([7, 2, 0, 1], 3),
    "one draw a batch": ([5, 4, 3, 2, 1], 1),
    "equal": ([1] * 12, 5),
    "harmonic": ([10**6 // (c + 1) for c in range(40)], 7),
    "each far above the one before": ([2**c for c in range(16)], 1),
    "more classes than draws": ([1 + c % 3 for c in range(50)], 2),
    "one above all": ([10**6] + [1] * 99, 1),
    "zipf of 3": ([10**12 // (c + 1) ** 3 for c in range(100)], 1),
    "far from its due": ([7] * 145 + [5] * 20, 237),
    "none": ([1, 2, 5], 8),
}


def assert_a_batch_and_the_draws_around_it(weights, batch_size, seed, r, segment=0):
    """Base or base + 1 of each class, B in all, ordinals without a gap, totals within the bound."""
    before = slow.stratified_before(weights, batch_size, seed, r, segment)
    used = before.copy()
    base, rest = slow.quotas(weights, batch_size)
    draws = slow.stratified_draws(weights, batch_size, seed, r, segment)
    assert len(draws) == batch_size and sum(before) == r * batch_size
    lost = Fraction(r * len(weights), 2**63)  # of the shares' bits, at each level
    for n, w, most in zip(before, weights, slow.count_bound(weights, batch_size), strict=True):
        assert abs(n - Fraction(r * batch_size * w, sum(weights))) <= most + lost
    for c, ordinal in draws:
        assert ordinal == used[c]
        used[c] += 1
    counts = [after - n for n, after in zip(before, used, strict=True)]
    assert all(b <= n <= b + (f > 0) for n, b, f in zip(counts, base, rest, strict=True))
    first = [c for c, b in enumerate(base) for _ in range(b)]
    assert [c for c, _ in draws[: len(first)]] == first
    assert slow.stratified_before(weights, batch_size, seed, r + 1, segment) == used


@given(
    weights=st.one_of(
        st.lists(st.integers(0, 3), min_size=1, max_size=40),
        st.lists(st.integers(0, 1), min_size=1, max_size=100),
        st.lists(st.integers(0, 2**62), min_size=1, max_size=12),
        st.lists(st.sampled_from([0, 1, 2**61, 2**61 + 1]), min_size=1, max_size=12),
    ).filter(any),
    batch_size=st.one_of(st.just(1), st.integers(1, 300)),
    seed=st.integers(0, 2**64 - 1),
    r=st.one_of(st.integers(0, 50), st.integers(0, 2**42 - 1), st.just(2**42 - 1)),
    segment=st.integers(0, 2**24 - 1),
)
@settings(max_examples=200, deadline=None)
def test_any_batch_of_any_stratified_plan_keeps_its_guarantees(
    weights, batch_size, seed, r, segment
):
    assert_a_batch_and_the_draws_around_it(weights, batch_size, seed, r, segment)


@pytest.mark.parametrize("mix", LONG)
@pytest.mark.parametrize("first", [0, 2**41])
def test_stratified_guarantees_hold_in_one_batch_after_the_other(mix, first):
    assert slow.stratified_before(*LONG[mix], 1, 0) == [0] * len(LONG[mix][0])
    for r in range(first, first + 300):
        assert_a_batch_and_the_draws_around_it(*LONG[mix], 1, r)


def test_the_bound_of_a_class_grows_by_its_share_at_each_level():
    node = Fraction(9, 16)
    # a leaf, its parent, and the root, which is never off
    assert slow.count_bound([1, 1, 1, 1], 1) == [node + node / 2] * 4
    assert slow.count_bound([3, 0, 1], 4) == [0, 0, 0]
    # 1, 2 and 4 sevenths: 2 and 4 have 6, and have the shares 1/3 and 2/3 of its batches
    assert slow.count_bound([1, 2, 4], 1) == [node, node + node / 3, node + node * 2 / 3]
    # three in rounds may come to any leaf: the first alone, the others beneath a node
    assert slow.count_bound([1, 1, 1], 1) == [node + node / 2] * 3
    assert slow.count_bound([1, 1, 1], 4) == [node, node + node / 2, node + node / 2]
    # two and two have 1 each, which they get exactly
    assert slow.count_bound([1, 1, 1, 1], 2) == [node] * 4
    assert slow.count_bound([12] + [1] * 8, 1)[0] == node * (
        1 + Fraction(12, 13) + Fraction(12, 14) + Fraction(12, 16)
    )


def random_mix(rnd):
    """Weights and a batch size, of one of several families."""
    n, scale = rnd.randint(2, 300), 10 ** rnd.uniform(0, 6)
    concentration, power, ratio = 10 ** rnd.uniform(-2, 2), rnd.uniform(0.5, 4), rnd.uniform(0.5, 1)
    families = [
        [rnd.gammavariate(concentration, 1) for _ in range(n)],
        [(c + 1) ** -power for c in range(n)],
        [scale if c < n // 3 else 1 for c in range(n)],
        [ratio**c for c in range(n)],
        [scale * n] + [1] * (n - 1),
    ]
    weights = rnd.choice(families)
    return [int(w / max(weights) * 10**12) for w in weights], rnd.choice([1, rnd.randint(1, 300)])


def test_the_bound_is_two_at_most_for_nearly_every_mix():
    """Of 10,891 of this seed the worst is the 1787th, with 2.22."""
    rnd = random.Random(5)
    bounds = [max(slow.count_bound(*random_mix(rnd))) for _ in range(500)]
    assert [i for i, bound in enumerate(bounds) if bound > 2] == [92, 437]
    assert max(bounds) < 2.1


def complete(below, total, low, high):
    """The larger side of a heap with so many leaves, to the right."""
    n = high - low

    def leaves(v):  # of a heap whose nodes n .. 2n - 1 are leaves
        return 1 if v >= n else leaves(2 * v) + leaves(2 * v + 1)

    assert leaves(2) >= leaves(3)
    return high - leaves(2)


def most_even(below, total, low, high):
    """The formula in whole numbers of 1 / total, with no rounding."""

    def unevenness(v):
        a, b = (below[v] - below[low]) % total, (below[high] - below[v]) % total
        ticks = a + b if a + b < total else 2 * total - a - b
        return Fraction(abs(a - b), ticks or 1)

    places, few = range(low + 1, high), high - low <= 65
    looked_at = places if few else [places[i * (len(places) - 1) // 63] for i in range(64)]
    return min(looked_at, key=lambda v: (unevenness(v), abs(2 * v - low - high), v))


SHAPES = [
    ([1] * 300, 7, complete),
    ([5, 4, 3, 2, 1], 1, complete),
    # the bound of the large class in the complete shape is just below 2 and just above
    ([1284] + [100] * 8, 1, complete),
    ([1285] + [100] * 8, 1, most_even),
    ([2**22 - 299] + [1] * 299, 1, most_even),
    ([10**12 // (c + 1) ** 3 for c in range(300)], 1, most_even),
    ([2**61 // (c + 1) ** 2 for c in range(66)], 1, most_even),
    ([1] * 16 + [12] * 13 + [14] * 6, 15, complete),
    # but for nodes that add nothing, as all ticks are one child's, these would be above 2
    ([8] * 16 + [16] * 7, 50, complete),
    ([1] * 27 + [3] * 119, 64, complete),
    ([30] * 9 + [6] * 20 + [3] * 14, 108, complete),
]


@pytest.mark.parametrize(("weights", "batch_size", "shape"), SHAPES)
def test_the_tree_is_complete_unless_that_is_off_by_two_and_the_even_one_is_better(
    weights, batch_size, shape
):
    rest = sorted(r for r in slow.quotas(weights, batch_size)[1] if r)
    below = [sum(rest[:i]) for i in range(len(rest) + 1)]
    _, nodes = slow._tree(tuple(weights), batch_size)
    assert sorted(node.v for node in nodes) == list(range(1, len(rest)))
    for low, v, high, *_ in nodes:
        assert v == shape(below, sum(weights), low, high)
    if len(set(rest)) > 1:
        other = most_even if shape is complete else complete
        assert any(v != other(below, sum(weights), low, high) for low, v, high, *_ in nodes)


def test_64_bit_fractions_choose_between_places_that_are_equal_but_for_their_rounding():
    # (0, 19) has nineteen equal leaves: nine and ten, or ten and nine
    _, nodes = slow._tree((3_000_000, *[1] * 299), 1)
    cut = [2**64 * i // 3_000_299 for i in range(20)]
    assert 2 * cut[10] - cut[19] < cut[19] - 2 * cut[9]
    assert [node.v for node in nodes if (node.low, node.high) == (0, 19)] == [10]


def test_the_tree_of_more_than_65536_leaves_is_complete_whatever_its_bound():
    # the large class is alone beneath the root of an even tree
    for small, v in ((65535, 65535), (65536, 32768)):
        _, nodes = slow._tree((10**6, *[1] * small), 1)
        assert nodes[0].v == v


@pytest.mark.parametrize(
    ("weights", "batch_size"),
    [([3 * c + 1 for c in range(n)], 2) for n in (2, 3, 5, 6, 8)]
    + [([500, 1, 1, 1, 2, 3, 1, 1, 1, 1], 2), ([1] * 5, 7), ([4, 1, 1], 2)],
)
def test_each_subtree_rounds_its_due_and_the_extras_come_by_rest_then_id(weights, batch_size):
    # no rounds: the rests differ, or a class with extras has base draws
    total, (base, rest) = sum(weights), slow.quotas(weights, batch_size)
    by_rest = sorted(range(len(weights)), key=lambda c: (rest[c], c))
    assert all(rest)
    _, nodes = slow._tree(tuple(weights), batch_size)
    for r in (*range(100), *range(250, 350), 2**42 - 1):
        extras = [c for c, _ in slow.stratified_draws(weights, batch_size, 7, r)][sum(base) :]
        assert extras == [c for c in by_rest if c in extras]
        for low, _, high, *_ in nodes:
            due = Fraction(sum(rest[c] for c in by_rest[low:high]), total)
            got = sum(c in extras for c in by_rest[low:high])
            assert floor(due) <= got <= ceil(due)


def test_two_classes_of_one_and_two_thirds_take_the_batches_worked_by_hand():
    # the root has a tick in every batch; class 0 goes without in two thirds of them, to the nearest
    # whole number: 0, 2/3, 4/3, 2, 8/3, 10/3, 4 are 0, 1, 1, 2, 3, 3, 4
    drawn = [slow.stratified_draws([1, 2], 1, 0, r)[0] for r in range(6)]
    assert drawn == [(1, 0), (0, 0), (1, 1), (1, 2), (0, 1), (1, 3)]


def coin(seed, segment, v, p):
    """The key's hash of node v and pair p, in NumPy's 32 bits."""
    k0, k1, _, _ = bits(seed, 4 + 256 * segment, 0)
    u32 = lambda x: np.array([x % 2**32], np.uint32)  # noqa: E731
    x = (u32(p) ^ u32(k0)) * u32(0x7FEB352D)
    x = ((x ^ x >> u32(15)) * u32(0x846CA68B)) ^ u32(k1)
    x = x + u32(v) * u32(0x9E3779B9) + u32(p >> 32) * u32(0xBB67AE85)
    x = (x ^ x >> u32(16)) * u32(0x7FEB352D)
    x = (x ^ x >> u32(15)) * u32(0x846CA68B)
    return int((x ^ x >> u32(16))[0] >> 31)


@pytest.mark.parametrize("p", [0, 1, 2, 12345, 2**32 - 1, 2**32, 2**41 - 1])
@pytest.mark.parametrize("segment", [0, 6])
def test_a_coin_says_which_of_two_equal_classes_comes_first_in_a_pair_of_batches(p, segment):
    # one of each in every batch, so that there are no rounds
    pair = [slow.stratified_draws([1, 1], 3, 11, 2 * p + i, segment)[2][0] for i in (0, 1)]
    # heads: class 0, the left child, goes without first
    assert pair == ([1, 0] if coin(11, segment, 1, p) else [0, 1])


def test_each_node_has_coins_of_its_own():
    # heads give the left child the first of two ticks of which it takes one
    for v in (1, 2, 3, 65535):
        for p in (*range(20), 2**32 + 7):
            assert slow._left(v, 2 * p + 1, 2**62, key(11, 4, 0)) == p + coin(11, 0, v, p)


@pytest.mark.parametrize(
    ("parts", "left"), [(-17, {0}), (-16, {0, 1}), (0, {0, 1}), (15, {0, 1}), (16, {1})]
)
def test_a_coin_is_thrown_for_a_share_within_a_sixteenth_of_a_half(parts, left):
    share = (128 + parts) * 2**55  # 256ths of 2^63
    assert {slow._left(1, 1, share, (k, 0)) for k in range(50)} == left
    assert {slow._left(1, 2**41 + 1, share, (k, 0)) for k in range(50)} == {
        2**33 * (128 + parts) + x for x in left
    }


@pytest.mark.parametrize("q", [0, 1, 2**61, 2**63 // 3, 2**62, 2**62 + 2**60, 2**63 - 1, 2**63])
def test_a_left_child_takes_each_tick_or_not_and_stays_within_a_sixteenth_of_nearest(q):
    for first in (0, 2**41):
        taken = [slow._left(3, t, q, (5, 6)) for t in range(first, first + 300)]
        assert {after - before for before, after in pairwise(taken)} <= {0, 1}
        for t, n in enumerate(taken, first):
            assert abs(n - Fraction(t * q, 2**63)) <= Fraction(9 if t % 2 else 8, 16)
