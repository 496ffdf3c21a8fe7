"""Labels as people have them: what class each sample is in, and what the classes are called."""

import enum
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpusampler import ClassIndex, SamplerFactory, StarvedClassWarning


class Animal(enum.Enum):
    DOG = "d"
    CAT = "c"
    EEL = "e"


CATEGORIES = pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"])
NAMED = {  # of two samples of b and one of a: labels, names, samples of each class
    "list": (["b", "a", "b"], ("a", "b"), [[1], [0, 2]]),
    "tuple": (("b", "a", "b"), ("a", "b"), [[1], [0, 2]]),
    "strings": (np.array(["b", "a", "b"]), ("a", "b"), [[1], [0, 2]]),
    "bytes": (np.array([b"b", b"a", b"b"]), (b"a", b"b"), [[1], [0, 2]]),
    "objects": (np.array(["b", "a", "b"], object), ("a", "b"), [[1], [0, 2]]),
    "digits": (["10", "2", "10"], ("10", "2"), [[0, 2], [1]]),
    "enum": ([Animal.CAT, Animal.DOG, Animal.CAT], ("DOG", "CAT", "EEL"), [[1], [0, 2], []]),
    "series": (pd.Series(["b", "a", "b"]), ("a", "b"), [[1], [0, 2]]),
    "pandas index": (pd.Index(["b", "a", "b"]), ("a", "b"), [[1], [0, 2]]),
    "categorical": (CATEGORIES, ("z", "b", "a"), [[], [0, 2], [1]]),
    "categorical series": (pd.Series(CATEGORIES), ("z", "b", "a"), [[], [0, 2], [1]]),
    "categorical index": (pd.CategoricalIndex(CATEGORIES), ("z", "b", "a"), [[], [0, 2], [1]]),
}
NUMBERS = {
    "bools": [True, False, True],
    "tensors of one": [torch.tensor(1), torch.tensor(0), torch.tensor(1)],
    "nullable": pd.Series([1, 0, 1], dtype="Int64"),
    "bool series": pd.Series([True, False, True]),
    "nullable bools": pd.Series([True, False, True], dtype="boolean"),
    "objects": np.array([1, 0, 1], object),
}
ABSENT = {  # the second and the last have no label
    "none": ["b", None, "a", None],
    "float nan": [1.0, float("nan"), 0.0, float("nan")],
    "nan array": np.array([1, np.nan, 0, np.nan], np.float32),
    "nan tensor": torch.tensor([1.0, torch.nan, 0.0, torch.nan]),
    "ints and none": [1, None, 0, None],
    "string series": pd.Series(["b", None, "a", None]),
    "object series": pd.Series(["b", None, "a", float("nan")], dtype=object),
    "nullable series": pd.Series([1, None, 0, None], dtype="Int64"),
    "categorical": pd.Categorical(["b", None, "a", None]),
    "NA": ["b", pd.NA, "a", pd.NaT],
}


def by_class(index):
    members = range(index.num_samples) if index.members is None else index.members.tolist()
    ends = index.host_offsets.tolist()
    return [list(members[a:b]) for a, b in pairwise(ends)]


@pytest.mark.parametrize("how", NAMED)
def test_names_are_numbered_in_their_order_and_kept(how):
    labels, names, members = NAMED[how]
    before = repr(labels)
    index = ClassIndex.from_labels(labels)
    assert (index.names, by_class(index), index.num_samples) == (names, members, 3)
    assert repr(labels) == before and index.to("cpu").names == names


@pytest.mark.parametrize("how", NUMBERS)
def test_numbers_have_no_names(how):
    index = ClassIndex.from_labels(NUMBERS[how])
    assert (index.names, by_class(index)) == (None, [[1], [0, 2]])


@pytest.mark.parametrize("how", ABSENT)
def test_samples_without_a_label_are_refused_by_place_or_left_out(how):
    with pytest.raises(ValueError, match=r"and 2 have none, the first at 1; missing='drop' leave"):
        ClassIndex.from_labels(ABSENT[how])
    index = ClassIndex.from_labels(ABSENT[how], missing="drop")
    assert (by_class(index), index.num_samples) == ([[2], [0]], 4)
    assert index.names in (None, ("a", "b"))


@pytest.mark.parametrize("as_what", [list, np.array, torch.tensor, pd.Series])
def test_ignored_numbers_are_in_no_class(as_what):
    index = ClassIndex.from_labels(as_what([0, -100, 1, 0, -1]), ignore=(-1, -100))
    assert (by_class(index), index.num_samples) == ([[0, 3], [2]], 5)
    alone = ClassIndex.from_labels(as_what([2, -1, 1, 0]), ignore=-1)
    assert by_class(alone) == [[3], [2], [0]]


def test_ignored_names_are_no_classes():
    for ignore in ("?", ["?"], ("?", "never seen")):
        index = ClassIndex.from_labels(["b", "?", "a"], ignore=ignore)
        assert (index.names, by_class(index), index.num_samples) == (("a", "b"), [[2], [0]], 3)
    dropped = ClassIndex.from_labels(["b", "?", None, "a"], ignore="?", missing="drop")
    assert (dropped.names, by_class(dropped)) == (("a", "b"), [[3], [0]])


@given(
    st.lists(st.sampled_from(["a", "bb", "", "é", "?", None]), min_size=1, max_size=40),
    st.booleans(),
)
def test_any_list_of_strings_is_grouped_as_a_dict_would(labels, as_array):
    classes = sorted({label for label in labels if label not in (None, "?")})
    expected = [[i for i, label in enumerate(labels) if label == c] for c in classes]
    values = np.array(labels, object) if as_array else labels
    if not classes:
        with pytest.raises(ValueError, match=r"none of .* samples has a class"):
            ClassIndex.from_labels(values, ignore="?", missing="drop")
        return
    index = ClassIndex.from_labels(values, ignore="?", missing="drop")
    assert (index.names, by_class(index)) == (tuple(classes), expected)


@pytest.mark.parametrize(
    ("labels", "error", "told"),
    [
        ([1, "a"], TypeError, r"of one type, not of numbers and str; .*str\(label\)"),
        ([["a"], "b"], ValueError, "some are lists .* ClassIndex.from_tags"),
        ([{"a"}, {"b"}], ValueError, "some are lists .* ClassIndex.from_tags"),
        ("abc", TypeError, "not a str; pass a list"),
        ([None, None], ValueError, "value everywhere, and 2 have none"),
        ([1.5, 0.0], ValueError, "the one at 0 is 1.5"),
        (torch.tensor(3), ValueError, r"one-dimensional, not shape \(\)"),
    ],
)
def test_what_is_no_label_a_sample_is_refused(labels, error, told):
    with pytest.raises(error, match=f"labels must .*{told}"):
        ClassIndex.from_labels(labels)


def test_following_the_advice_leads_to_the_classes():
    mixed = [1, "a"]
    assert ClassIndex.from_labels([str(label) for label in mixed]).names == ("1", "a")
    assert ClassIndex.from_tags([["a"], ["b"]]).names == ("a", "b")
    with pytest.raises(ValueError, match="num_classes goes with labels that are numbers"):
        ClassIndex.from_labels(["a"], num_classes=1)
    with pytest.raises(ValueError, match="missing must be 'raise' or 'drop'"):
        ClassIndex.from_labels(["a"], missing="skip")


def test_a_dict_of_classes_gives_its_keys_as_names():
    index = ClassIndex.from_class_idxs({"cat": [0, 3], "dog": np.array([2])})
    assert (index.names, by_class(index)) == (("cat", "dog"), [[0, 3], [2]])
    sampler = SamplerFactory().get({"cat": [0, 3], "dog": [2]}, 2, 4, 1.0, device="cpu")
    assert sampler.index.names == ("cat", "dog") and len(list(sampler)) == 4


@pytest.mark.parametrize("kind", ["fixed", "stratified", "random"])
@pytest.mark.parametrize("option", ["shares", "weights", "rates"])
def test_a_mix_is_given_by_name(kind, option):
    index = ClassIndex.from_labels(["cat"] * 6 + ["dog"] * 3)
    made = [
        SamplerFactory().get(index, 8, 5, kind=kind, device="cpu", **{option: mix})
        for mix in ({"dog": 3, "cat": 1}, [1, 3])
    ]
    assert torch.equal(made[0].build(), made[1].build())
    assert made[0].state_dict() == made[1].state_dict()
    for sampler, mix in zip(made, ({"cat": 1, "dog": 1}, [1, 1]), strict=True):
        getattr(sampler, f"set_{option}")(mix)
    assert torch.equal(made[0].batches(0, 9), made[1].batches(0, 9))
    for mix, told in (({"cat": 1}, "'dog' has none"), ({"cat": 1, "dog": 1, "eel": 1}, "'eel' is")):
        with pytest.raises(ValueError, match=f"{option} must .* by its name, and {told}.*name all"):
            SamplerFactory().get(index, 8, 5, kind=kind, device="cpu", **{option: mix})
    with pytest.raises(TypeError, match="must be numbers"):
        SamplerFactory().get([[0], [1]], 8, 5, kind=kind, device="cpu", **{option: {0: 1, 1: 1}})


def test_tags_are_classes_that_share_samples():
    index = ClassIndex.from_tags([["sky", "sea", "sky"], [], ("sky",), np.array(["ice"])])
    assert (index.names, by_class(index)) == (("ice", "sea", "sky"), [[3], [0], [0, 2]])
    assert index.num_samples == 4
    as_ones = ClassIndex.from_multilabel([[0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert as_ones.fingerprint == index.fingerprint
    assert ClassIndex.from_tags([[7], [3, 7]]).names == (3, 7)
    for wrong, told in (
        (["ab"], "sample 0 is 'ab'"), ([["a"], 3], "sample 1 is 3"), ([["a", 1]], "of one type"),
        ([[1.5]], "not 1.5"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=f"tags must be .*{told}"):
            ClassIndex.from_tags(wrong)
    with pytest.raises(ValueError, match="tags must name a class, and 2 samples have none"):
        ClassIndex.from_tags([[], []])


def test_names_are_shown_where_classes_are():
    labels = ["a long name of a class, longer than others"] * 90 + ["dog"] * 8 + ["eel"] * 2
    index = ClassIndex.from_labels(labels)
    with pytest.warns(StarvedClassWarning, match="leaves out 1 of 3 classes: 'eel';"):
        sampler = SamplerFactory().get(index, 10, 4, 0.0, device="cpu")
    lines = sampler.describe().splitlines()
    assert lines[2].startswith("a long name of a class, longer ") and lines[3].split()[0] == "dog"
    assert len({line.rindex(" ") for line in lines[1:]}) >= 1 and lines[4].split()[0] == "eel"
    plain = SamplerFactory().get([range(90), range(90, 98), range(98, 100)], 20, 4, 0.5)
    assert plain.describe().splitlines()[2].split()[0] == "0"
    with pytest.raises(ValueError, match="names must be one a class, 1, not 2"):
        ClassIndex(None, [0, 3], 3, names=("a", "b"))
    assert ClassIndex(None, [0, 3], 3, names=["a"]).names == ("a",)
