"""Samples with any number of classes: what an indicator tells, and what labels get in effect."""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusampler import ClassIndex, SamplerFactory

INDICATOR = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
MEMBERS = [[0, 1, 4], [1, 3, 4], [4]]
DENSE = np.array(INDICATOR)


def members_of(index):
    held = torch.arange(index.num_samples) if index.members is None else index.members
    return [part.tolist() for part in torch.split(held, index.sizes.tolist())]


FORMS = {
    "lists": lambda: INDICATOR,
    "int64": lambda: DENSE,
    "bool": lambda: DENSE.astype(bool),
    "float32 tensor": lambda: torch.tensor(INDICATOR, dtype=torch.float32),
    "transposed": lambda: torch.tensor(DENSE.T.copy()).T,
    "coo": lambda: torch.tensor(INDICATOR).to_sparse_coo(),
    "csr": lambda: torch.tensor(INDICATOR).to_sparse_csr(),
    "csc": lambda: torch.tensor(INDICATOR).to_sparse_csc(),
    "scipy csr": lambda: sparse.csr_matrix(DENSE),
    "scipy lil": lambda: sparse.lil_matrix(DENSE),
    "scipy coo array": lambda: sparse.coo_array(DENSE.astype(bool)),
}


@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta:UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_indicator_gives_the_same_index(form):
    index = ClassIndex.from_multilabel(FORMS[form]())
    assert members_of(index) == MEMBERS
    assert (index.num_classes, index.num_samples) == (3, 5)
    assert index.fingerprint == ClassIndex.from_class_idxs(MEMBERS).fingerprint


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 10**6))
def test_dense_and_sparse_agree_with_the_columns(samples, classes, seed):
    dense = np.random.default_rng(seed).random((samples, classes)) < 0.4
    dense[seed % samples, seed % classes] = True
    expected = [np.flatnonzero(column).tolist() for column in dense.T]
    assert members_of(ClassIndex.from_multilabel(dense)) == expected
    assert members_of(ClassIndex.from_multilabel(sparse.csr_matrix(dense))) == expected


def test_an_explicit_zero_of_a_sparse_matrix_is_no_label():
    places = torch.tensor([[0, 1, 1], [0, 1, 0]])
    matrix = torch.sparse_coo_tensor(places, torch.tensor([1, 1, 0]), (2, 2), check_invariants=True)
    assert members_of(ClassIndex.from_multilabel(matrix)) == [[0], [1]]


@pytest.mark.parametrize(
    ("indicator", "error", "message"),
    [
        ([[0, 0]], ValueError, "all 1 x 2 are 0; give it a 1"),
        ([[0, 2]], ValueError, "one value is 2; compare it with a threshold"),
        ([[0.5, 1]], ValueError, "one value is 0.5; compare"),
        ([[float("nan"), 1]], ValueError, "one value is nan; compare"),
        ([1, 0], ValueError, r"not of shape \(2,\); pass a matrix"),
        (
            [[1], [1, 0]],
            ValueError,
            "ragged rows; where each row lists the classes of a sample, make",
        ),
        ([["a"]], TypeError, "pass numbers or bools"),
    ],
)
def test_what_is_no_indicator_is_refused(indicator, error, message):
    with pytest.raises(error, match=message):
        ClassIndex.from_multilabel(indicator)


def test_a_place_named_twice_is_refused():
    twice = torch.tensor([[0, 0], [1, 1]])
    matrix = torch.sparse_coo_tensor(twice, torch.ones(2), (2, 2), check_invariants=True)
    with pytest.raises(ValueError, match="named twice; coalesce it"):
        ClassIndex.from_multilabel(matrix)


def far(samples, classes, seed):
    """Ones of a matrix with far more than 2^63 places, by row and column, in no order."""
    rng = np.random.default_rng(seed)
    sample = np.append(rng.integers(0, samples, 200), [0, samples - 1, samples - 1])
    label = np.append(rng.integers(0, min(classes, 50), 200), [classes - 1, 0, classes - 1])
    order = rng.permutation(len(sample))
    return sample[order], label[order]


@pytest.mark.parametrize(
    ("samples", "classes"),
    [(2**62, 4), (2**62 + 1, 2), (2**44, 2**19), (2**63 - 1, 1), (2**31, 3), (2**31 - 1, 3)],
)
def test_samples_times_classes_may_be_past_64_bits(samples, classes):
    """Their product was a key, and wrapped: members of the wrong classes, in silence."""
    sample, label = far(samples, classes, 0)
    pairs = {(c, i) for i, c in zip(sample.tolist(), label.tolist(), strict=True)}
    sample, label = map(np.array, zip(*[(i, c) for c, i in pairs], strict=True))
    matrix = sparse.coo_matrix((np.ones(len(pairs)), (sample, label)), shape=(samples, classes))
    index = ClassIndex.from_multilabel(matrix)
    ends = index.host_offsets.tolist()
    for c in range(min(classes, 60)):
        expected = sorted(i for label, i in pairs if label == c)
        assert index.members[ends[c] : ends[c + 1]].tolist() == expected
    assert index.members.dtype == (torch.int32 if samples < 2**31 else torch.int64)
    assert (index.num_samples, index.num_classes) == (samples, classes)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.array(x, ">i4"), lambda x: np.array(x, object), lambda x: np.array(x)[::-1],
        lambda x: np.ma.array(x), lambda x: torch.tensor(x, dtype=torch.uint16),
        lambda x: torch.tensor(x, dtype=torch.uint64), lambda x: torch.tensor(x).bfloat16(),
        lambda x: torch.tensor(x, dtype=torch.float32).to(torch.float8_e4m3fn),
        lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True),
        lambda x: torch.tensor(x, dtype=torch.float32).to_sparse_bsr((1, 1)),
        lambda x: torch.tensor(x).bool().to_sparse_coo(), lambda x: sparse.csr_matrix(np.array(x)),
        lambda x: sparse.coo_array(np.array(x, "f4")),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_an_indicator_of_any_dtype_is_taken(form):
    rows = [[1, 0], [1, 1], [0, 1], [1, 1]]
    indicator = form(rows)
    flipped = isinstance(indicator, np.ndarray) and indicator.strides[0] < 0
    expected = [[0, 2, 3], [0, 1, 2]] if flipped else [[0, 1, 3], [1, 2, 3]]
    assert members_of(ClassIndex.from_multilabel(indicator)) == expected


def quantized():
    return torch.quantize_per_tensor(torch.eye(2), 1.0, 0, torch.quint8)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: torch.eye(2, device="meta"), TypeError, "indicator .* meta device"),
        (lambda: torch.nested.nested_tensor([torch.ones(2)]), TypeError, "indicator .* nested"),
        (quantized, TypeError, r"indicator .*quint8; pass its \.dequantize\(\)"),
        (lambda: torch.eye(2).to(torch.complex64), TypeError, "indicator .*complex64; pass"),
        (lambda: torch.eye(2).to_sparse(1), ValueError, r"indicator .* pass its to_dense\(\)"),
        (lambda: np.eye(2, dtype=np.longdouble), TypeError, "indicator .*float128; pass"),
        (lambda: np.eye(2).astype("M8[s]"), TypeError, "indicator .*datetime64"),
        (lambda: np.ma.array([[0, 1]], mask=[[1, 0]]), ValueError, "indicator .* 1 are masked"),
        (lambda: [np.ma.array([0, 1], mask=[1, 0])], ValueError, "indicator .* 1 are masked"),
        (lambda: sparse.coo_array(np.ones(3)), ValueError, r"shape \(3,\); pass a matrix"),
        (lambda: torch.sparse_coo_tensor([[0], [2**31]], [1.0], (1, 2**31 + 1)), ValueError,
         r"less than 2\^31 classes, not 2147483649"),
        (lambda: [[0, 2], [1, 3]], ValueError, r"2; compare .*classes of a sample, .*np.zeros"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message) as caught:
        ClassIndex.from_multilabel(make())
    assert type(caught.value) is error


def test_following_the_advice_for_lists_of_tags_gives_the_classes():
    """It was to pad them, which made class 0 of every gap."""
    rows, classes = [[0, 2], [1], [], [2, 1]], 3
    with pytest.raises(ValueError, match=r"np\.zeros") as caught:
        ClassIndex.from_multilabel(rows)
    scope = {"np": np, "rows": rows, "classes": classes}
    line, loop = str(caught.value).split("from zeros: ")[1].split(", then ")
    exec(f"{line}\n{loop}", scope)
    assert members_of(ClassIndex.from_multilabel(scope["indicator"])) == [[0], [1, 3], [0, 3]]


def test_effective_counts_are_those_of_the_samples_drawn():
    index = ClassIndex.from_multilabel(INDICATOR)
    sampler = SamplerFactory().get(index, 6, 500, 1.0, "fixed", device="cpu")
    drawn = Counter(sampler.build().flatten().tolist())
    carried = [sum(drawn[m] for m in members) for members in MEMBERS]
    # in 1000 draws of a class of 3, a member is drawn 333 or 334 times
    assert np.allclose(sampler.effective_class_counts, carried, atol=3)
    assert sampler.class_counts.tolist() == [1000, 1000, 1000]
    effect = [1000 + 2000 / 3 + 1000, 2000 / 3 + 1000 + 1000, 1000 / 3 + 1000 / 3 + 1000]
    assert np.allclose(sampler.effective_class_counts, effect)
    by_epoch = SamplerFactory().get(index, 6, 500, lambda epoch: epoch / 4, "fixed", device="cpu")
    for epoch in (0, 4, 2):
        counts = by_epoch.class_counts_in(epoch).numpy()
        assert by_epoch.effective_class_counts_in(epoch).tolist() == index.carried(counts).tolist()
    assert np.allclose(by_epoch.effective_class_counts_in(4), effect)


def test_describe_tells_what_share_of_a_batch_carries_a_class():
    index = ClassIndex.from_multilabel(INDICATOR)
    text = SamplerFactory().get(index, 6, 500, 1.0, "fixed", device="cpu").describe()
    assert text.splitlines()[1].endswith("in effect")
    assert [line.split()[-1] for line in text.splitlines()[2:]] == ["0.8889", "0.8889", "0.5556"]


def test_classes_that_share_no_sample_have_no_further_effect():
    index = ClassIndex.from_class_idxs([[0, 3], [1], [4, 5]])
    sampler = SamplerFactory().get(index, 6, 10, 1.0, "fixed", device="cpu")
    assert torch.equal(sampler.effective_class_counts, sampler.class_counts)
    assert "in effect" not in sampler.describe()


def test_a_sample_that_a_class_names_twice_carries_it_once():
    index = ClassIndex.from_class_idxs([[0, 0, 1], [2]])
    sampler = SamplerFactory().get(index, 4, 300, 1.0, "fixed", device="cpu")
    assert sampler.effective_class_counts.tolist() == [600, 600]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_torch_looks_for_ones_in_a_tensor_that_nobody_else_writes(monkeypatch, dtype):
    indicator, plain = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1]]).to(dtype), torch.nonzero

    def nonzero(tensor):
        assert tensor.untyped_storage().data_ptr() != indicator.untyped_storage().data_ptr()
        return plain(tensor)

    monkeypatch.setattr(torch, "nonzero", nonzero)
    index = ClassIndex.from_multilabel(indicator)
    assert index.members.tolist() == [0, 1, 1, 3]
