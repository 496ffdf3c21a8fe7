"""Kind pk: all implementations give the same indices, and the sampler keeps its guarantees."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from cases.pk_cases import PKCase, batches, kernel, random_case, slow, twin
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import ClassIndex
from gpusampler.cpu import parallel
from gpusampler.cpu import twin as cpu_pk
from gpusampler.plans import pk as plan_pk
from gpusampler.samplers.pk import PKBatchSampler


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_twin_equals_slow_reference(number):
    rnd = random.Random(number)
    case = random_case(rnd)
    assert twin(case, *batches(rnd, case)) == slow(case, *batches_again(number))


def batches_again(number):
    rnd = random.Random(number)
    return batches(rnd, random_case(rnd))


EDGES = {
    "more members asked than there are": PKCase([3, 7, 2, 5], 2, 11, seed=1),
    "whole copies, none rotating": PKCase([4, 2, 1, 8], 3, 8, seed=2),
    "some classes of whole copies only": PKCase([4, 3, 50, 40], 3, 8, seed=3),
    "classes of one": PKCase([1] * 40, 7, 3, seed=4),
    "one member each": PKCase([50, 33, 32, 31, 2], 2, 1, seed=5),
    "one class a batch": PKCase([50, 33, 32, 31, 2], 1, 6, seed=6),
    "every class in each batch": PKCase([50, 33, 32, 31, 2], 5, 6, seed=7),
    "one class": PKCase([100], 1, 7, seed=8),
    "one class of one": PKCase([1], 1, 1, seed=9),
    "classes that divide": PKCase([60] * 36, 6, 5, seed=10),
    "cycles through few of many": PKCase([35, 36, 40] * 12, 30, 9, seed=11),
    "a long visit": PKCase([9000, 2100], 1, 5000, seed=12),
    "empty classes between": PKCase([0, 9, 0, 0, 40, 3, 0], 2, 4, seed=13),
    "a wide seed": PKCase([50, 60, 70], 2, 5, seed=(1 << 64) - 1, segment=(1 << 24) - 1),
}


@pytest.mark.parametrize("name", EDGES)
def test_cpu_twin_and_kernel_equal_slow_reference_at_the_edges(name, kernel_device):
    case = EDGES[name]
    expected = slow(case, 0, 9)
    assert twin(case, 0, 9) == expected
    if case.batch_size < 1000:
        assert kernel(case, 0, 9, kernel_device) == expected


@pytest.mark.parametrize(
    ("classes", "size", "per_batch", "each"),
    [(1000, 1000, 256, 4), (997, 40, 100, 4), (30_000, 5, 256, 4), (30_000, 33, 60, 4)],
)
def test_cpu_twin_equals_slow_reference_for_many_classes(classes, size, per_batch, each):
    case = PKCase([size + c % 3 for c in range(classes)], per_batch, each, seed=classes)
    assert twin(case, 1234, 2) == slow(case, 1234, 2)


def test_cpu_twin_equals_slow_reference_where_visits_are_sorted_by_class():
    """Three batches of a long window, in which each class comes some two hundred times."""
    case = PKCase([5 + 31 * (c % 4) for c in range(97)], 20, 7, seed=1)
    run = twin(case, 77, 1000)
    for t in (0, 501, 999):
        assert run[t : t + 1] == slow(case, 77 + t, 1)


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1, 1 << 29])
def test_cpu_twin_and_kernel_equal_slow_reference_for_a_huge_class(n, kernel_device):
    case = PKCase([n, 5, n - 1], 2, 7, seed=n, first=3, identity=True)
    for g0 in (3, 3 + (1 << 33), (1 << 62) // 14 - 2):  # the last batch ends at 2^62
        expected = slow(case, g0, 1)
        assert twin(case, g0, 1) == kernel(case, g0, 1, kernel_device) == expected


@pytest.mark.parametrize("number", range(24))
def test_kernel_equals_cpu_twin(number, kernel_device):
    rnd = random.Random(number)
    case = random_case(rnd, largest_batch=150)
    g0, n, stride = batches(rnd, case)
    assert kernel(case, g0, n, kernel_device, stride) == twin(case, g0, n, stride)


@pytest.mark.parametrize("classes", [1, 127, 128, 129])
@pytest.mark.parametrize("each", [1, 3])
def test_kernel_equals_cpu_twin_at_block_edges(classes, each, kernel_device):
    case = PKCase([40] * 130, classes, each, seed=classes)
    assert kernel(case, 5, 2, kernel_device) == twin(case, 5, 2)


def test_kernel_equals_cpu_twin_where_a_window_takes_several_launches(kernel_device, monkeypatch):
    from gpusampler.kernels import pk

    monkeypatch.setattr(pk, "VISITS_AT_ONCE", 20)
    case = PKCase([40, 50, 3, 60, 7, 8, 9], 6, 5, seed=1)
    assert kernel(case, 5, 11, kernel_device, 3) == twin(case, 5, 11, 3)


@pytest.mark.parametrize("change", [{"seed": 1 | 1 << 63}, {"segment": 1}, {"first": 1}])
def test_seed_segment_and_its_first_batch_all_count(change, kernel_device):
    plain = {"sizes": [100, 50, 40], "classes": 2, "each": 4, "seed": 1}
    case, other = PKCase(**plain), PKCase(**{**plain, **change})
    assert twin(case, 7, 3) != twin(other, 7, 3)
    assert kernel(case, 7, 3, kernel_device) != twin(other, 7, 3)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_answer(threads, monkeypatch):
    case = PKCase([997, 300, 31, 2, 64, 33], 4, 9, seed=8)
    expected = twin(case, 3, 200)
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    monkeypatch.setattr(cpu_pk, "SLAB", 700)
    assert twin(case, 3, 200) == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_any_split_of_a_window_gives_the_same(number, parts):
    case = random_case(random.Random(number), largest_batch=100)
    g, split = case.first + 5, []
    for n in parts:
        split += twin(case, g + len(split), n)
    assert split == twin(case, g, sum(parts))
    assert split[::7] == twin(case, g, len(split[::7]), 7)


# -------------------------------------------------------------------------- the sampler
def labelled(sizes):
    """A class index over samples in random order, and the samples' labels."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    np.random.default_rng(3).shuffle(labels)
    return ClassIndex.from_labels(labels, num_classes=len(sizes), device="cpu"), labels


def make(sizes, classes, each, n_batches=12, **more):
    index, labels = labelled(sizes)
    return PKBatchSampler(index, classes, each, n_batches, device="cpu", **more), labels


SIZES = st.lists(st.sampled_from([0, 1, 2, 5, 7, 31, 33, 70]), min_size=1, max_size=9).filter(any)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data(), st.integers(1, 12), st.integers(0, 10**6))
def test_each_batch_has_p_classes_of_k_members_distinct_where_there_are_so_many(
    sizes, data, each, g0
):
    classes = data.draw(st.integers(1, sum(n > 0 for n in sizes)))
    sampler, labels = make(sizes, classes, each)
    for row in sampler.batches(g0, 20).numpy():
        assert sorted(Counter(labels[row]).values()) == [each] * classes
        for c in set(labels[row].tolist()):
            times = Counter(row[labels[row] == c].tolist())
            assert len(times) == min(each, sizes[c])
            assert max(times.values()) - min(times.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.data())
def test_visits_of_two_classes_differ_by_at_most_1_at_the_end_of_each_cycle(classes, data):
    per_batch = data.draw(st.integers(1, classes))
    sampler, labels = make([2] * classes, per_batch, 1)
    per_cycle = classes // per_batch
    cycles = min(40, 300 // per_cycle + 2)
    start = per_cycle * data.draw(st.sampled_from([0, 1, 999]))
    run = labels[sampler.batches(0, per_cycle * cycles).numpy()]
    visits = np.zeros(classes, int)
    for cycle in run.reshape(cycles, -1):
        assert len(set(cycle.tolist())) == len(cycle)  # no class twice in a cycle
        visits += np.bincount(cycle, minlength=classes)
        assert visits.max() - visits.min() <= 1
    later = labels[sampler.batches(start, per_cycle).numpy()]
    assert np.bincount(later.ravel(), minlength=classes).max() == 1


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data(), st.integers(1, 12), st.integers(0, 10**6), st.integers(1, 300))
def test_members_of_a_class_differ_by_at_most_4_over_any_run(sizes, data, each, g0, n):
    classes = data.draw(st.integers(1, sum(size > 0 for size in sizes)))
    sampler, labels = make(sizes, classes, each)
    times = np.bincount(sampler.batches(g0, n).numpy().ravel(), minlength=len(labels))
    for c in np.flatnonzero(sizes):
        own = times[labels == c]
        assert own.max() - own.min() <= 4


def test_every_member_comes_equally_often_over_whole_turns():
    sampler, _ = make([10, 15, 20], 3, 4, n_batches=60)  # turns of 5, 15 and 5 batches
    assert set(np.bincount(sampler.build().numpy()[:60].ravel())[:0]) == set()
    times = np.bincount(sampler.build().numpy().ravel())
    sizes = sampler.index.host_sizes
    for c, group in enumerate(np.split(sampler.index.members.numpy(), sizes.cumsum()[:-1])):
        assert set(times[group].tolist()) == {60 * 4 // int(sizes[c])}


def test_all_pairs_of_classes_meet_about_equally_often():
    """Left-out classes and positions are random: no two classes are kept apart, or together."""
    sampler, labels = make([1] * 7, 3, 1)
    rows = labels[sampler.batches(0, 20_000).numpy()]
    together = np.zeros((7, 7))
    for i in range(3):
        for j in range(3):
            np.add.at(together, (rows[:, i], rows[:, j]), i != j)
    pairs = together[np.triu_indices(7, 1)]
    expected = 20_000 * 3 * 2 / 2 / 21
    assert abs(pairs - expected).max() < 0.08 * expected  # over 4 deviations of a fair draw


def test_slots_say_nothing_of_classes():
    sampler, labels = make([20] * 4, 4, 2)
    at = np.stack([np.bincount(x, minlength=4) for x in labels[sampler.batches(0, 8000)].T])
    chi2 = ((at - 2000) ** 2 / 2000).sum()
    assert chi2 < 60  # 21 degrees of freedom: 1 in 10^5 for a fair one


def test_class_counts_are_the_expected_draws_of_an_epoch():
    sampler, labels = make([0, 9, 4, 0, 40], 2, 6, n_batches=9)
    assert sampler.class_counts.tolist() == [0, 36, 36, 0, 36]
    drawn = np.bincount(labels[sampler.build().numpy()].ravel(), minlength=5)
    assert drawn.tolist() == [0, 36, 36, 0, 36]  # nine batches are nine cycles, three turns


def test_epochs_of_one_batch_follow_the_stream():
    sampler, _ = make([9, 4, 40], 2, 6, n_batches=1, seed=5)
    long, _ = make([9, 4, 40], 2, 6, n_batches=50, seed=5)
    assert [batch for _ in range(50) for batch in sampler] == long.build().tolist()


def test_batches_of_ranks_interleave_to_the_whole_stream():
    sampler, _ = make([9, 4, 40, 33], 3, 6, n_batches=12, seed=5)
    parts = [sampler.shard(rank, 3).build() for rank in range(3)]
    assert torch.equal(torch.stack(parts, dim=1).reshape(12, -1), sampler.build())


def test_state_resumes_in_the_middle_of_an_epoch():
    sampler, _ = make([9, 4, 40, 33], 3, 6)
    whole = [*sampler, *sampler]
    again, _ = make([9, 4, 40, 33], 3, 6)
    walk = iter(again)
    for _ in range(5):
        next(walk)
    resumed, _ = make([9, 4, 40, 33], 3, 6)
    resumed.load_state_dict(again.state_dict())
    assert [*resumed, *resumed] == whole[5:]


def test_a_state_of_other_members_per_class_is_refused():
    sampler, _ = make([9, 4, 40, 33], 3, 4)
    other, _ = make([9, 4, 40, 33], 4, 3)
    with pytest.raises(ValueError):
        other.load_state_dict(sampler.state_dict())


WRONG = [
    ({"classes": 0}, ValueError, r"classes_per_batch must be in \[1, 16777215\], not 0"),
    ({"classes": 2.5}, TypeError, "classes_per_batch must be an integer, not 2.5"),
    ({"each": -1}, ValueError, r"members_per_class must be in \[1, 16777215\], not -1"),
    ({"each": True}, TypeError, "members_per_class must be an integer, not True"),
    (
        {"classes": 3, "each": 1 << 23},
        ValueError,
        r"at most 16777215 indices, not classes_per_batch \* members_per_class = 25165824; lower",
    ),
    (
        {"classes": 4},
        ValueError,
        "classes_per_batch must be at most the 3 classes that have members, not 4; .* lower it",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_arguments_are_refused_with_rule_value_and_repair(change, error, message):
    with pytest.raises(error, match=message):
        make([5, 0, 4, 3], **{"classes": 2, "each": 3, **change})


def test_plan_gives_closed_forms_of_a_rotation():
    plan = plan_pk.pk_plan(np.array([40, 0, 6, 40]), np.array([0, 40, 40, 46, 86]), 2, 6)
    assert plan.rows.tolist() == [[0, 0, 2], [2, 40, 1], [3, 46, 2]]
    assert plan.rotations.tolist() == [
        [3, 2, 1, 1, 3, 0, 0, 0, 0],
        [6, 0, 1, 0, 1, 0, 0, 0, 0],
        [40, 6, 6, 4, 10, 6, 6, 8, 5],
    ]
    assert plan.copies and plan.spans == (36, 36, 40, 40)
