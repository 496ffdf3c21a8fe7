"""Multilabel: the ones of an indicator matrix, dense or sparse, by column.

Takes [N, C] of zeros and ones. Gives (class, sample) of every one, ordered by class, then sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks

RULE = "indicator must be 1 where a sample carries a class and 0 elsewhere, [samples, classes]"
TAGS = (
    "where each row lists the classes of a sample, make it from zeros: indicator = "
    "np.zeros((len(rows), classes), bool), then for i, row in enumerate(rows): indicator[i, row] = "
    "True"
)
MOST_CLASSES = (1 << 31) - 1


def ones(indicator: Any) -> tuple[Tensor, Tensor, tuple[int, int], torch.device]:
    """classes [M] int64, samples [M] int64, (N, C), and where they are."""
    if isinstance(indicator, Tensor):
        return _of_tensor(indicator)
    if not hasattr(indicator, "tocoo"):
        return _of_tensor(_tensor(indicator))
    found = indicator.tocoo()  # SciPy's
    if len(found.shape) != 2:
        raise ValueError(f"{RULE}, not of shape {tuple(found.shape)}; pass a matrix")
    places = torch.from_numpy(np.stack([found.col, found.row]).astype(np.int64))
    return _ordered(places, _tensor(found.data), tuple(found.shape))


def _of_tensor(indicator: Tensor) -> tuple[Tensor, Tensor, tuple[int, int], torch.device]:
    if indicator.is_nested or indicator.is_meta or indicator.layout == torch.strided:
        indicator = checks.plain_tensor("indicator", indicator)
    shape = tuple(indicator.shape)
    if len(shape) != 2:
        raise ValueError(f"{RULE}, not of shape {shape}; pass a matrix")
    if indicator.layout == torch.strided:
        # of a copy: torch counts first and writes then, and another thread may write between
        places = torch.nonzero((_check(indicator) != 0).T)
        return _at_least_one(places[:, 0], places[:, 1], shape)
    found = indicator.detach().to_sparse_coo()
    if found.sparse_dim() != 2:
        raise ValueError(f"{RULE}, and sparse in both, not in the first alone; pass its to_dense()")
    values = checks.plain_tensor("indicator", found._values())
    return _ordered(found._indices().flip(0), values, shape)


def _ordered(places: Tensor, values: Tensor, shape: tuple[int, ...]) -> Any:
    """From places [2, n] of (class, sample) in any order, a place named once at most."""
    classes, samples = places[:, _check(values)]
    # one key of both would not fit 64 bits where samples x classes do not
    if bool((samples[1:] < samples[:-1]).any()):
        order = torch.argsort(samples)
        classes, samples = classes[order], samples[order]
    order = torch.argsort(classes, stable=True)
    classes, samples = classes[order], samples[order]
    if bool(((classes[1:] == classes[:-1]) & (samples[1:] == samples[:-1])).any()):
        raise ValueError(
            f"{RULE}, and one place is named twice; coalesce it (of SciPy: sum_duplicates()), and "
            f"set its values to 1"
        )
    return _at_least_one(classes, samples, shape)


def _at_least_one(classes: Tensor, samples: Tensor, shape: tuple[int, ...]) -> Any:
    if len(classes) == 0:
        raise ValueError(f"{RULE}, but all {shape[0]} x {shape[1]} are 0; give it a 1")
    if shape[1] > MOST_CLASSES:
        raise ValueError(
            f"{RULE}, and of less than 2^31 classes, not {shape[1]}; leave out those that no "
            f"sample carries, or transpose it"
        )
    return classes.contiguous(), samples.contiguous(), shape, classes.device


def _check(values: Tensor) -> Tensor:
    """Zeros and ones, as bools."""
    if values.dtype == torch.bool:
        return values
    if values.is_floating_point() and values.dtype.itemsize == 1:
        values = values.to(torch.float32)
    wrong = torch.nonzero((values != 0) & (values != 1))
    if len(wrong):
        value = values[tuple(wrong[0].tolist())].item()
        raise ValueError(
            f"{RULE}, but one value is {value}; compare it with a threshold where it is a score; "
            f"{TAGS}"
        )
    return values != 0


def _tensor(indicator: Any) -> Tensor:
    checks.refuse_masked("indicator", indicator)
    try:
        array = np.asarray(indicator)
    except ValueError as error:
        raise ValueError(f"{RULE}, not ragged rows; {TAGS}") from error
    if array.dtype == object and array.ndim > 1:
        array = checks.of_ints(array)
    if array.dtype.kind not in "iufb" or array.dtype == np.longdouble:
        raise TypeError(f"{RULE}, not {array.dtype}; pass numbers or bools of at most 64 bits")
    return checks.shared(array)
