"""The slow reference of the further kinds, against brute force and the guarantees of the design."""

import random
from collections import Counter
from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil, floor, isqrt

import pytest
import slow_kinds as slow
import slow_reference
from slow_reference import MEMBER, SLOT, bits, fixed_batch, fixed_counts, key, linear_weights, perm

CASES = range(12)
BLOCK = 1024


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


def targets(weights, batch_size):
    return [Fraction(batch_size * w, sum(weights)) for w in weights]


def spread(counts):
    return max(counts) - min(counts)


# ---------------------------------------------------------------- even points


@pytest.mark.parametrize("h", [1, 2, 3, 6, 10])
def test_even_points_put_each_aligned_run_once_in_every_equal_part(h):
    points = slow.EvenPoints(seed=9, z=4, h=h)
    u = [points.u(i) for i in range(2**h)]
    for k in range(h + 1):  # k = h: they are a permutation
        for run in range(0, 2**h, 2**k):
            assert sorted(x >> h - k for x in u[run : run + 2**k]) == list(range(2**k))


@pytest.mark.parametrize("h", [0, 1, 3, 6])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_even_points_count_is_a_count(h, seed):
    points = slow.EvenPoints(seed, z=2**32, h=h)
    u = [points.u(i) for i in range(2**h)]
    for i in range(2**h + 1):
        for y in range(2**h + 1):
            assert points.count(i, y) == sum(x < y for x in u[:i])


def test_even_points_count_is_a_count_among_2_to_the_32():
    points, rnd = slow.EvenPoints(seed=3, z=0, h=32), random.Random(1)
    u = [points.u(i) for i in range(300)]
    for i in range(300):
        for y in (0, 1, u[i], u[i] + 1, rnd.randrange(2**32), 2**32):
            assert points.count(i, y) == sum(x < y for x in u[:i])
    assert points.count(2**32, 12345) == 12345


def test_an_even_point_is_made_of_the_key_bits_that_the_design_names():
    points, i = slow.EvenPoints(seed=5, z=7, h=10, segment=3), 0b1011001110
    digits = [int(x) for x in f"{points.u(i):010b}"]
    for k, digit in enumerate(digits):
        word = bits(5, 4 + 3 * 256, (i >> (k + 1)) * 64 + k, 7)[0]
        assert digit == (i >> k) % 2 ^ word >> 31


# ---------------------------------------------------------------- stratified


@pytest.mark.parametrize("case", CASES)
def test_stratified_batches_keep_their_quotas_and_ordinals_have_no_gap(case):
    _, weights, batch_size = random_plan(case)
    target, used = targets(weights, batch_size), [0] * len(weights)
    for r in range(100):
        assert slow.stratified_before(weights, batch_size, case, r) == used
        draws = slow.stratified_draws(weights, batch_size, case, r)
        counts = Counter(c for c, _ in draws)
        assert len(draws) == batch_size
        assert all(floor(t) <= counts[c] <= floor(t) + 1 for c, t in enumerate(target))
        assert all(counts[c] == t for c, t in enumerate(target) if t.denominator == 1)
        base = [c for c, t in enumerate(target) for _ in range(floor(t))]
        assert [c for c, _ in draws][: len(base)] == base
        for c, ordinal in draws:
            assert ordinal == used[c]
            used[c] += 1
        assert all(abs(used[c] - (r + 1) * t) <= 4 for c, t in enumerate(target))


@pytest.mark.parametrize(("weights", "batch_size"), [([7, 2, 0, 1], 3), ([5, 4, 3, 2, 1], 1)])
def test_stratified_totals_follow_their_target_through_a_whole_block_and_on(weights, batch_size):
    target, used = targets(weights, batch_size), [0] * len(weights)
    for r in range(BLOCK + 20):
        if r == BLOCK:
            assert all(
                floor(BLOCK * t) <= n <= ceil(BLOCK * t) for n, t in zip(used, target, strict=True)
            )
        for c, ordinal in slow.stratified_draws(weights, batch_size, 1, r):
            assert ordinal == used[c]
            used[c] += 1
        assert all(abs(n - (r + 1) * t) <= 4 for n, t in zip(used, target, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_each_aligned_block_rounds_its_target_however_far(case):
    _, weights, batch_size = random_plan(case)
    for j in (0, 1, 2, 77, 2**20 - 1, 2**32 - 2):
        before = slow.stratified_before(weights, batch_size, case, j * BLOCK)
        after = slow.stratified_before(weights, batch_size, case, (j + 1) * BLOCK)
        for c, t in enumerate(targets(weights, batch_size)):
            assert floor(BLOCK * t) <= after[c] - before[c] <= ceil(BLOCK * t)
    assert len(slow.stratified_draws(weights, batch_size, case, 2**42 - 1)) == batch_size


@pytest.mark.parametrize("case", ["ordinary", "a cut that meets an even point"])
def test_blocks_are_systematic_samples_whose_offsets_are_even_points(case):
    weights, batch_size, seed, segment = [5, 4, 3, 2, 1], 7, 11, 6
    offsets = slow.EvenPoints(seed, 0, 32, segment)
    if case != "ordinary":  # weights of sum 2^42 and one draw a batch: the first cut is weights[0]
        weights, batch_size = [2**32 - offsets.u(3), 2**42 - 2**32 + offsets.u(3)], 1
    base, rest = slow.quotas(weights, batch_size)
    cuts = [BLOCK * 2**32 * f // sum(weights) for f in accumulate(rest, initial=0)]
    extras = [0] * len(weights)
    for j in range(40):
        expected = [j * BLOCK * b + n for b, n in zip(base, extras, strict=True)]
        before = slow.stratified_before(weights, batch_size, seed, j * BLOCK, segment)
        assert before == expected
        ends = [(cut + offsets.u(j)) >> 32 for cut in cuts]
        extras = [n + high - low for n, (low, high) in zip(extras, pairwise(ends), strict=True)]


def test_the_extras_of_a_batch_are_where_its_points_fall_on_the_line():
    weights, batch_size, seed, j, segment = [5, 0, 4, 3, 2, 1], 7, 11, 2, 6
    base, rest = slow.quotas(weights, batch_size)
    before = slow.stratified_before(weights, batch_size, seed, j * BLOCK, segment)
    after = slow.stratified_before(weights, batch_size, seed, (j + 1) * BLOCK, segment)
    order = [perm(i, 6, key(seed, 3 + 256 * segment, j)) for i in range(6)]
    line = [c for c in order for _ in range(after[c] - before[c] - BLOCK * base[c])]
    extra = sum(rest) // sum(weights)
    assert extra > 1 and len(line) == BLOCK * extra
    points = slow.EvenPoints(seed, j + 1, 10, segment)
    for b in range(30):
        draws = slow.stratified_draws(weights, batch_size, seed, j * BLOCK + b, segment)
        assert [c for c, _ in draws[-extra:]] == [
            line[points.u(b) + k * BLOCK] for k in range(extra)
        ]


@pytest.mark.parametrize("g", [0, 1, 1023, 1024, 10**9])
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
    plans = [
        [[c for c, _ in slow.stratified_draws(weights, 10, 6, r, s)] for r in range(50)]
        for s in (0, 1)
    ]
    assert plans[0] != plans[1]
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


def test_effective_number_goes_from_natural_to_uniform():
    assert slow.effective_number_weights([5, 1, 7], 0) == [n * 2**59 for n in (5, 1, 7)]
    large, small = slow.effective_number_weights([2**31 - 1, 10], 0.9)
    assert small / large == pytest.approx(10 / (1 - 0.9**10) / (2**31 - 1))


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
