"""Guarantee 4, of every kind and option: the kernels, the compiled CPU code and the slow reference
give the same indices, exactly."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import KINDS, UNIQUE, Case, cpu, interpreted, pk_case, random_classes, slow
from cases.at_random import first_batch, random_case
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler.cpu import call, parallel
from gpusampler.plans.fixed import START

WAYS = {kind: {} for kind in KINDS}
WAYS |= {f"{kind}, by class": {"by_class": True} for kind in KINDS}
WAYS |= {f"{kind}, unique": {"unique": True} for kind in UNIQUE}
WAYS |= {f"{kind}, unique, by class": {"unique": True, "by_class": True} for kind in UNIQUE}
every_way = pytest.mark.parametrize("way", WAYS)


def made(rnd: random.Random, way: str, most: int = 300) -> tuple[Case, int]:
    """A case of the kind, and a batch to begin with."""
    case = random_case(rnd, way.partition(",")[0], most, **WAYS[way])
    return case, first_batch(rnd, case)


# ------------------------------------------------------------------------ at random


@pytest.mark.parametrize(("way", "examples"), [(w, 20 if "," in w else 60) for w in WAYS])
def test_cpu_equals_slow_reference(way, examples):
    @settings(max_examples=examples, deadline=None)
    @given(st.integers(0, 10**9))
    def holds(number):
        rnd = random.Random(number)
        case, g0 = made(rnd, way)
        n, stride = rnd.choice([1, 2, 3, 40]), rnd.choice([1, 1, 2, 7, 64])
        found = cpu(case, g0, n, stride)
        for t in {0, n - 1, rnd.randrange(n)}:
            assert found[t : t + 1] == slow(case, g0 + t * stride)

    holds()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_equals_slow_reference_for_classes_that_were_drawn(number):
    rnd = random.Random(number)
    case, g0 = made(rnd, "random")
    classes = random_classes(case, 3, number)
    assert cpu(case, g0, 3, classes=classes) == slow(case, g0, 3, classes=classes)


MORE = [pytest.param(number, marks=pytest.mark.slow) for number in range(6, 24)]


@pytest.mark.parametrize("number", [*range(6), *MORE])
@pytest.mark.parametrize("way", KINDS)
def test_kernel_equals_cpu(way, number, kernel_device):
    rnd = random.Random(number)
    case, g0 = made(rnd, way, {"stratified": 60, "pk": 150}.get(way, 300))
    n, stride = rnd.choice([1, 2, 3, 7]), rnd.choice([1, 1, 1, 3, 64])
    assert interpreted(case, g0, n, kernel_device, stride) == cpu(case, g0, n, stride)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("way", [way for way in WAYS if "," in way])
def test_kernel_equals_cpu_with_options(way, number, kernel_device):
    rnd = random.Random(number + 70)
    case, g0 = made(rnd, way, 60)
    n, stride = rnd.choice([1, 2, 3]), rnd.choice([1, 1, 5, 300])
    assert interpreted(case, g0, n, kernel_device, stride) == cpu(case, g0, n, stride)


@pytest.mark.parametrize("number", range(8))
def test_kernel_equals_cpu_for_classes_that_were_drawn(number, kernel_device):
    rnd = random.Random(number + 100)
    case, g0 = made(rnd, "random")
    n = rnd.choice([1, 2, 9])
    classes = random_classes(case, n, number)
    found = interpreted(case, g0, n, kernel_device, classes=classes)
    assert found == cpu(case, g0, n, classes=classes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(KINDS), st.sampled_from([2, 3, 8, 64, 1000]))
def test_every_so_many_batches_are_those_batches(number, kind, stride):
    rnd = random.Random(number)
    case, g0 = made(rnd, kind)
    rows = cpu(case, g0, 5, stride)
    assert rows == [cpu(case, g0 + t * stride)[0] for t in range(5)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_any_split_of_a_window_gives_the_same(number, parts):
    case = random_case(random.Random(number), "pk", 100)
    g, split = case.first + 5, []
    for n in parts:
        split += cpu(case, g + len(split), n)
    assert split == cpu(case, g, sum(parts))
    assert split[::7] == cpu(case, g, len(split[::7]), 7)


# ------------------------------------------------------------------------ at the edges


@pytest.mark.parametrize("kind", ["fixed", "random"])
@pytest.mark.parametrize("batch_size", [1, 127, 128, 129, 511, 512, 513, 1000, 1025])
def test_kernel_equals_cpu_at_block_edges(batch_size, kind, kernel_device):
    case = Case(kind, [700, 40, 9, 1], batch_size, 0.7, seed=batch_size)
    assert interpreted(case, 5, 2, kernel_device) == cpu(case, 5, 2)


@pytest.mark.parametrize("batch_size", [129, 255])
def test_kernel_equals_cpu_at_block_edges_of_stratified(batch_size, kernel_device):
    case = Case("stratified", [700, 40, 9, 1], batch_size, 0.7, seed=batch_size)
    assert interpreted(case, 1022, 3, kernel_device) == cpu(case, 1022, 3)


@pytest.mark.parametrize("classes", [1, 127, 128, 129])
@pytest.mark.parametrize("each", [1, 3])
def test_kernel_equals_cpu_at_block_edges_of_pk(classes, each, kernel_device):
    case = pk_case([40] * 130, classes, each, seed=classes)
    assert interpreted(case, 5, 2, kernel_device) == cpu(case, 5, 2)


@pytest.mark.parametrize("kind", ["fixed", "random"])
@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1, 1 << 29, 3, 1])
def test_all_are_equal_for_a_huge_class(n, kind, kernel_device):
    case = Case(kind, [n, 2], 64, [43.0, 21.0], seed=n, identity=True)
    expected = slow(case, 1 << 33, 2)
    assert interpreted(case, 1 << 33, 2, kernel_device) == cpu(case, 1 << 33, 2) == expected


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1, 1 << 29])
def test_all_are_equal_for_a_huge_class_of_pk(n, kernel_device):
    case = pk_case([n, 5, n - 1], 2, 7, seed=n, first=3, identity=True)
    for g0 in (3, 3 + (1 << 33), (1 << 62) // 14 - 2):  # the last batch ends at 2^62
        assert cpu(case, g0) == interpreted(case, g0, 1, kernel_device) == slow(case, g0)


def test_draws_before_the_first_batch_move_the_cycles(kernel_device):
    case = Case("fixed", [100, 50, 7], 64, seed=1, start=[1234, 56, 1 << 40])
    case.plan.rows[:, START] = case.start
    assert cpu(case, 7, 2) == interpreted(case, 7, 2, kernel_device) == slow(case, 7, 2)


def test_kernel_equals_cpu_where_classes_had_more_draws_than_32_bits_count(kernel_device):
    start = [(1 << 50) + 6, 1 << 41, 3]
    case = Case("stratified", [700, 41, 9], 33, 0.3, seed=5, start=start)
    for g0 in (0, (1 << 41) + 1):
        assert interpreted(case, g0, 2, kernel_device) == cpu(case, g0, 2)


@pytest.mark.parametrize("stride", [1, 3, 100])
@pytest.mark.parametrize("classes", [9, 31, 32, 64, 997])
def test_rounds_of_cpu_and_kernel_equal_the_slow_reference(classes, stride, kernel_device):
    case = Case("stratified", [2] * classes, 8, 1.0, seed=classes, segment=1, first=7)
    assert case.plan.round_batches >= 256
    g0, n = 7 + 10 * case.plan.round_batches - stride - 1, 4
    found = cpu(case, g0, n, stride)
    assert found == slow(case, g0, n, stride)
    assert interpreted(case, g0, n, kernel_device, stride) == found


PK_EDGES = {
    "more members asked than there are": pk_case([3, 7, 2, 5], 2, 11, seed=1),
    "whole copies, none rotating": pk_case([4, 2, 1, 8], 3, 8, seed=2),
    "some classes of whole copies only": pk_case([4, 3, 50, 40], 3, 8, seed=3),
    "classes of one": pk_case([1] * 40, 7, 3, seed=4),
    "one member each": pk_case([50, 33, 32, 31, 2], 2, 1, seed=5),
    "one class a batch": pk_case([50, 33, 32, 31, 2], 1, 6, seed=6),
    "every class in each batch": pk_case([50, 33, 32, 31, 2], 5, 6, seed=7),
    "one class": pk_case([100], 1, 7, seed=8),
    "one class of one": pk_case([1], 1, 1, seed=9),
    "classes that divide": pk_case([60] * 36, 6, 5, seed=10),
    "cycles through few of many": pk_case([35, 36, 40] * 12, 30, 9, seed=11),
    "a long visit": pk_case([9000, 2100], 1, 5000, seed=12),
    "empty classes between": pk_case([0, 9, 0, 0, 40, 3, 0], 2, 4, seed=13),
    "a wide seed": pk_case([50, 60, 70], 2, 5, seed=(1 << 64) - 1, segment=(1 << 24) - 1),
}


@pytest.mark.parametrize("name", PK_EDGES)
def test_all_are_equal_at_the_edges_of_pk(name, kernel_device):
    case = PK_EDGES[name]
    expected = slow(case, 0, 9)
    assert cpu(case, 0, 9) == expected
    if case.batch_size < 1000:
        assert interpreted(case, 0, 9, kernel_device) == expected


@pytest.mark.parametrize("by_class", [False, True])
def test_kernel_equals_cpu_where_a_window_takes_several_launches(
    by_class, kernel_device, monkeypatch
):
    from gpusampler.kernels import pk

    monkeypatch.setattr(pk, "VISITS_AT_ONCE", 20)
    case = pk_case([40, 50, 3, 60, 7, 8, 9], 6, 5, seed=1, by_class=by_class)
    assert interpreted(case, 5, 11, kernel_device, 3) == cpu(case, 5, 11, 3)


@pytest.mark.parametrize(
    ("classes", "size", "per_batch", "each"),
    [(1000, 1000, 256, 4), (997, 40, 100, 4), (30_000, 5, 256, 4), (30_000, 33, 60, 4)],
)
def test_cpu_equals_slow_reference_for_many_classes(classes, size, per_batch, each):
    case = pk_case([size + c % 3 for c in range(classes)], per_batch, each, seed=classes)
    assert cpu(case, 1234, 2) == slow(case, 1234, 2)


LONG = {
    "pk, each class some two hundred times": (
        pk_case([5 + 31 * (c % 4) for c in range(97)], 20, 7, seed=1), 77, 1000,
    ),
    **{
        f"stratified, {classes} classes, alpha {alpha}": (
            Case("stratified", [1 + 7 * c % 41 for c in range(classes)], 17, alpha, 3, segment=2),
            5, 1100,
        )
        for classes in (3, 100)
        for alpha in (0.7, 1.0)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_long_window_of_the_cpu_equals_the_slow_reference(name):
    case, g0, n = LONG[name]
    found = cpu(case, g0, n)
    for t in (0, 1, 294, 295, 594, 595, n - 1):
        assert found[t : t + 1] == slow(case, g0 + t)


# ------------------------------------------------------------------------ threads

THREADED = {
    "fixed": Case("fixed", [997, 300, 31, 2], 100, seed=8),
    "random": Case("random", [997, 300, 31, 2], 100, seed=8),
    "stratified": Case("stratified", [997, 300, 31, 2] * 10, 100, seed=8),
    "pk": pk_case([997, 300, 31, 2, 64, 33], 4, 9, seed=8),
}


@pytest.mark.parametrize("kind", THREADED)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_answer(threads, kind, monkeypatch):
    case = THREADED[kind]
    expected = [cpu(case, 1000, 100, stride) for stride in (1, 3)]
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    monkeypatch.setattr(call, "SLAB", 700)
    assert [cpu(case, 1000, 100, stride) for stride in (1, 3)] == expected


def test_torch_bounds_the_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert [parallel.threads_for(work, 10) for work in (5, 25, 1000)] == [1, 2, 3]


# ------------------------------------------------------------------------ what must tell

PLAIN = {
    "fixed": Case("fixed", [100, 50], 64, seed=1),
    "random": Case("random", [100, 50], 64, seed=1),
    "stratified": Case("stratified", [100, 50, 7], 64, seed=1),
    "pk": pk_case([100, 50, 40], 2, 4, seed=1),
}
CHANGES = [(kind, {"seed": 1 | 1 << 63}) for kind in KINDS]
CHANGES += [(kind, {"segment": 1}) for kind in ("stratified", "pk")]
CHANGES += [(kind, {"first": 1}) for kind in ("stratified", "pk")]
CHANGES += [("stratified", {"start": [1, 0, 0]})]


@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_one_wrong_bit_is_noticed(kind, change, kernel_device):
    case, other = PLAIN[kind], replace(PLAIN[kind], **change)
    g0 = 1 << 33
    assert cpu(case, g0, 2) != cpu(other, g0, 2)
    assert interpreted(case, g0, 2, kernel_device) != cpu(other, g0, 2)


def test_the_cases_reach_every_threshold():
    """Rows of few members and of many, batches of full grids, copies, rounds and blocks."""
    found = [made(random.Random(number), kind)[0] for kind in KINDS for number in range(60)]
    plans = {kind: [case.plan for case in found if case.kind == kind] for kind in KINDS}
    assert {p.smallest < 32 for p in plans["fixed"]} == {True, False}
    assert {p.grid is not None for p in plans["fixed"]} == {True}
    assert {p.copies for p in plans["pk"]} == {True, False}
    assert {p.round_batches > 0 for p in plans["stratified"]} == {True, False}
    assert {case.dtype for case in found} == {np.int32, np.int64}
    assert {case.identity for case in found} == {True, False}
