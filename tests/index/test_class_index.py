"""The class index: from labels and from class_idxs, it is the plain grouping of plain Python."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.cpu import parallel
from gpusampler.index import grouping as by_number

LABELS = [2, 0, 1, 1, 0, 3, 1, 0, 3, 1, 1]
GROUPED = [[1, 4, 7], [2, 3, 6, 9, 10], [0], [5, 8]]  # written down by hand
TWO_CLASSES = [1, 0, 0, 1, 1, 0, 1]

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMPY_DTYPES = [*INTEGERS, "float16", "float32", "float64"]
TORCH_DTYPES = [getattr(torch, name) for name in (*NUMPY_DTYPES, "bfloat16")]


def grouping(labels, num_classes=None):
    """The places of each label, ascending."""
    classes = max(labels) + 1 if num_classes is None else num_classes
    return [[i for i, label in enumerate(labels) if label == c] for c in range(classes)]


def held(index: ClassIndex) -> list[list[int]]:
    """The members of each class as the index holds them."""
    ends = index.offsets.tolist()
    members = range(ends[-1]) if index.members is None else index.members.tolist()
    return [list(members[begin:end]) for begin, end in pairwise(ends)]


def read_only(values):
    array = np.array(values)
    array.flags.writeable = False
    return array


LAYOUTS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "big-endian": lambda values: np.array(values, dtype=">i4"),
    "big-endian unsigned": lambda values: np.array(values, dtype=">u8"),
    "read-only": read_only,
    "strided array": lambda values: np.repeat(values, 3)[::3],
    "reversed array": lambda values: np.array(values[::-1])[::-1],
    "column of an array": lambda values: np.stack([values, np.full(len(values), 9)], 1)[:, 0],
    "strided tensor": lambda values: torch.tensor(values).repeat_interleave(3)[::3],
    "column of a tensor": lambda values: torch.tensor([[9, value] for value in values])[:, 1],
    "whole floats": lambda values: [float(value) for value in values],
    "tensor that needs a gradient": lambda values: torch.nn.Parameter(torch.tensor(values) * 1.0),
}


def same(values, before) -> bool:
    if isinstance(values, torch.Tensor):
        return torch.equal(values, before)
    if isinstance(values, np.ndarray):
        return values.dtype == before.dtype and np.array_equal(values, before)
    if isinstance(values, (list, tuple)):
        return len(values) == len(before) and all(map(same, values, before))
    return values == before


def batches(class_idxs, kind="fixed"):
    options = {"class_draw": "counter"} if kind == "random" else {}
    sampler = SamplerFactory().get(class_idxs, 8, 6, 0.5, kind, device="cpu", seed=3, **options)
    return sampler.build()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_of_any_layout_group_as_plain_python_does(layout):
    assert held(ClassIndex.from_labels(LAYOUTS[layout](LABELS))) == GROUPED


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_labels_of_any_dtype_group_as_plain_python_does(dtype):
    assert held(ClassIndex.from_labels(np.array(LABELS, dtype=dtype))) == GROUPED


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_torch_labels_of_any_dtype_group_as_plain_python_does(dtype):
    assert held(ClassIndex.from_labels(torch.tensor(LABELS, dtype=dtype))) == GROUPED


@pytest.mark.parametrize("make", [list, np.array, torch.tensor])
def test_bool_labels_are_the_classes_0_and_1(make):
    labels = make([label == 1 for label in TWO_CLASSES])
    assert held(ClassIndex.from_labels(labels)) == grouping(TWO_CLASSES)


@pytest.mark.parametrize("classes", [4, 5, 300])
def test_classes_past_the_largest_label_are_empty(classes):
    index = ClassIndex.from_labels(np.array(LABELS, np.uint8), num_classes=classes)
    assert held(index) == GROUPED + [[]] * (classes - 4)
    assert index.num_classes == len(index.sizes) == classes


def test_sizes_offsets_and_counts_describe_the_groups():
    index = ClassIndex.from_labels(LABELS)
    assert (index.num_classes, index.num_samples) == (4, len(LABELS))
    assert index.sizes.tolist() == [3, 5, 1, 2]
    assert index.offsets.tolist() == [0, 3, 8, 9, 11]
    assert index.sizes.dtype == index.offsets.dtype == torch.int64
    assert index.members.dtype == torch.int32


@pytest.mark.parametrize("labels", [[0] * 5, [0, 0, 1, 2, 2], [1, 1, 4], np.sort(LABELS)])
def test_labels_that_ascend_need_no_members(labels):
    index = ClassIndex.from_labels(labels)
    assert index.members is None
    assert held(index) == grouping(list(labels))


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_identity_gives_the_batches_that_its_members_written_out_would_give(kind):
    labels = [0] * 50 + [1] * 7 + [2] * 40
    index = ClassIndex.from_labels(labels)
    written_out = torch.arange(len(labels), dtype=torch.int32)
    same_index = ClassIndex(written_out, index.host_offsets, len(labels), "cpu")
    assert index.members is None
    assert torch.equal(batches(index, kind), batches(same_index, kind))


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_labels_and_the_same_class_idxs_give_the_same_batches(kind):
    labels = np.random.default_rng(0).integers(0, 5, 300)
    lists = grouping(labels.tolist())
    shuffled = [np.random.default_rng(1).permutation(idxs) for idxs in lists]
    expected = batches(ClassIndex.from_labels(labels), kind)
    assert torch.equal(batches(lists, kind), expected)
    assert torch.equal(batches(shuffled, kind), expected)
    assert torch.equal(batches(ClassIndex.from_class_idxs(lists), kind), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_class_idxs_of_any_layout_are_held_ascending(layout):
    make = LAYOUTS[layout]
    index = ClassIndex.from_class_idxs([make([9, 1, 4]), make([3, 2])])
    assert held(index) == [[1, 4, 9], [2, 3]]
    assert index.members.dtype == torch.int32


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_index_or_one_label_of_any_layout_is_taken(layout):
    assert held(ClassIndex.from_class_idxs([LAYOUTS[layout]([5]), [1]])) == [[5], [1]]
    assert held(ClassIndex.from_labels(LAYOUTS[layout]([1]))) == [[], [0]]


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_class_idxs_of_any_dtype_are_held(dtype):
    tensor = torch.tensor([9, 1, 4], dtype=getattr(torch, dtype))
    index = ClassIndex.from_class_idxs([tensor, np.array([3, 2], dtype)])
    assert held(index) == [[1, 4, 9], [2, 3]]


def test_class_idxs_may_mix_kinds_of_sequence():
    mixed = [[9, 1], (4,), range(8, 2, -2), np.array([7, 0], np.uint8), torch.tensor([5]), range(0)]
    index = ClassIndex.from_class_idxs(mixed)
    assert held(index) == [[1, 9], [4], [4, 6, 8], [0, 7], [5], []]
    assert (index.num_classes, index.num_samples) == (6, 10)


@pytest.mark.parametrize("make", [np.array, torch.tensor, iter])
def test_classes_may_be_the_rows_of_a_matrix_or_come_one_by_one(make):
    assert held(ClassIndex.from_class_idxs(make([[2, 0], [3, 1]]))) == [[0, 2], [1, 3]]


def test_overlapping_classes_keep_each_its_own_members():
    index = ClassIndex.from_class_idxs([[0, 1, 2], [1, 2, 3], [2]])
    assert held(index) == [[0, 1, 2], [1, 2, 3], [2]]
    assert (index.num_samples, int(index.sizes.sum())) == (4, 7)


def test_an_index_named_twice_is_two_members():
    index = ClassIndex.from_class_idxs([[5, 3, 5], [0]])
    assert held(index) == [[3, 5, 5], [0]]
    drawn = SamplerFactory().get(index, 3, 1, weights=[1, 0], device="cpu").build()
    assert sorted(drawn[0].tolist()) == [3, 5, 5]


@pytest.mark.parametrize(
    ("class_idxs", "identity"),
    [
        ([[0, 1], [2, 3, 4]], True),
        ([[1, 0], [], [4, 2, 3]], True),
        ([[2, 3, 4], [0, 1]], False),
        ([[1, 2], [3]], False),
        ([[0, 1], [1, 2]], False),
        ([[0, 1, 2, 3], [0, 5, 6]], False),
        ([range(4), range(0, 7, 3)], False),
        ([[0, 0], [1]], False),
        ([[0, 2], [3]], False),
    ],
)
def test_class_idxs_need_no_members_only_where_place_is_index(class_idxs, identity):
    index = ClassIndex.from_class_idxs(class_idxs)
    assert (index.members is None) == identity
    assert held(index) == [sorted(idxs) for idxs in class_idxs]


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [((1 << 31) - 2, torch.int32), ((1 << 31) - 1, torch.int64), (1 << 40, torch.int64)],
)
def test_members_are_32_bits_wide_below_2_to_31_samples_only(largest, dtype):
    index = ClassIndex.from_class_idxs([[largest, 7], [largest]])
    assert index.members.dtype == dtype
    assert held(index) == [[7, largest], [largest]]
    assert index.num_samples == largest + 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_caller_passed_is_unchanged(layout):
    labels = LAYOUTS[layout](LABELS)
    class_idxs = [LAYOUTS[layout]([9, 1, 4]), LAYOUTS[layout]([3, 2])]
    before = copy.deepcopy((labels, class_idxs))
    batches(ClassIndex.from_labels(labels))
    batches(class_idxs)
    assert same(labels, before[0])
    assert same(class_idxs, before[1])


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_changing_the_input_afterwards_does_not_change_the_index(make):
    idxs, labels = make([4, 6, 9]), make(LABELS)
    index, by_label = ClassIndex.from_class_idxs([idxs]), ClassIndex.from_labels(labels)
    idxs[:], labels[:] = 0, 0
    assert held(index) == [[4, 6, 9]]
    assert held(by_label) == GROUPED


def test_to_the_device_it_is_on_is_itself():
    index = ClassIndex.from_labels(LABELS)
    assert index.to("cpu") is index
    assert index.to(torch.device("cpu")) is index
    assert ClassIndex.from_class_idxs(index) is index
    assert ClassIndex.from_class_idxs(index, device="cpu") is index
    assert index.device == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_index_on_the_gpu_holds_what_it_held_on_the_cpu():
    index = ClassIndex.from_labels(LABELS)
    there = index.to("cuda")
    grouped_there = ClassIndex.from_labels(torch.tensor(LABELS, device="cuda"))
    assert there.members.is_cuda and there.sizes.is_cuda and grouped_there.members.is_cuda
    assert held(there) == held(grouped_there) == held(there.to("cpu")) == GROUPED


@pytest.mark.parametrize("labels", [LABELS, sorted(LABELS), [0], [3, 3], [1, 0] * 500])
def test_grouping_for_a_device_equals_grouping_on_the_host(labels):
    """The way taken by labels on a GPU, run here on a CPU tensor."""
    found = torch.tensor(labels, dtype=torch.int16)
    sizes, members = by_number._group_on_device(found, 5)
    host_sizes, host_members = by_number._group_on_host(found, 5)
    assert sizes.tolist() == host_sizes.tolist()
    assert (members is None) == (host_members is None)
    assert members is None or torch.equal(members, host_members)


@pytest.mark.parametrize("labels", [[1, 1, 0, 0], [0, 2, 1, 3], [0, 1, 1, 2], [3, 0, 0, 0]])
def test_threads_see_a_descent_at_their_seam(monkeypatch, labels):
    monkeypatch.setattr(parallel, "threads_for", lambda work, least: 2)
    index = ClassIndex.from_labels(labels)
    assert held(index) == grouping(labels)
    assert (index.members is None) == (labels == sorted(labels))


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    ascending=st.booleans(),
    spare=st.integers(0, 3),
    threads=st.integers(1, 5),
)
def test_any_labels_on_any_number_of_threads_group_as_plain_python_does(
    labels, ascending, spare, threads
):
    labels = sorted(labels) if ascending else labels
    classes = max(labels) + 1 + spare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "threads_for", lambda work, least: min(threads, work))
        index = ClassIndex.from_labels(np.array(labels, np.uint8), num_classes=classes)
    assert held(index) == grouping(labels, classes)
    assert (index.members is None) == (labels == sorted(labels))


@pytest.mark.parametrize(
    ("dtype", "most"), [("float16", 2048), ("bfloat16", 256), ("float32", 1 << 24)]
)
def test_narrow_floats_are_taken_as_far_as_they_tell_whole_numbers_apart(dtype, most):
    fits = torch.tensor([0, most - 1], dtype=torch.int64).to(getattr(torch, dtype))
    assert ClassIndex.from_class_idxs([fits, [1]]).members.tolist() == [0, most - 1, 1]
    beyond = torch.tensor([0, most + 1], dtype=torch.int64).to(getattr(torch, dtype))
    for make in (lambda x: ClassIndex.from_class_idxs([x, [1]]), ClassIndex.from_labels):
        with pytest.raises(ValueError, match=f"must be below {most} as torch.{dtype}, .*at 1 is"):
            make(beyond)
