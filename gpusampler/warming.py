"""Warming: everything compiled that the CPU path of some kinds needs, before it is needed.

Takes names of kinds. Leaves compiled code in the cache, for processes to come.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gpusampler import checks
from gpusampler.factory import KINDS, SamplerFactory
from gpusampler.index.class_index import ClassIndex

LABELS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
# where nothing is stored, and members of 32 and of 64 bits
CLASSES: tuple[Any, ...] = ([[0, 1, 2], [3]], [[0, 1, 3], [2]], [[0, 1, 1 << 31], [2]])

MIXED: dict[str, Any] = {"alpha": 0.0}  # three of one class and one of the other
IN_PAIRS: dict[str, Any] = {"classes_per_batch": 2, "members_per_class": 2}
BY_CLASS: dict[str, Any] = {"order": "class"}
UNIQUE: dict[str, Any] = {"unique": True}
OPTIONS = {
    "fixed": (MIXED, MIXED | BY_CLASS, MIXED | UNIQUE, MIXED | UNIQUE | BY_CLASS),
    "stratified": (MIXED, MIXED | BY_CLASS, MIXED | UNIQUE, MIXED | UNIQUE | BY_CLASS),
    "random": (MIXED, MIXED | BY_CLASS),
    "pk": (IN_PAIRS, IN_PAIRS | BY_CLASS),
}


def warmup(kinds: str | Iterable[str] | None = None) -> Path | None:
    """Compile what these kinds need on a CPU, and what ClassIndex.from_labels() does.

    kinds    "fixed", "random", "stratified", "pk", or several; None: all of them.
    Returns  the folder where it is kept; None where none can be written, and processes to come
             compile anew.
    Raises   ValueError: a kind that there is not.
    For images, and for jobs that begin many times: 60 to 150 s the first time, then 2 s.
    `gpusampler warmup KIND ...` does the same.
    """
    names = tuple(KINDS) if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
    names = tuple(checks.choice("kind", name, tuple(KINDS)) for name in names)
    from gpusampler.cpu import compiling
    from gpusampler.index import counting_sort

    for dtype in LABELS:
        for wide in (False, True):
            counting_sort.group(np.array([1, 0], dtype), 2, wide)
    for name, classes in product(names, CLASSES):
        index = ClassIndex.from_class_idxs(classes)
        for how in OPTIONS[name]:
            SamplerFactory().get(index, 4, 2, kind=name, device="cpu", **how).build()
    return compiling.kept_in()
