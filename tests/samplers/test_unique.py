"""unique=True: no member twice in a batch where its class has enough, and all else stays; the same
on every backend."""

import json
import random
from collections import Counter
from math import gcd

import numpy as np
import pytest
import torch
from cases import UNIQUE, Case, classes_of, cpu, interpreted
from cases.at_random import random_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import slow_kinds, slow_reference

from gpusampler import ClassIndex, SamplerFactory, StarvedClassWarning
from gpusampler.cpu import parallel
from gpusampler.plans.blocks import BLOCKS, LAST, LENGTH, SHIFT, block_table

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{StarvedClassWarning.__module__}.StarvedClassWarning"),
]


def made(kind: str, groups, batch_size: int, n_batches: int, alpha=0.5, **options):
    given = {"device": "cpu", "seed": 3, "unique": True, **options}
    return SamplerFactory().get(groups, batch_size, n_batches, alpha, kind, **given)


# ------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("batch_size", [127, 129, 257])
def test_kernel_equals_cpu_twin_at_block_edges(batch_size, kernel_device):
    for kind in UNIQUE:
        case = Case(kind, [700, 40, 9, 1], batch_size, 0.7, batch_size, unique=True)
        assert interpreted(case, 1022, 3, kernel_device) == cpu(case, 1022, 3)


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1])
def test_kernel_equals_cpu_twin_and_slow_reference_for_a_huge_class(n, kernel_device):
    """A dataset in order, of which no members are read."""
    index = ClassIndex(None, np.array([0, n, n + 5]), n + 5, "cpu")
    for kind in UNIQUE:
        sampler, g = made(kind, index, 64, 7, None, weights=[60, 4]), 1 << 33
        found = sampler.batches(g, 2).tolist()
        groups = [range(n), range(n, n + 5)]
        for t, batch in enumerate(found):
            assert batch == slow_reference.fixed_batch(groups, [60, 4], 3, g + t, unique=True)
        case = Case(kind, [n, 5], 64, [60.0, 4.0], 3, unique=True, identity=True)
        assert interpreted(case, g, 2, kernel_device) == found


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_change_the_answer(threads, monkeypatch):
    samplers = [made(kind, [range(31), range(31, 900)], 60, 40) for kind in UNIQUE]
    expected = [sampler.build() for sampler in samplers]
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    assert all(map(torch.equal, expected, [sampler.build() for sampler in samplers]))


# ------------------------------------------------------------------------------- blocks


def test_blocks_are_those_of_the_slow_reference():
    for n in [*range(1, 50), 100, 101, 997]:
        for m in range(n + 20):
            for more in {False, m == 0, m % 3 == 0}:
                if m + more:
                    row = block_table(*(np.array([x]) for x in (n, m, more)))[0].tolist()
                    draws = (m, m + 1) if more else (m,)
                    sizes, shift = slow_reference.unique_blocks(n, draws, 1 if more else gcd(n, m))
                    mine = [row[LENGTH]] * (row[BLOCKS] - 1) + [row[LAST]] * (1 + (shift > 0))
                    assert (tuple(mine), row[SHIFT]) == (sizes, shift), (n, m, more)


def test_a_class_that_its_count_divides_needs_no_blocks():
    for n, m in ((12, 4), (12, 12), (5, 10), (1, 7), (100, 1)):
        row = block_table(np.array([n]), np.array([m]), np.array([False]))[0]
        assert (row[BLOCKS], row[LENGTH], row[SHIFT]) == (1, n, 0)


@pytest.mark.parametrize("kind", UNIQUE)
def test_where_no_class_needs_blocks_the_stream_is_the_ordinary_one(kind):
    groups, counts = [range(40), range(40, 100), range(100, 105)], [4, 6, 10]
    pair = [made(kind, groups, 20, 50, None, weights=counts, unique=u) for u in (True, False)]
    assert torch.equal(*(sampler.build() for sampler in pair))


# ------------------------------------------------------------------------------- guarantees


def check_unique(batches, sizes, groups):
    """None twice where the class has enough; else each floor or ceil of draws / size times."""
    label = {index: c for c, group in enumerate(groups) for index in group}
    for batch in batches:
        times = Counter(batch)
        drawn = Counter(label[index] for index in batch)
        for index, k in times.items():
            c = label[index]
            assert k <= -(-drawn[c] // sizes[c])
        for c, m in drawn.items():
            assert m < sizes[c] or min(times[index] for index in groups[c]) >= m // sizes[c]


@pytest.mark.parametrize("kind", UNIQUE)
def test_ten_members_and_eight_a_batch_never_come_twice(kind):
    plain, unique = (
        made(kind, [range(10), range(10, 300)], 16, 1000, 1.0, unique=u).build().tolist()
        for u in (False, True)
    )
    assert sum(len(set(batch)) < 16 for batch in plain) > 500  # 8 of 10 and 8 of 290
    assert all(len(set(batch)) == 16 for batch in unique)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(UNIQUE))
def test_no_member_comes_twice_in_a_batch_where_its_class_has_enough(number, kind):
    rnd = random.Random(number)
    sizes = [rnd.choice([1, 2, 3, 5, 8, 10, 13, 31, 40, 100]) for _ in range(rnd.choice([1, 2, 5]))]
    ends = np.cumsum(sizes)
    groups = [range(end - n, end) for n, end in zip(sizes, ends.tolist(), strict=True)]
    sampler = made(
        kind, groups, rnd.choice([1, 5, 8, 17, 33, 64, 150]), 50, rnd.choice([0.0, 0.4, 1.0]),
        seed=rnd.randrange(1 << 64),
    )  # fmt: skip
    check_unique(sampler.batches(rnd.choice([0, 1, 1000, 1 << 33]), 80).tolist(), sizes, groups)
    sampler.set_epoch(2)  # a change of mix, and another in mid-epoch
    sampler.set_alpha(rnd.random())
    iterator = iter(sampler)
    found = [next(iterator) for _ in range(20)]
    sampler.set_alpha(rnd.random())
    found += [*iterator, *sampler]
    check_unique(found, sizes, groups)


@pytest.mark.parametrize("kind", UNIQUE)
def test_each_member_comes_once_in_each_pass_from_any_change_of_mix_on(kind):
    sizes = [10, 33, 97, 4]
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    sampler = made(kind, [group.tolist() for group in groups], 24, 30, 0.7, order="class")
    for epoch in range(0, 40, 20):
        if epoch:
            sampler.set_epoch(epoch)
            sampler.set_alpha(0.2)
        flat = sampler.batches(epoch * 30, 20 * 30).flatten().numpy()
        begins = -sampler.segment_of(sampler._history.at(epoch, sampler)[0]).start % sizes
        for n, few, group, begin in zip(
            sizes, (True, False, False, True), groups, begins.tolist(), strict=True
        ):
            mine = flat[(flat >= group[0]) & (flat <= group[-1])][begin:]
            passes = mine[: len(mine) // n * n].reshape(-1, n)
            assert len(passes) > 20 * n / 97
            assert (np.sort(passes, axis=1) == group).all()
            others = len({tuple(row) for row in passes.tolist()})
            assert few or others == len(passes)  # in a new order each, but blocks may be short


@pytest.mark.parametrize("kind", UNIQUE)
def test_each_member_comes_once_in_each_pass_under_a_mix_that_changes_each_epoch(kind):
    """50 to 64 draws of 1009 and 36 to 50 of 307, in passes that begin and end within epochs."""
    groups = [range(1009), range(1009, 1316)]
    sampler = made(
        kind, groups, 100, 7, lambda epoch: 0.5 + epoch % 41 / 80, order="class", unique=True
    )
    flat = sampler.batches(0, 280).flatten().numpy()
    check_unique(flat.reshape(-1, 100).tolist(), [1009, 307], groups)
    assert len({tuple(sampler.class_counts_in(epoch).tolist()) for epoch in range(40)}) > 12
    for group in groups:
        mine = flat[np.isin(flat, group)]
        passes = mine[: len(mine) // len(group) * len(group)].reshape(-1, len(group))
        assert len(passes) > 14 and (np.sort(passes, axis=1) == group).all()


@pytest.mark.parametrize("kind", UNIQUE)
def test_under_any_schedule_members_are_left_out_no_more_often_than_by_chance(kind):
    groups = [range(5000), range(5000, 5100)]
    sampler = made(kind, groups, 60, 9, lambda epoch: epoch % 37 / 36)
    times = np.bincount(sampler.batches(0, 900).flatten().numpy(), minlength=5100)[:5000]
    assert times.mean() > 5 and times.min() > 0  # begun anew at each change a third is left out


@pytest.mark.parametrize("kind", UNIQUE)
def test_ranks_resume_and_windows_go_on_as_ever(kind):
    groups = [range(10), range(10, 100), range(100, 107)]
    whole = made(kind, groups, 24, 12)
    stream = whole.batches(0, 36)
    assert torch.equal(torch.cat([whole.batch(g)[None] for g in range(36)]), stream)
    rows = [list(made(kind, groups, 24, 12).shard(r, 3)) for r in range(3)]
    assert [rows[b % 3][b // 3] for b in range(12)] == stream[:12].tolist()
    begun, other = made(kind, groups, 24, 12), made(kind, groups, 24, 12)
    iterator = iter(begun)
    some = [next(iterator) for _ in range(5)]
    other.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    assert some + list(other) + list(other) == stream[:24].tolist()


@pytest.mark.parametrize("kind", UNIQUE)
def test_a_state_after_changes_of_mix_is_loaded_and_goes_on(kind):
    groups = [range(10), range(10, 100), range(100, 107)]
    begun, other = (made(kind, groups, 24, 12) for _ in range(2))
    for alpha in (0.9, 0.1, 0.6):
        list(begun)
        begun.set_alpha(alpha)
    iterator = iter(begun)
    some = [next(iterator) for _ in range(5)]
    other.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    assert list(other) == list(iterator)
    assert len(some) == 5 and other.state_dict() == begun.state_dict()
    check_unique(list(other), [10, 90, 7], groups)


@pytest.mark.parametrize("kind", UNIQUE)
def test_a_segment_is_the_slow_reference_s(kind):
    groups, alphas = [list(range(10)), list(range(10, 100)), list(range(100, 107))], (0.9, 0.1, 0.6)
    sampler, mixes = made(kind, groups, 24, 12, alphas[0]), []
    for epoch, alpha in enumerate(alphas):
        sampler.set_epoch(2 * epoch)
        sampler.set_alpha(alpha)
        mixes.append((2 * epoch, slow_reference.linear_weights([10, 90, 7], alpha)))
        for b in (0, 5, 23):
            expected = slow_kinds.segmented_batch(
                kind, groups, mixes, 24, 12, 3, 2 * epoch + b // 12, b % 12, unique=True
            )
            assert sampler.batch(24 * epoch + b).tolist() == expected


def test_samples_of_two_classes_are_unique_within_a_class():
    groups = [list(range(12)), list(range(6, 30))]
    apart = [[100 * c + index for index in group] for c, group in enumerate(groups)]
    shared, told = (made("fixed", x, 15, 200, 1.0).build().tolist() for x in (groups, apart))
    assert [[index % 100 for index in row] for row in told] == shared
    assert all(len(set(row)) == 15 for row in told)


# ------------------------------------------------------------------------------- statistics


def test_orders_within_a_block_are_fair():
    """Chi-squared over the 3! orders of the first block of (3, 3, 3, 1): 5 degrees of freedom."""
    seen = Counter()
    for seed in range(6000):
        blocks_ = slow_reference.unique_blocks(10, (8,))
        places = [slow_reference.place_of(q, 10, blocks_, seed, 0) for q in range(3)]
        seen[tuple(np.argsort(places))] += 1
    chi2 = sum((k - 1000) ** 2 / 1000 for k in seen.values())
    assert len(seen) == 6 and chi2 < 35.9  # 1 in 10**6 for a fair order


def cooccurrence(n: int, m: int, unique: bool, passes: int = 2000) -> np.ndarray:
    """How often each two of n members share a batch of m, over what is due to them at random."""
    batches = made("fixed", [range(n)], m, 60, 0.0, unique=unique).batches(0, passes * n // m)
    pairs = np.zeros((n, n))
    for part in np.array_split(batches.numpy(), 20):
        shows = np.zeros((len(part), n))
        np.add.at(shows, (np.arange(len(part))[:, None], part), 1)
        pairs += shows.T @ shows
    return pairs[~np.eye(n, dtype=bool)] / (len(batches) * m * (m - 1) / (n * (n - 1)))


def test_two_members_of_a_large_class_share_a_batch_at_most_some_2_3_times_as_often_as_others():
    """Those that are last in a pass are together then; were they the same always, 10 times."""
    plain, unique = cooccurrence(101, 8, False), cooccurrence(101, 8, True)
    assert unique.mean() == pytest.approx(1, abs=1e-9)
    assert plain.min() > 0.6 and plain.max() < 1.4
    assert unique.min() > 0.5 and 2 < unique.max() < 2.6


# ------------------------------------------------------------------------------- the option


def test_a_state_tells_it():
    groups = [range(10), range(10, 300)]
    state = made("fixed", groups, 16, 9).state_dict()
    with pytest.raises(ValueError, match="differs in unique: 1 there, 0 here"):
        made("fixed", groups, 16, 9, unique=False).load_state_dict(state)


def test_random_refuses_it_and_pk_has_it():
    groups = [range(10), range(10, 300)]
    with pytest.raises(ValueError, match=r"draws with replacement.*must be False, not True.*fixed"):
        made("random", groups, 16, 9)
    pk = {"classes_per_batch": 2, "members_per_class": 8}
    sampler = made("pk", groups, None, 300, None, unique=True, **pk)
    assert sampler.unique is True
    assert all(len(set(batch)) == 16 for batch in sampler)
    with pytest.raises(ValueError, match=r"'pk' have no member twice.*must be True, not False"):
        made("pk", groups, None, 300, None, unique=False, **pk)
    with pytest.raises(TypeError, match="unique must be True or False, not 'yes'"):
        made("fixed", groups, 16, 9, unique="yes")
    with pytest.raises(AttributeError, match="unique of a sampler cannot be set"):
        made("fixed", groups, 16, 9).unique = False


def test_classes_of_the_cases_here_do_need_blocks():
    found = [
        random_case(random.Random(number), UNIQUE[number % 2], unique=True) for number in range(200)
    ]
    tables = np.concatenate([case.plan.blocks.table for case in found])
    assert (tables[:, SHIFT] > 0).sum() > 100 and (tables[:, BLOCKS] > 2).sum() > 40
    assert all(classes_of(case, cpu(case, case.first)[0]).size for case in found[:3])
