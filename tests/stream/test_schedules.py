"""Schedules: under one, a batch is the same however it is reached."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch
from streams import EPOCH, KINDS, TABLE, by_epoch, follow, make

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.stream import history

pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.UnevenShareWarning")


# ------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", KINDS)
def test_under_a_schedule_a_batch_is_the_same_however_it_is_reached(name):
    expected = by_epoch(name)
    whole = list(itertools.chain(*expected))
    assert make(name, alpha=follow).batches(0, len(whole)).tolist() == whole
    sampler = make(name, alpha=follow)
    for g in (35, 0, 29, 17, 6, 5):
        assert sampler.batch(g).tolist() == whole[g]
    assert sampler.batches(0, len(whole)).tolist() == whole
    for epoch in (4, 1, 5, 0):
        sampler.set_epoch(epoch)
        assert sampler.build().tolist() == expected[epoch]
        assert [batch.tolist() for batch in sampler.on_device()] == expected[epoch]


def test_windows_over_epochs_follow_the_schedule_of_a_new_sampler():
    index = ClassIndex.from_labels(np.repeat([0, 1, 2], [900, 90, 10]))
    made = [
        SamplerFactory().get(
            index, 32, 10, alpha=lambda e: 0.0 if e == 0 else 1.0, kind="fixed", device="cpu"
        )
        for _ in range(2)
    ]
    made[1].batch(29)
    found = [sampler.batches(0, 30) for sampler in made]
    assert torch.equal(*found)
    ends = torch.tensor([900, 990])
    counts = [torch.bincount(torch.bucketize(b, ends, right=True), minlength=3) for b in found[0]]
    assert counts[0].tolist() == [29, 3, 0]
    assert counts[10].tolist() == counts[29].tolist() == [11, 11, 10]


@pytest.mark.parametrize("name", KINDS)
def test_threads_that_share_a_schedule_get_the_same_batches(name):
    whole, wrong = list(itertools.chain(*by_epoch(name))), []
    for _ in range(5):
        sampler = make(name, alpha=follow)
        start = threading.Barrier(4)

        def ask(sampler, start, order):
            start.wait()
            for g in order:
                if sampler.batch(g).tolist() != whole[g]:
                    wrong.append(g)
                sampler.state_dict(), sampler.describe()

        orders = [np.random.default_rng(t).permutation(len(whole)).tolist() for t in range(4)]
        threads = [threading.Thread(target=ask, args=(sampler, start, o)) for o in orders]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sampler.batches(0, len(whole)).tolist() == whole
    assert wrong == []


def test_two_threads_never_begin_the_same_epoch():
    sampler = make(n_batches=1)
    found = []

    def iterate():
        found.extend(tuple(batch) for _ in range(200) for batch in sampler)

    threads = [threading.Thread(target=iterate) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(found) == sorted(map(tuple, make().batches(0, 800).tolist()))


@pytest.mark.parametrize("name", KINDS)
def test_a_schedule_is_not_asked_for_an_epoch_that_is_not_due(name):
    sampler = make(name, alpha=follow)
    for _ in TABLE:
        list(sampler)
    state = sampler.state_dict()
    assert (state["epoch"], state["batch"]) == (len(TABLE), 0)
    other = make(name, alpha=follow)
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(IndexError):
        next(iter(other))


@pytest.mark.parametrize("name", KINDS)
def test_a_state_is_the_same_where_a_rank_has_looked_ahead(name):
    near, far = make(name, alpha=follow), make(name, alpha=follow)
    far.batches(0, len(TABLE) * EPOCH)
    for _ in range(3):
        assert near.state_dict() == far.state_dict()
        ends = [next(iter(sampler)) for sampler in (near, far)]
        assert ends[0] == ends[1] and near.state_dict() == far.state_dict()


# the bound as it is, and a lower one where a change takes a millisecond
@pytest.mark.parametrize(
    ("name", "most"), [("fixed", 10_000), ("multinomial", 10_000), ("stratified", 1000)]
)
def test_a_schedule_is_followed_to_a_bound(name, most, monkeypatch):
    assert history.MOST_CHANGES == 10_000
    monkeypatch.setattr(history, "MOST_CHANGES", most)
    sampler = make(name, alpha=lambda epoch: (epoch % 2) / 2)
    with pytest.raises(ValueError, match=f"at most {most} changes of mix in one call, and epoch"):
        sampler.batch(200_000)
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r"at most 1048576 epochs in one call"):
        sampler.batch(10**12)
    sampler.set_epoch(10**6)
    assert time.perf_counter() - begun < 5
    sampler.batch(most * EPOCH)  # what was reached before is kept
    assert torch.equal(sampler.batch(2 * most * EPOCH), sampler.batch(2 * most * EPOCH))


def test_the_counter_needs_no_past_under_a_schedule():
    sampler = make("counter", alpha=lambda epoch: (epoch % 2) / 2)
    for epoch in (10**11, 10**11 + 1):
        plain = make("counter", alpha=(epoch % 2) / 2)
        assert sampler.batch(epoch * EPOCH).tolist() == plain.batch(epoch * EPOCH).tolist()
        sampler.set_epoch(epoch)
        other = make("counter", alpha=lambda epoch: (epoch % 2) / 2)
        other.load_state_dict(sampler.state_dict())
        assert next(iter(other)) == plain.batch(epoch * EPOCH).tolist()


def test_a_schedule_over_many_epochs_is_right_wherever_it_is_asked():
    alpha = np.random.default_rng(0).random(300).round(2).tolist()
    forward, back = (make("stratified", alpha=lambda e: alpha[e]) for _ in range(2))
    whole = forward.batches(0, 300 * EPOCH)
    for epoch in [299, *np.random.default_rng(1).permutation(300).tolist()]:
        found = back.batches(epoch * EPOCH, EPOCH)
        assert torch.equal(found, whole[epoch * EPOCH : (epoch + 1) * EPOCH])
    assert len(back._history.reached) <= 64


def test_a_schedules_bad_value_names_its_epoch():
    sampler = make(alpha=lambda epoch: 0.5 if epoch < 2 else 2.0)
    sampler.batches(0, 2 * EPOCH)
    with pytest.raises(ValueError, match=r"alpha of epoch 2 must be in \[0, 1\], not 2"):
        sampler.batch(2 * EPOCH)


def test_a_state_without_a_schedule_is_not_for_a_sampler_with_one():
    state = make(alpha=0.0).state_dict()
    with pytest.raises(ValueError, match="there alpha is a number, here a function"):
        make(alpha=follow).load_state_dict(state)
    by_hand = make(alpha=follow)
    list(by_hand)
    by_hand.set_alpha(0.3)  # ends it
    other = make(alpha=follow)
    other.load_state_dict(by_hand.state_dict())
    assert [list(other) for _ in range(2)] == [list(by_hand) for _ in range(2)]
