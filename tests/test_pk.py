"""pk batches: the kernels, the compiled PTX, the CPU twin and the slow reference give the same
indices, and the guarantees hold: classes, members, turns, purity."""

import random
from collections import Counter

import aot
import numpy as np
import pk_cases as cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pk_cases import PKCase, batches, random_case

from gpusampler import ClassIndex, PKBatchSampler, SamplerFactory, parallel


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_twin_equals_slow_reference(number):
    rnd = random.Random(number)
    case = random_case(rnd)
    g0, n, stride = batches(rnd, case)
    assert cases.twin(case, g0, n, stride) == cases.slow(case, g0, n, stride)


@pytest.mark.parametrize("number", range(16))
def test_kernel_equals_cpu_twin(number, kernel_device):
    rnd = random.Random(number)
    case = random_case(rnd, largest_batch=300)
    g0, n, stride = batches(rnd, case)
    assert cases.kernel(case, g0, n, kernel_device, stride) == cases.twin(case, g0, n, stride)


@pytest.mark.parametrize("target", ["cuda:80", "cuda:90"])
@pytest.mark.parametrize("number", range(5))
def test_executed_ptx_equals_cpu_twin(number, target):
    rnd = random.Random(number + 300)
    case = random_case(rnd, largest_batch=300)
    g0, n, stride = batches(rnd, case)
    assert cases.executed(case, g0, n, target, stride)[0] == cases.twin(case, g0, n, stride)


@pytest.mark.parametrize("target", ["cuda:80", "cuda:90", "cuda:100", "hip:gfx942"])
def test_no_kernel_spills_registers(target):
    variants = cases.variants(target)
    if target not in ("cuda:80", "cuda:90"):
        names = ("visits-1-1", "draw-2-2-True", "draw-1-1-False")
        variants = {name: variants[name] for name in names}
    made = aot.compile_kernels(list(variants.values()))
    assert {name: m["spills"] for name, m in zip(variants, made, strict=True) if m["spills"]} == {}


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1])
def test_a_huge_class_is_drawn_alike_by_all(n, kernel_device):
    case = PKCase([5, 40], 2, 8, seed=n, identity=True)
    other = PKCase([5, 40], 2, 8, seed=n, identity=True)
    from gpusampler import plan_pk

    for changed in (case, other):
        changed.sizes = [n, 40]
        changed.offsets = np.array([0, n, n + 40])
        changed.plan = plan_pk.pk_plan(np.array(changed.sizes), changed.offsets, 2, 8)
        changed.groups = [range(n), range(n, n + 40)]
    expected = cases.slow(case, 1 << 33, 2)
    assert cases.twin(case, 1 << 33, 2) == expected
    assert cases.kernel(case, 1 << 33, 2, kernel_device) == expected


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_answer(threads, monkeypatch):
    case = PKCase([40, 7, 33, 2, 100], 3, 9, seed=8)
    expected = cases.twin(case, 3, 40)
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    monkeypatch.setattr("gpusampler.cpu_pk.SLAB", 700)
    assert cases.twin(case, 3, 40) == expected


def sampler_of(sizes, classes, each, n_batches, **options):
    offsets = np.cumsum([0, *sizes])
    index = ClassIndex(None, offsets, int(offsets[-1]), "cpu")
    sampler = PKBatchSampler(index, classes, each, n_batches, device="cpu", **options)
    return sampler, np.repeat(np.arange(len(sizes)), sizes)


SHAPES = [
    ([5] * 30_000, 256, 4, 117),
    ([9] * 1000, 32, 4, 63),
    ([20] * 101, 16, 8, 40),  # a prime number of classes
    ([3, 40, 7, 1, 12], 2, 9, 60),
    ([6] * 8, 8, 2, 10),
    ([50], 1, 7, 30),
]


@pytest.mark.parametrize(("sizes", "classes", "each", "n"), SHAPES)
def test_batches_hold_distinct_classes_in_turn_and_distinct_members(sizes, classes, each, n):
    sampler, label = sampler_of(sizes, classes, each, n)
    visits, per_cycle = np.zeros(len(sizes), int), len(sizes) // classes
    for b, row in enumerate(sampler.build().numpy()):
        counts = Counter(label[row].tolist())
        assert len(counts) == classes and set(counts.values()) == {each}
        for c, members in ((c, row[label[row] == c]) for c in counts):
            assert len(set(members.tolist())) == min(each, sizes[c])
        visits[list(counts)] += 1
        if (b + 1) % per_cycle == 0:
            assert visits.max() - visits.min() <= 1


@pytest.mark.parametrize(
    ("sizes", "classes", "each"), [([3, 40, 7, 1, 12], 2, 9), ([11] * 5, 2, 3)]
)
def test_members_of_a_class_differ_by_at_most_4_over_any_run(sizes, classes, each):
    sampler, label = sampler_of(sizes, classes, each, 400)
    drawn = np.stack([np.bincount(row, minlength=len(label)) for row in sampler.build().numpy()])
    sums = np.vstack([np.zeros(len(label), int), np.cumsum(drawn, axis=0)])
    rnd = random.Random(1)
    for _ in range(300):
        a, b = sorted(rnd.sample(range(401), 2))
        for c in range(len(sizes)):
            run = (sums[b] - sums[a])[label == c]
            assert run.max() - run.min() <= 4


def test_any_window_and_any_rank_give_the_same_batches():
    sampler, _ = sampler_of([20] * 50, 8, 4, 24, seed=5)
    built = sampler.build()
    assert torch.equal(sampler.batch(7), built[7])
    assert torch.equal(sampler.batches(3, 9), built[3:12])
    small, _ = sampler_of([20] * 50, 8, 4, 24, seed=5, window_bytes=2000)
    assert torch.equal(torch.stack(list(small.on_device())), built)
    ranks = [sampler.shard(r, 3).build() for r in range(3)]
    assert torch.equal(torch.stack(ranks, 1).flatten(0, 1), built)


def test_the_factory_makes_it_and_refuses_a_mix():
    lists = [[0, 1, 2], [], [3, 4], [5]]
    make = SamplerFactory().get
    shape = {"classes_per_batch": 2, "members_per_class": 3, "device": "cpu"}
    sampler = make(lists, 6, 4, kind="pk", **shape)
    assert sampler.class_counts.tolist() == [8, 0, 8, 8] and sampler.batch_size == 6
    assert list(make(lists, None, 4, kind="pk", **shape)) == list(sampler)
    for options, message in [
        ({"alpha": 0.5}, "takes all classes alike, and alpha was given; leave it out"),
        ({"weights": [1, 1, 1, 1]}, "and weights was given"),
        ({"batch_size": 7}, r"batch_size must be .* = 6, not 7; pass that, or None"),
        ({"classes_per_batch": 4}, "at most the 3 classes that have members, not 4"),
        ({"members_per_class": None}, "needs classes_per_batch and members_per_class"),
        ({"members_per_class": 0}, "members_per_class must be in"),
    ]:
        given_options = {"batch_size": 6, "n_batches": 4, "kind": "pk", **shape, **options}
        with pytest.raises(ValueError, match=message):
            make(lists, **given_options)


def test_op_passes_torch_opcheck():
    sampler, _ = sampler_of([20] * 10, 3, 4, 5)
    segment = sampler._history.segments[0]
    p = segment._plan
    out = torch.zeros((2, 12), dtype=torch.int64)
    members = torch.arange(200, dtype=torch.int32)
    torch.library.opcheck(
        torch.ops.gpusampler.draw_pk.default,
        (
            out,
            members,
            segment._rows,
            segment._rotations,
            4,
            p.copies,
            p.spans,
            0,
            0,
            1,
            0,
            1,
            0,
            0,
        ),
    )
