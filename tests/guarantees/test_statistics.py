"""The realised mix against the weights. Fixed seeds, independent draws; false alarms and the bias
that is caught are stated (power.py)."""

import numpy as np
import pytest
import torch
from power import check_fair, draws_needed
from scipy import stats

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.ops.given import Given
from gpusampler.plans.random import random_plan
from gpusampler.plans.weights import given, linear

SIZES = (40_000, 9_000, 900, 90, 10)


def drawn(class_draw, seed=1, alpha=0.5, n_batches=2000):
    index = ClassIndex.from_labels(np.repeat(np.arange(5), SIZES))
    sampler = SamplerFactory().get(
        index, 512, n_batches, alpha, "random", class_draw=class_draw, device="cpu", seed=seed
    )
    return sampler.build().numpy().ravel(), sampler.class_counts.numpy()


@pytest.mark.parametrize("class_draw", ["multinomial", "counter"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_random_draws_have_the_planned_class_mix(class_draw, alpha):
    indices, expected = drawn(class_draw, alpha=alpha)
    labels = np.searchsorted(np.cumsum(SIZES), indices, side="right")
    observed = np.bincount(labels, minlength=5)
    check_fair(observed, expected, alarm=1e-6, bias=0.01)


@pytest.mark.parametrize("class_draw", ["multinomial", "counter"])
def test_random_picks_every_member_of_a_class_alike(class_draw):
    indices, _ = drawn(class_draw, alpha=1.0)
    rare = indices[indices >= SIZES[0] + SIZES[1]] - SIZES[0] - SIZES[1]
    observed = np.bincount(rare[rare < 900], minlength=900)
    check_fair(observed, observed.mean(), alarm=1e-7, bias=0.05)
    chi2 = ((observed - observed.mean()) ** 2 / observed.mean()).sum()
    assert chi2 > stats.chi2.ppf(1e-7, 899)  # nor are they more even than by chance


def test_random_slots_are_independent_of_their_neighbours():
    indices, expected = drawn("counter")
    labels = np.searchsorted(np.cumsum(SIZES), indices, side="right")
    pairs = np.bincount(labels[:-1:2] * 5 + labels[1::2], minlength=25)
    share = expected / expected.sum()
    due = np.outer(share, share).ravel() * (len(labels) // 2)
    check_fair(pairs, due, alarm=1e-6, bias=0.02)


def test_the_two_class_draws_agree_in_distribution():
    a, b = drawn("multinomial", seed=5)[0], drawn("counter", seed=6)[0]
    ha, hb = (
        np.bincount(np.searchsorted(np.cumsum(SIZES), x, "right"), minlength=5) for x in (a, b)
    )
    chi2 = ((ha - hb) ** 2 / (ha + hb)).sum()
    assert chi2 < 33.4  # 4 degrees of freedom: 1 in 10**6
    assert len(a) > 2 * draws_needed(0.015, 4, 1e-6)  # both have their own chance


def test_the_slot_of_a_fixed_batch_tells_nothing_of_the_class():
    index = ClassIndex.from_labels(np.repeat(np.arange(4), (400, 300, 200, 100)))
    sampler = SamplerFactory().get(index, 40, 20_000, 0.0, "fixed", device="cpu", seed=3)
    labels = np.searchsorted([400, 700, 900], sampler.build().numpy(), side="right")
    for c, share in enumerate((0.4, 0.3, 0.2, 0.1)):
        per_slot = (labels == c).sum(axis=0)
        # slots of one batch draw without replacement: the variance has a factor 40/39
        z2 = ((per_slot - 20_000 * share) ** 2).sum() / (20_000 * share * (1 - share) * 40 / 39)
        assert z2 < 105.0  # 39 degrees of freedom: 1 in 10**7


def test_epochs_and_seeds_are_uncorrelated():
    index = ClassIndex.from_labels(np.zeros(1000, dtype=int))
    get = SamplerFactory().get
    rows = [
        get(index, 1000, 2, 0.0, "fixed", device="cpu", seed=s).batch(g).double()
        for s in range(20)
        for g in range(20)
    ]
    table = torch.corrcoef(torch.stack(rows))
    off = table[~torch.eye(400, dtype=torch.bool)]
    # 79800 pairs, each with a deviation of 1/sqrt(999); one of 0.28 is caught with power 0.99
    assert off.abs().max() * np.sqrt(999) < 6.5  # 1 in 10**5 over all pairs


def test_a_share_of_a_class_is_exact_to_64_bits():
    sizes = np.array([3, 1, 7])
    mix = linear(sizes, 0.3)
    table = random_plan(mix, sizes, np.array([0, 3, 4, 11]))
    exact = [mix.values[i] for i in mix.which]
    below = 0
    for cut, weight in zip(table.cuts[:-1].tolist(), exact, strict=True):
        assert cut == (below << 64) // mix.total
        below += weight


def test_a_million_zipf_classes_are_drawn_by_their_shares():
    frequency = 1.0 / np.arange(1, 1_000_001)
    sizes = np.ones(1_000_000, dtype=np.int64)
    table = random_plan(given(frequency, sizes), sizes, np.arange(1_000_001))
    out = np.empty((1000, 1024), np.int64)
    from gpusampler.cpu import random as cpu

    cpu.draw(out, None, Given(table), 9, 0, 1)
    edges = [0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000]
    observed, _ = np.histogram(out, edges)
    shares = np.add.reduceat(frequency, edges[:-1]) / frequency.sum()
    due = shares * out.size
    check_fair(observed, due, alarm=1e-6, bias=0.01)


def test_a_bias_of_the_size_that_is_stated_is_caught_and_fair_draws_are_not():
    rng, shares = np.random.default_rng(1), np.full(5, 0.2)
    n, more = draws_needed(0.01, 4, 1e-6), np.array([4.0, -1, -1, -1, -1])
    biased = shares + more * 0.01 / np.sqrt((more**2 / shares).sum())
    caught = 0
    for _ in range(200):
        check_fair(rng.multinomial(n, shares), n * shares, alarm=1e-6, bias=0.01)
        try:
            check_fair(rng.multinomial(n, biased), n * shares, alarm=1e-6, bias=0.01)
        except AssertionError:
            caught += 1
    assert caught >= 190  # of 198 to be expected
    with pytest.raises(AssertionError, match="a bias of"):
        check_fair(rng.multinomial(n // 2, shares), n / 2 * shares, alarm=1e-6, bias=0.01)
