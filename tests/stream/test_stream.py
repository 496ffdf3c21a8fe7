"""What a sampler does over time: changes of mix, schedules, several iterations, copies, threads."""

import copy
import itertools
import json
import pickle
import threading
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from streams import ALL_KINDS, EPOCH, KINDS, follow, make
from torch.utils.data import BatchSampler

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.stream import batches

pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.UnevenShareWarning")


# ------------------------------------------------------------------------------- read-only


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize(
    "attribute",
    sorted(batches.READ_ONLY),
)
def test_what_batches_hang_on_cannot_be_set(name, attribute):
    sampler = make(name)
    before, value = sampler.build(), getattr(sampler, attribute, None)
    with pytest.raises(AttributeError, match=f"{attribute} of a sampler cannot be set"):
        setattr(sampler, attribute, 3)
    assert getattr(sampler, attribute, None) == value
    assert torch.equal(sampler.build(), before)


# ------------------------------------------------------------------------------- a begun epoch


@pytest.mark.parametrize("way", ["set_epoch", "plain"])
@pytest.mark.parametrize("name", KINDS)
def test_an_epoch_that_was_begun_keeps_its_mix(name, way):
    sampler, plain = make(name), make(name)
    iterator = iter(sampler)
    trained = [next(iterator)]
    if way == "set_epoch":  # as Lightning does, whose workers have asked for a batch
        sampler.set_epoch(0)
    sampler.set_alpha(1.0)
    trained += list(iterator)
    assert trained == list(plain)
    plain.set_alpha(1.0)
    assert list(sampler) == list(plain)
    assert sampler.state_dict() == plain.state_dict()


def test_no_member_is_lost_where_the_mix_changes_behind_a_worker():
    index = ClassIndex.from_labels(np.repeat([0, 1], [600, 300]))
    sampler = SamplerFactory().get(index, 30, 30, alpha=0.0, kind="fixed", device="cpu")
    iterator = iter(sampler)
    drawn = Counter(next(iterator))
    sampler.set_epoch(0)
    sampler.set_alpha(1.0)
    for batch in iterator:
        drawn.update(batch)
    assert set(drawn.values()) == {1} and len(drawn) == 900


@pytest.mark.parametrize("name", ALL_KINDS)
def test_an_iteration_goes_on_where_a_state_is_loaded_behind_it(name):
    sampler = make(name)
    expected = list(make(name))
    iterator = iter(sampler)
    trained = [next(iterator), next(iterator)]
    other = make(name)
    other.set_epoch(4)
    state = other.state_dict()
    sampler.load_state_dict(state)
    trained += list(iterator)
    assert trained == expected
    assert sampler.state_dict() == state
    assert list(sampler) == list(other)


# ------------------------------------------------------------------------------- what is kept


def changed_often(name, times):
    sampler = make(name, n_batches=2)
    rng = np.random.default_rng(0)
    for _ in range(times):
        sampler.set_weights(rng.integers(1, 9, 3))
        list(sampler)
    return sampler


@pytest.mark.parametrize("name", KINDS)
def test_a_state_and_what_is_kept_do_not_grow_with_changes(name):
    few, many = changed_often(name, 3), changed_often(name, 300)
    size = [len(json.dumps(sampler.state_dict())) for sampler in (few, many)]
    assert size[1] <= size[0] + 40  # digits of counts and epochs
    assert len(many._history.marks) <= 2 and len(many._history.reached) == 1
    assert abs(len(pickle.dumps(many)) - len(pickle.dumps(few))) < 2000
    other = make(name, n_batches=2)
    other.load_state_dict(many.state_dict())
    assert [list(other) for _ in range(3)] == [list(many) for _ in range(3)]


def test_epochs_before_the_last_change_but_one_are_refused_by_number():
    sampler = make()
    list(sampler)
    sampler.set_alpha(0.9)  # from epoch 1
    list(sampler), list(sampler)
    sampler.batch(0)  # the mix before the change is kept
    sampler.set_alpha(0.1)  # from epoch 3
    sampler.batch(EPOCH)
    for ask in (
        lambda: sampler.batch(EPOCH - 1),
        lambda: sampler.batches(0, 30),
        lambda: sampler.set_epoch(0),
        lambda: sampler.class_counts_in(0),
    ):
        with pytest.raises(ValueError, match="epoch 0 lies before epoch 1, the first whose class"):
            ask()


def test_a_change_to_the_mix_in_force_is_none():
    sampler, plain = make("stratified"), make("stratified")
    list(sampler), list(plain)
    sampler.set_alpha(0.3)
    sampler.set_weights(sampler.class_counts.numpy())
    assert sampler.state_dict()["next_epoch"] == 0
    sampler.set_alpha(0.3)
    assert list(sampler) == list(plain)


@pytest.mark.parametrize("name", KINDS)
def test_a_mix_that_was_to_come_in_one_state_is_in_force_in_the_next(name):
    sampler = make(name)
    iterator = iter(sampler)
    next(iterator)
    sampler.set_alpha(0.25)
    states = [sampler.state_dict()]
    list(iterator)
    states += [sampler.state_dict()]
    for state in states:
        other = make(name)
        other.load_state_dict(state)
        rest = list(other) + list(other)
        assert rest[-EPOCH:] == sampler.batches((2 - (state["batch"] > 0)) * EPOCH, EPOCH).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_the_schedule_that_there_is_is_no_change(name):
    sampler = make(name, alpha=follow)
    before = sampler.state_dict()
    sampler.set_alpha(follow)
    assert sampler.state_dict() == before


def test_a_change_that_was_to_come_is_replaced():
    sampler, plain = make("stratified"), make("stratified")
    iterators = iter(sampler), iter(plain)
    [next(iterator) for iterator in iterators]
    sampler.set_alpha(0.1)
    for one in (sampler, plain):
        one.set_alpha(0.8)
    assert sampler.state_dict() == plain.state_dict()
    assert [list(sampler) for _ in range(2)] == [list(plain) for _ in range(2)]


# ------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_a_copy_goes_its_own_way(name, copied):
    sampler = make(name)
    list(sampler)
    iterator = iter(sampler)
    next(iterator)
    other = copied(sampler)
    state = sampler.state_dict()
    assert other.state_dict() == state
    next(iterator)
    assert other.state_dict() == state != sampler.state_dict()
    mine = sampler.state_dict()
    assert list(other) == make(name).batches(2 * EPOCH, EPOCH).tolist()
    if name != "pk":
        other.set_alpha(1.0)
    assert sampler.state_dict() == mine
    assert list(sampler) == make(name).batches(2 * EPOCH, EPOCH).tolist()


def test_a_copy_takes_along_nothing_that_lightning_noted():
    sampler = make()
    vars(sampler)["__pl_attrs_record"] = [threading.Lock()]  # of every attribute that was set
    for other in (copy.copy(sampler), copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert "__pl_attrs_record" not in vars(other)


def test_a_sampler_is_copied_where_lightning_left_its_notes_switched_on():
    replaced = pytest.importorskip("lightning.fabric.utilities.data")
    with replaced._replace_dunder_methods(BatchSampler):  # which an exception inside leaves on
        sampler = make()
        sampler.set_epoch(2)
        for other in (
            copy.copy(sampler),
            copy.deepcopy(sampler),
            pickle.loads(pickle.dumps(sampler)),
        ):
            assert "__pl_attrs_record" not in vars(other)
            assert list(other) == make().batches(2 * EPOCH, EPOCH).tolist()


# ------------------------------------------------------------------------------- ranks, ends


def test_what_no_rank_gets_after_a_resume_is_said():
    state = {**make(n_batches=12).state_dict(), "batch": 4}
    for rank in range(3):
        sampler = make(n_batches=12).shard(rank, 3)
        sampler.load_state_dict(state)
        with pytest.warns(UserWarning, match="no rank gets batches 10 to 11 of epoch 0"):
            assert len(list(sampler)) == 2
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no rank")
        for size in (1, 2, 4):  # divide the 8 that are left
            sampler = make(n_batches=12).shard(0, size)
            sampler.load_state_dict(state)
            assert len(list(sampler)) == 8 // size


def test_an_iteration_without_a_batch_is_said_and_its_repair_is_right():
    sampler = make()
    for _ in sampler:
        state = sampler.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"needs set_epoch\(1\) after loading"):
        assert list(resumed) == []
    resumed.load_state_dict(state)
    resumed.set_epoch(1)
    assert list(resumed) == make().batches(EPOCH, EPOCH).tolist()


def test_the_epoch_of_counts_is_said_and_can_be_asked_for():
    sampler = make(alpha=follow)
    for epoch in range(3):
        assert f"epoch {epoch}\n" in sampler.describe()
        assert sampler.class_counts.tolist() == sampler.class_counts_in(epoch).tolist()
        list(sampler)
    assert sampler.class_counts_in(0).tolist() == make(alpha=0.0).class_counts.tolist()
    assert sampler.describe(0).splitlines()[1:] == make(alpha=0.0).describe().splitlines()[1:]


# ------------------------------------------------------------------------------- unbroken


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize("cut", [1, 4, 5, EPOCH, 20])
def test_unbroken_iterations_follow_each_other(name, cut):
    sampler = make(name, unbroken=True)
    found = []
    for epoch in range(9):
        sampler.set_epoch(epoch)  # as trainers do, and here without effect
        assert len(sampler) == EPOCH
        found += list(itertools.islice(sampler, cut))
    assert len(found) == 9 * min(cut, EPOCH)
    assert found == make(name).batches(0, len(found)).tolist()
    state = sampler.state_dict()
    assert state["epoch"] * EPOCH + state["batch"] == len(found)
    for other in (make(name, unbroken=True), copy.deepcopy(sampler)):
        other.load_state_dict(state)
        assert list(other) == make(name).batches(len(found), EPOCH).tolist()


def test_unbroken_iterations_of_ranks_and_what_was_done():
    ranks = [make(n_batches=8, unbroken=True).shard(rank, 2) for rank in range(2)]
    found = []
    for _ in range(5):
        parts = [list(itertools.islice(rank, 3)) for rank in ranks]
        found += [batch for step in zip(*parts, strict=True) for batch in step]
        assert ranks[0].state_dict() == ranks[1].state_dict()
    assert found == make(n_batches=8).batches(0, 30).tolist()
    list(ranks[0])  # batches 30 to 37
    places = [ranks[0].state_dict(done=done) for done in range(5)]
    assert [8 * p["epoch"] + p["batch"] for p in places] == [30, 32, 34, 36, 38]


@pytest.mark.parametrize("name", KINDS)
def test_an_unbroken_iteration_takes_a_new_mix_where_its_epoch_begins(name):
    sampler = make(name, unbroken=True)
    trained = list(itertools.islice(sampler, 4))
    iterator = iter(sampler)
    trained += [next(iterator)]
    sampler.set_alpha(1.0)
    trained += list(iterator)
    plain = make(name)
    expected = list(plain)
    plain.set_alpha(1.0)
    expected += list(plain)
    assert trained == expected[:10]
    assert trained == sampler.batches(0, 10).tolist()
