"""Inside torch.compile: the batches that are given outside, from one graph for all numbers."""

import copy
import gc
import pickle

import pytest
import torch
import torch._dynamo.testing

from gpusampler import SamplerFactory
from gpusampler.ops import graphs as graph_ops

OPTIONS = {
    "fixed": {"alpha": 0.5},
    "stratified": {"alpha": 0.5},
    "random": {"alpha": 0.5, "class_draw": "counter"},
    "pk": {"classes_per_batch": 2, "members_per_class": 3},
}


def make(kind="fixed", **options):
    return SamplerFactory().get(
        [range(1, 40, 2), range(0, 40, 2)],
        6,
        12,
        kind=kind,
        device="cpu",
        **OPTIONS[kind] | options,
    )


def compiled(function, **options):
    """The function in one graph without a break, and how often that was compiled."""
    torch._dynamo.reset()
    frames = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    return torch.compile(function, fullgraph=True, backend=frames, **options), frames


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("dynamic", [None, True])
def test_batches_in_a_graph_are_those_outside_and_compile_once(kind, dynamic):
    sampler = make(kind)
    step, frames = compiled(lambda g: sampler.batch(g) * 2, dynamic=dynamic)
    for g in [5, 0, 1, 7, 30, 1 << 33, 2, 3, 11, 12, 13, 14]:
        assert torch.equal(step(g), sampler.batch(g) * 2)
    # the first number is taken for a constant, unless all are said to vary; 0 and 1 always are
    assert frames.frame_count <= 4


def test_after_the_first_two_numbers_nothing_is_compiled_any_more():
    sampler = make()
    step, frames = compiled(lambda g, n: sampler.batches(g, n).sum(0))
    found = []
    for g in range(2, 40):
        assert torch.equal(step(g, 2 + g % 5), sampler.batches(g, 2 + g % 5).sum(0))
        found.append(frames.frame_count)
    assert found[2] == found[-1] <= 2


def test_an_epoch_in_a_graph_follows_the_sampler():
    sampler = make()
    step, frames = compiled(lambda: sampler.build() + 1)
    for epoch in (0, 3, 1):
        sampler.set_epoch(epoch)
        assert torch.equal(step(), sampler.build() + 1)
    list(sampler)
    sampler.set_alpha(1.0)
    assert torch.equal(step(), sampler.build() + 1)
    assert frames.frame_count == 1


def test_an_epoch_is_filled_into_a_tensor_in_a_graph():
    sampler = make()
    step, _ = compiled(lambda out: sampler.build(out=out))
    out = torch.zeros(12, 6, dtype=torch.int64)
    step(out)
    assert torch.equal(out, sampler.build())


def test_a_share_builds_its_part_in_a_graph():
    for rank in range(3):
        part = make().shard(rank, 3)
        step, _ = compiled(lambda part=part: part.build())
        assert torch.equal(step(), part.build()) and step().shape == (4, 6)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))]
)
def test_a_copy_has_a_number_of_its_own(copied):
    sampler = make(seed=1)
    other = copied(sampler)
    other.set_epoch(2)
    step, _ = compiled(lambda: other.build())
    del sampler
    gc.collect()
    assert torch.equal(step(), other.build())


def test_a_graph_of_a_sampler_that_is_gone_says_so_and_a_graph_keeps_none_alive():
    graph = make()._in_graphs
    gc.collect()
    with pytest.raises(RuntimeError, match=f"gone .number {graph[0]}.; keep a reference to it"):
        graph_ops.batches(graph, 0, 1, 1 << 30)
    with pytest.raises(RuntimeError, match="compile anew"):
        graph_ops.epoch(graph, 1 << 30)


def test_what_is_wrong_in_a_graph_is_refused_as_outside():
    sampler = make()
    step, _ = compiled(lambda g: sampler.batch(g), dynamic=True)
    with pytest.raises(ValueError, match="the first batch must be in"):
        step(-5)


@pytest.mark.parametrize("kind", OPTIONS)
def test_graph_ops_pass_torch_opcheck(kind):
    sampler = make(kind)
    handle, size, length, device = sampler._in_graphs
    calls = {
        torch.ops.gpusampler.batches.default: (handle, 3, 2, size, device, 1 << 30),
        torch.ops.gpusampler.epoch.default: (handle, length, size, device, 1 << 30),
    }
    for op, arguments in calls.items():
        told = torch.library.opcheck(op, arguments)
        assert set(told.values()) == {"SUCCESS"} and len(told) == 4
