"""The slow reference of stratified batches, their rounds and segments."""

import random
from collections import Counter
from itertools import combinations

import pytest

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
