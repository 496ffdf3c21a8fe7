"""Weightings: worked examples of their papers, and the slow reference, digit by digit."""

from math import gcd

import numpy as np
import pytest
import slow_kinds as slow
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import SamplerFactory, weights

SIZES = st.lists(
    st.one_of(st.integers(0, 5000), st.sampled_from([2**31 - 1, 10**8])), min_size=1, max_size=30
).filter(any)
NUMBER = st.one_of(st.sampled_from([0.0, 0.5, 0.999, 0.9999, 1e-9, 1 / 3]), st.floats(0, 0.999999))


def expanded(mix):
    return [mix.values[i] for i in mix.which]


def lowest(values):
    return [value // gcd(*values) for value in values]


@settings(deadline=None)
@given(SIZES, st.one_of(NUMBER, st.just(1.0)))
def test_power_equals_the_slow_reference(sizes, alpha):
    mix = weights.power(np.array(sizes), alpha, drop_empty=True)
    assert expanded(mix) == lowest(slow.power_weights(sizes, alpha))


@settings(deadline=None)
@given(SIZES, NUMBER)
def test_effective_number_equals_the_slow_reference(sizes, beta):
    mix = weights.effective_number(np.array(sizes), beta)
    assert expanded(mix) == lowest(slow.effective_number_weights(sizes, beta))


@settings(deadline=None)
@given(SIZES, NUMBER)
def test_repeat_factor_equals_the_slow_reference(sizes, threshold):
    samples = sum(sizes)
    mix = weights.repeat_factor(np.array(sizes), threshold, samples)
    assert expanded(mix) == lowest(slow.repeat_factor_weights(sizes, threshold, samples))


def test_alpha_of_one_half_is_square_root_sampling():
    shares = weights.power(np.array([900, 400, 100]), 0.5).shares()
    assert shares.tolist() == [0.5, 1 / 3, 1 / 6]


def test_a_temperature_of_five_is_that_of_multilingual_pretraining():
    # T5-style mixing of corpora, p proportional to n^(1/T): Conneau et al. 2020 take 1/T = 0.3
    sizes = np.array([55_608, 1_000, 10])
    shares = weights.power(sizes, 0.7).shares()
    expected = sizes**0.3 / (sizes**0.3).sum()
    assert np.allclose(shares, expected, rtol=1e-14)


def test_effective_numbers_are_those_of_the_paper():
    # Cui et al. 2019, section 3: E_n = (1 - beta^n) / (1 - beta), the weight of a sample 1 / E_n
    sizes, beta = np.array([5000, 500, 50]), 0.999
    effective = (1 - beta**sizes) / (1 - beta)
    assert effective.round(1).tolist() == [993.3, 393.6, 48.8]
    due = sizes / effective
    assert np.allclose(weights.effective_number(sizes, beta).shares(), due / due.sum(), rtol=1e-13)


def test_repeat_factors_are_those_of_the_paper():
    # Gupta et al. 2019, appendix B: r = max(1, sqrt(t / f)), t = 0.001
    sizes, samples = np.array([50_000, 1_000, 100, 10]), 1_000_000
    repeats = np.array([1.0, 1.0, np.sqrt(10), 10.0])
    due = sizes * repeats
    found = weights.repeat_factor(sizes, 0.001, samples).shares()
    assert np.allclose(found, due / due.sum(), rtol=1e-14)


LABELS = [list(range(900)), list(range(900, 990)), list(range(990, 1000))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 0.5, "weighting": "power"}, [30 / 42.65, 9.487 / 42.65, 3.162 / 42.65]),
        ({"beta": 0.0, "weighting": "effective_number"}, [0.9, 0.09, 0.01]),
        ({"threshold": 0.09, "weighting": "repeat_factor"}, [0.9 / 1.02, 0.09 / 1.02, 0.03 / 1.02]),
        ({"weights": [1, 2, 1]}, [0.25, 0.5, 0.25]),
    ],
)
@pytest.mark.parametrize("kind", ["fixed", "random", "stratified"])
def test_the_factory_takes_each_weighting(kind, options, expected):
    sampler = SamplerFactory().get(LABELS, 1000, 10, kind=kind, device="cpu", **options)
    shares = sampler.class_counts / sampler.class_counts.sum()
    assert np.allclose(shares, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "effective_number"}, "comes from beta .*, and neither was given; pass beta"),
        ({"weighting": "effective_number", "beta": 1}, r"beta must be .* \[0, 1\), not 1"),
        ({"weighting": "repeat_factor", "threshold": -1}, "threshold must be .*, not -1; pass"),
        ({"weighting": "power", "alpha": 0.5, "beta": 0.5}, "alpha and beta|both"),
        ({"weighting": "log", "alpha": 0.5}, "weighting must be 'linear' or .*, not 'log'"),
    ],
)
def test_a_weighting_is_given_its_one_number(options, message):
    with pytest.raises(ValueError, match=message):
        SamplerFactory().get(LABELS, 10, 10, **options)


def test_an_empty_class_is_refused_only_where_it_would_weigh():
    assert weights.power(np.array([4, 0]), 0.5).shares().tolist() == [1, 0]
    with pytest.raises(ValueError, match="class 1 has a positive weight and no members"):
        weights.power(np.array([4, 0]), 1.0)
    assert weights.power(np.array([4, 0]), 1.0, drop_empty=True).shares().tolist() == [1, 0]
