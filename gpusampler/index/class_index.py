"""Class index: which dataset indices belong to which class.

Takes labels [N], or class_idxs (the indices of each class).
Gives members [M] and offsets [C+1]; class c owns members[offsets[c]:offsets[c+1]], ascending.
Knows nothing of weights, batches or randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks, frames
from gpusampler.bits import fingerprint
from gpusampler.index import checks as index_checks
from gpusampler.index import class_lists, counting_sort, multilabel

MOST_CLASSES = (1 << 31) - 1
NUMBERED = "np.unique(labels, return_inverse=True)[1]"


class ClassIndex:
    """The members of each class, grouped, on one device.

    members      [M] int32 (int64 from 2^31 samples on), ascending within a class;
                 None where the dataset is sorted by class, so that place is index
    offsets      [C+1] int64: class c owns members[offsets[c]:offsets[c+1]]
    sizes        [C] int64, members of each class
    num_classes, num_samples, device

    Mostly made by from_labels() and its like. By hand, of those parts, each of which is checked
    and copied; disjoint=True says, and is held to it, that no sample is a member twice.
    """

    def __init__(
        self,
        members: Tensor | None,
        offsets: Any,
        num_samples: int,
        device: Any = None,
        disjoint: bool = False,
    ):
        where = getattr(members, "device", "cpu") if device is None else device
        samples = checks.integer("num_samples", num_samples, 1, 1 << 62)
        ends = index_checks.offsets(offsets)
        found = index_checks.members(members, ends, samples)
        if disjoint and not index_checks.disjoint(found):
            raise ValueError(
                "disjoint=True says that no sample is a member twice, and one is; leave it out"
            )
        self._hold(found, ends, samples, where, disjoint)

    def _hold(
        self, members: Tensor | None, offsets: np.ndarray, samples: int, device: Any, disjoint: bool
    ) -> None:
        self.device = checks.device(device)
        self._disjoint = disjoint or members is None  # known to be
        self.host_offsets = offsets
        self.num_samples = samples
        self.members = None if members is None else members.to(self.device)
        self.offsets = torch.tensor(offsets, device=self.device)  # a copy

    @classmethod
    def _of_own(
        cls, members: Tensor | None, offsets: np.ndarray, samples: int, device: Any, disjoint: bool
    ) -> ClassIndex:
        """Of parts that were made here, so that they belong together and are nobody else's."""
        made = cls.__new__(cls)
        made._hold(members, offsets, samples, device, disjoint)
        return made

    @property
    def num_classes(self) -> int:
        return len(self.host_offsets) - 1

    @property
    def sizes(self) -> Tensor:
        return self.offsets.diff()

    @property
    def host_sizes(self) -> np.ndarray:
        return np.diff(self.host_offsets)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this index from others, the same on every device.

        Reading it first takes one pass over the members, about 6 ns each on a CPU.
        """
        return fingerprint.of_members(self.members, self.host_offsets, self.num_samples)

    def __repr__(self) -> str:
        return (
            f"ClassIndex({self.num_classes} classes, {self.num_samples} samples, "
            f"device={str(self.device)!r})"
        )

    def to(self, device: Any) -> ClassIndex:
        """The same index on another device; itself where it is there already."""
        target = checks.device(device)
        if target == self.device:
            return self
        return ClassIndex._of_own(
            self.members, self.host_offsets, self.num_samples, target, self._disjoint
        )

    def carried(self, draws: np.ndarray) -> np.ndarray:
        """How many of the drawn samples carry each class, where a sample may be in several.

        draws    [C] float64: expected draws of each class, members alike.
        Returns  [C] float64; `draws` itself where classes share no sample. One pass over members.
        """
        if self._disjoint or self.members is None:
            return draws
        members, samples = self.members.cpu().numpy(), self.num_samples
        if samples > 8 * len(members):  # few of many: by their rank
            distinct, members = np.unique(members, return_inverse=True)
            samples = len(distinct)
        rates = np.repeat(draws / np.maximum(self.host_sizes, 1), self.host_sizes)
        if len(members) <= samples and np.bincount(members).max() <= 1:
            self._disjoint = True
            return draws
        # an index named twice by a class is two members of it, and one label of the sample
        of_sample = np.bincount(members, weights=rates)
        labels = np.repeat(np.arange(self.num_classes), self.host_sizes)
        first = np.append(True, (members[1:] != members[:-1]) | (labels[1:] != labels[:-1]))
        return np.bincount(
            labels[first], weights=of_sample[members[first]], minlength=self.num_classes
        )

    @classmethod
    def from_labels(
        cls, labels: Any, num_classes: int | None = None, device: Any = None
    ) -> ClassIndex:
        """Group the samples of a dataset by their label.

        labels       [N] whole numbers >= 0: list, NumPy array or tensor, of any integer dtype and
                     strides, on any device. Not changed.
        num_classes  C; None: the largest label + 1.
        device       where the index lives; None: with the labels.
        Raises       TypeError: labels that are no numbers. ValueError: not one-dimensional, none,
                     negative, fractional, NaN, or num_classes and above.

        >>> index = ClassIndex.from_labels([1, 0, 1, 2])
        >>> index.sizes.tolist(), index.members.tolist()
        ([1, 2, 1], [1, 0, 2, 3])
        """
        repair = "pass one class number for each sample"
        integers = (
            f"pass integers, in a list, array or tensor; digits are read by labels = "
            f"np.asarray(labels).astype(int), names are numbered by labels = {NUMBERED}, once "
            f"samples without one (None, NaN) are left out"
        )
        found = checks.whole_numbers("labels", labels, repair, integers)
        found = found.to(torch.uint8) if found.dtype == torch.bool else found
        if len(found) == 0:
            raise ValueError(
                f"labels must be one-dimensional and not empty, not shape (0,); {repair}"
            )
        if num_classes is not None:
            num_classes = checks.integer("num_classes", num_classes, 1, MOST_CLASSES)
        low, high = (int(x) for x in torch.aminmax(found))
        classes = high + 1 if num_classes is None else num_classes
        if low < 0 or high >= classes:
            raise ValueError(_label_error(found, classes, num_classes is None))
        if high > MOST_CLASSES - 1:
            raise ValueError(
                f"labels must number the classes from 0 on, below 2^31 - 1, but the largest label "
                f"is {high}; renumber them with labels = {NUMBERED}"
            )
        if num_classes is None and classes > max(1 << 24, 16 * len(found)):
            raise ValueError(
                f"labels must number the classes from 0 on, but {len(found)} labels reach {high}; "
                f"renumber them with labels = {NUMBERED}, or pass num_classes={classes} if so many "
                f"are meant"
            )
        sizes, members = (_group_on_host if found.device.type == "cpu" else _group_on_device)(
            found, classes
        )
        where = found.device if device is None else device
        return cls._of_own(members, _offsets(sizes), len(found), where, True)

    @classmethod
    def from_class_idxs(cls, class_idxs: Sequence[Any], device: Any = None) -> ClassIndex:
        """Take the indices of each class, as the original library does.

        class_idxs   one sequence of dataset indices >= 0 for each class: lists, tuples, ranges,
                     arrays or tensors, mixed; or one mask of all samples for each class. Not
                     changed. Classes may overlap; an index that a class names twice is two members
                     of it. Ranges that follow each other from 0 on take no memory, however long.
        device       where the index lives; None: the CPU.
        Raises       TypeError: an index that is no whole number. ValueError: no class, none with
                     a member, a negative or fractional index.

        >>> ClassIndex.from_class_idxs([[3, 1], range(2)]).members.tolist()
        [1, 3, 0, 1]
        """
        if isinstance(class_idxs, ClassIndex):
            return class_idxs if device is None else class_idxs.to(device)
        found = class_lists.grouped(class_idxs)
        filled = int(np.count_nonzero(found.sizes))
        if filled > max(32, 4 * found.samples):
            frames.warn(
                f"{filled} classes share {found.samples} samples: these look like one row a "
                f"sample, not one a class. Pass ClassIndex.from_labels(labels), one label a "
                f"sample, or for several ClassIndex.from_multilabel(indicator)"
            )
        members = None if found.members is None else torch.from_numpy(found.members)
        where = "cpu" if device is None else device
        return cls._of_own(members, _offsets(found.sizes), found.samples, where, found.disjoint)

    @classmethod
    def from_multilabel(cls, indicator: Any, device: Any = None) -> ClassIndex:
        """Take samples that carry any number of classes.

        indicator  [N, C], 1 where the sample carries the class, else 0: array or tensor, dense or
                   sparse (torch's layouts, SciPy's). Not changed. A sample without a class is
                   never drawn.
        device     where the index lives; None: with the indicator.
        Raises     TypeError, ValueError: not two-dimensional, no one in it, neither 0 nor 1.
        A sample drawn for one class carries its others too: describe() and
        effective_class_counts tell how many draws each class gets in effect.

        >>> index = ClassIndex.from_multilabel([[1, 0], [1, 1], [0, 0], [0, 1]])
        >>> index.sizes.tolist(), index.members.tolist()
        ([2, 2], [0, 1, 1, 3])
        """
        classes, members, (samples, num_classes), where = multilabel.ones(indicator)
        sizes = torch.bincount(classes, minlength=num_classes).cpu().numpy()
        members = members.to(torch.int32) if samples < 1 << 31 else members
        where = where if device is None else device
        ascending = samples == len(members) and bool((members.diff() == 1).all())
        return cls._of_own(None if ascending else members, _offsets(sizes), samples, where, False)


def _offsets(sizes: np.ndarray) -> np.ndarray:
    class_lists.refuse_large(sizes)
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


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
            f"where that is no class, leave its samples out: labels = np.asarray(labels), if they "
            f"are a list, and ClassIndex.from_class_idxs([labels == c for c in range({classes})]); "
            f"where it is one, renumber with labels = {NUMBERED}"
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
