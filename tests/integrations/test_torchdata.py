"""torchdata's StatefulDataLoader: its own state holds the place, however far workers are ahead."""

import io
import warnings

import pytest
import torch
from items import N_BATCHES, Items, lists, sampler, stream

stateful = pytest.importorskip("torchdata.stateful_dataloader")

WORKERS = {
    "none": {},
    "fork": {"num_workers": 2},
    "kept": {"num_workers": 2, "persistent_workers": True},
}


def loader(options, **shard):
    batches = sampler(**shard)
    return stateful.StatefulDataLoader(Items(), batch_sampler=batches, **WORKERS[options])


def saved(loader):
    """Its state, as torch.save and a careful torch.load leave it."""
    file = io.BytesIO()
    torch.save(loader.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize("done", [1, 3, N_BATCHES])
def test_state_taken_within_an_epoch_resumes_there(options, done):
    broken = loader(options)
    assert lists(broken) == stream(0, 6)
    batches = iter(broken)
    assert lists(next(batches) for _ in range(done)) == stream(6, 6 + done)
    state = saved(broken)

    resumed = loader(options)
    resumed.load_state_dict(state)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert lists(resumed) == stream(6 + done, 12)
    told = [str(warning.message)[:29] for warning in caught]
    assert ("this iteration yields no batch"[:29] in told) == (done == N_BATCHES)
    assert lists(resumed) == stream(12, 18)
    assert lists(broken) == stream(12, 18)  # which goes on as well


@pytest.mark.parametrize("options", WORKERS)
def test_state_taken_after_an_epoch_resumes_at_the_next(options):
    broken = loader(options)
    assert lists(broken) == stream(0, 6)
    resumed = loader(options)
    resumed.load_state_dict(saved(broken))
    assert [lists(resumed) for _ in range(2)] == [stream(6, 12), stream(12, 18)]


@pytest.mark.parametrize("options", WORKERS)
def test_a_resumed_loader_may_be_saved_again(options):
    first, second, third = (loader(options) for _ in range(3))
    batches = iter(first)
    assert lists(next(batches) for _ in range(2)) == stream(0, 2)
    second.load_state_dict(saved(first))
    batches = iter(second)
    assert lists(next(batches) for _ in range(2)) == stream(2, 4)
    third.load_state_dict(saved(second))
    assert [lists(third) for _ in range(2)] == [stream(4, 6), stream(6, 12)]


@pytest.mark.parametrize("options", WORKERS)
def test_each_rank_resumes_its_share(options):
    for rank in range(2):
        broken, resumed = (loader(options, shard=(rank, 2)) for _ in range(2))
        batches = iter(broken)
        assert lists(next(batches) for _ in range(2)) == stream(0, 4)[rank::2]
        resumed.load_state_dict(saved(broken))
        assert lists(resumed) == stream(4, 6)[rank::2]
        assert lists(resumed) == stream(6, 12)[rank::2]


def test_set_epoch_between_epochs_is_kept_and_after_a_load_it_is_not():
    ours = loader("none")
    ours.batch_sampler.set_epoch(2)
    assert lists(ours) == stream(12, 18)
    batches = iter(ours)
    next(batches)
    resumed = loader("none")
    resumed.load_state_dict(saved(ours))
    resumed.batch_sampler.set_epoch(0)  # the state is loaded when iterating begins, after this
    assert lists(resumed) == stream(19, 24)
