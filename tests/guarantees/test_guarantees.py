"""Guarantees 1 to 3 of the samplers: counts, coverage, purity; and epochs."""

import multiprocessing
import pickle
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import fresh
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import ClassIndex, SamplerFactory, WeightedFixedBatchSampler
from gpusampler.samplers import random as random_kind
from gpusampler.stream import batches
from gpusampler.stream import sampler as stream

SAMPLERS = {
    "fixed": {"kind": "fixed"},
    "multinomial": {"kind": "random"},
    "counter": {"kind": "random", "class_draw": "counter"},
}


def make(name="fixed", sizes=(50, 20, 5), batch_size=8, n_batches=12, alpha=0.5, seed=0, **more):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = labels[np.random.default_rng(3).permutation(len(labels))]
    index = ClassIndex.from_labels(labels, num_classes=len(sizes))
    options = {"device": "cpu", "drop_empty": True, **SAMPLERS[name], **more}
    return SamplerFactory().get(index, batch_size, n_batches, alpha, seed=seed, **options), labels


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 7, 40, 3000]), min_size=1, max_size=12).filter(any),
    st.integers(1, 70),
    st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
def test_fixed_batches_all_have_the_planned_counts(sizes, batch_size, alpha):
    sampler, labels = make("fixed", sizes, batch_size, 5, alpha)
    counts = [np.bincount(labels[row], minlength=len(sizes)) for row in sampler.build().numpy()]
    for row in counts:
        assert row.tolist() == (sampler.class_counts / 5).tolist()
        assert row.sum() == batch_size


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 5, 31, 33, 70]), min_size=1, max_size=6),
    st.integers(1, 40),
    st.integers(0, 10**6),
)
@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
def test_fixed_draws_each_member_once_before_any_twice(sizes, batch_size, g0):
    sampler, labels = make("fixed", sizes, batch_size, 10)
    run = sampler.batches(g0, 60).numpy()
    for c, size in enumerate(sizes):
        per_batch = int(sampler.class_counts[c]) // 10
        seen = Counter(run[labels[run] == c].tolist())
        times = [seen[m] for m in np.flatnonzero(labels == c)]
        assert max(times) - min(times) <= 2  # over any run of whole batches
        assert sum(times) == 60 * per_batch
        if per_batch and per_batch * 7 % size == 0:  # whole cycles from the stream's start
            start = sampler.batches(0, 7).numpy()
            again = Counter(start[labels[start] == c].tolist())
            assert set(again.values()) == {per_batch * 7 // size}


def test_coverage_holds_across_epochs():
    sampler, labels = make("fixed", (30, 12), 6, 4, 0.0)  # 4 and 2 a batch
    seen = Counter()
    for _ in range(15):  # 60 batches: 240 draws of class 0, 120 of class 1
        seen.update(index for batch in sampler for index in batch)
    assert {seen[m] for m in np.flatnonzero(labels == 0)} == {8}
    assert {seen[m] for m in np.flatnonzero(labels == 1)} == {10}


@pytest.mark.parametrize("size", [1, 2, 9, 31, 32, 33, 100, 3001])
def test_every_pass_of_a_class_in_stream_order_is_a_permutation(size):
    sampler = WeightedFixedBatchSampler([1], [range(size)], 5 * size, device="cpu", seed=size)
    passes = sampler.build().view(5, size)  # batches of one: the order within is the stream's
    assert torch.equal(passes.sort(dim=1).values, torch.arange(size).expand(5, size))


@pytest.mark.parametrize(("count", "size"), [(3, 2), (7, 31), (7, 33), (128, 9), (10, 3001)])
def test_whole_passes_draw_each_member_alike_wherever_batches_cut_them(count, size):
    sampler = WeightedFixedBatchSampler([count], [range(size)], size, device="cpu")
    for epoch in (0, 5):  # size batches of count draws: count whole passes
        sampler.set_epoch(epoch)
        assert torch.bincount(sampler.build().flatten()).tolist() == [count] * size


def test_each_pass_of_a_class_has_an_order_of_its_own():
    # batches of one, so that no shuffling of slots hides a member order that repeats
    sampler = WeightedFixedBatchSampler([1], [range(40)], 400, device="cpu")
    orders = {tuple(one) for one in sampler.build().view(10, 40).tolist()}
    assert len(orders) == 10


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_batch_is_the_same_however_it_is_reached(name, monkeypatch):
    sampler, _ = make(name, n_batches=30)
    monkeypatch.setattr(random_kind, "DRAW_BLOCK_SLOTS", 8 * 7)  # several draw blocks an epoch
    built = sampler.build()
    assert torch.equal(sampler.batches(11, 13), built[11:24])
    for g in (29, 0, 17, 6, 7):  # in any order
        assert torch.equal(sampler.batch(g), built[g])
    for window_bytes in (1, 8 * 8 * 7, 1 << 20):
        windowed, _ = make(name, n_batches=30, window_bytes=window_bytes)
        assert torch.equal(torch.stack(list(windowed.on_device())), built)
        monkeypatch.setattr(stream, "LIST_WINDOW_BYTES", window_bytes)
        windowed.set_epoch(0)
        assert list(windowed) == built.tolist()
    monkeypatch.setattr(batches, "MAX_SLOTS", 100)
    assert torch.equal(sampler.build(), built)


@pytest.mark.parametrize("name", SAMPLERS)
def test_epochs_follow_each_other_and_can_be_named(name):
    sampler, _ = make(name)
    epochs = [list(sampler) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert sampler.epoch == 3
    sampler.set_epoch(1)
    sampler.set_epoch(1)
    assert torch.equal(sampler.build(), torch.tensor(epochs[1]))
    assert list(sampler) == epochs[1]
    assert list(sampler) == epochs[2]
    sampler.sampler.set_epoch(0)
    assert list(sampler) == epochs[0]
    assert torch.equal(
        sampler.batches(0, 36), torch.tensor([row for rows in epochs for row in rows])
    )


def test_an_iteration_begun_and_left_counts_as_an_epoch_and_iter_alone_does_not():
    sampler, _ = make()
    epochs = [list(sampler), list(sampler)]
    sampler.set_epoch(0)
    unused = iter(sampler), iter(sampler)
    assert sampler.epoch == 0
    first = next(iter(sampler))
    assert first == epochs[0][0] and sampler.epoch == 1
    assert list(sampler) == epochs[1]
    del unused


def test_len_is_what_is_yielded_and_every_index_is_an_int():
    for name in SAMPLERS:
        sampler, labels = make(name)
        batches = list(sampler)
        assert len(batches) == len(sampler) == 12
        assert all(len(batch) == 8 for batch in batches)
        assert all(type(i) is int and 0 <= i < len(labels) for batch in batches for i in batch)


def test_seed_and_epoch_do_not_trade_places():
    of_seed = {seed: make("fixed", seed=seed)[0] for seed in (42, 43)}
    assert not torch.equal(of_seed[42].batch(12), of_seed[43].batch(0))
    batches = {
        tuple(make("fixed", seed=s)[0].batch(g).tolist()) for s in range(9) for g in range(9)
    }
    assert len(batches) == 81


def streams():
    return [make(name, seed=5)[0].build().flatten().tolist() for name in SAMPLERS]


def test_the_same_seed_gives_the_same_batches_in_another_process():
    told = fresh.python("import test_guarantees; print(test_guarantees.streams())")
    assert told.strip() == str(streams())


def test_seeds_that_agree_in_32_bits_still_differ():
    for name in SAMPLERS:
        a, b = make(name, seed=7)[0].build(), make(name, seed=7 + (1 << 32))[0].build()
        assert not torch.equal(a, b)


def test_build_fills_the_given_tensor():
    sampler, _ = make()
    out = torch.full((12, 8), -1)
    assert sampler.build(out=out) is out
    assert torch.equal(out, sampler.build())


def test_a_pickled_sampler_gives_the_same_batches():
    for name in SAMPLERS:
        sampler, _ = make(name)
        next(iter(sampler))
        copy = pickle.loads(pickle.dumps(sampler))
        assert list(copy) == list(sampler)


def test_a_far_batch_costs_no_error_and_the_last_one_is_refused_clearly():
    sampler, _ = make()
    last = (1 << 62) // 8 - 1
    assert sampler.batch(last).shape == (8,)
    with pytest.raises(ValueError, match="first batch must be in"):
        sampler.batch(last + 1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_threads_that_share_a_sampler_get_the_right_batches(name, monkeypatch):
    monkeypatch.setattr(random_kind, "DRAW_BLOCK_SLOTS", 8 * 16)
    sampler, _ = make(name, n_batches=200)
    expected = sampler.build()

    def every(step):
        return [torch.equal(sampler.batch(g), expected[g]) for g in range(0, 200, step)]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(found) for found in pool.map(every, [1, 2, 3, 1]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_building_after_a_fork_gives_the_same_batches():
    sampler, _ = make("fixed", (5000, 300), 4096, 40)  # enough for several threads
    expected = sampler.build()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert torch.equal(torch.from_numpy(pool.apply(built, (sampler,))), expected)


def built(sampler):
    return sampler.build().numpy()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("seed", [0, -1, 1 << 63])
@pytest.mark.parametrize("name", ["fixed", "counter"])
def test_a_sampler_on_cuda_gives_the_batches_of_the_cpu(name, seed):
    on_cpu, _ = make(name, n_batches=40, seed=seed)
    on_cuda, _ = make(name, n_batches=40, seed=seed, device="cuda")
    assert torch.equal(on_cuda.build().cpu(), on_cpu.build())
    assert torch.equal(torch.stack(list(on_cuda.on_device())).cpu(), on_cpu.build())
    assert list(on_cuda) == on_cpu.batches(40, 40).tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["fixed", "counter"])
def test_a_device_loop_never_waits_for_the_gpu(name):
    sampler, _ = make(name, n_batches=40, device="cuda")
    list(sampler.on_device())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it may miss some
        try:
            torch.cuda.set_sync_debug_mode("error")
            assert len(list(sampler.on_device())) == 40
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_describe_tells_size_share_and_draws_of_each_class():
    sampler, _ = make(sizes=(50, 20, 5), batch_size=8, n_batches=10, alpha=0.0)
    text = sampler.describe()
    assert "10 batches of 8" in text and "seed 0" in text
    fields = text.splitlines()[2].split()
    assert fields == ["0", "50", "0.6667", "0.6250", "5", "50", "1"]  # asked, and given
    many, _ = make("counter", sizes=(3,) * 100)
    assert "80 more" in many.describe() and len(many.describe().splitlines()) == 23
