"""Stratified batches: counts in each batch and over any run, coverage, purity, states."""

import pickle
import random
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from cases import Case, cpu
from cases.at_random import first_batch, random_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import slow_kinds

from gpusampler import ClassIndex, WeightedFixedBatchSampler
from gpusampler.plans import weights
from gpusampler.plans.even_tree import SHARE_BITS
from gpusampler.plans.stratified import stratified_plan
from gpusampler.samplers.stratified import StratifiedBatchSampler


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_draws_before_equal_the_slow_reference(number):
    rnd = random.Random(number)
    case = random_case(rnd, "stratified")
    r = first_batch(rnd, case) - case.first
    expected = slow_kinds.stratified_before(case.exact, case.batch_size, case.seed, r, case.segment)
    assert case.plan.draws_before(case.seed, case.segment, r).tolist() == expected
    bounds = slow_kinds.count_bound(case.exact, case.batch_size)
    assert np.allclose(case.plan.count_bounds(), np.array(bounds, float), atol=1e-3)


def test_a_class_that_fills_a_huge_batch_is_drawn_evenly():
    # it had more draws than 32 bits count
    case = Case("stratified", [5, 2], (1 << 23) + 1, [1.0, 1e-9], identity=True)
    batch = np.array(cpu(case, 1023, 1)[0])
    times = np.bincount(batch, minlength=7)
    before, after = (int(case.plan.draws_before(0, 0, r)[0]) for r in (1023, 1024))
    assert before > 1 << 32 and times[:5].sum() == after - before
    assert times[:5].min() >= after // 5 - -(-before // 5)  # its whole cycles
    assert times[:5].max() <= -(-after // 5) - before // 5


# ------------------------------------------------------------------------------- counts


def counts_of(sizes, batch_size, mix, n, first=0, seed=0):
    """[n, C] draws of each class in each batch, the exact due of one batch and the bound, [C]."""
    case = Case("stratified", list(sizes), batch_size, mix, seed, identity=True)
    batches = np.array(cpu(case, first, n))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    flat = labels[batches] + np.arange(n)[:, None] * len(sizes)
    counts = np.bincount(flat.ravel(), minlength=n * len(sizes)).reshape(n, -1)
    due = [Fraction(w * batch_size, case.weights.total) for w in case.exact]
    return counts, due, case.plan.count_bounds()


def check_counts(counts, due, bound, first=0):
    """Guarantee 1. Of dues as floats only where a rounding error cannot decide."""
    n = len(counts)
    floor = np.array([d.numerator // d.denominator for d in due])
    whole = np.array([d.denominator == 1 for d in due])
    assert (counts.sum(axis=1) == counts[0].sum()).all()
    assert ((counts == floor) | (counts == floor + 1) & ~whole).all()
    mean = np.array([float(d) for d in due])
    ahead = np.cumsum(counts, axis=0) - np.arange(1, n + 1)[:, None] * mean
    if first == 0:
        assert (abs(ahead).max(axis=0) <= bound + 1e-6).all()  # at every moment
    run = np.maximum(ahead.max(axis=0), 0) - np.minimum(ahead.min(axis=0), 0)
    assert (run <= 2 * bound + 1e-6).all()  # of any run of batches
    assert bound.max() <= 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 7, 40, 3000]), min_size=1, max_size=60),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([0, 1000, 1 << 36]),
)
def test_counts_are_the_quota_rounded_in_every_batch_and_close_at_every_moment(
    sizes, batch, alpha, first
):
    check_counts(*counts_of(sizes, batch, alpha, 2500, first), first)


def test_counts_far_out_are_as_close_in_closed_form():
    case = Case("stratified", [3, 1, 50, 7, 11] * 20, 37, 0.3)
    due, bound = (
        [Fraction(w * 37, case.weights.total) for w in case.exact],
        case.plan.count_bounds(),
    )
    for r in [0, 5, 1 << 20, (1 << 20) + 77, 1 << 41, (1 << 42) - 1]:
        found = case.plan.draws_before(9, 1, r)
        assert found.sum() == 37 * r
        ahead = np.array([float(k - r * d) for k, d in zip(found.tolist(), due, strict=True)])
        assert (abs(ahead) <= bound + 1e-5).all()


def test_over_an_epoch_a_class_is_within_4_draws_of_its_due():
    case = Case("stratified", list(range(1, 101)), 1024, 0.3)
    due = np.array([float(Fraction(w * 1024, case.weights.total)) for w in case.exact])
    drawn = [case.plan.draws_before(9, 0, epoch * 1000) for epoch in range(60)]
    assert 2 * case.plan.count_bounds().max() <= 4
    assert max(abs(b - a - 1000 * due).max() for a, b in pairwise(drawn)) <= 4


@pytest.mark.parametrize(
    ("sizes", "batch_size", "alpha"),
    [
        ([50] * 1000, 32, 0.5),  # most classes are starved in fixed batches
        ([5] * 30_000, 64, 1.0),
        ([17] * 997, 100, 0.5),  # a prime number of classes
        ([3, 1], 1, 0.5),
    ],
)
def test_every_class_has_its_due_however_many_there_are(sizes, batch_size, alpha):
    check_counts(*counts_of(sizes, batch_size, alpha, 1100))


def test_a_class_of_9_in_100968_is_drawn_about_its_due():
    sizes = [42116, 20007, 15072, 13890, 8674, 901, 299, 9]
    counts, due, bound = counts_of(sizes, 64, 0.0, 20_000)
    check_counts(counts, due, bound)
    assert abs(counts[:, 7].sum() - 114.1) <= 2  # 20,000 * 64 * 9 / 100,968
    gaps = np.diff(np.flatnonzero(counts[:, 7]))
    assert gaps.min() > 80 and gaps.max() < 450  # one in 175 batches: evenly, not in clumps


def test_a_sampler_tells_how_close_its_counts_are():
    sampler = make(mix=(5, 3, 1, 1.5))
    assert (
        sampler.count_bounds.tolist() == sampler.segment_of(sampler._first).count_bounds().tolist()
    )
    assert 0 < sampler.count_bounds.max() <= 2
    assert make(mix=(4, 2, 1, 1)).count_bounds.tolist() == [0, 0, 0, 0]  # whole quotas


@pytest.mark.parametrize(
    "other",
    [
        [1, 2, 3, 4.1],  # other shares
        [2, 1, 3, 4],  # another order
        [1, 2, 3, 14],  # other base draws
        [1, 2, 3, 4 - 1e-15],
    ],
)
def test_the_state_of_another_mix_is_refused(other):
    state = make(batch_size=3, mix=(1, 2, 3, 4)).state_dict()
    make(batch_size=3, mix=(1, 2, 3, 4)).load_state_dict(state)
    with pytest.raises(ValueError, match="the class mix"):
        make(batch_size=3, mix=other).load_state_dict(state)


def test_the_state_of_a_mix_with_rounds_is_told_from_one_that_is_alike_but_for_less_than_2_to_63():
    sizes = [100_000, 100_001, 100_002]
    index = ClassIndex.from_labels(np.repeat(np.arange(3), sizes))
    samplers = [
        StratifiedBatchSampler(weights.linear(np.array(sizes), alpha), index, 2, 9, device="cpu")
        for alpha in (1.0, 0.9999999999999999)
    ]
    plans = [sampler.segment_of(sampler._first)._plan for sampler in samplers]
    assert plans[0].shares.tolist() == plans[1].shares.tolist()
    assert plans[0].round_batches and not plans[1].round_batches
    with pytest.raises(ValueError, match="the class mix"):
        samplers[1].load_state_dict(samplers[0].state_dict())


@pytest.mark.parametrize(("classes", "batch_size"), [(64, 8), (100, 32), (30, 4), (3, 2)])
def test_alike_classes_change_company_from_round_to_round(classes, batch_size):
    case = Case("stratified", [1] * classes, batch_size, 1.0, seed=4, identity=True)
    batches, draws = case.plan.round_batches, case.plan.round_draws
    assert batches * batch_size == draws * classes and batches >= 256
    rounds = np.array(cpu(case, 0, 3 * batches)).reshape(3, batches, batch_size)
    for one in rounds:
        assert np.bincount(one.ravel()).tolist() == [draws] * classes
    met = [np.zeros((classes, classes), bool) for _ in rounds]
    for together, one in zip(met, rounds, strict=True):
        for batch in one:
            together[np.ix_(batch, batch)] = True
    if classes > 3:
        never = [~together for together in met]
        assert never[0].any()  # in one round
        assert (never[0] & never[1] & never[2]).sum() < never[0].sum() / 2
    assert (rounds[0] != rounds[1]).any()


# ------------------------------------------------------------------------------- coverage


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 5, 31, 33, 70]), min_size=1, max_size=40),
    st.integers(1, 40),
    st.sampled_from([0, 1, 1000, 10**7]),
    st.sampled_from([0.0, 0.6, 1.0]),
)
def test_each_member_is_drawn_once_before_any_twice(sizes, batch_size, first, alpha):
    n = 300
    case = Case("stratified", sizes, batch_size, alpha, seed=3, identity=True)
    times = np.bincount(np.array(cpu(case, first, n)).ravel(), minlength=sum(sizes))
    before = case.plan.draws_before(3, 0, first)
    after = case.plan.draws_before(3, 0, first + n)
    for c, size in enumerate(sizes):
        mine = times[case.offsets[c] : case.offsets[c + 1]]
        assert mine.sum() == after[c] - before[c]
        whole = after[c] // size - -(-before[c] // size)  # cycles that begin and end in the run
        assert mine.max() - mine.min() <= 2 and mine.min() >= whole
        if before[c] % size == 0 and after[c] % size == 0:
            assert mine.max() == mine.min()


def test_draws_in_stream_order_are_passes_of_permutations():
    case = Case(
        "stratified", [1, 33, 5, 40, 100], 1, 0.8, identity=True
    )  # batches of one: no shuffle
    drawn = np.array(cpu(case, 0, 3000)).ravel()
    for c, size in enumerate(case.sizes):
        mine = drawn[(drawn >= case.offsets[c]) & (drawn < case.offsets[c + 1])]
        passes = mine[: len(mine) // size * size].reshape(-1, size)
        assert len(passes) > 5
        assert (np.sort(passes) == np.arange(case.offsets[c], case.offsets[c + 1])).all()
        assert size < 31 or len({tuple(one) for one in passes}) == len(passes)


# ------------------------------------------------------------------------------- sampler


def make(sizes=(50, 20, 5, 1), batch_size=8, n_batches=30, mix=(5, 3, 1, 1.5), **more):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = labels[np.random.default_rng(3).permutation(len(labels))]
    index = ClassIndex.from_labels(labels, num_classes=len(sizes))
    return StratifiedBatchSampler(list(mix), index, batch_size, n_batches, device="cpu", **more)


def test_a_batch_is_the_same_however_it_is_reached():
    sampler = make(n_batches=2600)
    built = sampler.build()
    for g, n in [(0, 1), (1023, 1), (1024, 1), (1000, 1600), (2599, 1), (5, 7)]:
        assert torch.equal(sampler.batches(g, n), built[g : g + n])
    assert torch.equal(make(n_batches=13).batches(1020, 9), built[1020:1029])
    for window_bytes in (1, 8 * 8 * 700, 1 << 20):
        windowed = make(n_batches=2600, window_bytes=window_bytes)
        assert torch.equal(torch.stack(list(windowed.on_device())), built)
    assert torch.equal(pickle.loads(pickle.dumps(sampler)).batch(77), built[77])


@pytest.mark.parametrize("world_size", [1, 3, 64])
def test_ranks_are_disjoint_and_cover_every_batch(world_size):
    sampler = make(n_batches=world_size * 40)
    parts = [sampler.shard(rank, world_size).build() for rank in range(world_size)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), sampler.build())


@pytest.mark.parametrize("world_size", [1, 2])
def test_whole_quotas_give_the_fixed_batches_on_every_rank(world_size):
    stratified = make(mix=(4, 2, 1, 1), n_batches=1200, seed=6)
    fixed = WeightedFixedBatchSampler([4, 2, 1, 1], stratified.index, 1200, device="cpu", seed=6)
    for rank in range(world_size):
        own, other = (s.shard(rank, world_size) for s in (stratified, fixed))
        assert torch.equal(own.build(), other.build())
        assert torch.equal(own.batch(1 << 40), other.batch(1 << 40))


def test_an_epoch_of_one_batch_and_many_epochs():
    sampler = make(n_batches=1)
    epochs = [batch for _ in range(20) for batch in sampler]
    assert epochs == make(n_batches=20).build().tolist()


@pytest.mark.parametrize("before", [3, 2000])
def test_a_change_of_mix_costs_no_member_its_turn(before):
    sampler = make(n_batches=before, seed=4)
    sampler.set_epoch(1)
    sampler.set_weights([1.0, 1.0, 1.0, 1.0])
    built, exact = sampler.batches(before - 2, 4).tolist(), [3, 3]
    offsets = sampler.index.host_offsets
    members = sampler.index.members.tolist()
    groups = [members[a:b] for a, b in pairwise(offsets)]
    exact = [
        [mix.values[i] for i in mix.which]
        for mix in (weights.given(w, np.diff(offsets)) for w in ([5, 3, 1, 1.5], [1, 1, 1, 1]))
    ]
    expected = [
        slow_kinds.segmented_batch(
            "stratified", groups, [(0, exact[0]), (1, exact[1])], 8, before, 4, *divmod(g, before)
        )
        for g in range(before - 2, before + 2)
    ]
    assert built == expected


def test_batches_past_2_to_the_42_are_refused():
    sampler = make()
    assert len(sampler.batch((1 << 42) - 1)) == 8
    with pytest.raises(ValueError, match=r"4398046511103"):
        sampler.batch(1 << 42)


# ------------------------------------------------------------------------------- plan


@pytest.mark.parametrize("alpha", [0.0, 0.1 + 0.2, 1 / 3, 1.0])
def test_quotas_are_exact_where_the_total_has_hundreds_of_bits(alpha):
    sizes = np.array([1, 10**9, 7, 7, (1 << 31) - 1, 12345])
    mix = weights.linear(sizes, alpha)
    plan = stratified_plan(mix, sizes, np.cumsum(sizes) - sizes, 1000)
    exact = [Fraction(1000 * mix.values[i], mix.total) for i in mix.which]
    rest = [due % 1 for due in exact]
    assert plan.rows[:, 5].tolist() == [int(due) for due in exact]
    assert plan.extra == sum(rest)
    assert plan.leaf_class.tolist() == sorted(
        (c for c in range(6) if rest[c]), key=lambda c: (rest[c], c)
    )
    below = [sum(rest[c] for c in plan.leaf_class[:i]) for i in range(len(plan.leaf_class) + 1)]
    left = below[plan.root] % 1  # of the root, whose own quota is whole: without ticks if this is
    assert plan.shares.view(np.uint64)[plan.root] == int((1 - left) % 1 * 2**SHARE_BITS)


def test_a_million_classes_are_planned_within_seconds():
    sizes, rng = np.random.default_rng(0).integers(1, 50, 10**6), np.random.default_rng(1)
    values = rng.integers(1, 1 << 60, 10**6).tolist()
    mix = weights.Weights(tuple(values), np.arange(10**6), sum(values))
    begin = time.process_time()
    plan = stratified_plan(mix, sizes, np.cumsum(sizes) - sizes, 1024)
    before = plan.draws_before(0, 0, 12345)
    assert time.process_time() - begin < 15
    assert before.sum() == 12345 * 1024
    assert abs(before - mix.shares() * (12345 * 1024)).max() < 2
