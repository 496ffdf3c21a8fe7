"""torch's DataLoader, with and without workers: shares of ranks, and a place to go on from."""

import json
import multiprocessing

import items
import pytest
from items import N_BATCHES, Items, lists, sampler, stream
from torch.utils.data import BatchSampler, DataLoader, Sampler

pytest.importorskip("torchdata.stateful_dataloader")

import ranks_data_loader
from ranks_data_loader import StatefulDataLoader

WORKERS = {
    "none": {},
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "fork, kept": {
        "num_workers": 2,
        "multiprocessing_context": "fork",
        "persistent_workers": True,
    },
    "spawn, kept": {
        "num_workers": 2,
        "multiprocessing_context": "spawn",
        "persistent_workers": True,
    },
}


@pytest.fixture
def loader_of(request):
    """Makes a loader of Items over a batch sampler, with these workers."""
    options = WORKERS[request.param]
    start = options.get("multiprocessing_context")
    if start and start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {start}")
    return lambda batches: DataLoader(Items(), batch_sampler=batches, **options)


def with_workers(*names):
    return pytest.mark.parametrize("loader_of", names, indirect=True)


def begun(loader, n):
    """The first n batches of an epoch that is then left."""
    return lists(batch for _, batch in zip(range(n), loader, strict=False))


@with_workers(*WORKERS)
def test_state_of_the_batches_done_resumes_there_however_far_workers_are_ahead(loader_of):
    broken = sampler()
    loader = loader_of(broken)
    assert lists(loader) == stream(0, 6)
    assert begun(loader, 2) == stream(6, 8)
    state = json.loads(json.dumps(broken.state_dict(done=2)))
    asked_for_early = broken.state_dict()["batch"] - state["batch"]
    assert asked_for_early == 2 * loader.num_workers

    resumed = sampler()
    resumed.load_state_dict(state)
    loader = loader_of(resumed)
    assert (resumed.epoch, len(loader)) == (1, N_BATCHES)
    resumed.set_epoch(1)  # as a loop over epochs calls it
    assert lists(loader) == stream(8, 12)
    assert lists(loader) == stream(12, 18)


@with_workers("none", "fork, kept")
def test_all_batches_done_resumes_at_the_end_of_that_epoch(loader_of):
    whole, resumed = sampler(), sampler()
    assert len(lists(loader_of(whole))) == N_BATCHES
    resumed.load_state_dict(whole.state_dict(done=N_BATCHES))
    loader = loader_of(resumed)
    with pytest.warns(UserWarning, match="yields no batch: .* left of epoch 0, and the next one"):
        assert lists(loader) == []
    assert lists(loader) == stream(6, 12)


@with_workers("none", "fork", "fork, kept")
def test_an_epoch_that_was_left_is_followed_by_the_next_and_set_epoch_goes_back(loader_of):
    ours = sampler()
    loader = loader_of(ours)
    assert begun(loader, 2) == stream(0, 2)
    assert lists(loader) == stream(6, 12)
    ours.set_epoch(1)
    assert lists(loader) == stream(6, 12)


@with_workers("none", "fork", "fork, kept")
def test_two_ranks_share_each_epoch_and_another_number_of_ranks_goes_on(loader_of):
    ranks = [sampler(shard=(rank, 2)) for rank in range(2)]
    loaders = [loader_of(rank) for rank in ranks]
    for epoch in range(2):
        for rank, loader in enumerate(loaders):
            assert lists(loader) == stream(6 * epoch, 6 * epoch + 6)[rank::2]
    assert [len(begun(loader, 1)) for loader in loaders] == [1, 1]
    states = [rank.state_dict(done=1) for rank in ranks]
    assert states[0] == states[1]
    alone = sampler()
    alone.load_state_dict(states[0])
    assert lists(loader_of(alone)) == stream(14, 18)


@pytest.mark.parametrize("how", ranks_data_loader.WARNED)
def test_all_ranks_are_warned_once_where_each_gets_the_same_batches(ranks, how):
    for rank in ranks:
        ((where, told),) = rank[how]
        assert where == (items.__file__ if how != "on_device" else ranks_data_loader.__file__)
        assert told.startswith("each of 2 processes gets the same batches from this sampler; pass")
        assert "shard='auto' to share them out, or shard=(0, 1) where all are meant to" in told


@pytest.mark.parametrize("how", ranks_data_loader.QUIET)
def test_no_rank_is_warned_where_the_share_was_said_or_is_taken_by_other_code(ranks, how):
    assert [rank[how] for rank in ranks] == [[], []]


SINGLE = {
    "sampler=": {"sampler": "batches", "batch_size": 8},
    "sampler=, drop_last": {"sampler": "batches", "batch_size": 8, "drop_last": True},
    "sampler= alone": {"sampler": "batches"},
    "BatchSampler": {"batch_sampler": "of batches"},
}


@pytest.mark.parametrize("cls", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", SINGLE)
def test_whole_batches_in_the_place_of_single_indices_are_refused(how, workers, cls):
    given = {"batches": sampler(), "of batches": BatchSampler(sampler(), 3, False)}
    options = {name: given.get(value, value) for name, value in SINGLE[how].items()}
    loader = cls(Items(), num_workers=workers, **options)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"gives whole batches, .* batch_sampler=sampler, and"):
            next(iter(loader))


@pytest.mark.parametrize("cls", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_that_loads_whole_batches_gets_them_where_batch_size_is_none(workers, cls):
    loader = cls(Items(), sampler=sampler(), batch_size=None, num_workers=workers)
    assert [list(loader) for _ in range(2)] == [stream(0, 6), stream(6, 12)]


def test_single_indices_made_of_the_batches_are_batched_anew():
    class Single(Sampler):
        def __iter__(self):
            for batch in ours:
                yield from batch

    ours = sampler()
    found = lists(DataLoader(Items(), sampler=Single(), batch_size=8))
    assert found == [a + b for a, b in zip(stream(0, 6)[::2], stream(0, 6)[1::2], strict=True)]
