"""Bad input: ValueError or TypeError, one type a fault, with the rule, the value and the repair."""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import gpusampler
from gpusampler import ClassIndex, SamplerFactory, StarvedClassWarning

IDXS = [[0, 1, 2], [3, 4]]
EMPTY = [[0, 1], []]
NAN, INF = float("nan"), float("inf")


def get(**changed):
    arguments = {"class_idxs": IDXS, "batch_size": 4, "n_batches": 2, "alpha": 1, "device": "cpu"}
    return SamplerFactory().get(**{**arguments, **changed})


# One bad argument each, all else right.
MAKE = {
    "alpha": lambda x: get(alpha=x),
    "kind": lambda x: get(kind=x),
    "class_draw": lambda x: get(kind="random", class_draw=x),
    "mix": lambda x: get(alpha=x[0], weights=x[1]),
    "weights": lambda x: get(alpha=None, weights=x),
    "rates": lambda x: gpusampler.WeightedRandomBatchSampler(x, IDXS, 4, 2, device="cpu"),
    "counts": lambda x: gpusampler.WeightedFixedBatchSampler(x, IDXS, 2, device="cpu"),
    "labels": lambda x: ClassIndex.from_labels(x),
    "labels of 2": lambda x: ClassIndex.from_labels(x, num_classes=2),
    "class 0": lambda x: get(class_idxs=[x, [7]]),
    "class_idxs": lambda x: get(class_idxs=x),
    "empty, alpha": lambda x: get(class_idxs=EMPTY, alpha=x),
    "empty, weights": lambda x: get(class_idxs=EMPTY, alpha=None, weights=x),
    "empty, counts": lambda x: gpusampler.WeightedFixedBatchSampler(x, EMPTY, 2, device="cpu"),
    "device": lambda x: get(device=x),
    "labels' device": lambda x: ClassIndex.from_labels([0], device=x),
    "to": lambda x: ClassIndex.from_class_idxs(IDXS).to(x),
    "out": lambda x: get().build(out=x),
    "max_bytes": lambda x: get().build(max_bytes=x),
    "verbose": lambda x: SamplerFactory(verbose=x),
}
# What takes an integer, and the least and the most it takes.
INTEGERS = {
    "batch_size": (lambda x: get(batch_size=x), 1, (1 << 24) - 1),
    "window_bytes": (lambda x: get(window_bytes=x), 1, 1 << 62),
    "num_classes": (lambda x: ClassIndex.from_labels([0], x), 1, (1 << 31) - 1),
    "epoch": (lambda x: get().set_epoch(x), 0, (1 << 59) - 1),
    "first batch": (lambda x: get().batches(x, 1), 0, (1 << 60) - 1),
    "count": (lambda x: get().batches(5, x), 1, 1 << 40),
}
NO_INTEGERS = [1.0, 1.5, NAN, True, np.True_, "3", 2j, Fraction(3), Decimal(3), torch.tensor(3)]
FIRST = r"must be one-dimensional.*, not shape"
MIX = (
    r"class mix comes from alpha, from shares \(or weights.*\), or from rates, and {} given; "
    r"pass one: alpha in .*, or shares or rates"
)
WRONG_WEIGHTS = [
    ([1], r"weights must have one number for each .* 2 classes, not shape \(1,\); pass 2 of them"),
    ([1, 2, 3], r"weights must have one number .* 2 classes, not shape \(3,\); pass 2 of them"),
    ([[1, 2]], r"weights must have one number .* 2 classes, not shape \(1, 2\); pass 2 of them"),
    (1.0, r"weights must have one number for each .* 2 classes, not shape \(\); pass 2 of them"),
    ([1, -0.5], "weights must be finite and >= 0, but class 1 has -0.5; mend it"),
    ([INF, 1], "weights must be finite and >= 0, but class 0 has inf; mend it"),
    (torch.tensor([1, NAN]), "weights must be finite and >= 0, but class 1 has nan; mend it"),
    (np.zeros(2), "weights must have a positive one, and all are 0; give some class with members"),
]
NOWHERE = {
    "cuda:99": "device 'cuda:99' does not exist: this machine has .*; pass device='cpu'",
    "gpu": "device 'gpu' is unknown to torch; pass 'cpu' or 'cuda'",
    3.5: "device 3.5 is unknown to torch; pass 'cpu' or 'cuda'",
    torch.device("meta"): "device .*meta.* has no sampler; pass 'cpu' or 'cuda'",
}
WRONG_VALUES = [
    *(
        ("alpha", x, rf"alpha must be in \[0, 1\], not {x:g}(\.0)?; 0 keeps .* 1 makes it uniform")
        for x in (-0.1, 1.1, NAN, INF, -INF, 2, -1, np.float32(1.5))
    ),
    *(("kind", x, f"kind must be 'fixed'.*'random'.*, not {x!r}") for x in ("other", None, b"pk")),
    ("class_draw", "fixed", "class_draw must be 'multinomial' or 'counter', not 'fixed'"),
    ("mix", (None, None), MIX.format("none was")),
    ("mix", (0.5, [1, 1]), MIX.format("alpha and weights were")),
    *(("weights", *row) for row in WRONG_WEIGHTS),
    *(("rates", *row) for row in WRONG_WEIGHTS),
    ("counts", [1], "one count for each of the 2 classes, not 1; pass 2 of them"),
    ("counts", [1.5, 2], "must be whole numbers .* at 0 is 1.5; round them"),
    ("counts", [2, -1], "a count per batch must be >= 0, but class 1 has -1; mend it"),
    ("counts", [0, 0], r"batch_size must be in \[1, .*, not 0; pass one in that range"),
    ("counts", [1 << 23, 1 << 23], r"batch_size must be in .*, not 16777216; pass one in that"),
    (
        "labels",
        [0, -1, 2],
        "labels must be >= 0, but label 1 is -1; .*leave its samples out.*renumber",
    ),
    ("labels", [0, 1.5], "labels must be whole numbers .* at 1 is 1.5; round them"),
    (
        "labels",
        torch.tensor([NAN]),
        "labels must have a value everywhere, and 1 have none, the first at 0;",
    ),
    (
        "labels",
        [0, 1 << 40],
        "the largest label is 1099511627776; renumber them with labels = np.unique",
    ),
    ("labels", [], rf"{FIRST} \(0,\); pass one class for each sample"),
    ("labels", [[0, 1]], rf"{FIRST} \(1, 2\); pass one class for each sample"),
    ("labels", torch.tensor(3), rf"{FIRST} \(\); pass one class for each sample"),
    ("labels of 2", [1, 0, 2], r"labels must be in \[0, 2\), but label 2 is 2; renumber"),
    ("class 0", [3, -1], "indices must be >= 0, but class 0 has -1; remove it"),
    ("class 0", range(-3, 2), "indices must be >= 0, but class 0 has -3; remove it"),
    ("class 0", [3, 0.5], "class 0 must be whole numbers .* at 1 is 0.5; round them"),
    ("class 0", [NAN], "class 0 must be whole numbers .* at 0 is nan;.* mend the data"),
    ("class 0", [[0, 1]], rf"{FIRST} \(1, 2\); pass a flat list"),
    ("class 0", torch.tensor(3), rf"{FIRST} \(\); pass a flat list"),
    ("class_idxs", [], "at least one index, and all 0 classes are empty; pass one list"),
    ("class_idxs", [[], []], "at least one index, and all 2 classes are empty; pass one list"),
    ("empty, alpha", 0.5, "class 1 has a positive weight and no members.*; set .* drop_empty=True"),
    ("empty, weights", [1, 1], "class 1 has a positive weight and no members.*; set .* drop_empty"),
    ("empty, counts", [1, 2], "class 1 has a count of 2 per batch and no members; set it to 0"),
    *((name, x, NOWHERE[x]) for name in ("device", "labels' device", "to") for x in NOWHERE),
    ("out", torch.zeros(3, 4).long(), r"contiguous int64 tensor .*\(2, 4\) on cpu, .*\(3, 4\)"),
    ("out", torch.zeros(2, 4), r"contiguous int64 tensor .*\(2, 4\) on cpu, not torch.float32"),
    ("out", torch.zeros(4, 2).long().T, r"out must be a contiguous int64 tensor of shape \(2, 4\)"),
    ("out", torch.zeros(2, 4, device="meta").long(), r"int64 tensor .* on cpu, .* on meta"),
    ("max_bytes", 63, "take 64 bytes, more than max_bytes=63; iterate on_device.* or raise"),
    ("verbose", -1, r"verbose must be in \[0, .*, not -1; pass one in that range"),
]
MASK = r"class 0 must be dataset indices, not a mask; pass mask.nonzero\(\)"
WRONG_TYPES = [
    *(
        ("alpha", x, rf"alpha must be a number in .*, not {re.escape(repr(x))} .*; 0 keeps .* 1")
        for x in ("0.5", True, 1j, [0.5], np.array(0.5), torch.tensor(0.5))
    ),
    ("weights", ["a", "b"], "weights must be numbers, one a class.*'a'"),
    ("rates", [1j, 1], "weights must be numbers, one a class, .*complex128.*; pass floats"),
    ("counts", [True, True], "must be a list of integers, not bool; pass one count a class"),
    ("counts", None, "must be whole numbers .*, not object; pass integers"),
    ("labels", [1 << 70], "labels must be .* at most 64 bits, not object; pass integers"),
    ("labels", (x for x in [0]), "labels must be whole numbers .*, not object; pass integers"),
    ("labels", torch.tensor([1j]), "labels must be .*, not torch.complex64; pass integers"),
    ("labels", np.array([1], "M8[D]"), "labels must be .*, not datetime64.*; pass integers"),
    ("class 0", np.array([True, False]), MASK),
    ("class 0", torch.tensor([True, False]), MASK),
    ("class 0", "12", "class 0 must be whole numbers .*, not <U2; pass integers"),
    ("class 0", {1, 2}, "class 0 must be whole numbers .*, not object; pass integers"),
]
# Odd inputs that could end in an error from deep inside, or in silence.
ODD = [
    ("alpha", 10**400, "alpha must be in"),
    ("alpha", 1 + 1e-9, "alpha must be in .*, not 1.000000001;"),
    ("batch_size", np.array([3]), "batch_size must be an integer"),
    ("epoch", np.array([1]), "epoch must be an integer"),
    ("kind", np.array(["fixed", "random"]), "kind must be"),
    ("weights", ["1", "2"], "weights must be numbers"),
    ("weights", np.array([1j, 1]), "weights must be numbers"),
    ("weights", [10**400, 1], "weights must be"),
    ("counts", np.array([2**64 - 1, 5], np.uint64), "18446744073709551615"),
    ("counts", [1 << 62, 1 << 62], "not 9223372036854775808"),
    ("counts", [[1], [1, 2]], "class_samples_per_batch must be"),
    ("labels", 5, "labels must be one-dimensional"),
    ("labels", np.array(5), "labels must be one-dimensional"),
    ("labels", [[0, 1], [1]], "labels must be"),
    ("labels", np.array([1 << 63], np.uint64), " 9223372036854775808"),
    ("class_idxs", None, "class_idxs must"),
    ("class_idxs", np.array([0, 1, 1]), "class 0 must be|class_idxs must"),
    ("class 0", None, "class 0 must be"),
    ("class 0", map(int, "12"), "class 0 must be"),
    ("class 0", [[0], [1, 2]], "class 0 must be"),
    ("class 0", range(2**70, 2**70 + 2), "class 0"),
    ("out", [1], "out must be a contiguous int64 tensor"),
    ("max_bytes", "all", "max_bytes must be"),
    ("max_bytes", NAN, "max_bytes must be"),
    ("verbose", None, "verbose must be an integer"),
]
# One fault, met in several arguments.
FAULTS = {
    "text": {"class 0": ["a"], "weights": ["a", "b"], "counts": ["a", "b"]},
    "a negative": {"labels": [-1], "class 0": [-1], "weights": [1, -1], "counts": [1, -1]},
    "a NaN": {"labels": [NAN], "class 0": [NAN], "weights": [1, NAN], "rates": [NAN, 1]},
    "a bool": {"batch_size": True, "epoch": True, "counts": [True, True], "class 0": [True, True]},
    "no member": {"class_idxs": [[]], "empty, alpha": 1, "empty, counts": [1, 1]},
    "a wrong length": {"weights": [1], "rates": [1], "counts": [1]},
    "a matrix": {"labels": [[1]], "class 0": [[1]], "weights": [[1, 1]], "counts": [[1, 1]]},
    "a fraction": {"labels": [0.5], "class 0": [0.5], "counts": [0.5, 1.5]},
    "ragged rows": {"labels": [[], [1]], "class 0": [[], [1]], "weights": [[], [1]]},
}


def made_by(name):
    return MAKE[name] if name in MAKE else INTEGERS[name][0]


def assert_refused(make, value, error, pattern):
    """make(value) raises exactly this type, and says rule, value and repair in this order."""
    with pytest.raises(error) as caught:
        make(value)
    assert type(caught.value) is error
    assert re.search(pattern, str(caught.value))


@pytest.mark.parametrize(("name", "value", "pattern"), WRONG_VALUES)
def test_a_wrong_value_is_a_value_error_with_rule_value_and_repair(name, value, pattern):
    assert_refused(MAKE[name], value, ValueError, pattern)


@pytest.mark.parametrize(("name", "value", "pattern"), WRONG_TYPES)
def test_a_wrong_type_is_a_type_error_with_rule_value_and_repair(name, value, pattern):
    assert_refused(MAKE[name], value, TypeError, pattern)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("past", [1, 10**30], ids=["by one", "by far"])
def test_an_integer_out_of_range_is_a_value_error(name, past):
    make, low, high = INTEGERS[name]
    for value in (low - past, high + past):
        pattern = rf"{name} must be in \[{low}, {high}\], not {value}; pass one in that range"
        assert_refused(make, value, ValueError, pattern)


@pytest.mark.parametrize(
    ("n_batches", "pattern"),
    [
        (0, r"at least 1, not 0: .*; an epoch of len\(dataset\) // batch_size .* pass 1"),
        (-5, r"at least 1, not -5: .*; an epoch of len\(dataset\) // batch_size .* pass 1"),
        (1 << 31, r"below 2\^31, not 2147483648; pass less"),
        (10**30, rf"below 2\^31, not {10**30}; pass less"),
    ],
)
def test_an_epoch_of_no_batches_is_told_how_many_it_may_have(n_batches, pattern):
    assert_refused(
        lambda x: get(n_batches=x), n_batches, ValueError, f"n_batches must be {pattern}"
    )
    assert len(get(n_batches=max(1, 5 // 8), batch_size=4)) == 1
    assert len(get(n_batches=(1 << 31) - 1)) == (1 << 31) - 1


@pytest.mark.parametrize("name", [*INTEGERS, "seed", "n_batches"])
@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_what_is_no_integer_is_a_type_error(name, value):
    make = INTEGERS[name][0] if name in INTEGERS else lambda x: get(**{name: x})
    met = rf"{re.escape(repr(value))} \({type(value).__name__}\)"
    assert_refused(make, value, TypeError, f"{name} must be an integer, not {met}; pass an int")


@pytest.mark.parametrize(("name", "value", "pattern"), ODD)
def test_an_odd_input_is_refused_as_clearly_as_the_others(name, value, pattern):
    with pytest.raises((ValueError, TypeError)) as caught:
        made_by(name)(value)
    assert type(caught.value) in (ValueError, TypeError)
    assert re.search(pattern, str(caught.value))


@pytest.mark.parametrize("option", ["bath_size", "class_draw", "replacement"])
def test_a_keyword_that_is_not_taken_is_a_type_error(option):
    assert_refused(lambda x: get(**{x: 1}), option, TypeError, f"unexpected keyword.*'{option}'")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_numpy_integers_are_as_good_as_python_ones(dtype):
    sampler = get(batch_size=dtype(4), n_batches=dtype(2), seed=dtype(9), window_bytes=dtype(64))
    sampler.set_epoch(dtype(3))
    assert torch.equal(sampler.build(), get(seed=9).batches(6, 2))
    assert type(sampler.batch_size) is type(sampler.n_batches) is type(sampler.epoch) is int


NUMBERED = r"np.unique\(labels, return_inverse=True\)\[1\]"
MASKED = np.ma.array([1, 0], mask=[1, 0])
HARD = [
    ("labels", MASKED, ValueError, "labels must have a value everywhere, and 1 are masked; give"),
    ("weights", MASKED, ValueError, "weights must have a value everywhere, and 1 are masked; give"),
    ("weights", [1, np.ma.masked], ValueError, "weights must have a value everywhere, and 1 are"),
    ("rates", MASKED, ValueError, "weights must have a value everywhere, and 1 are masked; give"),
    ("counts", MASKED, ValueError, "class_samples_per_batch must have a value everywhere, and 1"),
    ("labels", torch.eye(2)[0].to_sparse(), TypeError, r"labels .*sparse_coo; pass its .to_dense"),
    ("weights", torch.ones(2).to_sparse(), TypeError, r"weights .*sparse_coo; pass its .to_dense"),
    ("labels", torch.ones(2, device="meta"), TypeError, "labels .*meta device, which has no data"),
    (
        "weights",
        torch.ones(2, device="meta"),
        TypeError,
        "weights .*meta device, which has no data",
    ),
    ("labels", np.ones(2, np.longdouble), TypeError, "labels must be .*, not float128; pass integ"),
    ("labels", np.array([["a"], ["b"]]), TypeError, "labels must be .*<U1; pass integers or str"),
    ("labels", [None, 1], ValueError, "labels must have a value everywhere, .* at 0; missing='dr"),
    ("weights", np.ones(2, "M8[s]"), TypeError, "weights must be numbers, .*datetime64.*; pass fl"),
    ("weights", np.array([None, 1]), TypeError, "weights must be numbers, .*object.*; pass floats"),
    ("weights", [True, False], TypeError, "weights must be numbers, one a class"),
    ("weights", torch.tensor([True, False]), TypeError, "weights must be numbers, one a class"),
    ("weights", torch.ones(2).to(torch.complex64), TypeError, "weights must be .*complex64; pass"),
    (
        "weights",
        {0: 1, 1: 2},
        TypeError,
        "weights must be numbers, .*; pass .* order of the classes",
    ),
    ("weights", [Decimal("NaN"), 1], ValueError, "finite and >= 0, but class 0 has NaN; mend"),
    ("weights", [Decimal("Infinity"), 1], ValueError, "finite and >= 0, but class 0 has Inf"),
    ("weights", [Fraction(-1, 2), 1], ValueError, "finite and >= 0, but class 0 has -0.5; mend it"),
    (
        "weights",
        [np.float32(NAN), 1.0],
        ValueError,
        "finite and >= 0, but class 0 has nan; mend it",
    ),
    (
        "weights",
        [Decimal("1e999999999"), 1],
        ValueError,
        "class 0 has one above 1e308; use another",
    ),
    ("weights", [Decimal("1e-999999999"), 1], ValueError, "class 0 has one below 1e-323; use ano"),
    ("weights", [1, 10**400], ValueError, "class 1 has one above 1e308; use another unit"),
    ("alpha", Decimal("NaN"), ValueError, r"alpha must be in \[0, 1\], not NaN; 0 keeps"),
    ("alpha", Decimal("1.5"), ValueError, r"alpha must be in \[0, 1\], not 1.5; 0 keeps"),
    ("alpha", Fraction(-1, 3), ValueError, r"alpha must be in \[0, 1\], not -1/3; 0 keeps"),
]


@pytest.mark.parametrize(("name", "value", "error", "pattern"), HARD)
def test_what_cannot_be_read_is_refused_by_name_and_in_no_time(name, value, error, pattern):
    assert_refused(MAKE[name], value, error, pattern)


def test_following_the_advice_for_labels_gives_the_classes():
    """-100 was to be renumbered, which makes a class of the samples that have none."""
    labels = np.array([0, -100, 1, 0, -1])
    expected = [[0, 3], [2]]
    for given in (labels, torch.tensor(labels), labels.tolist()):
        ignore: tuple[int, ...] = ()
        for _ in range(2):  # one such label after another, as it is told
            with pytest.raises(ValueError, match="leave its samples out by ignore=") as caught:
                ClassIndex.from_labels(given, ignore=ignore)
            ignore += (int(re.findall(r"ignore=(-?\d+);", str(caught.value))[0]),)
        index = ClassIndex.from_labels(given, ignore=ignore)
        assert [x.tolist() for x in index.members.split(index.sizes.tolist())] == expected
        assert index.num_samples == 5
    signs = [-1, 1, 1, -1]
    with pytest.raises(ValueError, match=NUMBERED):
        ClassIndex.from_labels(signs)
    numbered = ClassIndex.from_labels(np.unique(signs, return_inverse=True)[1])
    assert numbered.members.tolist() == [0, 3, 1, 2]
    with pytest.raises(ValueError, match=r"label 2 is 2; renumber .*or pass num_classes=3"):
        ClassIndex.from_labels([1, 0, 2], num_classes=2)
    assert ClassIndex.from_labels([1, 0, 2], num_classes=3).num_classes == 3
    assert ClassIndex.from_labels(np.array([1, 0], object)).members.tolist() == [1, 0]
    assert ClassIndex.from_labels(torch.tensor([1.0, 0.0]).to(torch.float8_e5m2)).num_classes == 2


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_an_empty_class_is_left_out_where_it_is_dropped_or_has_no_weight(kind):
    for options in ({"drop_empty": True}, {"alpha": 0}, {"alpha": None, "weights": [2, 0]}):
        sampler = get(class_idxs=EMPTY, kind=kind, **options)
        assert set(sampler.build().flatten().tolist()) <= {0, 1}
        assert sampler.class_counts.tolist() == [8, 0]


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_has_one_type_wherever_it_is_met(fault):
    types = set()
    for name, value in FAULTS[fault].items():
        with pytest.raises((ValueError, TypeError)) as caught:
            made_by(name)(value)
        types.add(type(caught.value))
    assert len(types) == 1


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        (6, "leaves out 1 of 6 classes: 5;"),
        (15, "leaves out 10 of 15 classes: 5, 6, 7, 8, 9, 10, 11, 12, 13, 14;"),
        (40, "leaves out 35 of 40 classes: 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and 25 more;"),
    ],
)
def test_the_warning_of_starved_classes_names_ten_and_counts_the_rest(classes, named):
    repair = (
        r"a batch of 5 is too small .*Use kind='stratified', give them more weight, or batch_size="
    )
    with pytest.warns(StarvedClassWarning, match=f"{named} {repair}") as caught:
        get(class_idxs=[[c] for c in range(classes)], batch_size=5)
    assert [warning.filename for warning in caught] == [__file__]


def test_any_integer_is_a_seed_modulo_2_to_64():
    assert torch.equal(get(seed=(1 << 64) + 5).build(), get(seed=5).build())


def test_cpu_0_is_the_cpu():
    assert get(device="cpu:0").build(out=torch.zeros(2, 4).long()).shape == (2, 4)


def test_what_was_refused_leaves_nothing_behind(capsys):
    sampler = get()
    sampler.set_epoch(7)
    for epoch in (-1, 1.5, 1 << 62):
        with pytest.raises((ValueError, TypeError)):
            sampler.set_epoch(epoch)
    assert sampler.epoch == 7
    with pytest.raises(ValueError, match="n_batches"):
        SamplerFactory(verbose=1).get(IDXS, 4, 0, 1)
    assert capsys.readouterr().out == ""
