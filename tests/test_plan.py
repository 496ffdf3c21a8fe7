"""Weights and counts, in integers, against their formulas and the slow reference."""

from fractions import Fraction

import numpy as np
import pytest
import slow_reference as slow
from hypothesis import given
from hypothesis import strategies as st

from gpusampler import plan, weights
from gpusampler.cpu import _drawn_rows

SIZES = st.lists(st.sampled_from([1, 2, 3, 10, 999, 10**6, 2**31 - 1]), min_size=1, max_size=20)
ALPHAS = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.1, 1 / 3]), st.floats(0, 1))


def expanded(mix):
    return [mix.values[i] for i in mix.which]


@given(SIZES, ALPHAS)
def test_linear_weights_are_the_formula_exactly(sizes, alpha):
    mix = weights.linear(np.array(sizes), alpha)
    a, members = Fraction(repr(alpha)), sum(sizes)
    for size, value in zip(sizes, expanded(mix), strict=True):
        share = a / len(sizes) + (1 - a) * Fraction(size, members)
        assert Fraction(value, mix.total) == share
    assert expanded(mix) == slow.lowest_terms(slow.linear_weights(sizes, alpha))
    assert sum(expanded(mix)) == mix.total


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=20).filter(any))
def test_given_weights_keep_their_ratios_to_62_bits(values):
    mix = weights.given(values, np.ones(len(values)))
    assert expanded(mix) == slow.said_weights(values)
    assert max(expanded(mix)) < 1 << 62
    assert [value > 0 for value in expanded(mix)] == [value > 0 for value in values]


@given(SIZES, ALPHAS, st.integers(1, 5000))
def test_fixed_counts_are_hamiltons(sizes, alpha, batch_size):
    mix = weights.linear(np.array(sizes), alpha)
    counts = plan.fixed_counts(mix, batch_size).tolist()
    assert counts == slow.fixed_counts(expanded(mix), batch_size)
    assert sum(counts) == batch_size
    for count, value in zip(counts, expanded(mix), strict=True):
        assert abs(count - Fraction(batch_size * value, mix.total)) < 1


def test_fixed_counts_are_those_of_a_worked_example():
    # Balinski and Young, "Fair Representation", the 1791 census: 19,000 for each of 120 seats
    states = {"Virginia": 630_560, "Massachusetts": 475_327, "Pennsylvania": 432_879,
              "North Carolina": 353_523, "New York": 331_589, "Maryland": 278_514,
              "Connecticut": 236_841, "South Carolina": 206_236, "New Jersey": 179_570,
              "New Hampshire": 141_822, "Vermont": 85_533, "Georgia": 70_835,
              "Kentucky": 68_705, "Rhode Island": 68_446, "Delaware": 55_540}  # fmt: skip
    seats = plan.fixed_counts(weights.linear(np.array(list(states.values())), 0.0), 120)
    assert seats.tolist() == [21, 16, 14, 12, 11, 9, 8, 7, 6, 5, 3, 2, 2, 2, 2]


@pytest.mark.parametrize("sizes", [[5, 5, 5], [1000, 10, 2]])
def test_a_tie_goes_to_the_lower_class(sizes):
    counts = plan.fixed_counts(weights.linear(np.array(sizes), 1.0), 4)
    assert counts.tolist() == [2, 1, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200).filter(any))
def test_cuts_and_guide_find_the_row_of_every_edge(values):
    mix = weights.given(values, np.ones(len(values)))
    table = plan.random_plan(mix, np.ones(len(values), int), np.arange(len(values) + 1))
    shift = np.uint64(65 - (len(table.guide) - 1).bit_length())
    cuts = table.cuts[:-1]  # the last, 2^64 - 1, ends the last row
    edges = np.concatenate([cuts, cuts - np.uint64(1), table.cuts[-1:]])  # 0 - 1 wraps: the end
    true = np.searchsorted(cuts, edges, side="right") - 1
    assert (table.guide[edges >> shift] <= true).all()
    assert (true <= table.guide[(edges >> shift) + np.uint64(1)]).all()
    found = np.empty(len(edges), np.uint64)
    _drawn_rows(found, edges, table.cuts, table.guide, shift, table.steps)
    assert found.tolist() == true.tolist()
