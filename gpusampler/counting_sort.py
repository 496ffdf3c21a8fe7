"""Counting sort: which places hold each label, in ascending order, compiled by numba.

Takes labels [N] of small non-negative integers, on the host.
Gives how many places each label has, and the places grouped by label. Reads the labels twice
and writes each place once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gpusampler import parallel

LEAST_PER_THREAD = 1 << 18

compiled = njit(nogil=True, cache=True)


@compiled
def _count(labels, begin, end, counts):
    """Add to counts; returns the number of descents."""
    descents = 0
    last = labels[begin]
    for i in range(begin, end):
        label = labels[i]
        counts[label] += 1
        descents += label < last
        last = label
    return descents


@compiled
def _place(labels, begin, end, heads, places):
    for i in range(begin, end):
        label = labels[i]
        at = heads[label]
        places[at] = i
        heads[label] = at + 1


def group(labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Count and group places by label.

    labels   [N] in [0, num_classes), which the caller has checked; any integer dtype, contiguous.
    Returns  counts [num_classes] int64; places [N] int32 (int64 from 2^31 on) grouped by label,
             ascending in each, None where the labels ascend already.
    """
    n = len(labels)
    threads = parallel.threads_for(n, max(LEAST_PER_THREAD, 4 * num_classes))
    each = -(-n // threads) if n else 1
    parts = -(-n // each)
    counts = np.zeros((parts, num_classes), np.int64)
    descents = np.zeros(parts, np.int64)

    def count(begin: int, end: int) -> None:
        descents[begin // each] = _count(labels, begin, end, counts[begin // each])

    parallel.run(count, n, each, threads)
    sizes = counts.sum(axis=0)
    seams = np.arange(each, n, each)
    if not descents.any() and np.all(labels[seams - 1] <= labels[seams]):
        return sizes, None

    # part t of class c begins behind all smaller classes and behind parts before t of class c
    heads = np.cumsum(counts, axis=0) - counts
    heads += np.cumsum(sizes) - sizes
    places = np.empty(n, np.int32 if n < 1 << 31 else np.int64)

    def place(begin: int, end: int) -> None:
        _place(labels, begin, end, heads[begin // each], places)

    parallel.run(place, n, each, threads)
    return sizes, places
