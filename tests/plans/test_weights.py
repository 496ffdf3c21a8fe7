"""Weights: what is written is what is meant, in whatever type. Weightings: worked examples of their
papers, and the slow reference, digit by digit."""

import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import slow_kinds as slow
from reference.slow_reference import lowest_terms, said_weights

from gpusampler import (
    SamplerFactory,
    StratifiedBatchSampler,
    WeightedRandomBatchSampler,
    checks,
    exact,
)
from gpusampler.plans import mixes, weights

SIZES = st.lists(
    st.one_of(st.integers(0, 5000), st.sampled_from([2**31 - 1, 10**8])), min_size=1, max_size=30
).filter(any)
NUMBER = st.one_of(st.sampled_from([0.0, 0.5, 0.999, 0.9999, 1e-9, 1 / 3]), st.floats(0, 0.999999))


def expanded(mix):
    return [mix.values[i] for i in mix.which]


@settings(deadline=None)
@given(SIZES, st.one_of(NUMBER, st.just(1.0)))
def test_power_equals_the_slow_reference(sizes, alpha):
    mix = weights.power(np.array(sizes), alpha, drop_empty=True)
    assert expanded(mix) == lowest_terms(slow.power_weights(sizes, alpha))


@settings(deadline=None)
@given(SIZES, NUMBER)
def test_effective_number_equals_the_slow_reference(sizes, beta):
    mix = weights.effective_number(np.array(sizes), beta)
    assert expanded(mix) == lowest_terms(slow.effective_number_weights(sizes, beta))


@settings(deadline=None)
@given(SIZES, NUMBER)
def test_repeat_factor_equals_the_slow_reference(sizes, threshold):
    samples = sum(sizes)
    mix = weights.repeat_factor(np.array(sizes), threshold, samples)
    assert expanded(mix) == lowest_terms(slow.repeat_factor_weights(sizes, threshold, samples))


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


SIX_THREE_ONE = {
    "integers": [6, 3, 1],
    "large integers": [6 << 70, 3 << 70, 1 << 70],
    "integers past 2^53": [6 * 10**17 + 6, 3 * 10**17 + 3, 10**17 + 1],
    "uint64": np.array([6, 3, 1], np.uint64) << np.uint64(61),
    "floats": [0.6, 0.3, 0.1],
    "tiny floats": [6e-300, 3e-300, 1e-300],
    "integers and floats": [6, 3.0, 1],
    "Decimals": [Decimal("0.6"), Decimal("0.3"), Decimal("0.1")],
    "Fractions": [Fraction(2, 7), Fraction(1, 7), Fraction(1, 21)],
    "all in one list": [np.float32(0.6), Decimal("0.3"), 0.1],
    "objects": np.array([0.6, Fraction(3, 10), Decimal("0.1")], object),
    "tuple": (0.6, 0.3, 0.1),
    "float64": np.array([0.6, 0.3, 0.1]),
    "float32": np.array([0.6, 0.3, 0.1], np.float32),
    "float16": np.array([0.6, 0.3, 0.1], np.float16),
    "longdouble": np.array([np.longdouble(x) for x in ("0.6", "0.3", "0.1")]),
    "big-endian": np.array([0.6, 0.3, 0.1], ">f4"),
    "masked array without a mask": np.ma.array([0.6, 0.3, 0.1]),
    "tensor": torch.tensor([0.6, 0.3, 0.1]),
    "tensor float64": torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64),
    "tensor float16": torch.tensor([0.6, 0.3, 0.1], dtype=torch.float16),
    "tensor bfloat16": torch.tensor([0.6, 0.3, 0.1], dtype=torch.bfloat16),
    "tensor of integers": torch.tensor([6, 3, 1], dtype=torch.uint8),
    "tensor that needs a gradient": torch.nn.Parameter(torch.tensor([0.6, 0.3, 0.1])),
    "tensors": [torch.tensor(0.6), torch.tensor(0.3), torch.tensor(0.1)],
}


@pytest.mark.parametrize("form", SIX_THREE_ONE)
def test_what_is_written_is_what_is_meant_in_any_type(form):
    """[.6, .3, .1] were 9, 5 and 2 of 16, [6, 3, 1] and their float32 10, 5 and 1."""
    written = SIX_THREE_ONE[form]
    mix = weights.given(written, np.array([5, 5, 5]))
    assert (mix.values, mix.which.tolist(), mix.total) == ((1, 3, 6), [2, 1, 0], 10)
    assert mix == weights.given([6, 3, 1], np.array([5, 5, 5]))
    classes = [range(5), range(5, 10), range(10, 15)]
    for name in ("weights", "shares"):
        sampler = SamplerFactory().get(classes, 16, 1, device="cpu", **{name: written})
        assert sampler.class_counts.tolist() == [10, 5, 1]


def test_states_of_equal_mixes_are_of_each_other():
    classes = [range(5), range(5, 10), range(10, 15)]
    for kind in ("fixed", "stratified", "random"):
        samplers = [
            SamplerFactory().get(classes, 16, 3, kind=kind, shares=written, device="cpu")
            for written in SIX_THREE_ONE.values()
        ]
        states = [sampler.state_dict() for sampler in samplers]
        assert states == [states[0]] * len(states)
        samplers[0].load_state_dict(states[-1])


WEIGHT = st.one_of(
    st.floats(0, 1e300), st.integers(0, 2**70), st.decimals(0, 10**6, places=7), st.fractions(0, 9),
    st.floats(0, 2**14, width=16).map(np.float16), st.floats(0, 2**90, width=32).map(np.float32),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(WEIGHT, min_size=1, max_size=8).filter(any))
def test_given_weights_equal_the_slow_reference(values):
    mix = weights.given(values, np.ones(len(values)))
    assert expanded(mix) == said_weights(values)
    assert list(mix.values) == sorted(set(mix.values))
    assert sum(expanded(mix)) == mix.total


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30).filter(any), st.sampled_from(
    [torch.float16, torch.bfloat16, torch.float32, torch.float8_e4m3fn, torch.float8_e5m2]
))  # fmt: skip
def test_a_float_of_any_width_is_a_shortest_decimal_that_rounds_to_it(values, dtype):
    tensor = torch.tensor(values).to(dtype)
    found = exact.written(tensor)
    assert torch.equal(torch.from_numpy(found).to(dtype).double(), tensor.double())
    for x, value in zip(found.tolist(), tensor.double().tolist(), strict=True):
        digits = len(Decimal(repr(x)).normalize().as_tuple().digits)
        if digits > 1:  # one fewer, and no decimal rounds to it
            step = Decimal(10) ** (Decimal(value).adjusted() - digits + 2)
            below = float(Decimal(value) // step * step)
            shorter = torch.tensor([below, below + float(step)], dtype=torch.float64).to(dtype)
            assert value not in shorter.double().tolist()


def test_weights_of_equal_ratios_are_equal_field_by_field():
    sizes = np.array([30, 10, 30])
    equal = [
        weights.linear(sizes, 0.0), weights.power(sizes, 0.0), weights.given(sizes, sizes),
        weights.rates([0.7] * 3, sizes), weights.effective_number(sizes, 0.0),
        weights.repeat_factor(sizes, 0.0, 70), weights.given([2.1, 0.7, 2.1], sizes),
    ]  # fmt: skip
    for mix in equal:
        assert (mix.values, mix.which.tolist(), mix.total) == ((1, 3), [1, 0, 1], 7)
        assert mix == equal[0]
    assert weights.linear(sizes, 0.5) != equal[0]
    assert equal[0] != (1, 3)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, Decimal, str])
def test_alpha_beta_and_threshold_are_the_decimals_that_they_print_as(kind):
    sizes = np.array([900, 90, 10])
    narrow = Fraction if kind is str else kind
    for rule in (weights.linear, weights.power):
        assert rule(sizes, checks.alpha(narrow("0.3"))) == rule(sizes, 0.3)
    number = narrow("0.7")
    assert weights.effective_number(sizes, number) == weights.effective_number(sizes, 0.7)
    assert weights.repeat_factor(sizes, number, 1000) == weights.repeat_factor(sizes, 0.7, 1000)


def test_a_fraction_is_itself():
    mix = weights.linear(np.array([90, 10]), checks.alpha(Fraction(1, 3)))
    assert Fraction(mix.values[0], mix.total) == Fraction(1, 6) + Fraction(2, 30)
    assert weights.given([Fraction(1, 3), 1], np.array([1, 1])).values == (1, 3)


@pytest.mark.parametrize("form", ["float64", "float32", "list", "integers", "few"])
def test_a_million_weights_are_read_in_seconds(form):
    numbers = np.random.default_rng(0).random(10**6)
    given = {"float64": numbers, "float32": numbers.astype("f4"), "list": numbers.tolist(),
             "integers": np.arange(10**6), "few": numbers.round(2)}[form]  # fmt: skip
    start = time.process_time()
    mix = weights.given(given, np.ones(10**6))
    assert time.process_time() - start < 10  # 0.02 to 1.5 where nothing else runs
    assert np.allclose(mix.shares(), np.array(given) / np.sum(given), rtol=1e-6)


def test_a_share_is_of_the_class_and_a_rate_of_one_member():
    """1 / count as a rate makes classes alike, and as a share 89 % the rarest."""
    sizes = np.array([900, 90, 10])
    inverse = [Fraction(1, n) for n in sizes.tolist()]
    assert mixes.mix(sizes, rates=inverse).values == (1,)
    assert mixes.mix(sizes, shares=inverse).shares().round(2).tolist() == [0.01, 0.1, 0.89]
    assert mixes.mix(sizes, weights=inverse) == mixes.mix(sizes, shares=inverse)
    assert mixes.mix(sizes, rates=[1, 1, 1]) == weights.linear(sizes, 0)


@pytest.mark.parametrize("kind", ["fixed", "random", "stratified"])
def test_rates_times_sizes_are_shares_in_every_kind(kind):
    rates, shares = [0.1, 0.7, 3], [90, 63, 30]
    samplers = [
        SamplerFactory().get(LABELS, 61, 10, kind=kind, device="cpu", seed=1, **{name: value})
        for name, value in (("rates", rates), ("shares", shares), ("weights", shares))
    ]
    batches = samplers[0].build()
    assert all(torch.equal(sampler.build(), batches) for sampler in samplers)
    original = WeightedRandomBatchSampler(rates, LABELS, 61, 10, device="cpu")
    assert np.allclose(
        samplers[0].class_counts, original.class_counts, atol=0 if kind != "fixed" else 5
    )


@given(
    st.lists(st.tuples(st.integers(1, 2**31 - 1), st.integers(0, 2**40)), min_size=1, max_size=9)
)
def test_rates_are_exact(pairs):
    sizes, rates = map(np.array, zip(*pairs, strict=True))
    if rates.any():
        due = said_weights([int(n) * int(rate) for n, rate in pairs])
        assert expanded(weights.rates(rates, sizes)) == due


def test_an_empty_class_has_no_rate_unless_it_is_dropped():
    sizes = np.array([4, 0])
    with pytest.raises(ValueError, match=r"class 1 has a positive rates and no mem.*; set it to"):
        mixes.mix(sizes, rates=[1, 1])
    for rates, dropped in (([1, 1], True), ([1, 0], False)):
        assert mixes.mix(sizes, rates=rates, drop_empty=dropped).shares().tolist() == [1, 0]


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
        (
            {"weighting": "effective_number"},
            "comes from beta, .*, and none was given; .*: beta",
        ),
        ({"weighting": "effective_number", "beta": 1}, r"beta must be .* \[0, 1\), not 1"),
        ({"weighting": "repeat_factor", "threshold": -1}, "threshold must be .*, not -1; pass"),
        (
            {"weighting": "power", "alpha": 0.5, "beta": 0.5},
            "alpha and beta were given; .*; beta goes with .*'eff",
        ),
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


@pytest.mark.parametrize("beta", [1 - Fraction(1, 10**k) for k in (21, 40, 80, 300)])
def test_a_beta_that_is_nearly_one_is_refused_by_name(beta):
    asked = {"weighting": "effective_number", "device": "cpu"}
    with pytest.raises(ValueError, match=r"beta must be at most 1 - 1e-20, not 1 - .*or alpha=1"):
        SamplerFactory().get([[0, 1, 2], [3]], 4, 2, beta=beta, **asked)
    most = SamplerFactory().get([[0, 1, 2], [3]], 4, 2, beta=1 - Fraction(1, 10**20), **asked)
    assert most.class_counts.tolist() == [4, 4]  # as alpha=1 gives


@pytest.mark.parametrize("text", ["snan", "-snan", "nan", "Infinity"])
@pytest.mark.parametrize("name", ["shares", "weights", "rates", "alpha", "beta", "threshold"])
def test_a_decimal_that_is_no_number_is_refused_by_name(name, text):
    rules = {"beta": "effective_number", "threshold": "repeat_factor"}
    alone = Decimal(text)
    asked = {name: [alone, 1] if name in ("shares", "weights", "rates") else alone}
    if name in rules:
        asked["weighting"] = rules[name]
    with pytest.raises(ValueError, match=f"{name} must be"):
        SamplerFactory().get([[0, 1, 2], [3]], 4, 2, device="cpu", **asked)


def test_a_mix_that_is_given_is_the_samplers_own():
    mix = weights.given([1, 3], np.array([5, 5]))
    sampler = StratifiedBatchSampler(mix, [range(5), range(5, 10)], 8, 10, device="cpu")
    before, state = sampler.batches(0, 20), sampler.state_dict()
    mix.which[:] = 0
    sampler._first.segment = None
    assert torch.equal(sampler.batches(0, 20), before) and sampler.state_dict() == state
