"""Weights and counts, in integers, against their formulas and the slow reference."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe import call
from reference import slow_reference as slow

from gpusampler import SamplerFactory, StarvedClassWarning, UnevenShareWarning
from gpusampler.plans import uneven, weights
from gpusampler.plans.fixed import fixed_counts
from gpusampler.plans.random import random_plan

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
    counts = fixed_counts(mix, batch_size).tolist()
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
    seats = fixed_counts(weights.linear(np.array(list(states.values())), 0.0), 120)
    assert seats.tolist() == [21, 16, 14, 12, 11, 9, 8, 7, 6, 5, 3, 2, 2, 2, 2]


@pytest.mark.parametrize("sizes", [[5, 5, 5], [1000, 10, 2]])
def test_a_tie_goes_to_the_lower_class(sizes):
    counts = fixed_counts(weights.linear(np.array(sizes), 1.0), 4)
    assert counts.tolist() == [2, 1, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200).filter(any))
def test_cuts_and_guide_find_the_row_of_every_edge(values):
    mix = weights.given(values, np.ones(len(values)))
    table = random_plan(mix, np.ones(len(values), int), np.arange(len(values) + 1))
    shift = np.uint64(65 - (len(table.guide) - 1).bit_length())
    cuts = table.cuts[:-1]  # the last, 2^64 - 1, ends the last row
    edges = np.concatenate([cuts, cuts - np.uint64(1), table.cuts[-1:]])  # 0 - 1 wraps: the end
    true = np.searchsorted(cuts, edges, side="right") - 1
    assert (table.guide[edges >> shift] <= true).all()
    assert (true <= table.guide[(edges >> shift) + np.uint64(1)]).all()
    found = np.empty(len(edges), np.uint64)
    rows = len(table.rows), shift, table.steps
    call("probe_rows", found, edges, len(edges), table.cuts, table.guide, *rows)
    assert found.tolist() == true.tolist()


def alike(classes):
    return [[c] for c in range(classes)]


UNEVEN = [  # classes alike, batch size; how many are off, and the worst
    (100, 128, r"^100 of 100 classes .*, class 0, gets 2 of 128 .*, and is due 1.28 \(\+56%\)\. "),
    (365, 512, r"^365 of 365 classes .*, class 0, gets 2 of 512 .*, and is due 1.403 \(\+43%\)\. "),
    (
        1000,
        1024,
        r"^24 of 1000 classes .*, class 0, gets 2 of 1024 .*, and is due 1.024 \(\+95%\)\. ",
    ),
    (10, 19, r"^1 of 10 classes .*, class 9, gets 1 of 19 .*, and is due 1.9 \(-47%\)\. "),
]


@pytest.mark.parametrize(("classes", "batch_size", "message"), UNEVEN)
def test_a_share_that_is_not_what_was_asked_for_is_told(classes, batch_size, message):
    """1 is to give each the same; 28 of 100 got twice the draws of the rest, in silence."""
    with pytest.warns(UnevenShareWarning, match=message) as caught:
        SamplerFactory().get(alike(classes), batch_size, 5, 1.0, device="cpu")
    (warning,) = caught
    assert warning.filename == __file__
    assert warning.category is UnevenShareWarning
    assert "Use kind='stratified'" in str(warning.message)
    assert "kind='random'" in str(warning.message)


@pytest.mark.parametrize("kind", ["stratified", "random"])
@pytest.mark.parametrize(("classes", "batch_size", "_"), UNEVEN)
def test_the_kinds_that_it_names_give_what_was_asked_for(classes, batch_size, _, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler = SamplerFactory().get(alike(classes), batch_size, 100, 1.0, kind, device="cpu")
    share = sampler.class_counts / sampler.class_counts.sum()
    assert np.allclose(share, 1 / classes, rtol=1e-12)
    if kind == "stratified":
        drawn = np.bincount(sampler.build().flatten(), minlength=classes)
        assert np.all(np.abs(drawn - 100 * batch_size / classes) <= 2.2)


@pytest.mark.parametrize(
    ("shares", "batch_size", "warned"),
    [
        ([11, 10], 21, False),
        ([10, 90], 99, False),  # 10 of 9.9
        ([9, 91], 99, False),  # 9 of 8.91, and 90 of 90.09
        ([10, 10], 21, False),  # 11 of 10.5
        ([10, 10], 11, False),  # 6 of 5.5 and 5 of 5.5: 9.1 %
        ([10, 10], 9, True),  # 5 of 4.5 and 4 of 4.5: 11 %
        ([10, 200], 11, True),  # 1 of 0.52
        ([15, 185], 20, True),  # 1.5 has 2
        ([100, 1100], 11, False),  # 1 of 0.917
        ([100, 1000], 10, False),  # 1 of 0.909: 10 % over, and not more
        ([1000, 10001], 10, True),  # the least bit more
    ],
)
def test_ten_percent_is_the_most_that_passes(shares, batch_size, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classes = [range(5), range(5, 10)]
        SamplerFactory().get(classes, batch_size, 5, shares=shares, device="cpu")
    assert [warning.category for warning in caught] == [UnevenShareWarning] * warned


@pytest.mark.parametrize("shares", [[1] * 100, [1] * 365, [15, 185], [1, 200, 7], [11, 10, 3, 1]])
@pytest.mark.parametrize("batch_size", [2, 19, 20, 128, 512])
def test_the_batch_size_that_it_names_gives_what_was_asked_for(shares, batch_size):
    classes = alike(len(shares))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SamplerFactory().get(classes, batch_size, 5, shares=shares, device="cpu")
    for warning in caught:
        larger = int(str(warning.message).split("batch_size=")[1].split(",")[0])
        assert larger > batch_size
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SamplerFactory().get(classes, larger, 5, shares=shares, device="cpu")


def test_no_batch_size_is_named_where_none_is_allowed():
    with pytest.warns(StarvedClassWarning) as caught:
        SamplerFactory().get(alike(2), 4, 5, shares=[1, 10**9 + 7], device="cpu")
    assert "batch_size" not in str(caught[0].message) and "alpha" not in str(caught[0].message)


def test_a_class_without_a_slot_is_the_same_warnings_special_case():
    with pytest.warns(UnevenShareWarning) as caught:
        SamplerFactory().get(alike(6), 5, 5, 1.0, device="cpu")
    (warning,) = caught
    assert warning.category is StarvedClassWarning
    message = str(warning.message)
    assert "6 of 6 classes get over 10 %" in message
    assert "class 5, gets 0 of 5 draws in every batch, and is due 0.8333 (-100%)" in message


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30).filter(any), st.integers(1, 200))
def test_how_far_counts_are_off_is_the_plain_sum(values, batch_size):
    mix = weights.given(values, np.ones(len(values)))
    counts = fixed_counts(mix, batch_size)
    dues = [Fraction(batch_size * value, sum(values)) for value in values]
    off = [abs(count - due) / due if due else 0 for count, due in zip(counts, dues, strict=True)]
    far = [x for x in off if x > Fraction(1, 10)]
    assert uneven._far_off(mix, counts) == (len(far), off.index(max(far)) if far else 0)
