"""order="class": the samples of a shuffled batch, class by class, the same on every backend."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import KINDS, Case, classes_of, cpu
from cases.at_random import first_batch, random_case

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.cpu import order as cpu_order
from gpusampler.ops import class_order
from gpusampler.plans.order_guide import class_guide

OPTIONS = {
    "fixed": {"alpha": 0.5},
    "stratified": {"alpha": 0.3},
    "random": {"alpha": 0.5, "class_draw": "counter"},
    "pk": {"classes_per_batch": 3, "members_per_class": 4},
}
GROUPS = [list(range(c, 900, 9)) for c in range(9)]


def made(kind: str, groups=GROUPS, n_batches: int = 12, **options):
    size = None if kind == "pk" else 24
    given = {"device": "cpu", "seed": 3, **OPTIONS[kind], **options}
    return SamplerFactory().get(groups, size, n_batches, kind=kind, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_samples_of_the_shuffled_one_in_ascending_classes(kind):
    for number in range(30):
        rnd = random.Random(number)
        case = random_case(rnd, kind, by_class=True)
        g0, shuffled = first_batch(rnd, case), replace(case, by_class=False)
        for ordered, one in zip(cpu(case, g0, 3), cpu(shuffled, g0, 3), strict=True):
            assert sorted(ordered) == sorted(one)
            assert (np.diff(classes_of(case, ordered)) >= 0).all()


def test_a_pk_batch_is_a_view_of_classes_and_members():
    for batch in made("pk", order="class").build():
        classes = batch.view(3, 4) % 9
        assert (classes == classes[:, :1]).all()
        assert (classes[:, 0].diff() > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_two_classes_stands_with_the_class_that_it_was_drawn_for(kind):
    groups = [[0, 1, 2, 3], [2, 3, 4, 5], [0, 5, 6, 7]]
    apart = [[10 * c + index for index in group] for c, group in enumerate(groups)]
    options = {"classes_per_batch": 2} if kind == "pk" else {}
    both = (made(kind, x, order="class", **options).build() for x in (groups, apart))
    shared, told = (batches.tolist() for batches in both)
    assert [[x % 10 for x in row] for row in told] == shared
    assert all(x // 10 <= y // 10 for row in told for x, y in itertools.pairwise(row))


@pytest.mark.parametrize("device_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("size", [1, 7, 33, 300])
def test_sorting_in_torch_equals_the_compiled_one_and_numpy(size, device_dtype):
    rng = np.random.default_rng(size)
    for classes in (1, 2, 40, 3000):
        sizes = rng.choice([0, 1, 3, 50, 4000], classes)
        sizes[rng.integers(classes)] += 1
        firsts, total = np.cumsum(sizes) - sizes, sizes.sum()
        places = rng.integers(0, total, (5, size))
        members = rng.permutation(total).astype(device_dtype)
        labels = np.repeat(np.arange(classes), sizes)
        order = np.argsort(labels[places], axis=1, kind="stable")
        expected = members[np.take_along_axis(places, order, 1)]
        compiled, native = places.copy(), torch.from_numpy(places.copy())
        cpu_order.by_class(compiled, members, class_guide(firsts))
        assert np.array_equal(compiled, expected)
        class_order.by_class(native, torch.from_numpy(members), torch.from_numpy(firsts))
        assert np.array_equal(native.numpy(), expected)


def test_sorting_in_torch_goes_part_by_part(monkeypatch):
    monkeypatch.setattr(class_order, "SLOTS_AT_ONCE", 50)
    places = torch.randint(0, 99, (10, 20))
    expected = places.sort(dim=1, stable=True).values
    class_order.by_class(places, None, torch.arange(99))
    assert torch.equal(places, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_resume_windows_and_changes_of_mix_go_on_as_ever(kind):
    whole = made(kind, order="class")
    stream = whole.batches(0, 36)
    assert torch.equal(torch.cat([whole.batch(g)[None] for g in range(36)]), stream)
    shards = [made(kind, order="class").shard(r, 3) for r in range(3)]
    rows = [list(part) for part in shards]
    assert [rows[b % 3][b // 3] for b in range(12)] == stream[:12].tolist()
    begun = made(kind, order="class")
    iterator = iter(begun)
    some = [next(iterator) for _ in range(5)]
    other = made(kind, order="class")
    other.load_state_dict(begun.state_dict())
    assert some + list(other) + list(other) == stream[:24].tolist()
    if kind != "pk":
        shuffled = made(kind)
        for sampler in (whole, shuffled):
            sampler.set_epoch(1)
            sampler.set_alpha(0.9)
        ordered, plain = whole.batches(12, 24), shuffled.batches(12, 24)
        assert torch.equal(ordered.sort(dim=1).values, plain.sort(dim=1).values)
        assert (torch.diff(ordered % 9, dim=1) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_tells_the_order(kind):
    state = made(kind, order="class").state_dict()
    with pytest.raises(ValueError, match="differs in order: 'class' there, 'shuffle' here"):
        made(kind).load_state_dict(state)
    made(kind, order="class").load_state_dict(state)


def test_another_order_is_refused():
    with pytest.raises(ValueError, match=r"order must be 'shuffle' or 'class', not 'sorted'; pass"):
        made("fixed", order="sorted")
    with pytest.raises(AttributeError, match="order of a sampler cannot be set"):
        made("fixed").order = "class"


def test_a_dataset_in_order_and_int64_members_are_ordered_alike():
    index = ClassIndex(None, np.array([0, 70, 75, 200]), 200, "cpu")
    wide = [[x + (1 << 33) for x in range(a, b)] for a, b in ((0, 70), (70, 75), (75, 200))]
    for kind in KINDS:
        options = {"classes_per_batch": 2} if kind == "pk" else {}
        narrow = made(kind, index, order="class", **options).build()
        assert torch.equal(made(kind, wide, order="class", **options).build(), narrow + (1 << 33))


def test_the_cases_here_have_batches_that_shuffling_leaves_unsorted():
    case = Case("fixed", [40, 30], 32, seed=1)
    assert (np.diff(classes_of(case, cpu(case, 0)[0])) < 0).any()
