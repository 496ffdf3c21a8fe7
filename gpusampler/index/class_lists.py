"""Class lists: the indices of each class, as callers pass them.

Takes one sequence of dataset indices a class (lists, arrays, tensors, ranges), or one mask a class.
Gives the members in the order of their classes, how many each has, and how many samples there are.
What is sorted by class is never written out. Knows nothing of labels.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks

RULE = "class_idxs must be a list of one sequence of dataset indices for each class"
CHUNK = 1 << 20
JAGGED = torch.jagged
Part = np.ndarray | range  # one class's indices, ascending; a range of positive step


@dataclass(frozen=True)
class Grouped:
    """members [M] int32 (int64 from 2^31 samples on), None where place is index; sizes [C];
    disjoint: no sample is in two classes, as far as is known."""

    members: np.ndarray | None
    sizes: np.ndarray
    samples: int
    disjoint: bool


def grouped(class_idxs: Any) -> Grouped:
    """The members of each class, ascending in it.

    >>> grouped([[3, 1], range(2)]).members.tolist()
    [1, 3, 0, 1]
    >>> grouped([range(10**9), range(10**9, 3 * 10**9)]).members is None
    True
    """
    given = _rows(class_idxs)
    rows = [_row(idxs, c) for c, idxs in enumerate(given)]
    masks = [isinstance(row, Tensor) and row.dtype == torch.bool for row in rows]
    samples = _mask_length(rows, masks, given) if any(masks) else 0
    parts = [_ascending(row, c) for c, row in enumerate(rows)]
    lengths = [_size(part) for part in parts]
    refuse_large(np.array(lengths, dtype=object))  # one may be past 64 bits
    sizes = np.array(lengths, dtype=np.int64)
    total = sum(sizes.tolist())
    if total == 0:
        raise ValueError(
            f"class_idxs must hold at least one index, and all {len(parts)} classes are empty; "
            f"pass one list of dataset indices for each class"
        )
    top = max(int(part[-1]) for part, size in zip(parts, sizes, strict=True) if size)
    if not samples:
        _refuse_one_hot(top, sizes)
    elif len(parts) > samples and total > samples:
        raise ValueError(
            f"class_idxs must be one mask for each class, and {len(parts)} masks of {samples} "
            f"samples that are in several are rather one row a sample; pass x as an array "
            f"[samples, classes] to ClassIndex.from_multilabel(x), or the masks, x.T"
        )
    samples = samples or top + 1
    if samples == total and _follow_each_other(parts):
        return Grouped(None, sizes, samples, True)
    members = np.empty(total, np.int32 if samples < 1 << 31 else np.int64)
    _write(parts, sizes, members)
    return Grouped(members, sizes, samples, _are_apart(parts))


def refuse_large(sizes: np.ndarray) -> None:
    if len(sizes) and int(sizes.max()) > checks.MAX_CLASS_SIZE:
        c = int(sizes.argmax())
        raise ValueError(
            f"a class must have less than 2^31 members, but class {c} has {sizes[c]}; split it"
        )


def _rows(class_idxs: Any) -> list[Any]:
    """What was passed, as a list of one thing a class."""
    if isinstance(class_idxs, (str, bytes)) or not hasattr(class_idxs, "__iter__"):
        raise TypeError(f"{RULE}, not {type(class_idxs).__name__}; pass a list of lists")
    sparse = isinstance(class_idxs, Tensor) and class_idxs.layout not in (torch.strided, JAGGED)
    if sparse or (hasattr(class_idxs, "tocoo") and not isinstance(class_idxs, Tensor)):
        raise TypeError(f"{RULE}, not a sparse matrix; pass ClassIndex.from_multilabel(it)")
    if isinstance(class_idxs, Tensor) and class_idxs.is_nested:
        return list(class_idxs.unbind())
    if isinstance(class_idxs, Tensor):
        class_idxs = checks.plain_tensor("class_idxs", class_idxs)
    elif hasattr(class_idxs, "ndim"):
        checks.refuse_masked("class_idxs", class_idxs)
        class_idxs = np.asarray(class_idxs)
    if hasattr(class_idxs, "ndim"):
        _refuse_array(class_idxs)
    rows = list(class_idxs)
    if rows and all(map(_is_one, rows)):
        raise _flat(type(rows[0]).__name__)
    return rows


def _refuse_array(values: Any) -> None:
    """An array whose rows are no classes: labels, one-hot rows."""
    objects = isinstance(values, np.ndarray) and values.dtype == object
    if values.ndim == 1 and not objects:
        raise _flat(str(values.dtype))
    if values.ndim > 2:
        raise ValueError(f"{RULE}, not of shape {tuple(values.shape)}; pass a list of flat lists")
    if values.ndim != 2 or objects or 0 in values.shape or "bool" in str(values.dtype):
        return
    if isinstance(values, np.ndarray) and values.dtype.kind not in "iuf":
        return
    if isinstance(values, Tensor) and values.is_floating_point():
        values = values.to(torch.float32)  # those of 8 bits compare no other way
    if bool(((values == 0) | (values == 1)).all()):
        _refuse_one_hot(1, np.full(values.shape[0], values.shape[1]))


def _is_one(value: Any) -> bool:
    """A number or a word, and no sequence of indices."""
    if isinstance(value, (str, bytes, numbers.Number, np.generic)):
        return True
    return getattr(value, "ndim", 1) == 0


def _flat(met: str) -> TypeError:
    words = met in ("str", "bytes") or met[:2] in ("<U", "|S")
    numbered = "np.unique(labels, return_inverse=True)[1]" if words else "labels"
    return TypeError(
        f"{RULE}, not a flat list of {met}; if it holds a label for each sample, pass "
        f"ClassIndex.from_labels({numbered}); if it holds the indices of the only class, "
        f"[class_idxs]"
    )


def _refuse_one_hot(top: int, sizes: np.ndarray) -> None:
    """All rows are as long, and of nothing but 0 and 1: two samples, each named many times."""
    rows, width = len(sizes), int(sizes.max())
    if top <= 1 and int(sizes.min()) == width and (width > 2 or (rows > 1 and rows * width > 2)):
        raise ValueError(
            f"{RULE}, and all {rows} x {width} of these are 0 or 1, which tells one-hot rows from "
            f"indices by guessing only; for x as an array [samples, classes] pass "
            f"ClassIndex.from_multilabel(x), or ClassIndex.from_labels(x.argmax(1)); for [classes, "
            f"samples] the same of x.T"
        )


def _row(idxs: Any, c: int) -> Tensor | np.ndarray | range:
    """One class's indices or its mask, in any order."""
    name, repair = f"the indices of class {c}", "pass a flat list of dataset indices"
    if isinstance(idxs, range):
        return _ascending_range(idxs, c)
    if type(idxs) is np.ndarray and idxs.dtype in (np.int64, np.int32) and idxs.ndim == 1:
        return idxs  # as most are; whole_numbers() would say no more
    if not hasattr(idxs, "__len__"):
        if isinstance(idxs, numbers.Number):
            raise TypeError(f"{name} must be a sequence, not {idxs!r} alone; pass [{idxs}]")
        raise TypeError(
            f"{name} must be a sequence, not {type(idxs).__name__}; pass a list of dataset "
            f"indices, [] where the class is empty"
        )
    if isinstance(idxs, (list, tuple)) and len(idxs) == 0:
        return range(0)
    if isinstance(idxs, np.ma.MaskedArray):
        checks.refuse_masked(name, idxs, "pass what is not, its .compressed()")
    found = checks.whole_numbers(name, idxs, repair)
    return found if len(found) else range(0)


def _ascending_range(idxs: range, c: int) -> range:
    """The same indices by a positive step, 1 where there is one index alone."""
    if not idxs:
        return range(0)
    low, high = sorted((idxs[0], idxs[-1]))
    if high >= 1 << 63:
        raise ValueError(f"the indices of class {c} must be below 2^63, but one is {high}; mend it")
    return range(low, high + 1, 1 if low == high else abs(idxs.step))


def _mask_length(rows: list[Any], masks: list[bool], class_idxs: Any) -> int:
    """How many samples the masks are of: all classes have one, and all are as long."""
    if not all(masks):
        c = masks.index(True)
        given = class_idxs[c]
        repair = {Tensor: "mask.nonzero()[:, 0]", np.ndarray: "mask.nonzero()[0]"}
        told = repair.get(type(given), "np.flatnonzero(mask)")
        raise TypeError(
            f"the indices of class {c} must be dataset indices, not a mask; pass {told}, or a mask "
            f"for every class"
        )
    lengths = [len(row) for row in rows]
    if min(lengths) != max(lengths):
        c = lengths.index(next(n for n in lengths if n != lengths[0]))
        raise ValueError(
            f"masks must be as long as the dataset, each, but that of class 0 has {lengths[0]} and "
            f"that of class {c} has {lengths[c]}; pass one of every sample for each class"
        )
    return lengths[0]


def _ascending(row: Tensor | np.ndarray | range, c: int) -> Part:
    """A copy where the caller's is not in order."""
    if isinstance(row, range):
        found: Part = row
    elif isinstance(row, Tensor) and row.dtype == torch.bool:
        return torch.nonzero(row)[:, 0].cpu().numpy()
    else:
        found = row.cpu().numpy() if isinstance(row, Tensor) else row
        if not np.all(found[1:] >= found[:-1]):
            found = np.sort(found)
    if _size(found) and found[0] < 0:
        raise ValueError(
            f"dataset indices must be >= 0, but class {c} has {found[0]}; remove it or mend it"
        )
    return found


def _size(part: Part) -> int:
    if isinstance(part, range):  # len() ends at 2^63
        return (part[-1] - part[0]) // part.step + 1 if part else 0
    return len(part)


def _follow_each_other(parts: list[Part]) -> bool:
    """Whether they are 0, 1, 2, ... one after another."""
    expected = 0
    for part in parts:
        size = _size(part)
        if size and (part[0] != expected or part[-1] != expected + size - 1):
            return False
        if not isinstance(part, range) and not np.all(part[1:] > part[:-1]):
            return False
        expected += size
    return True


def _are_apart(parts: list[Part]) -> bool:
    """Whether they are ranges of which none begins before another has ended."""
    if not all(isinstance(part, range) for part in parts):
        return False
    ends = sorted((part[0], part[-1]) for part in parts if part)
    return all(before[1] < after[0] for before, after in pairwise(ends))


def _write(parts: list[Part], sizes: np.ndarray, members: np.ndarray) -> None:
    first = 0
    for part, size in zip(parts, sizes.tolist(), strict=True):
        if isinstance(part, range):
            for i in range(0, size, CHUNK):
                some = part[i : i + CHUNK]
                members[first + i : first + i + len(some)] = np.arange(
                    some.start, some.stop, some.step, dtype=members.dtype
                )
        else:
            members[first : first + size] = part
        first += size
