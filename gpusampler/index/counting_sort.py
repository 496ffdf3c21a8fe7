"""Counting sort: which places hold each label, in ascending order, by counting_sort.c.

Takes labels [N] of small non-negative integers, on the host.
Gives how many places each label has, and the places grouped by label. Reads the labels twice
and writes each place once. Whatever the labels turn into between the two, it stays within its
tables and then says so: another thread may write them.
"""

from __future__ import annotations

import numpy as np

from gpusampler.cpu import library, parallel

LEAST_PER_THREAD = 1 << 18


def _type(labels: np.ndarray) -> int:
    """Bytes of a label, negative where it has a sign."""
    return labels.itemsize if labels.dtype.kind == "u" else -labels.itemsize


def _count(labels: np.ndarray, begin: int, end: int, counts: np.ndarray, seen: np.ndarray) -> None:
    """Add to counts; seen becomes the descents, the first and the last label, and how many labels
    were no class."""
    library.opened().count_labels(
        labels.ctypes.data, _type(labels), begin, end, counts.ctypes.data, len(counts),
        seen.ctypes.data,
    )  # fmt: skip


def _place(labels: np.ndarray, begin: int, end: int, heads: np.ndarray, places: np.ndarray) -> None:
    """Each place goes to its label's head, which moves on; without a class or room, nowhere."""
    library.opened().place_labels(
        labels.ctypes.data, _type(labels), begin, end, heads.ctypes.data, len(heads),
        places.ctypes.data, len(places), places.itemsize,
    )  # fmt: skip


def group(
    labels: np.ndarray, num_classes: int, wide: bool | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Count and group places by label.

    labels   [N] in [0, num_classes), which the caller has checked; any integer dtype, contiguous.
    wide     whether places have 64 bits; None: from 2^31 labels on.
    Returns  counts [num_classes] int64; places [N] int32 or int64 grouped by label, ascending in
             each, None where the labels ascend already.
    Raises   ValueError: the labels changed meanwhile.
    """
    n, labels = len(labels), np.ascontiguousarray(labels)
    threads = parallel.threads_for(n, max(LEAST_PER_THREAD, 4 * num_classes))
    each = -(-n // threads) if n else 1
    parts = -(-n // each)
    counts = np.zeros((parts, num_classes), np.int64)
    seen = np.zeros((parts, 4), np.int64)

    def count(begin: int, end: int) -> None:
        _count(labels, begin, end, counts[begin // each], seen[begin // each])

    parallel.run(count, n, each, threads)
    sizes = counts.sum(axis=0)
    descents, first, last, wrong = seen.T
    _check(not wrong.any())
    if not descents.any() and np.all(last[:-1] <= first[1:]):
        return sizes, None

    # part t of class c begins behind all smaller classes and behind parts before t of class c
    ends = np.cumsum(counts, axis=0) + (np.cumsum(sizes) - sizes)
    heads = ends - counts
    wide = n >= 1 << 31 if wide is None else wide
    places = np.empty(n, np.int64 if wide else np.int32)

    def place(begin: int, end: int) -> None:
        _place(labels, begin, end, heads[begin // each], places)

    parallel.run(place, n, each, threads)
    _check(np.array_equal(heads, ends))  # then each wrote its own places, and all of them
    return sizes, places


def _check(unchanged: bool) -> None:
    if not unchanged:
        raise ValueError(
            "labels must stay as they are while they are grouped, and they changed; wait for what "
            "writes them, or pass a copy"
        )
