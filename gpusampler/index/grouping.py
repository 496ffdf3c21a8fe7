"""Grouping: class numbers in, the places of each class out, on the device that they are on.

Takes labels [N], whole numbers. Refuses those that are no class.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks
from gpusampler.index import counting_sort

MOST_CLASSES = (1 << 31) - 1
NUMBERED = "np.unique(labels, return_inverse=True)[1]"


def group(labels: Tensor, num_classes: int | None) -> tuple[np.ndarray, Tensor | None]:
    """Sizes of classes, and the places of labels by class; None where they ascend."""
    if num_classes is not None:
        num_classes = checks.integer("num_classes", num_classes, 1, MOST_CLASSES)
    low, high = (int(x) for x in torch.aminmax(labels))
    classes = high + 1 if num_classes is None else num_classes
    if low < 0 or high >= classes:
        raise ValueError(_label_error(labels, classes, num_classes is None))
    if high > MOST_CLASSES - 1:
        raise ValueError(
            f"labels must number the classes from 0 on, below 2^31 - 1, but the largest label "
            f"is {high}; renumber them with labels = {NUMBERED}"
        )
    if num_classes is None and classes > max(1 << 24, 16 * len(labels)):
        raise ValueError(
            f"labels must number the classes from 0 on, but {len(labels)} labels reach {high}; "
            f"renumber them with labels = {NUMBERED}, or pass num_classes={classes} if so many "
            f"are meant"
        )
    on_host = labels.device.type == "cpu"
    return (_group_on_host if on_host else _group_on_device)(labels, classes)


def _label_error(labels: Tensor, classes: int, guessed: bool) -> str:
    wrong = torch.nonzero((labels < 0) | (labels >= classes))
    if len(wrong) == 0:
        return (
            "labels must stay as they are while they are read, and they changed; wait for what "
            "writes them, or pass a copy"
        )
    at = int(wrong[0])
    value = int(labels[at])
    rule = "labels must be >= 0" if guessed else f"labels must be in [0, {classes})"
    if value >= classes:
        repair = f"renumber the classes from 0 on, or pass num_classes={int(labels.max()) + 1}"
    else:
        repair = (
            f"where that is no class, leave its samples out by ignore={value}; where it is one, "
            f"renumber with labels = {NUMBERED}"
        )
    return f"{rule}, but label {at} is {value}; {repair}"


def _group_on_host(labels: Tensor, classes: int) -> tuple[np.ndarray, Tensor | None]:
    sizes, places = counting_sort.group(labels.numpy(), classes)
    return sizes, None if places is None else torch.from_numpy(places)


def _group_on_device(labels: Tensor, classes: int) -> tuple[np.ndarray, Tensor | None]:
    sizes = torch.bincount(labels.to(torch.int64), minlength=classes).cpu().numpy()
    if bool((labels[1:] >= labels[:-1]).all()):
        return sizes, None
    places = torch.sort(labels, stable=True).indices
    return sizes, places.to(torch.int32) if len(labels) < 1 << 31 else places
