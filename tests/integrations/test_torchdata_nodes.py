"""torchdata.nodes: a Loader over SamplerWrapper gives our epochs, and resumes at any place."""

import io
import warnings
from itertools import islice

import pytest
import torch
from items import N_BATCHES, sampler, stream

nodes = pytest.importorskip("torchdata.nodes")

ALL = stream(0, 300)
PIPES = {
    "alone": lambda node: node,
    "mapped": lambda node: nodes.Mapper(node, list),
    "prefetched": lambda node: nodes.Prefetcher(nodes.Mapper(node, list), prefetch_factor=4),
    "threads": lambda node: nodes.ParallelMapper(node, list, num_workers=2, method="thread"),
}


def loader(pipe, batches=None, **options):
    node = nodes.SamplerWrapper(sampler() if batches is None else batches, **options)
    return nodes.Loader(PIPES[pipe](node))


def state_of(loader):
    """Its state, as torch.save and a careful torch.load leave it."""
    file = io.BytesIO()
    torch.save(loader.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resumed(pipe, state, **options):
    ours = loader(pipe, **options)
    ours.load_state_dict(state)
    return ours


@pytest.mark.parametrize("pipe", PIPES)
def test_epochs_are_those_of_the_stream(pipe):
    ours = loader(pipe)
    assert [list(ours) for _ in range(3)] == [stream(6 * e, 6 * e + 6) for e in range(3)]


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_state_taken_behind_an_epoch_resumes_at_the_next(pipe, epochs):
    broken = loader(pipe)
    for _ in range(epochs):
        list(broken)
    state = state_of(broken)
    expected = [stream(6 * e, 6 * e + 6) for e in range(epochs, epochs + 3)]
    for ours in (resumed(pipe, state), resumed(pipe, state), broken):
        assert [list(ours) for _ in range(3)] == expected


@pytest.mark.parametrize("pipe", PIPES)
def test_states_taken_behind_each_epoch_of_resumed_loaders_train_each_epoch_once(pipe):
    state, trained = None, []
    for _ in range(4):
        ours = loader(pipe) if state is None else resumed(pipe, state)
        trained += list(ours)
        state = state_of(ours)
    assert trained == stream(0, 24)


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("done", range(N_BATCHES + 1))
def test_a_state_taken_within_an_epoch_resumes_there(pipe, done):
    broken = loader(pipe)
    list(broken)
    batches = iter(broken)
    assert list(islice(batches, done)) == stream(6, 6 + done)
    ours = resumed(pipe, state_of(broken))
    left = [stream(6 + done, 12)] if done < N_BATCHES else []
    expected = [*left, stream(12, 18), stream(18, 24)]
    assert [list(ours) for _ in expected] == expected


@pytest.mark.parametrize("batches_a_part", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("wrapper", ["SamplerWrapper", "IterableWrapper"])
@pytest.mark.parametrize("rank, ranks", [(0, 1), (1, 2), (3, 4)])
def test_a_run_of_many_parts_is_the_unbroken_run(batches_a_part, wrapper, rank, ranks):
    """Four ranks leave two batches of each epoch unused."""
    state, trained = None, []
    for _ in range(7):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*unused")
            node = getattr(nodes, wrapper)(sampler(shard=(rank, ranks)))
        ours, left = nodes.Loader(node), batches_a_part
        if state is not None:
            ours.load_state_dict(state)
        while left:
            for batch in ours:
                trained.append(batch)
                left -= 1
                if not left:
                    state = state_of(ours)
                    break
    each = 6 // ranks
    epochs = (ALL[first : first + 6] for first in range(0, len(ALL), 6))
    whole = [batch for epoch in epochs for batch in epoch[: each * ranks][rank::ranks]]
    assert trained == whole[: len(trained)]


def test_the_state_of_a_loader_that_was_loaded_and_not_iterated_is_what_was_loaded():
    broken = loader("mapped")
    list(broken), list(broken)
    again = resumed("mapped", state_of(broken))
    iter(again)
    assert list(resumed("mapped", state_of(again))) == stream(12, 18)


def test_epochs_that_the_wrapper_is_told_are_those_trained():
    options = {"initial_epoch": 5, "epoch_updater": lambda epoch: epoch + 10}
    broken = loader("mapped", **options)
    assert list(broken) == stream(30, 36)
    ours = resumed("mapped", state_of(broken), **options)
    assert [list(ours), list(ours)] == [stream(90, 96), stream(150, 156)]


def test_each_rank_resumes_its_share_behind_an_epoch():
    for rank in range(2):
        broken = loader("mapped", sampler(shard=(rank, 2)))
        assert list(broken) == stream(0, 6)[rank::2]
        ours = loader("mapped", sampler(shard=(rank, 2)))
        ours.load_state_dict(state_of(broken))
        assert [list(ours), list(ours)] == [stream(6, 12)[rank::2], stream(12, 18)[rank::2]]


def test_a_state_behind_an_epoch_is_the_samplers_own_too():
    broken = loader("alone")
    list(broken)
    ours = sampler()
    ours.load_state_dict(broken.state_dict()["root"]["_sampler"])
    assert list(ours) == stream(6, 12)


def test_a_batcher_straight_over_whole_batches_is_refused_and_behind_a_mapper_it_is_not():
    node = nodes.SamplerWrapper(sampler())
    with pytest.raises(TypeError, match=r"torchdata.nodes.Batcher puts .*; leave out Batcher"):
        list(nodes.Loader(nodes.Batcher(node, 2)))
    mapped = nodes.Mapper(nodes.SamplerWrapper(sampler()), list)
    pairs = [list(pair) for pair in zip(stream(0, 6)[::2], stream(0, 6)[1::2], strict=True)]
    assert list(nodes.Loader(nodes.Batcher(mapped, 2))) == pairs
    single = nodes.Batcher(nodes.Unbatcher(nodes.SamplerWrapper(sampler())), 8)
    assert list(nodes.Loader(single)) == [a + b for a, b in pairs]
