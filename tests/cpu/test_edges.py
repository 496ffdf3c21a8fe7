"""The edges of 32 and 64 bits: the largest classes, far batches and places, on every path.

Classes of identity indexes take no memory. Where the permutation of a class of nearly 2^31 members
sends an ordinal beyond the class is rare (3 of its 2^31 - 1), so those ordinals are found by going
back through the Feistel network, and the batches that draw them are compared.
"""

import itertools

import numpy as np
import pytest
import torch
from cases import POISON, tables_on
from emulator.launches import Emulated
from reference import slow_kinds
from reference import slow_reference as slow

from gpusampler import ClassIndex
from gpusampler.bits import random_bits
from gpusampler.cpu import fixed as cpu_fixed
from gpusampler.cpu import pk as cpu_pk
from gpusampler.cpu import random as cpu_random
from gpusampler.cpu import stratified as cpu_stratified
from gpusampler.ops.given import Given
from gpusampler.plans import fixed as plan
from gpusampler.plans import pk as plan_pk
from gpusampler.plans import weights
from gpusampler.plans.random import random_plan
from gpusampler.plans.stratified import stratified_plan
from gpusampler.samplers.fixed import WeightedFixedBatchSampler

MOST = (1 << 31) - 1
SIZES = [MOST, MOST - 1, MOST - 2, 1 << 30, (1 << 30) + 1, (1 << 30) - 1, (1 << 31) - 70_000]
SEED, STEPS = 5, (0x9E3779B9, 0xBB67AE85)


def before(x, n, key):
    """The place of the grid that one pass of the network sends to x."""
    a, b = slow.grid(n)
    left, right = divmod(x, b)
    for t in reversed(range(6)):
        w0, w1 = ((k + t * step) & slow.U32 for k, step in zip(key, STEPS, strict=True))
        right = (right - (slow._round16(left, w1) * b >> 16)) % b
        left = (left - (slow._round16(right, w0) * a >> 16)) % a
    return left * b + right


def sent_beyond(n, key):
    """The ordinals that first go beyond [0, n), and those next to such a place."""
    a, b = slow.grid(n)
    found = [before(x, n, key) for x in (*range(n, a * b), n - 1, 0)]
    return sorted(i for i in found if i < n)


def came_from(y, n, key):
    """The i of perm(i, n, key) = y."""
    y = before(y, n, key)
    return y if y < n else came_from(y, n, key)


class Large:
    """Plans of every kind over the same sizes, and their batches by every path."""

    def __init__(self, sizes, base=0):
        ends = np.cumsum([base, *sizes])
        self.sizes, self.offsets = np.array(sizes), ends.astype(np.int64)
        self.groups = [range(low, high) for low, high in itertools.pairwise(ends.tolist())]

    def fixed(self, counts):
        made = plan.fixed_plan(np.array(counts), self.sizes, self.offsets)
        return made, lambda g: slow.fixed_batch(self.groups, counts, SEED, g)

    def stratified(self, mix, batch_size):
        exact = weights.given(mix, self.sizes)
        made = stratified_plan(exact, self.sizes, self.offsets, batch_size)
        values = [exact.values[i] for i in exact.which]
        return made, lambda g: slow_kinds.stratified_batch(
            self.groups, values, batch_size, SEED, g, None, 0, 0
        )

    def pk(self, classes, each):
        made = plan_pk.pk_plan(self.sizes, self.offsets, classes, each)
        return made, lambda g: slow_kinds.pk_batch(self.groups, classes, each, SEED, g, 0, 0)


FILLS = {
    "FixedPlan": cpu_fixed.draw,
    "StratifiedPlan": cpu_stratified.draw,
    "PKPlan": cpu_pk.draw,
    "RandomPlan": cpu_random.draw,
}


def twin(made, g0, n=1, stride=1, batch_size=None):
    out = np.full((n, batch_size or made.batch_size), POISON)
    FILLS[type(made).__name__](out, None, Given(made), SEED, g0, stride)
    return out.tolist()


def kernel(made, g0, n, stride, device):
    from gpusampler.kernels import fixed, pk, stratified

    fill = {
        "FixedPlan": fixed.launch,
        "StratifiedPlan": stratified.launch,
        "PKPlan": pk.launch,
    }[type(made).__name__]
    out = torch.full((n, made.batch_size), POISON, dtype=torch.int64, device=device)
    fill(out, None, tables_on(device, made), Given(made), random_bits, SEED, g0, stride)
    return out.tolist()


def agree(made, slowly, g0, device=None):
    """Batches about g0 are as the slow reference has them, with every stride."""
    for first, n, stride in ((g0, 1, 1), (max(g0 - 1, 0), 3, 1), (g0, 2, 7), (g0, 2, 1 << 20)):
        expected = [slowly(first + t * stride) for t in range(n)]
        assert twin(made, first, n, stride) == expected, (g0, n, stride)
        if device is not None and stride < 1000:  # a key a cycle between
            assert kernel(made, first, n, stride, device) == expected, (g0, n, stride)


@pytest.mark.parametrize("count", [1, 3, 40, 3000])
@pytest.mark.parametrize("n", SIZES)
def test_fixed_draws_of_the_largest_classes_that_walk_on(n, count, kernel_device):
    """Of lanes and of spans, alone and beside another class."""
    made, slowly = Large([n, 33]).fixed([count, 29])
    walkers = sent_beyond(n, slow.key(SEED, slow.MEMBER, 0, 0))
    assert walkers
    for i in walkers[:3]:
        if count < 3000:
            agree(made, slowly, i // count, kernel_device if (n, count) == (MOST, 3) else None)
        else:
            assert twin(made, i // count) == [slowly(i // count)]


@pytest.mark.parametrize("n", SIZES)
def test_stratified_draws_of_the_largest_classes_that_walk_on(n, kernel_device):
    for mix, batch_size in (([3.0, 1.0], 40), ([1.0, 9.0], 4), ([1.0, 1.0], 1)):
        made, slowly = Large([n, 33]).stratified(mix, batch_size)
        for i in sent_beyond(n, slow.key(SEED, slow.MEMBER, 0, 0))[:2]:
            low, high = 0, 1 << 42  # the batch of this ordinal, by the draws before
            while low < high:
                middle = (low + high) // 2
                drawn = made.draws_before(SEED, 0, middle + 1)[0]
                low, high = (low, middle) if drawn > i else (middle + 1, high)
            agree(made, slowly, low, kernel_device if (n, batch_size) == (MOST, 4) else None)


@pytest.mark.parametrize("n", SIZES)
def test_pk_visits_of_the_largest_classes_that_walk_on(n, kernel_device):
    """Of rho, behind sigma; and of sigma itself."""
    for each in (1, 4, 7):
        made, slowly = Large([n]).pk(1, each)
        kept = n - n % each
        rho = slow.key(SEED, random_bits.MEMBER_RHO, 0, 0)
        sigma = slow.key(SEED, random_bits.MEMBER_SIGMA, 0, 0)
        points = [(u - n % each) % n for u in sent_beyond(n, rho)[:2]]
        places = [came_from(u, kept, sigma) for u in points if u < kept]
        places += sent_beyond(kept, sigma)[:2]
        for place in places:
            agree(made, slowly, place // each, kernel_device if (n, each) == (MOST, 4) else None)


KERNELS = [(0, (1 << 32) - 2), (1 << 40, 1 << 41), (1 << 40, (1 << 53) - 1)]  # these take longer
FAR = [(1 << 31) - 2, (1 << 32) - 2, 1 << 41, (1 << 41) + (1 << 40), (1 << 53) - 1]


@pytest.mark.parametrize("base", [0, (1 << 31) - 20, (1 << 32) - 20, 1 << 40])
@pytest.mark.parametrize("kind", ["fixed", "stratified", "pk"])
def test_far_batches_of_members_at_far_places(kind, base, kernel_device):
    large = Large([50, MOST, 7, 1], base)
    made, slowly = {
        "fixed": lambda: large.fixed([5, 40, 3, 1]),
        "stratified": lambda: large.stratified([5.0, 60.0, 3.0, 0.1], 36),
        "pk": lambda: large.pk(3, 9),
    }[kind]()
    highest = min(made.batches(0)[1], (1 << 62) // made.batch_size - 1)
    for g in [*FAR, highest]:
        if g <= highest:
            first = g - (3 * (1 << 20) if g == highest else 0)
            agree(made, slowly, first, kernel_device if (base, g) in KERNELS else None)
    assert twin(made, highest) == [slowly(highest)]


@pytest.mark.parametrize("base", [0, (1 << 31) - 20, 1 << 40])
def test_random_slots_of_far_batches_and_places(base):
    large = Large([50, MOST, 7, 1], base)
    mix = weights.given([5.0, 60.0, 3.0, 0.1], large.sizes)
    made = random_plan(mix, large.sizes, large.offsets)
    exact = [mix.values[i] for i in mix.which]
    for g in [*FAR, (1 << 62) // 33 - 1]:
        expected = slow.random_batch(large.groups, exact, 33, SEED, g)
        assert twin(made, g, batch_size=33) == [expected]


def test_the_largest_batch_is_whole():
    """B = 2^24 - 1: every member that is due, once."""
    size = (1 << 24) - 1
    index = ClassIndex(None, np.array([0, size - 5, size]), size, "cpu")
    sampler = WeightedFixedBatchSampler([size - 5, 5], index, 1, device="cpu", seed=SEED)
    batch = sampler.batch((1 << 62) // size - 1).numpy()
    assert (np.bincount(batch, minlength=size) == 1).all()


@pytest.mark.parametrize("kind", ["fixed", "stratified", "pk"])
def test_compiled_kernels_walk_on_beyond_2_to_31(kind):
    """On the PTX emulator."""
    large, key = Large([MOST, 33]), slow.key(SEED, slow.MEMBER, 0, 0)
    if kind == "pk":
        made, slowly = Large([MOST]).pk(1, 7)
        rho = slow.key(SEED, random_bits.MEMBER_RHO, 0, 0)
        sigma = slow.key(SEED, random_bits.MEMBER_SIGMA, 0, 0)
        u = [(u - MOST % 7) % MOST for u in sent_beyond(MOST, rho)]
        walkers = [came_from(x, MOST - MOST % 7, sigma) // 7 for x in u[:1]]
    elif kind == "fixed":
        made, slowly = large.fixed([3, 29])
        walkers = [i // 3 for i in sent_beyond(MOST, key)]
    else:
        made, slowly = large.stratified([3.0, 29.0], 32)
        walkers = [i // 3 for i in sent_beyond(MOST, key)]
    for g in walkers[:2]:
        with Emulated("cuda:90"):
            found = kernel(made, g, 1, 1, torch.device("cpu"))
        assert found == [slowly(g)]
