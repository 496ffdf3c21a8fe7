"""The slow reference of the further kinds, against brute force and the guarantees of the design."""

import random
from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise
from math import ceil, floor, isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_kinds as slow
from reference import slow_reference
from reference.slow_reference import (
    MEMBER,
    SLOT,
    bits,
    fixed_batch,
    fixed_counts,
    key,
    linear_weights,
    perm,
)

CASES = range(12)


def members_of(sizes):
    """Dataset indices by class, each class from a thousand of its own."""
    return [[1000 * c + i for i in range(n)] for c, n in enumerate(sizes)]


def random_plan(seed):
    """Sizes, weights (some 0, with or without members) and a batch size."""
    rnd = random.Random(seed)
    sizes = [rnd.choice([1, 2, 5, 37, 100]) for _ in range(rnd.choice([1, 2, 3, 7, 30]))]
    weights = linear_weights(sizes, rnd.choice([0, 0.3, 0.5, 0.9, 1]))
    for c in range(1, len(sizes)):
        if rnd.random() < 0.15:
            weights[c] = 0
            sizes[c] *= rnd.randint(0, 1)
    return sizes, weights, rnd.choice([1, 2, 4, 15])


def spread(counts):
    return max(counts) - min(counts)


# ---------------------------------------------------------------- stratified

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


def test_the_bound_is_two_at_most():
    rnd = random.Random(2)
    mixes = [random_mix(rnd) for _ in range(150)]
    assert max(max(slow.count_bound(*mix)) for mix in mixes) <= 2


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


# ---------------------------------------------------------------- rounds of a uniform mix

# classes, batch size, batches of a round, draws of each class in it
ROUNDS = [
    (2, 1, 256, 128),
    (3, 2, 258, 172),
    (64, 5, 256, 20),
    (48, 36, 256, 192),
    (100, 7, 300, 21),
    (997, 13, 997, 13),
]
uniform = pytest.mark.parametrize(("n", "batch_size", "batches", "each"), ROUNDS)


@uniform
def test_each_class_has_as_many_draws_in_every_round_and_is_never_off_by_more_than_its_bound(
    n, batch_size, batches, each
):
    bound = slow.count_bound([1] * n, batch_size)[0]
    for k in (0, 1, 2, 2**42 // batches):
        before = slow.stratified_before([1] * n, batch_size, 3, k * batches)
        assert before == [k * each] * n
    for r in range(0, 3 * batches, n // 100 or 1):
        before = slow.stratified_before([1] * n, batch_size, 3, r)
        assert max(abs(n * draws - r * batch_size) for draws in before) <= n * bound


@uniform
@pytest.mark.parametrize(("seed", "segment"), [(3, 0), (2**40, 6)])
def test_a_round_asks_the_tree_anew_with_its_classes_in_keyed_order(
    n, batch_size, batches, each, seed, segment
):
    far = divmod(2**42 - 1, batches)
    for k, r in [(k, r) for k in range(3) for r in (0, 1, 57, batches - 1)] + [far]:
        draws = slow.stratified_draws([1] * n, batch_size, seed, k * batches + r, segment)
        # with one more of each class in every batch there are no rounds
        extras = slow.stratified_draws([1] * n, batch_size + n, seed, r, segment)[n:]
        order = [perm(i, n, key(seed, 3 + 256 * segment, k)) for i in range(n)]
        assert draws == [(order[c], k * each + ordinal - r - 1) for c, ordinal in extras]


def test_the_order_of_classes_differs_between_rounds_seeds_and_segments():
    def walk(seed, segment, r):
        return [c for c, _ in slow.stratified_draws([1] * 12, 11, seed, r, segment)]

    def agree(a, b):
        return [c for c in a if c in b] == [c for c in b if c in a]

    rounds = [walk(a, s, r) for a in (0, 1, 2**32) for s in (0, 1) for r in (0, 264, 528)]
    assert not any(agree(a, b) for a, b in combinations(rounds, 2))
    assert all(agree(walk(0, 0, 264), walk(0, 0, r)) for r in range(264, 528))


def test_classes_without_extras_stay_out_of_the_rounds():
    for r in (0, 1, 255, 256, 1000, 2**42 - 1):
        draws = slow.stratified_draws([2, 0, 1, 1, 1, 1], 3, 4, r)
        four = slow.stratified_draws([1, 1, 1, 1], 2, 4, r)
        assert draws == [(0, r)] + [(c + 2, ordinal) for c, ordinal in four]


@pytest.mark.parametrize("g", [0, 1, 10**9])
def test_stratified_is_fixed_where_all_quotas_are_whole(g):
    members, weights = members_of([9, 4, 1, 0, 30]), [1, 2, 2, 0, 5]
    counts = fixed_counts(weights, 20)
    assert counts == [2, 4, 4, 0, 10]
    batch = slow.stratified_batch(members, weights, 20, 6, g)
    assert batch == fixed_batch(members, counts, 6, g)


@pytest.mark.parametrize("case", CASES)
def test_stratified_classes_go_through_all_members_before_any_repeats(case):
    sizes, weights, batch_size = random_plan(case)
    members, first = members_of(sizes), 1000
    drawn = [[] for _ in sizes]
    seen, prefixes = Counter(), [Counter()]
    for g in range(first, first + 60):
        batch = slow.stratified_batch(members, weights, batch_size, case, g, first=first)
        for rank in range(batch_size):
            index = batch[perm(rank, batch_size, key(case, SLOT, g))]
            drawn[index // 1000].append(index)
            seen[index] += 1
        prefixes.append(seen.copy())
    for c, n in enumerate(sizes):
        for cycle in range(len(drawn[c]) // max(n, 1)):
            order = [perm(i, n, key(case, MEMBER, cycle, c)) for i in range(n)]
            assert drawn[c][cycle * n : cycle * n + n] == [members[c][i] for i in order]
        if n:
            for a, b in ((0, 60), (7, 31), (20, 60)):
                assert spread([prefixes[b][x] - prefixes[a][x] for x in members[c]]) <= 2
            assert spread([seen[x] for x in members[c]]) <= 1


def test_a_plan_counts_from_the_first_batch_of_its_segment_and_slots_do_not():
    members, weights = members_of([9, 4, 30]), [3, 2, 2]
    at_zero = slow.stratified_batch(members, weights, 10, 6, 5)
    later = slow.stratified_batch(members, weights, 10, 6, 705, first=700)
    assert sorted(later) == sorted(at_zero) and later != at_zero
    whole_cycles = slow.stratified_batch(members, weights, 10, 6, 5, start=[9 * 7, 4 * 7, 30 * 7])
    assert [x // 1000 for x in whole_cycles] == [x // 1000 for x in at_zero]
    assert whole_cycles != at_zero


# ---------------------------------------------------------------- segments

MIXES = [(0, [1, 1, 1, 1]), (2, [5, 3, 0, 1]), (3, [1, 2, 3, 4]), (3, [9, 1, 1, 1])]


def test_all_that_restarts_with_a_segment_carries_it_in_the_purpose_word(monkeypatch):
    words, members = set(), members_of([9, 4, 30])
    spy = lambda seed, word, x, y=0: words.add(word) or bits(seed, word, x, y)  # noqa: E731
    monkeypatch.setattr(slow_reference, "bits", spy)
    slow.stratified_batch(members, [3, 2, 2], 10, seed=101, g=5, segment=2)
    assert words == {1, 2, 4 + 512}
    slow.stratified_batch(members, [1, 1, 1], 2, seed=101, g=5, segment=2)
    assert words == {1, 2, 3 + 512, 4 + 512}
    words.clear()
    slow.pk_batch(members, 2, 3, seed=101, g=5, segment=2)
    assert words == {1, 5 + 512, 6 + 512, 9 + 512, 10 + 512}


@pytest.mark.parametrize("kind", ["fixed", "stratified"])
def test_no_class_loses_its_turn_where_the_weights_change(kind):
    sizes, n_batches, batch_size = [9, 4, 30, 1], 13, 7
    members, drawn = members_of(sizes), [[] for _ in range(4)]
    for g in range(5 * n_batches):
        batch = slow.segmented_batch(
            kind, members, MIXES, batch_size, n_batches, 2, *divmod(g, n_batches)
        )
        for rank in range(batch_size):
            index = batch[perm(rank, batch_size, key(2, SLOT, g))]
            drawn[index // 1000].append(index)
    for c, n in enumerate(sizes):
        for at in range(0, len(drawn[c]) - n + 1, n):
            assert sorted(drawn[c][at : at + n]) == members[c]


def test_a_fixed_segment_is_the_fixed_plan_with_its_draws_carried_over():
    members, n_batches = members_of([9, 4, 30, 1]), 13
    early, late = fixed_counts(MIXES[0][1], 7), fixed_counts(MIXES[1][1], 7)
    for b in range(n_batches):
        batch = slow.segmented_batch("fixed", members, MIXES, 7, n_batches, 2, 1, b)
        assert batch == fixed_batch(members, early, 2, n_batches + b)
        batch = slow.segmented_batch("fixed", members, MIXES, 7, n_batches, 2, 2, b)
        # fixed_batch counts draws from batch 0, the segment from batch 2 * n_batches
        start = [2 * n_batches * (k0 - k1) for k0, k1 in zip(early, late, strict=True)]
        assert batch == fixed_batch(members, late, 2, 2 * n_batches + b, start)


def test_a_stratified_segment_has_its_own_number_and_restarts_its_plan():
    members, n_batches, g = members_of([9, 4, 30, 1]), 13, 2 * 13 + 5
    start = slow.stratified_before(MIXES[0][1], 7, 2, 2 * n_batches, 0)
    batch = slow.segmented_batch("stratified", members, MIXES, 7, n_batches, 2, 2, 5)
    assert batch == slow.stratified_batch(members, MIXES[1][1], 7, 2, g, start, 2 * n_batches, 1)
    batch = slow.segmented_batch("stratified", members, MIXES, 7, n_batches, 2, 1, 5)
    assert batch == slow.stratified_batch(members, MIXES[0][1], 7, 2, n_batches + 5)


# ---------------------------------------------------------------- pk


@pytest.mark.parametrize("n", range(1, 13))
def test_rotating_leave_out_knows_its_earlier_visits_and_stays_within_one(n):
    for take in range(1, n + 1):
        visits = [0] * n
        for v in range(3 * n * (n // take)):
            items = slow.rotating_leave_out(n, take, v, 8, (5, 6), tag=n)
            assert len({i for i, _ in items}) == take
            for i, earlier in items:
                assert earlier == visits[i]
                visits[i] += 1
            assert spread(visits) <= (1 if (v + 1) % (n // take) == 0 else 2)
        assert n % take or spread(visits) == 0


def test_a_turn_leaves_every_item_out_equally_often_then_renews_its_order():
    n, take, turn = 10, 4, 5  # 2 left out of a cycle, 5 cycles a turn, 2 visits a cycle
    left_out = []
    for cycle in range(2 * turn):
        items = [slow.rotating_leave_out(n, take, 2 * cycle + i, 8, (5, 6), 3) for i in (0, 1)]
        left_out.append(set(range(n)) - {x for visit in items for x, _ in visit})
    for t in (0, 1):
        rho = [perm(i, n, key(8, 5, t, 3)) for i in range(n)]
        expected = [set(rho[2 * k : 2 * k + 2]) for k in range(turn)]
        assert left_out[t * turn : (t + 1) * turn] == expected
    assert left_out[:turn] != left_out[turn:]


@pytest.mark.parametrize("case", CASES)
def test_pk_batches_have_p_classes_of_k_members_each(case):
    rnd = random.Random(case)
    sizes = [rnd.choice([0, 1, 2, 5, 12]) for _ in range(rnd.choice([1, 3, 8]))] + [3]
    members, kept = members_of(sizes), sum(n > 0 for n in sizes)
    p, k = rnd.randint(1, kept), rnd.choice([1, 2, 4, 7])
    visits, seen, prefixes = Counter(), Counter(), [Counter()]
    for g in range(80):
        batch = slow.pk_batch(members, p, k, case, g)
        by_rank = [batch[perm(rank, p * k, key(case, SLOT, g))] for rank in range(p * k)]
        classes = [x // 1000 for x in by_rank[::k]]
        assert len(set(classes)) == p
        assert [x // 1000 for x in by_rank] == [c for c in classes for _ in range(k)]
        assert slow.pk_visits(members, p, case, g) == [(c, visits[c]) for c in classes]
        visits.update(classes)
        seen.update(batch)
        prefixes.append(seen.copy())
        for place, c in enumerate(classes):
            own = by_rank[place * k : place * k + k]
            copies, few = divmod(k, sizes[c])
            assert own[: copies * sizes[c]] == members[c] * copies
            assert len(set(own[copies * sizes[c] :])) == few
        if (g + 1) % (kept // p) == 0:
            assert spread([visits[c] for c, n in enumerate(sizes) if n]) <= 1
    for own in filter(None, members):
        for a in range(0, 81, 5):
            for b in range(a, 81, 3):
                assert spread([prefixes[b][x] - prefixes[a][x] for x in own]) <= 4


def test_pk_numbers_classes_without_the_empty_ones_and_tags_members_with_the_real_id():
    members = members_of([0, 6, 0, 6, 6])
    without = [own for own in members if own]
    for r in range(9):
        visits = slow.pk_visits(members, 2, 3, r)
        assert visits == [((1, 3, 4)[i], n) for i, n in slow.pk_visits(without, 2, 3, r)]
        expected = [
            members[c][i]
            for c, earlier in visits
            for i, _ in slow.rotating_leave_out(6, 4, earlier, 3, (9, 10), tag=c)
        ]
        batch = slow.pk_batch(members, 2, 4, 3, r)
        assert [batch[perm(rank, 8, key(3, SLOT, r))] for rank in range(8)] == expected


def test_pk_visits_count_from_the_first_batch_of_the_segment():
    members = members_of([6, 7, 8])
    at_zero, later = slow.pk_batch(members, 2, 4, 3, 5), slow.pk_batch(members, 2, 4, 3, 705, 700)
    assert sorted(later) == sorted(at_zero) and later != at_zero
    assert sorted(slow.pk_batch(members, 2, 4, 3, 705, 700, 1)) != sorted(at_zero)


# ---------------------------------------------------------------- weightings


def test_square_root_sampling_is_the_square_root():
    sizes = [1, 0, 4, 2, 3, 10**6 + 3, 2**31 - 1]
    weights = slow.power_weights(sizes, 0.5)
    # the largest root is just below 2^15.5, so the scale is 2^46
    assert weights == [isqrt(n * 4**46) for n in sizes]


def test_a_power_that_is_a_whole_number_is_exact():
    assert slow.power_weights([1, 81, 16, 0], 0.75) == [2**60, 3 * 2**60, 2 * 2**60, 0]
    assert slow.power_weights([5, 0, 1, 7], 0) == [n * 2**59 for n in (5, 0, 1, 7)]
    assert slow.power_weights([5, 0, 1, 7], 1) == [2**61, 0, 2**61, 2**61]


def test_a_repeat_factor_that_is_a_whole_number_is_exact():
    # 27 * sqrt(48 / 27) is 36, though 48 / 27 has no end in decimals
    assert slow.repeat_factor_weights([27], 0.75, 64) == [36 * 2**56]


def test_power_weights_are_the_power_rounded_down():
    sizes = [1, 2, 999, 10**9]
    weights = slow.power_weights(sizes, 0.3)  # 10^6.3 is just below 2^21, so the scale is 2^41
    for n, w in zip(sizes, weights, strict=True):
        assert w**10 <= n**7 * 2**410 < (w + 1) ** 10


def test_effective_number_of_ten_samples_at_beta_09():
    # (1 - 0.9^10) / (1 - 0.9), Cui et al. 2019, Proposition 1
    one, ten = slow.effective_number_weights([1, 10], 0.9)
    assert 10 * one / ten == pytest.approx(6.5132155990, abs=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.9, 0.9999, 0.9999999999999999])
def test_effective_number_weights_are_the_formula_rounded_down(beta):
    sizes, b = [1, 0, 2, 3, 50], Fraction(repr(beta))
    exact = [n * (1 - b) / (1 - b**n) if n else Fraction(0) for n in sizes]
    power = 61
    while max(exact) * 2**power >= 2**62:
        power -= 1
    assert slow.effective_number_weights(sizes, beta) == [floor(x * 2**power) for x in exact]


def test_repeat_factor_of_a_class_ten_times_rarer_than_the_threshold():
    # max(1, sqrt(t / f)) with t = 0.001, f = 0.0001: Gupta et al. 2019, section 5
    common, rare = slow.repeat_factor_weights([9999, 1], 0.001, 10_000)
    assert (rare / 1) / (common / 9999) == pytest.approx(10**0.5)


def test_repeat_factor_weights_are_the_formula_rounded_down():
    sizes, threshold, num_samples = [0, 1, 3, 20, 700], Fraction("0.1"), 500  # some in two classes
    weights = slow.repeat_factor_weights(sizes, 0.1, num_samples)
    for n, w in zip(sizes, weights, strict=True):
        # n * sqrt(t / f) is the square root of t * n * N; 700 is below 2^10, so the scale is 2^52
        squared = max(Fraction(n * n), threshold * n * num_samples)
        assert w == isqrt(floor(squared * 4**52))
