"""Kind pk: each batch, turns of classes and members, slots, ranks and states."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import ClassIndex
from gpusampler.plans import pk as plan_pk
from gpusampler.samplers.pk import PKBatchSampler


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
