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
