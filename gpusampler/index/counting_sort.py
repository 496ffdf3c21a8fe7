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
    n, data = len(labels), labels.ctypes.data
    kind = labels.itemsize if labels.dtype.kind == "u" else -labels.itemsize
    count_labels, place_labels = library.opened().count_labels, library.opened().place_labels
    threads = parallel.threads_for(n, max(LEAST_PER_THREAD, 4 * num_classes))
    each = -(-n // threads) if n else 1
    parts = -(-n // each)
    counts = np.zeros((parts, num_classes), np.int64)
    seen = np.zeros((parts, 4), np.int64)

    def count(begin: int, end: int) -> None:
        part = begin // each
        count_labels(
            data, kind, begin, end, counts[part].ctypes.data, num_classes, seen[part].ctypes.data
        )

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
        place_labels(
            data, kind, begin, end, heads[begin // each].ctypes.data, num_classes,
            places.ctypes.data, n, places.itemsize,
        )  # fmt: skip

    parallel.run(place, n, each, threads)
    _check(np.array_equal(heads, ends))  # then each wrote its own places, and all of them
    return sizes, places


def _check(unchanged: bool) -> None:
    if not unchanged:
        raise ValueError(
            "labels must stay as they are while they are grouped, and they changed; wait for what "
            "writes them, or pass a copy"
        )
