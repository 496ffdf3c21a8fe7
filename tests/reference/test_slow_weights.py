"""The slow reference of weightings that are not linear."""

from fractions import Fraction
from math import floor, isqrt

import pytest

from reference import slow_kinds as slow


def test_square_root_sampling_is_the_square_root():
    sizes = [1, 0, 4, 2, 3, 10**6 + 3, 2**31 - 1]
    weights = slow.power_weights(sizes, 0.5)
    # the largest root is just below 2^15.5, so the scale is 2^46
    assert weights == [isqrt(n * 4**46) for n in sizes]


def test_a_power_that_is_a_whole_number_is_exact():
    assert slow.power_weights([1, 81, 16, 0], 0.75) == [2**60, 3 * 2**60, 2 * 2**60, 0]
    assert slow.power_weights([5, 0, 1, 7], 0) == [n * 2**59 for n in (5, 0, 1, 7)]
    assert slow.power_weights([5, 0, 1, 7], 1) == [2**61, 0, 2**61, 2**61]


def test_a_repeat_factor_that_is_a_whole_number_is_exact():
    # 27 * sqrt(48 / 27) is 36, though 48 / 27 has no end in decimals
    assert slow.repeat_factor_weights([27], 0.75, 64) == [36 * 2**56]


def test_power_weights_are_the_power_rounded_down():
    sizes = [1, 2, 999, 10**9]
    weights = slow.power_weights(sizes, 0.3)  # 10^6.3 is just below 2^21, so the scale is 2^41
    for n, w in zip(sizes, weights, strict=True):
        assert w**10 <= n**7 * 2**410 < (w + 1) ** 10


def test_effective_number_of_ten_samples_at_beta_09():
    # (1 - 0.9^10) / (1 - 0.9), Cui et al. 2019, Proposition 1
    one, ten = slow.effective_number_weights([1, 10], 0.9)
    assert 10 * one / ten == pytest.approx(6.5132155990, abs=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.9, 0.9999, 0.9999999999999999])
def test_effective_number_weights_are_the_formula_rounded_down(beta):
    sizes, b = [1, 0, 2, 3, 50], Fraction(repr(beta))
    exact = [n * (1 - b) / (1 - b**n) if n else Fraction(0) for n in sizes]
    power = 61
    while max(exact) * 2**power >= 2**62:
        power -= 1
    assert slow.effective_number_weights(sizes, beta) == [floor(x * 2**power) for x in exact]


def test_repeat_factor_of_a_class_ten_times_rarer_than_the_threshold():
    # max(1, sqrt(t / f)) with t = 0.001, f = 0.0001: Gupta et al. 2019, section 5
    common, rare = slow.repeat_factor_weights([9999, 1], 0.001, 10_000)
    assert (rare / 1) / (common / 9999) == pytest.approx(10**0.5)


def test_repeat_factor_weights_are_the_formula_rounded_down():
    sizes, threshold, num_samples = [0, 1, 3, 20, 700], Fraction("0.1"), 500  # some in two classes
    weights = slow.repeat_factor_weights(sizes, 0.1, num_samples)
    for n, w in zip(sizes, weights, strict=True):
        # n * sqrt(t / f) is the square root of t * n * N; 700 is below 2^10, so the scale is 2^52
        squared = max(Fraction(n * n), threshold * n * num_samples)
        assert w == isqrt(floor(squared * 4**52))
