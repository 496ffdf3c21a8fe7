"""Multilabel: the ones of an indicator matrix, dense or sparse, by column.

Takes [N, C] of zeros and ones. Gives (class, sample) of every one, ordered by class, then sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

RULE = "indicator must be 1 where a sample carries a class and 0 elsewhere, [samples, classes]"


def ones(indicator: Any) -> tuple[Tensor, Tensor, tuple[int, int], torch.device]:
    """classes [M] int64, samples [M] int64, (N, C), and where they are."""
    if hasattr(indicator, "tocoo") and not isinstance(indicator, Tensor):  # SciPy's
        found = indicator.tocoo()
        places = torch.from_numpy(np.stack([found.col, found.row]).astype(np.int64))
        values = torch.from_numpy(np.asarray(found.data))
        return _ordered(places, values, tuple(found.shape))
    tensor = indicator if isinstance(indicator, Tensor) else _tensor(indicator)
    if tensor.ndim != 2:
        raise ValueError(f"{RULE}, not of shape {tuple(tensor.shape)}; pass a matrix")
    if tensor.layout != torch.strided:
        found = tensor.detach().to_sparse_coo()
        places = found._indices().flip(0)
        return _ordered(places, found._values(), tuple(tensor.shape))
    _check(tensor)
    places = torch.nonzero(tensor.detach().T)
    return _at_least_one(places[:, 0], places[:, 1], tuple(tensor.shape))


def _ordered(places: Tensor, values: Tensor, shape: tuple[int, ...]) -> Any:
    """From places [2, n] of (class, sample) in any order, a place named once at most."""
    _check(values)
    classes, samples = places[:, values != 0]
    order = torch.argsort(classes * shape[0] + samples)
    classes, samples = classes[order], samples[order]
    if bool(((classes[1:] == classes[:-1]) & (samples[1:] == samples[:-1])).any()):
        raise ValueError(f"{RULE}, and one place is named twice; coalesce it")
    return _at_least_one(classes, samples, shape)


def _at_least_one(classes: Tensor, samples: Tensor, shape: tuple[int, ...]) -> Any:
    if len(classes) == 0:
        raise ValueError(f"{RULE}, but all {shape[0]} x {shape[1]} are 0; give it a 1")
    return classes.contiguous(), samples.contiguous(), shape, classes.device


def _check(values: Tensor) -> None:
    if values.dtype != torch.bool:
        wrong = torch.nonzero((values != 0) & (values != 1))
        if len(wrong):
            value = values[tuple(wrong[0].tolist())].item()
            raise ValueError(f"{RULE}, but one value is {value}; compare it with a threshold")


def _tensor(indicator: Any) -> Tensor:
    try:
        array = np.asarray(indicator)
    except ValueError as error:
        raise ValueError(f"{RULE}, not ragged rows; pad them") from error
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{RULE}, not {array.dtype}; pass numbers or bools")
    return torch.from_numpy(np.ascontiguousarray(array))
