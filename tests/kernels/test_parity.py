"""Guarantee 4: the kernels, the CPU twin and the slow reference give the same indices, exactly."""

import random

import numpy as np
import pytest
import torch
from cases import (
    Case,
    first_batch,
    kernel_fixed,
    kernel_random,
    random_case,
    slow_fixed,
    slow_picked,
    slow_random,
    twin_fixed,
    twin_random,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import slow_reference

from gpusampler.cpu import parallel
from gpusampler.cpu import twin as cpu
from gpusampler.plans import fixed as plan


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_twin_equals_slow_reference_for_fixed(number):
    rnd = random.Random(number)
    case, g0 = random_case(rnd), first_batch(rnd)
    assert twin_fixed(case, g0, 3) == slow_fixed(case, g0, 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cpu_twin_equals_slow_reference_for_random(number):
    rnd = random.Random(number)
    case, g0 = random_case(rnd), first_batch(rnd)
    assert twin_random(case, g0, 3) == slow_random(case, g0, 3)
    classes = np.random.default_rng(number).integers(0, len(case.random.rows), (3, case.batch_size))
    assert twin_random(case, g0, 3, classes) == slow_picked(case, g0, classes)


@pytest.mark.parametrize("number", range(24))
def test_kernel_equals_cpu_twin_for_fixed(number, kernel_device):
    rnd = random.Random(number)
    case, g0, n = random_case(rnd), first_batch(rnd), rnd.choice([1, 2, 9])
    assert kernel_fixed(case, g0, n, kernel_device) == twin_fixed(case, g0, n)


@pytest.mark.parametrize("number", range(16))
def test_kernel_equals_cpu_twin_for_random(number, kernel_device):
    rnd = random.Random(number + 100)
    case, g0, n = random_case(rnd), first_batch(rnd), rnd.choice([1, 2, 9])
    assert kernel_random(case, g0, n, kernel_device) == twin_random(case, g0, n)
    classes = np.random.default_rng(number).integers(0, len(case.random.rows), (n, case.batch_size))
    drawn = twin_random(case, g0, n, classes)
    assert kernel_random(case, g0, n, kernel_device, classes) == drawn


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([2, 3, 8, 64, 1000]))
def test_every_so_many_batches_are_those_batches(number, stride):
    rnd = random.Random(number)
    case, g0 = random_case(rnd), first_batch(rnd)
    rows = twin_fixed(case, g0, 5, stride)
    assert rows == [twin_fixed(case, g0 + t * stride, 1)[0] for t in range(5)]
    rows = twin_random(case, g0, 5, stride=stride)
    assert rows == [twin_random(case, g0 + t * stride, 1)[0] for t in range(5)]


@pytest.mark.parametrize("number", range(8))
def test_kernel_equals_cpu_twin_for_every_so_many_batches(number, kernel_device):
    rnd = random.Random(number + 200)
    case, g0, stride = random_case(rnd), first_batch(rnd), rnd.choice([2, 5, 64])
    assert kernel_fixed(case, g0, 4, kernel_device, stride) == twin_fixed(case, g0, 4, stride)
    twin = twin_random(case, g0, 4, stride=stride)
    assert kernel_random(case, g0, 4, kernel_device, stride=stride) == twin


@pytest.mark.parametrize("batch_size", [1, 127, 128, 129, 511, 512, 513, 1000, 1025])
def test_kernel_equals_cpu_twin_at_block_edges(batch_size, kernel_device):
    case = Case([700, 40, 9, 1], batch_size, 0.7, seed=batch_size)
    assert kernel_fixed(case, 5, 2, kernel_device) == twin_fixed(case, 5, 2)
    assert kernel_random(case, 5, 2, kernel_device) == twin_random(case, 5, 2)


@pytest.mark.parametrize("n", [(1 << 31) - 1, (1 << 30) + 1, 1 << 29, 3, 1])
def test_kernel_equals_cpu_twin_and_slow_reference_for_a_huge_class(n, kernel_device):
    case = Case([5, 2], 64, 0.5, seed=n, identity=True)
    case.fixed.rows[0, 1] = n  # the dataset is sorted by class: no members are read
    case.fixed.rows[:, 5:7] = [cpu_grid(n), (0, 0)]
    case.random.rows[0, 1] = n
    assert kernel_fixed(case, 1 << 33, 2, kernel_device) == twin_fixed(case, 1 << 33, 2)
    assert kernel_random(case, 1 << 33, 2, kernel_device) == twin_random(case, 1 << 33, 2)
    ranges = [range(n), range(5, 7)]
    expected = [slow_batch(ranges, case, g) for g in ((1 << 33), (1 << 33) + 1)]
    assert twin_fixed(case, 1 << 33, 2) == expected


def cpu_grid(n: int) -> tuple[int, int]:
    return plan.grid_or_none(n)


def slow_batch(ranges, case, g):
    return slow_reference.fixed_batch(ranges, case.fixed.counts.tolist(), case.seed, g)


def test_draws_before_the_first_batch_move_the_cycles(kernel_device):
    case = Case([100, 50, 7], 64, 0.5, seed=1)
    before = [1234, 56, 1 << 40]
    case.fixed.rows[:, plan.START] = before
    counts = case.fixed.counts.tolist()
    expected = [slow_reference.fixed_batch(case.groups, counts, 1, g, before) for g in (7, 8)]
    assert twin_fixed(case, 7, 2) == kernel_fixed(case, 7, 2, kernel_device) == expected


def test_one_wrong_bit_of_a_key_is_noticed(kernel_device):
    case = Case([100, 50], 64, 0.5, seed=1)
    other = Case([100, 50], 64, 0.5, seed=1 | 1 << 63)
    assert kernel_fixed(case, 0, 1, kernel_device) != twin_fixed(other, 0, 1)
    assert kernel_random(case, 0, 1, kernel_device) != twin_random(other, 0, 1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_answer(threads, monkeypatch):
    case = Case([997, 300, 31, 2], 100, 0.5, seed=8)
    expected = twin_fixed(case, 3, 40), twin_random(case, 3, 40)
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: threads)
    monkeypatch.setattr(cpu, "SLAB", 700)
    assert (twin_fixed(case, 3, 40), twin_random(case, 3, 40)) == expected


def test_torch_bounds_the_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert [parallel.threads_for(work, 10) for work in (5, 25, 1000)] == [1, 2, 3]
