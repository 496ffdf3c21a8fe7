"""torch's DataLoader, with and without workers: shares of ranks, and a place to go on from."""

import json
import multiprocessing

import pytest
from items import N_BATCHES, Items, lists, sampler, stream
from torch.utils.data import DataLoader

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
    assert [lists(loader) for _ in range(2)] == [[], stream(6, 12)]


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
