"""Class index: which dataset indices belong to which class.

Takes labels [N], or class_idxs (the indices of each class).
Gives members [M] and offsets [C+1]; class c owns members[offsets[c]:offsets[c+1]], ascending.
Knows nothing of weights, batches or randomness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks, frames
from gpusampler.bits import fingerprint
from gpusampler.index import checks as index_checks
from gpusampler.index import class_lists, multilabel
from gpusampler.index import labels as label_reading
from gpusampler.index.grouping import group


class ClassIndex:
    """The members of each class, grouped, on one device.

    members      [M] int32 (int64 from 2^31 samples on), ascending within a class;
                 None where the dataset is sorted by class, so that place is index
    offsets      [C+1] int64: class c owns members[offsets[c]:offsets[c+1]]
    sizes        [C] int64, members of each class
    num_classes, num_samples, device
    names        of each class, a tuple; None where classes are numbers

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
        names: Sequence[Any] | None = None,
    ):
        where = getattr(members, "device", "cpu") if device is None else device
        samples = checks.integer("num_samples", num_samples, 1, 1 << 62)
        ends = index_checks.offsets(offsets)
        found = index_checks.members(members, ends, samples)
        if disjoint and not index_checks.disjoint(found):
            raise ValueError(
                "disjoint=True says that no sample is a member twice, and one is; leave it out"
            )
        if names is not None and len(names) != len(ends) - 1:
            raise ValueError(f"names must be one a class, {len(ends) - 1}, not {len(names)}")
        self._hold(found, ends, samples, where, disjoint, names)

    def _hold(
        self, members: Tensor | None, offsets: np.ndarray, samples: int, device: Any,
        disjoint: bool, names: Sequence[Any] | None = None,
    ) -> None:  # fmt: skip
        self.names = None if names is None else tuple(names)
        self.device = checks.device(device)
        self._disjoint = disjoint or members is None  # known to be
        self.host_offsets = offsets
        self.num_samples = samples
        self.members = None if members is None else members.to(self.device)
        self.offsets = torch.tensor(offsets, device=self.device)  # a copy

    @classmethod
    def _of_own(
        cls, members: Tensor | None, offsets: np.ndarray, samples: int, device: Any,
        disjoint: bool, names: Sequence[Any] | None = None,
    ) -> ClassIndex:  # fmt: skip
        """Of parts that were made here, so that they belong together and are nobody else's."""
        made = cls.__new__(cls)
        made._hold(members, offsets, samples, device, disjoint, names)
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
            self.members, self.host_offsets, self.num_samples, target, self._disjoint, self.names
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
        cls, labels: Any, num_classes: int | None = None, device: Any = None, *,
        ignore: Any = (), missing: str = "raise",
    ) -> ClassIndex:  # fmt: skip
        """Group the samples of a dataset by their label.

        labels       [N] one for each sample: whole numbers >= 0 (list, NumPy array or tensor, of
                     any integer dtype and strides, on any device), strings, bytes, members of an
                     Enum; or a column of pandas, Polars, Arrow or Hugging Face. Not changed.
        num_classes  C, where labels are numbers; None: the largest label + 1.
        device       where the index lives; None: with the labels.
        ignore       a label, or several, whose samples are left out: ignore=(-1, -100).
        missing      "raise" | "drop": samples without a label (None, NaN, NA).
        Returns      an index whose names are the strings in their order, or the categories as they
                     are (all of an Enum or Categorical, also those without a sample).
        Raises       TypeError: labels of several types, lists, complex numbers. ValueError: not
                     one-dimensional, none left, missing, negative, fractional, or num_classes and
                     above.

        >>> index = ClassIndex.from_labels([1, 0, 1, 2])
        >>> index.sizes.tolist(), index.members.tolist()
        ([1, 2, 1], [1, 0, 2, 3])
        >>> index = ClassIndex.from_labels(["dog", "cat", None, "dog"], missing="drop")
        >>> index.names, index.members.tolist()
        (('cat', 'dog'), [1, 0, 3])
        """
        read = label_reading.read(labels, ignore, missing)
        named = None if read.names is None else len(read.names)
        if num_classes is not None and named is not None:
            raise ValueError(
                f"num_classes goes with labels that are numbers, and these are {named} names; "
                f"leave it out"
            )
        repair = "pass one class for each sample"
        found = checks.whole_numbers("labels", read.numbers, repair, "pass integers or strings")
        found = found.to(torch.uint8) if found.dtype == torch.bool else found
        if len(found) == 0:
            left = f", and none of {read.samples} samples has a class" if read.samples else ""
            raise ValueError(
                f"labels must be one-dimensional and not empty, not shape (0,){left}; {repair}"
            )
        sizes, places = group(found, num_classes if named is None else named)
        if read.kept is not None:
            kept = torch.from_numpy(read.kept)
            kept = kept.to(torch.int32) if read.samples < 1 << 31 else kept
            places = kept if places is None else kept[places.cpu().long()]
        where = found.device if device is None else device
        return cls._of_own(places, _offsets(sizes), read.samples, where, True, read.names)

    @classmethod
    def from_class_idxs(cls, class_idxs: Sequence[Any], device: Any = None) -> ClassIndex:
        """Take the indices of each class, as the original library does.

        class_idxs   one sequence of dataset indices >= 0 for each class: lists, tuples, ranges,
                     arrays or tensors, mixed; or one mask of all samples for each class. Not
                     changed. Classes may overlap; an index that a class names twice is two members
                     of it. Ranges that follow each other from 0 on take no memory, however long.
                     Or a dict of those by class, whose keys become the names.
        device       where the index lives; None: the CPU.
        Raises       TypeError: an index that is no whole number. ValueError: no class, none with
                     a member, a negative or fractional index.

        >>> ClassIndex.from_class_idxs([[3, 1], range(2)]).members.tolist()
        [1, 3, 0, 1]
        """
        if isinstance(class_idxs, ClassIndex):
            return class_idxs if device is None else class_idxs.to(device)
        names = None
        if isinstance(class_idxs, Mapping):
            names, class_idxs = tuple(class_idxs), list(class_idxs.values())
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
        parts = members, _offsets(found.sizes), found.samples, where, found.disjoint
        return cls._of_own(*parts, names)

    @classmethod
    def from_tags(cls, tags: Any, device: Any = None) -> ClassIndex:
        """Take samples that carry any number of classes, as a list of tags each.

        tags     [N] for each sample its tags, strings or integers; none: it is never drawn.
        device   where the index lives; None: the CPU.
        Returns  an index with the tags as names, in their order. See from_multilabel().
        Raises   TypeError: a sample's tags are no list, tags of several types. ValueError: none.

        >>> index = ClassIndex.from_tags([["sea", "sky"], ["sky"], []])
        >>> index.names, index.sizes.tolist(), index.members.tolist()
        (('sea', 'sky'), [1, 2], [0, 0, 1])
        """
        classes, samples, names, n = label_reading.tags(tags)
        if not names:
            raise ValueError(f"tags must name a class, and {n} samples have none; mend the data")
        members = torch.from_numpy(samples)
        members = members.to(torch.int32) if n < 1 << 31 else members
        sizes = np.bincount(classes, minlength=len(names))
        where = "cpu" if device is None else device
        return cls._of_own(members, _offsets(sizes), n, where, False, names)

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
