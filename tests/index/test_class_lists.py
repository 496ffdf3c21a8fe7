"""Class lists: ranges cost nothing, masks are taken, and what is no list of classes is told so."""

import time
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_class_index import held

from gpusampler import ClassIndex, SamplerFactory

LARGEST = 2**31 - 1
LABELS = np.array([2, 0, 1, 1, 0, 2, 1])
GROUPED = [[1, 4], [2, 3, 6], [0, 5]]


def quick(class_idxs):
    """The index, made in next to no time and memory."""
    tracemalloc.start()
    start = time.process_time()
    index = ClassIndex.from_class_idxs(class_idxs)
    taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 1
    assert peak < 1 << 20
    return index


@pytest.mark.parametrize(
    ("class_idxs", "sizes"),
    [
        ([range(i * 10**8, (i + 1) * 10**8) for i in range(4)], [10**8] * 4),
        ([range(LARGEST)], [LARGEST]),
        ([range(i * LARGEST, (i + 1) * LARGEST) for i in range(600)], [LARGEST] * 600),
        ([range(0), range(10**9), range(3, 3), range(10**9, 10**9 + 1)], [0, 10**9, 0, 1]),
        ([range(10**9 - 1, -1, -1), range(10**9, 10**9 + 5, 77)], [10**9, 1]),
        ([range(10**9), [10**9 + 1, 10**9], range(10**9 + 2, 2 * 10**9)], [10**9, 2, 10**9 - 2]),
        ([range(10**9), np.array([10**9])], [10**9, 1]),
    ],
)
def test_ranges_that_follow_each_other_cost_nothing(class_idxs, sizes):
    index = quick(class_idxs)
    assert index.members is None
    assert (index.sizes.tolist(), index.num_samples) == (sizes, sum(sizes))
    sampler = SamplerFactory().get(index, 64, 3, alpha=0, device="cpu", kind="random",
                                   class_draw="counter")  # fmt: skip
    for batch in sampler.build().tolist():
        assert all(0 <= i < sum(sizes) for i in batch)


@pytest.mark.parametrize("past", [range(2**31), range(2**40), range(2**63 - 1), range(2**63)])
def test_a_class_too_large_is_refused_at_once(past):
    with pytest.raises(ValueError, match=r"less than 2\^31 members, but class 1 has .*; split it"):
        quick([[0], past])


@pytest.mark.parametrize("past", [range(2**63, 2**63 + 2), range(2**70, 0, -(2**69))])
def test_an_index_past_64_bits_is_refused(past):
    with pytest.raises(ValueError, match=r"class 1 must be below 2\^63, but one is"):
        quick([[0], past])


RANGE = st.builds(
    range, st.integers(0, 50), st.integers(0, 60), st.integers(-7, 7).filter(bool)
)  # fmt: skip
FORMS = [lambda x: x, list, tuple, np.array, lambda x: np.array(x, "i4"),
         lambda x: np.array(x, "u2"), torch.tensor]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.tuples(RANGE, st.sampled_from(FORMS)), min_size=1, max_size=6))
def test_ranges_of_any_step_mixed_with_lists_are_the_sorted_lists(parts):
    class_idxs = [form(list(idxs) if form is torch.tensor else idxs) for idxs, form in parts]
    expected = [sorted(idxs) for idxs, _ in parts]
    flat = [i for idxs in expected for i in idxs]
    if not flat or (flat and max(flat) < 2 and len({*map(len, expected)}) == 1):
        return
    index = ClassIndex.from_class_idxs(class_idxs)
    assert held(index) == expected
    assert (index.members is None) == (flat == list(range(len(flat))))
    assert index.num_samples == max(flat) + 1
    draws = np.arange(1.0, len(expected) + 1)
    rates = {}
    for idxs, due in zip(expected, draws, strict=True):
        for i in idxs:
            rates[i] = rates.get(i, 0) + due / len(idxs)
    carried = [sum(rates[i] for i in idxs) for idxs in expected]
    found = index.carried(np.where(index.host_sizes > 0, draws, 0))
    assert np.allclose(found, carried)


def test_a_sample_of_two_ranges_carries_both_classes():
    apart = ClassIndex.from_class_idxs([range(5, 9), range(5)])
    assert apart.carried(np.array([4.0, 5.0])).tolist() == [4.0, 5.0]
    overlapping = ClassIndex.from_class_idxs([range(4), range(2, 6)])
    assert overlapping.carried(np.array([4.0, 8.0])).tolist() == [8.0, 10.0]


def test_ranges_out_of_order_take_four_bytes_a_member():
    tracemalloc.start()
    index = ClassIndex.from_class_idxs([range(10**7, 2 * 10**7), range(10**7)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * 4 * 2 * 10**7
    assert index.members[:2].tolist() == [10**7, 10**7 + 1]
    assert index.members.dtype == torch.int32


def test_few_samples_of_very_many_are_described_at_once():
    index = ClassIndex.from_class_idxs([[5, 2**62], [2**62, 7, 9]])
    assert index.carried(np.array([2.0, 3.0])).tolist() == [3.0, 4.0]


MASKS = {
    "arrays": lambda: [c == LABELS for c in range(3)],
    "tensors": lambda: [torch.tensor(LABELS) == c for c in range(3)],
    "lists": lambda: [(c == LABELS).tolist() for c in range(3)],
    "an array": lambda: np.stack([c == LABELS for c in range(3)]),
    "a tensor": lambda: torch.stack([torch.tensor(LABELS) == c for c in range(3)]),
    "mixed": lambda: [LABELS == 0, torch.tensor(LABELS == 1), (LABELS == 2).tolist()],
    "strided": lambda: list(np.repeat([c == LABELS for c in range(3)], 2, axis=1)[:, ::2]),
    "a generator": lambda: (c == LABELS for c in range(3)),
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_of_all_samples_are_taken(form):
    """torch's mask.nonzero()[0], which was advised, is the first index alone."""
    index = ClassIndex.from_class_idxs(MASKS[form]())
    assert held(index) == GROUPED
    assert index.num_samples == len(LABELS)
    expected = SamplerFactory().get(GROUPED, 8, 6, 0.5, device="cpu").build()
    found = SamplerFactory().get(MASKS[form](), 8, 6, 0.5, device="cpu").build()
    assert torch.equal(found, expected)


def test_a_mask_tells_of_samples_behind_the_last_one_that_it_takes():
    assert ClassIndex.from_class_idxs([[True, False, False]]).num_samples == 3
    index = ClassIndex.from_class_idxs([np.array([False] * 5), np.array([True] * 5)])
    assert (held(index), index.members) == ([[], [0, 1, 2, 3, 4]], None)
    few = np.array([1, 0])  # more classes than samples, each sample in one
    assert held(ClassIndex.from_class_idxs([few == c for c in range(4)])) == [[1], [0], [], []]


def one_hot(kind):
    array = np.eye(3, dtype=int)[LABELS]
    return {
        "array": array, "floats": array.astype("f4"), "tensor": torch.tensor(array),
        "lists": array.tolist(), "rows": list(array), "tensors": list(torch.tensor(array)),
        "uint8": array.astype("u1"), "transposed": array.T, "two classes": array[:, :2],
        "multi-hot": array | np.roll(array, 1, 1), "a column": array[:, :1], "a row": array[:1],
        "half": torch.tensor(array).half(),
        "uint16": torch.tensor(array).to(torch.uint16),
        "float8": torch.tensor(array).float().to(torch.float8_e5m2),
        "big-endian": array.astype(">i8"),
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", [
    "array", "floats", "tensor", "lists", "rows", "tensors", "uint8", "transposed", "two classes",
    "multi-hot", "a column", "a row", "half", "big-endian", "uint16", "float8",
])  # fmt: skip
def test_one_hot_rows_are_refused_and_the_repair_gives_the_classes(kind):
    """They were 7 classes of the indices 0 and 1."""
    with pytest.raises(ValueError, match=r"guessing only; .*from_multilabel.*argmax") as caught:
        SamplerFactory().get(one_hot(kind), 4, 2, alpha=1, device="cpu")
    assert "are 0 or 1" in str(caught.value)
    if kind == "array":
        x = one_hot(kind)
        assert held(ClassIndex.from_multilabel(x)) == GROUPED
        assert held(ClassIndex.from_labels(x.argmax(1))) == GROUPED


def test_bool_one_hot_rows_are_no_masks():
    for rows in (
        one_hot("array") == 1,
        (one_hot("array") == 1).tolist(),
        list(one_hot("tensor") > 0),
    ):
        with pytest.raises(ValueError, match=r"7 masks of 3 samples .* one row a sample; .*x\.T"):
            ClassIndex.from_class_idxs(rows)
    x = one_hot("array") == 1
    assert held(ClassIndex.from_class_idxs(x.T)) == held(ClassIndex.from_multilabel(x)) == GROUPED


@pytest.mark.parametrize("class_idxs", [[[0], [1]], [[0, 1]], [[0, 1], [0]], np.array([[0], [1]])])
def test_the_two_samples_of_a_tiny_dataset_are_indices(class_idxs):
    assert held(ClassIndex.from_class_idxs(class_idxs)) == [list(idxs) for idxs in class_idxs]


MASKED = np.ma.array([0, 4, 2], mask=[0, 1, 0])
NESTED = "ignore:The PyTorch API of nested tensors:UserWarning"
REFUSED = [
    (lambda: [0, 1, 2], TypeError, r"a flat list of int; .* ClassIndex.from_labels\(labels\)"),
    (lambda: [0.0, 1.0], TypeError, r"a flat list of float; .* ClassIndex.from_labels\(labels\)"),
    (lambda: LABELS, TypeError, r"a flat list of int64; .* ClassIndex.from_labels\(labels\)"),
    (lambda: torch.tensor(LABELS), TypeError, "list of torch.int64; .*from_labels"),
    (lambda: list(torch.tensor(LABELS)), TypeError, r"a flat list of Tensor; .*from_labels"),
    (lambda: list(LABELS), TypeError, r"a flat list of int64; .*from_labels"),
    (lambda: LABELS == 1, TypeError, r"a flat list of bool; .*the only class, \[class_idxs\]"),
    (lambda: ["cat", "dog"], TypeError, r"from_labels\(np.unique\(labels"),
    (lambda: np.array(["cat"]), TypeError, r"from_labels\(np.unique\(labels"),
    (lambda: sparse.eye(3), TypeError, "sparse matrix; pass ClassIndex.from_multilabel"),
    (lambda: torch.eye(3).to_sparse(), TypeError, "sparse matrix; pass ClassIndex.from_multilabel"),
    (lambda: torch.zeros(2, 2, device="meta"), TypeError, "meta device, which has no data"),
    (lambda: np.zeros((2, 2, 2), int), ValueError, r"shape \(2, 2, 2\); pass a list of flat lists"),
    (lambda: [[0, 1], 5], TypeError, r"class 1 must be a sequence, not 5 alone; pass \[5\]"),
    (lambda: [[0, 1], None], TypeError, r"class 1 must be a sequence, not NoneType; .*\[\] where"),
    (lambda: [[0], iter([1])], TypeError, "class 1 must be a sequence, not list_iterator; pass a"),
    (lambda: [LABELS == 0, [3]], TypeError, r"class 0 .* not a mask; pass mask.nonzero\(\)\[0\]"),
    (lambda: [[3], torch.tensor(LABELS == 0)], TypeError, r"class 1 .*mask.nonzero\(\)\[:, 0\]"),
    (lambda: [[3], [True, False]], TypeError, r"class 1 .* a mask; pass np.flatnonzero\(mask\)"),
    (lambda: [LABELS == 0, [True]], ValueError, "class 0 has 7 and .* 1 has 1; pass one"),
    (lambda: [[False] * 3] * 2, ValueError, "at least one index, and all 2 classes are empty"),
    (lambda: [[0], MASKED], ValueError, r"class 1 .* 1 are masked; .* \.compressed\(\)"),
    (lambda: np.ma.array([[0, 4], [2, 3]], mask=[[0, 1], [0, 0]]), ValueError, "1 are masked"),
    (lambda: [torch.ones(2).to_sparse()], TypeError, r"torch.sparse_coo; pass its .to_dense\(\)"),
    (lambda: [torch.ones(2, device="meta")], TypeError, "class 0 .* meta device"),
    (lambda: [torch.ones(2).to(torch.complex64)], TypeError, "class 0 must be whole numbers"),
    (lambda: [np.ones(2, np.longdouble)], TypeError, "class 0 must be whole numbers .*float128"),
    (lambda: [np.ones(2, "M8[s]")], TypeError, "class 0 must be whole numbers .*datetime64"),
    (lambda: [np.array([0, None])], TypeError, "class 0 must be whole numbers .*object; pass int"),
    (lambda: [torch.nested.nested_tensor([torch.ones(2)])], TypeError, r"nested.*\.unbind\(\)"),
]  # fmt: skip


@pytest.mark.filterwarnings(NESTED)
@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_what_is_no_list_of_classes_is_told_what_to_pass(make, error, message):
    with pytest.raises(error, match=message) as caught:
        SamplerFactory().get(make(), 4, 2, alpha=1, device="cpu")
    assert type(caught.value) is error


@pytest.mark.filterwarnings(NESTED)
def test_following_the_advice_gives_the_classes():
    mask = LABELS == 1
    words, named = np.array(["a", "b", "c"])[LABELS], dict(zip("abc", GROUPED, strict=True))
    advised = [
        ClassIndex.from_labels(LABELS),
        ClassIndex.from_labels(np.unique(words, return_inverse=True)[1]),
        ClassIndex.from_class_idxs([named[c] for c in sorted(named)]),
        ClassIndex.from_class_idxs([GROUPED[0], mask.nonzero()[0], GROUPED[2]]),
        ClassIndex.from_class_idxs([GROUPED[0], torch.tensor(mask).nonzero()[:, 0], GROUPED[2]]),
        ClassIndex.from_class_idxs([GROUPED[0], np.flatnonzero(mask.tolist()), GROUPED[2]]),
        ClassIndex.from_class_idxs(torch.nested.nested_tensor([torch.tensor(x) for x in GROUPED])),
        ClassIndex.from_class_idxs([np.array(x, object) for x in GROUPED]),
        ClassIndex.from_multilabel(sparse.csr_matrix(one_hot("array"))),
        ClassIndex.from_multilabel(one_hot("tensor").to_sparse()),
    ]  # fmt: skip
    assert [held(index) for index in advised] == [GROUPED] * len(advised)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ClassIndex.from_class_idxs([MASKED.compressed(), [4]])
    assert held(found) == [[0, 2], [4]]


def test_one_row_a_sample_is_told_from_one_a_class():
    labels = np.arange(300) % 8
    for rows in (labels[:, None], [[int(label)] for label in labels], [[0, 2], [1], [3]] * 50):
        with pytest.warns(UserWarning, match=r"these look like one row a sample.*from_labels"):
            ClassIndex.from_class_idxs(rows)
    ClassIndex.from_class_idxs([[c, c + 1] for c in range(300)])
