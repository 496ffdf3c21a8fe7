"""A class index made by hand: parts that do not belong together are refused, others are held."""

import numpy as np
import pytest
import torch

from gpusampler import ClassIndex, SamplerFactory

MEMBERS = torch.tensor([1, 4, 0, 2, 3])
OFFSETS = np.array([0, 2, 2, 5])


def made(members=MEMBERS, offsets=OFFSETS, num_samples=5, device="cpu", **more):
    return ClassIndex(members, offsets, num_samples, device, **more)


WRONG = {
    "past the members": ({"offsets": [0, 2, 2, 6]}, ValueError, "6 indices that offsets end at"),
    "short of the members": ({"offsets": [0, 2, 4]}, ValueError, "4 indices"),
    "not from 0": ({"offsets": [1, 2, 5]}, ValueError, "must begin with 0, not 1"),
    "negative": ({"offsets": [0, -1, 5]}, ValueError, "class 0 begins at 0 and ends at -1"),
    "descending": ({"offsets": [0, 9, 5]}, ValueError, "class 1 begins at 9 and ends at 5"),
    "of no class": ({"offsets": [0]}, ValueError, "more than there are classes"),
    "nothing": ({"offsets": []}, ValueError, "more than there are classes"),
    "all empty": ({"offsets": [0, 0], "members": MEMBERS[:0]}, ValueError, "1 classes are empty"),
    "two-dimensional": ({"offsets": [[0, 5]]}, ValueError, "one-dimensional"),
    "fractional": ({"offsets": [0, 2.5, 5]}, ValueError, "whole numbers"),
    "bools": ({"offsets": [False, True]}, TypeError, "not bool"),
    "texts": ({"offsets": ["0", "5"]}, TypeError, "offsets"),
    "a class too large": (
        {"members": None, "offsets": [0, 1 << 31], "num_samples": 1 << 31}, ValueError,
        "class 0 has 2147483648; split it",
    ),
    "samples left over": ({"members": None, "num_samples": 6}, ValueError, "end at num_samples, 6"),
    "samples missing": ({"members": None, "num_samples": 4}, ValueError, "end at num_samples, 4"),
    "below 0": ({"members": torch.tensor([1, 4, -1, 2, 3])}, ValueError, "member 2 is -1"),
    "beyond the samples": ({"num_samples": 4}, ValueError, r"in \[0, 4\), but member 1 is 4"),
    "unordered": ({"members": torch.tensor([4, 1, 0, 2, 3])}, ValueError, "member 1 is 1 after 4"),
    "of 16 bits": ({"members": MEMBERS.to(torch.int16)}, TypeError, "not torch.int16"),
    "floats": ({"members": MEMBERS * 1.0}, TypeError, "not torch.float32"),
    "a list": ({"members": MEMBERS.tolist()}, TypeError, "not list"),
    "an array": ({"members": MEMBERS.numpy()}, TypeError, "not ndarray"),
    "a matrix": ({"members": MEMBERS[None]}, ValueError, r"shape \(1, 5\)"),
    "sparse": ({"members": MEMBERS.to_sparse()}, ValueError, "dense"),
    "without data": ({"members": MEMBERS.to("meta")}, ValueError, "on meta"),
    "no samples": ({"num_samples": 0}, ValueError, "num_samples"),
    "half a sample": ({"num_samples": 5.5}, TypeError, "num_samples"),
    "a device": ({"device": "tpu"}, ValueError, "device"),
    "not disjoint": (
        {"members": torch.tensor([1, 4, 0, 1, 3]), "disjoint": True}, ValueError, "leave it out"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_parts_that_do_not_belong_together_are_refused(case):
    parts, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        made(**parts)


def first_batches(index):
    options = {"kind": "stratified", "alpha": 0.5, "drop_empty": True, "device": "cpu"}
    return SamplerFactory().get(index, 4, 6, **options).build()


LAYOUTS = {
    "int32": {"members": MEMBERS.to(torch.int32)},
    "strided": {"members": MEMBERS.repeat_interleave(3)[::3]},
    "expanded": {"members": torch.tensor([7]).expand(5), "num_samples": 8},
    "needs none": {"members": None},
    "offsets in a list": {"offsets": OFFSETS.tolist()},
    "offsets in a tensor": {"offsets": torch.tensor(OFFSETS, dtype=torch.int32)},
    "offsets of uint64": {"offsets": OFFSETS.astype(np.uint64)},
    "offsets big-endian": {"offsets": OFFSETS.astype(">i8")},
    "disjoint": {"disjoint": True},
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_parts_of_any_layout_are_what_from_class_idxs_makes_of_the_same(case):
    index = made(**LAYOUTS[case])
    held = list(range(5)) if index.members is None else index.members.tolist()
    same = ClassIndex.from_class_idxs([held[:2], held[2:2], held[2:]])
    assert index.sizes.tolist() == [2, 0, 3]
    assert torch.equal(first_batches(index), first_batches(same))
    assert index.offsets.dtype == torch.int64 and index.host_offsets.dtype == np.int64


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_what_is_written_into_the_parts_afterwards_is_not_in_the_index(dtype):
    members, offsets = MEMBERS.to(dtype), OFFSETS.copy()
    index = made(members, offsets)
    expected = first_batches(index)
    members.fill_(1 << 30)
    offsets[:] = [0, 1 << 40, 1 << 41, 1 << 42]
    assert torch.equal(first_batches(index), expected)
    index.offsets.fill_(1 << 40)
    assert index.host_sizes.tolist() == [2, 0, 3]


def test_a_data_set_sorted_by_class_may_be_of_any_size():
    ends = np.arange(513) * ((1 << 31) - 1)
    index = ClassIndex(None, ends, int(ends[-1]), "cpu")
    assert index.num_samples > 1 << 39 and index.num_classes == 512


def test_samples_of_several_classes_are_found_where_nothing_is_said_of_them():
    index = made(torch.tensor([1, 4, 0, 1, 3]))
    assert index.carried(np.array([2.0, 0.0, 3.0])).tolist() == [3.0, 0.0, 4.0]
