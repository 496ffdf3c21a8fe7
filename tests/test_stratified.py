"""Stratified batches: the kernels, the CPU twin and the slow reference give the same indices, and
guarantees 1 to 3 hold: counts, coverage, purity."""

import pickle
import random
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import slow_kinds
import stratified_cases as cases
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stratified_cases import StratifiedCase, first_batch, random_case

from gpusampler import ClassIndex, WeightedFixedBatchSampler, cpu_stratified, parallel, weights
from gpusampler import draws_stratified as draws_module
from gpusampler.plan_stratified import BLOCK, stratified_plan
from gpusampler.sampler_stratified import StratifiedBatchSampler

# ------------------------------------------------------------------------------- parity


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_twin_equals_slow_reference(number):
    rnd = random.Random(number)
    case, stride = random_case(rnd), rnd.choice([1, 1, 2, 7, 64])
    g0, n = first_batch(rnd, case), rnd.choice([1, 2, 3, 40, 90])
    found = cases.twin(case, g0, n, stride)
    for t in {0, n - 1, rnd.randrange(n)}:
        assert found[t] == cases.slow_batch(case, g0 + t * stride)


@pytest.mark.parametrize("n", [1023, 1024, 1025])
@pytest.mark.parametrize("classes", [3, 100])
def test_a_whole_block_of_the_cpu_twin_equals_the_slow_reference(n, classes):
    rnd = random.Random(n * classes)
    case = StratifiedCase([rnd.choice([1, 5, 40]) for _ in range(classes)], 17, 0.7, n, segment=2)
    g0 = rnd.choice([0, 1, 5, 1024])
    found = cases.twin(case, g0, n)
    for t in (0, 1, n // 2, n - 2, n - 1):
        assert found[t] == cases.slow_batch(case, g0 + t)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_draws_before_equal_the_slow_reference(number):
    rnd = random.Random(number)
    case = random_case(rnd)
    r = first_batch(rnd, case) - case.first
    expected = slow_kinds.stratified_before(case.exact, case.batch_size, case.seed, r, case.segment)
    assert case.plan.draws_before(case.seed, case.segment, r).tolist() == expected


@pytest.mark.parametrize("number", range(6))
def test_kernel_equals_cpu_twin(number, kernel_device):
    rnd = random.Random(number)
    case, stride = random_case(rnd, 60), rnd.choice([1, 1, 3, 300, 1500])
    g0, n = first_batch(rnd, case), rnd.choice([1, 2, 3])
    assert cases.kernel(case, g0, n, kernel_device, stride) == cases.twin(case, g0, n, stride)
    first, _, count = case.blocks_of(g0, n, stride)
    tables = cases.kernel_blocks(case, first, count, kernel_device)
    for found, expected in zip(tables, cases.twin_blocks(case, first, count), strict=True):
        assert found.cpu().numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("batch_size", [129, 255])
def test_kernel_equals_cpu_twin_at_block_edges(batch_size, kernel_device):
    case = StratifiedCase([700, 40, 9, 1], batch_size, 0.7, seed=batch_size)
    assert cases.kernel(case, 1022, 3, kernel_device) == cases.twin(case, 1022, 3)


def test_kernel_equals_cpu_twin_where_a_block_has_more_draws_than_32_bits(
    kernel_device, monkeypatch
):
    from gpusampler.kernels import stratified

    monkeypatch.setattr(stratified, "NARROW_BATCH", 0)  # as it is for batches above 2^20
    start = [(1 << 50) + 6, 1 << 41, 3]
    case = StratifiedCase([700, 41, 9], 33, 0.3, seed=5, start=start)
    assert cases.kernel(case, 1023, 2, kernel_device) == cases.twin(case, 1023, 2)


def test_a_class_that_fills_a_huge_batch_is_drawn_evenly():
    # its draws before the last batch of a block are more than 32 bits count
    case = StratifiedCase([5, 2], (1 << 23) + 1, [1.0, 1e-9], identity=True)
    batch = np.array(cases.twin(case, 1023, 1)[0])
    times = np.bincount(batch, minlength=7)
    before, after = (int(case.plan.draws_before(0, 0, r)[0]) for r in (1023, 1024))
    assert before > 1 << 32 and times[:5].sum() == after - before
    assert times[:5].min() >= after // 5 - -(-before // 5)  # its whole cycles
    assert times[:5].max() <= -(-after // 5) - before // 5


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_answer(threads, monkeypatch):
    case = StratifiedCase([997, 300, 31, 2] * 10, 100, 0.5, seed=8)
    expected = [cases.twin(case, 1000, 40, stride) for stride in (1, 3)]
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    monkeypatch.setattr(cpu_stratified, "SLAB", 700)
    assert [cases.twin(case, 1000, 40, stride) for stride in (1, 3)] == expected


def test_one_wrong_bit_is_noticed():
    def batches(**changed):
        given = {"sizes": [100, 50, 7], "batch_size": 64, "alpha": 0.5, "seed": 1, **changed}
        return cases.twin(StratifiedCase(**given), 1 << 33, 2)

    changes = [{"seed": 1 | 1 << 63}, {"segment": 1}, {"start": [1, 0, 0]}, {"first": 1 << 10}]
    found = [batches(), *(batches(**changed) for changed in changes)]
    assert len({str(one) for one in found}) == 5


def test_ops_pass_torch_opcheck():
    case = StratifiedCase([40, 20, 3], 16, 0.5, seed=2)
    p, t = case.plan, torch.from_numpy
    tables = [t(table) for table in cases.empty_tables(p, 2)]
    plan = [t(x) for x in (p.rows, p.start, p.cut_high, p.cut_low)]
    torch.library.opcheck(
        torch.ops.gpusampler.stratified_blocks.default, (*tables, *plan, *p.grid, 2, 0, 5)
    )
    tables = [t(table) for table in cases.twin_blocks(case, 0, 1)]
    ends = p.key_ends(3)
    torch.library.opcheck(
        torch.ops.gpusampler.draw_stratified.default,
        (torch.zeros((3, 16), dtype=torch.int64), t(case.members), t(p.rows), t(p.base_rows),
         t(p.rank_row), *tables, t(ends), int(ends[-1]), 3, 40, 0, 0, 2, 0, 1, 0),
    )  # fmt: skip


# ------------------------------------------------------------------------------- counts


def counts_of(sizes, batch_size, mix, n, first=0, seed=0):
    """[n, C] draws of each class in each batch, and the exact due of one batch, [C]."""
    case = StratifiedCase(list(sizes), batch_size, mix, seed, identity=True)
    batches = np.array(cases.twin(case, first, n))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    flat = labels[batches] + np.arange(n)[:, None] * len(sizes)
    counts = np.bincount(flat.ravel(), minlength=n * len(sizes)).reshape(n, -1)
    return counts, [Fraction(w * batch_size, case.weights.total) for w in case.exact]


def check_counts(counts, due, first=0):
    """Guarantee 1. Of dues as floats only where a rounding error cannot decide.

    Within a block the extras of b batches on a part of the line are no further from their mean
    than 10 / 3 + 1 / 9, the discrepancy of 2^10 points of van der Corput's sequence.
    """
    n = len(counts)
    floor = np.array([d.numerator // d.denominator for d in due])
    whole = np.array([d.denominator == 1 for d in due])
    assert (counts.sum(axis=1) == counts[0].sum()).all()
    assert ((counts == floor) | (counts == floor + 1) & ~whole).all()
    mean = np.array([float(d) for d in due])
    for a, b in pairwise(range(-first % BLOCK, n + 1, BLOCK)):
        drawn = counts[a:b].sum(axis=0).tolist()
        assert all(abs(k - BLOCK * d) < 1 for k, d in zip(drawn, due, strict=True))
        ahead = np.cumsum(counts[a:b], axis=0) - np.arange(1, b - a + 1)[:, None] * mean
        assert abs(ahead).max() <= 10 / 3 + 1 / 9 + 1 + 1e-6  # 1 is the block's own rounding
    ahead = np.cumsum(counts, axis=0) - np.arange(1, n + 1)[:, None] * mean
    assert (ahead.max(axis=0) - ahead.min(axis=0)).max() <= 8  # of any run of batches


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 7, 40, 3000]), min_size=1, max_size=60),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([0, 1000, 1 << 36]),
)
def test_counts_are_the_quota_rounded_in_every_batch_block_and_run(sizes, batch, alpha, first):
    check_counts(*counts_of(sizes, batch, alpha, 2500, first), first)


def test_counts_over_a_million_batches_in_closed_form():
    case = StratifiedCase([3, 1, 50, 7, 11] * 20, 37, 0.3)
    due = [float(Fraction(w * 37, case.weights.total)) for w in case.exact]
    drawn = {r: case.plan.draws_before(9, 1, r) for r in [0, 5, 1 << 20, (1 << 20) + 77, 1 << 40]}
    for r, found in drawn.items():
        assert found.sum() == 37 * r
        assert abs(found - np.array(due) * r).max() <= 4 + r * 1e-12


def test_over_an_epoch_a_class_is_within_4_draws_of_its_due():
    case = StratifiedCase(list(range(1, 101)), 1024, 0.3)
    due = np.array([float(Fraction(w * 1024, case.weights.total)) for w in case.exact])
    drawn = [case.plan.draws_before(9, 0, epoch * 1000) for epoch in range(60)]
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
    counts, due = counts_of(sizes, 64, 0.0, 20_000)
    check_counts(counts, due)
    assert abs(counts[:, 7].sum() - 114.1) <= 4  # 20,000 * 64 * 9 / 100,968
    gaps = np.diff(np.flatnonzero(counts[:, 7]))
    assert gaps.max() < 1100  # one in 175 batches: evenly, not in clumps


def test_the_extras_of_a_class_come_evenly_within_a_block():
    counts, _ = counts_of([1] * 5, 2, 1.0, BLOCK)
    for run in (8, 32, 128):
        sums = counts.reshape(-1, run, 5).sum(axis=1)
        assert abs(sums - 2 * run / 5).max() <= 3


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
    case = StratifiedCase(sizes, batch_size, alpha, seed=3, identity=True)
    times = np.bincount(np.array(cases.twin(case, first, n)).ravel(), minlength=sum(sizes))
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
    case = StratifiedCase([1, 33, 5, 40, 100], 1, 0.8, identity=True)  # batches of one: no shuffle
    drawn = np.array(cases.twin(case, 0, 3000)).ravel()
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


def test_a_batch_is_the_same_however_it_is_reached(monkeypatch):
    sampler = make(n_batches=2600)
    built = sampler.build()
    for g, n in [(0, 1), (1023, 1), (1024, 1), (1000, 1600), (2599, 1), (5, 7)]:
        assert torch.equal(sampler.batches(g, n), built[g : g + n])
    assert torch.equal(make(n_batches=13).batches(1020, 9), built[1020:1029])
    for window_bytes in (1, 8 * 8 * 700, 1 << 20):
        windowed = make(n_batches=2600, window_bytes=window_bytes)
        assert torch.equal(torch.stack(list(windowed.on_device())), built)
    monkeypatch.setattr(draws_module, "TABLE_CELLS", 1)  # the tables of one block at a time
    assert torch.equal(make(n_batches=2600).build(), built)
    assert torch.equal(pickle.loads(pickle.dumps(sampler)).batch(77), built[77])


def test_tables_of_the_last_blocks_are_kept(monkeypatch):
    sampler, made = make(n_batches=4000), []
    from gpusampler import ops

    kept = ops.stratified_blocks
    monkeypatch.setattr(
        ops, "stratified_blocks", lambda *given: (made.append(given[-1]), kept(*given))
    )
    sampler.batches(1000, 100)
    for g in (1023, 1024, 2047, 0, 5):
        sampler.batch(g)
    assert made == [0]
    sampler.batch(2048)
    sampler.batch(0)
    assert made == [0, 2, 0]


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
def test_cuts_are_exact_where_the_total_has_hundreds_of_bits(alpha):
    sizes = np.array([1, 10**9, 7, 7, (1 << 31) - 1, 12345])
    mix = weights.linear(sizes, alpha)
    plan = stratified_plan(mix, sizes, np.cumsum(sizes) - sizes, 1000)
    exact = [Fraction(1000 * mix.values[i], mix.total) for i in mix.which]
    below = Fraction(0)
    for c in range(7):
        cut = int(plan.cut_high[c]) << 32 | int(plan.cut_low[c]) & 0xFFFFFFFF
        assert cut == int(below * BLOCK * 2**32)
        below += exact[c] % 1 if c < 6 else 0
    assert plan.rows[:, 5].tolist() == [int(d) for d in exact]
    assert plan.extra == below


def test_a_million_classes_are_planned_within_seconds():
    sizes, rng = np.random.default_rng(0).integers(1, 50, 10**6), np.random.default_rng(1)
    values = rng.integers(1, 1 << 60, 10**6).tolist()
    mix = weights.Weights(tuple(values), np.arange(10**6), sum(values))
    begin = time.perf_counter()
    plan = stratified_plan(mix, sizes, np.cumsum(sizes) - sizes, 1024)
    before = plan.draws_before(0, 0, 12345)
    assert time.perf_counter() - begin < 15
    assert before.sum() == 12345 * 1024
    assert abs(before - mix.shares() * (12345 * 1024)).max() < 4
