"""The original library's failures, each shown to be right here; and its interface, as it is used.

The original is khornlund/pytorch-balanced-sampler; what it did wrong was measured before this
project began. Nothing here imports it.
"""

import copy
import json
import logging
import multiprocessing
import os
import random
import warnings
from collections import Counter

import fresh
import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    TensorDataset,
    get_worker_info,
)

from gpusampler import (
    SamplerFactory,
    StarvedClassWarning,
    WeightedFixedBatchSampler,
    WeightedRandomBatchSampler,
)

SIZES = [60, 30, 10]
KINDS = ["fixed", "random"]


def lists(sizes=SIZES):
    """Classes of these sizes over a shuffled dataset, as lists of int."""
    order = np.random.default_rng(5).permutation(sum(sizes))
    return [part.tolist() for part in np.split(order, np.cumsum(sizes)[:-1])]


def class_counts(batch, class_idxs):
    """How many of the batch are of each class."""
    class_of = {i: c for c, idxs in enumerate(class_idxs) for i in idxs}
    counts = Counter(class_of[i] for i in batch)
    return [counts[c] for c in range(len(class_idxs))]


def global_state():
    """All that a sampler must leave as it found it."""
    root = logging.getLogger()
    name, keys, *rest = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (name, keys.tolist(), *rest),
        "torch random": torch.get_rng_state().tolist(),
        "root logger": (root.level, root.disabled, list(root.handlers), list(root.filters)),
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
    }


def changed_by_sampling():
    """The names of the global state that making and using samplers changed."""
    if torch.cuda.is_available():
        torch.cuda.init()  # sets an environment variable, whoever asks
    before = global_state()
    for kind in KINDS:
        sampler = SamplerFactory(verbose=1).get(lists(), 10, 5, 0.5, kind)
        list(sampler), list(sampler.on_device()), sampler.build()
    after = global_state()
    return [name for name in before if before[name] != after[name]]


def seeded(seed):
    """Two epochs of each kind."""
    samplers = [SamplerFactory().get(lists(), 7, 9, 0.5, kind, seed=seed) for kind in KINDS]
    return [[list(sampler), list(sampler)] for sampler in samplers]


@pytest.fixture(scope="module")
def fresh_process():
    """What changed_by_sampling() and seeded(11) give where nothing was imported or used before."""
    program = (
        "import json, test_original as t; found = t.changed_by_sampling(), t.seeded(11); "
        "print(json.dumps(found))"
    )
    return json.loads(fresh.python(program).splitlines()[-1])


def test_ten_equal_classes_and_a_batch_of_15_give_one_or_two_of_each_in_every_batch():
    """The original: counts of [-3, 2, 2, ...] and batches of 18."""
    class_idxs = lists([20] * 10)
    for batch in SamplerFactory().get(class_idxs, 15, 30, 0.5, "fixed"):
        assert len(batch) == 15
        assert sorted(class_counts(batch, class_idxs)) == [1] * 5 + [2] * 5


def test_ten_equal_classes_and_a_batch_of_5_give_one_each_of_five_and_warn_of_the_others():
    """The original: [5, 0, 0, ...], in silence."""
    class_idxs = lists([20] * 10)
    with pytest.warns(StarvedClassWarning, match="5 of 10 classes: 5, 6, 7, 8, 9;"):
        sampler = SamplerFactory().get(class_idxs, 5, 30, 1, "fixed")
    for batch in sampler:
        assert sorted(class_counts(batch, class_idxs)) == [0] * 5 + [1] * 5


@pytest.mark.parametrize("make", ["get", "fixed"])
def test_classes_too_small_for_a_slot_are_named_to_the_caller(make):
    """The original: [32, 0, 0], in silence."""
    with pytest.warns(StarvedClassWarning, match="2 of 3 classes: 1, 2;") as caught:
        sampler = getattr(SamplerFactory(), make)(lists([1000, 10, 2]), 32, 5, 0)
    assert caught[0].filename == __file__
    assert sampler.class_counts.tolist() == [160, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_warning_where_every_class_has_its_slot(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SamplerFactory().get(lists(), 10, 5, 0, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [list, np.array, torch.tensor, tuple])
def test_what_the_caller_passed_is_neither_shuffled_nor_changed(kind, make):
    """The original shuffled lists and arrays in place, and made tensors repeat members."""
    class_idxs = [make(idxs) for idxs in lists()]
    before = copy.deepcopy(class_idxs)
    sampler = SamplerFactory().get(class_idxs, 8, 40, 0.5, kind)
    for _ in range(2):
        list(sampler)
    assert [list(map(int, idxs)) for idxs in class_idxs] == lists()
    assert [type(idxs) for idxs in class_idxs] == [type(idxs) for idxs in before]


def test_counts_and_weights_of_the_caller_are_unchanged():
    counts, rates = np.array([4, 2, 2]), np.array([1.0, 2.0, 0.5])
    list(WeightedFixedBatchSampler(counts, lists(), 30))
    list(WeightedRandomBatchSampler(rates, lists(), 8, 30))
    list(SamplerFactory().get(lists(), 8, 30, weights=rates))
    assert counts.tolist() == [4, 2, 2]
    assert rates.tolist() == [1, 2, 0.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.5, 1])
def test_an_empty_class_is_a_value_error_that_names_it(kind, alpha):
    """The original: ZeroDivisionError, or an IndexError while training."""
    with pytest.raises(ValueError, match=r"class 1 .* no members.*drop_empty=True"):
        SamplerFactory().get([[0, 1], [], [2]], 4, 5, alpha, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_verbose_prints_the_plan_and_silence_is_the_default(kind, capsys):
    """The original: verbose=1 was a TypeError."""
    SamplerFactory().get(lists(), 10, 5, 0, kind)
    assert capsys.readouterr() == ("", "")
    sampler = SamplerFactory(verbose=1).get(lists(), 10, 5, 0, kind)
    printed = capsys.readouterr().out
    assert printed == sampler.describe() + "\n"
    assert "5 batches of 10" in printed
    assert [line.split()[:4] for line in printed.splitlines()[2:]] == [
        ["0", "60", "0.6000", "0.6000"], ["1", "30", "0.3000", "0.3000"],
        ["2", "10", "0.1000", "0.1000"],
    ]  # fmt: skip


def test_global_random_state_logger_and_environment_are_left_alone(fresh_process):
    """The original reset the root logger and drew from NumPy's global state."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        assert changed_by_sampling() == []
    finally:
        logging.getLogger().removeHandler(handler)
    assert fresh_process[0] == []


@pytest.mark.parametrize("kind", KINDS)
def test_global_seeds_have_no_say_in_the_batches(kind):
    runs = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            runs.append(list(SamplerFactory().get(lists(), 10, 5, 0.5, kind)))
    assert runs[0] == runs[1]


def test_each_wrap_of_a_class_has_an_order_of_its_own():
    """The original replayed one order on each wrap within an epoch."""
    passes = torch.tensor(list(WeightedFixedBatchSampler([1, 1], [range(40), [40]], 200)))
    orders = passes[passes < 40].view(5, 40).tolist()
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len(set(map(tuple, orders))) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_epoch_goes_on_and_does_not_start_again(kind):
    """The original began each class anew in every epoch."""
    sampler = SamplerFactory().get(lists(), 10, 6, 0.5, kind)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert first + second == sampler.batches(0, 12).tolist()


def test_every_member_is_drawn_even_where_an_epoch_is_shorter_than_a_class():
    sampler = WeightedFixedBatchSampler([1], [range(100)], 10)
    drawn = [index for _ in range(10) for batch in sampler for index in batch]
    assert sorted(drawn) == list(range(100))


def test_the_same_seed_gives_the_same_batches_in_a_fresh_process(fresh_process):
    """The original could not be seeded."""
    assert fresh_process[1] == seeded(11)
    assert all(ours != other for ours, other in zip(seeded(11), seeded(12), strict=True))


@pytest.mark.parametrize(
    ("alpha", "counts"), [(0, [12, 6, 2]), (0.5, [10, 6, 4]), (1, [5, 5, 5, 5])]
)
def test_alpha_0_keeps_the_class_mix_and_alpha_1_makes_it_uniform(alpha, counts):
    class_idxs = lists(SIZES if len(counts) == 3 else [60, 30, 9, 1])
    for batch in SamplerFactory().get(class_idxs, 20, 10, alpha, "fixed"):
        assert class_counts(batch, class_idxs) == counts


# Every way of making a sampler that the original has, positionally.
CALLS = {
    "get fixed": lambda idxs: SamplerFactory().get(idxs, 10, 6, 0.5, "fixed"),
    "get random": lambda idxs: SamplerFactory().get(idxs, 10, 6, 0.5, "random"),
    "fixed": lambda idxs: SamplerFactory().fixed(idxs, 10, 6, 0.5),
    "random": lambda idxs: SamplerFactory().random(idxs, 10, 6, 0.5),
    "fixed class": lambda idxs: WeightedFixedBatchSampler(np.array([5, 3, 2]), idxs, 6),
    "random class": lambda idxs: WeightedRandomBatchSampler(np.array([1, 1, 2]), idxs, 10, 6),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_of_the_original_give_batch_samplers_of_plain_lists(name):
    sampler = CALLS[name](lists())
    batches = list(sampler)
    assert isinstance(sampler, BatchSampler)
    assert len(sampler) == len(batches) == 6
    assert all(type(batch) is list and len(batch) == 10 for batch in batches)
    assert all(type(index) is int and 0 <= index < 100 for batch in batches for index in batch)


def test_the_ways_to_a_sampler_of_one_kind_give_the_same_batches():
    made = {name: list(call(lists())) for name, call in CALLS.items()}
    assert made["get fixed"] == made["fixed"] == made["fixed class"]
    assert made["get random"] == made["random"]


def test_keywords_of_the_original_are_taken():
    options = {"class_idxs": lists(), "batch_size": 10, "n_batches": 6, "alpha": 0.5}
    by_name = SamplerFactory(verbose=0).get(**options, kind="fixed")
    assert list(by_name) == list(SamplerFactory().get(lists(), 10, 6, 0.5, "fixed"))


@pytest.mark.parametrize("class_draw", ["multinomial", "counter"])
def test_class_weights_are_the_rate_of_one_sample_of_the_class(class_draw):
    sizes, rates = [10, 40, 25, 5], [3.0, 1.0, 0.0, 2.0]
    class_idxs = lists(sizes)
    sampler = WeightedRandomBatchSampler(rates, class_idxs, 1000, 100, class_draw=class_draw)
    counts = class_counts(sampler.build().flatten().tolist(), class_idxs)
    expected = [37_500, 50_000, 0, 12_500]
    assert sampler.class_counts.tolist() == expected
    assert counts[2] == 0
    chi2 = sum((k - e) ** 2 / e for k, e in zip(counts, expected, strict=True) if e)
    assert chi2 < 27.6  # 2 degrees of freedom: 1 in 10**6 for a fair sampler


@pytest.mark.parametrize(
    ("workers", "start", "persistent"),
    [(0, None, False), (2, "fork", False), (2, "fork", True), (2, "spawn", True)],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_a_data_loader_yields_the_batches_of_two_epochs(workers, start, persistent):
    if start and start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {start}")
    sampler = SamplerFactory().get(lists(), 10, 6, 0.5, "fixed")
    loader = DataLoader(
        TensorDataset(torch.arange(100) * 3),
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context=start,
        persistent_workers=persistent,
    )
    assert len(loader) == 6
    loaded = [batch.tolist() for _ in range(2) for (batch,) in loader]
    assert loaded == (sampler.batches(0, 12) * 3).tolist()


class Epochs(IterableDataset):
    """Each worker builds the epoch of its number."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __iter__(self):
        self.sampler.set_epoch(get_worker_info().id)
        yield self.sampler.build()


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_building_inside_a_loaders_worker_gives_the_same_batches(start):
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {start}")
    sampler = SamplerFactory().get(lists((5000, 300)), 4096, 40, 0.5, "fixed")
    expected = sampler.batches(0, 80).view(2, 40, 4096)  # built by threads before the fork
    loader = DataLoader(
        Epochs(sampler), batch_size=None, num_workers=2, multiprocessing_context=start
    )
    assert all(torch.equal(*pair) for pair in zip(loader, expected, strict=True))


def test_one_thread_gives_what_several_give():
    sampler = SamplerFactory().get(lists((5000, 300)), 4096, 40, 0.5, "fixed")
    expected, threads = sampler.build(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(sampler.build(), expected)
    finally:
        torch.set_num_threads(threads)
