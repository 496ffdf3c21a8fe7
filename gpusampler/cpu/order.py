"""CPU order: batches class by class, compiled by numba.

Takes batches of places in members, in the order in which they were drawn, and the first place of
each class, ascending. Gives the members there, sorted by class; a class's stay in their order.
Knows nothing of how they were drawn.
"""

from __future__ import annotations

import numpy as np
from numba import uint32, uint64

from gpusampler.cpu import parallel
from gpusampler.cpu.bits import compiled, gather
from gpusampler.plans.order_guide import Guide

LEAST_PER_THREAD = 1 << 15
LEAST_BITS, MOST_BITS = 4, 11  # of a digit of a class, which has so many counters
NO_MEMBERS = np.empty(0, np.int64)


@compiled
def _classes_of(classes, places, firsts, cells, shift):
    """The last class whose first place is at most the place; of classes without members none."""
    last = uint64(len(cells) - 2)
    for e in range(len(places)):
        place = uint64(places[e])
        cell = min(place >> uint64(shift), last)
        low, high = uint64(cells[cell]), uint64(cells[cell + uint64(1)])
        while low < high:
            middle = (low + high + uint64(1)) >> uint64(1)
            if firsts[middle] <= place:
                low = middle
            else:
                high = middle - uint64(1)
        classes[e] = low


@compiled
def _sort_rows(out, members, identity, firsts, cells, shift, digit):
    """Digit by digit of the class, from the lowest: each time in the order of the last."""
    size, buckets = out.shape[1], 1 << digit
    class_bits = 0
    while len(firsts) - 1 >> class_bits:
        class_bits += 1
    classes, next_classes = np.empty(size, np.uint32), np.empty(size, np.uint32)
    places, next_places = np.empty(size, np.uint64), np.empty(size, np.uint64)
    ends = np.empty(buckets + 1, np.uint32)
    for t in range(len(out)):
        row = out[t]
        _classes_of(classes, row, firsts, cells, shift)
        for e in range(size):
            places[e] = row[e]
        for low in range(0, class_bits, digit):
            ends[:] = 0
            for e in range(size):
                ends[(classes[e] >> uint32(low) & uint32(buckets - 1)) + uint32(1)] += uint32(1)
            for k in range(buckets):
                ends[k + 1] += ends[k]
            for e in range(size):
                k = classes[e] >> uint32(low) & uint32(buckets - 1)
                to = ends[k]
                ends[k] = to + uint32(1)
                next_classes[to], next_places[to] = classes[e], places[e]
            classes, next_classes = next_classes, classes
            places, next_places = next_places, places
        gather(row, places, members, identity)


def by_class(out: np.ndarray, members: np.ndarray | None, guide: Guide) -> None:
    """From places in the order of draws to members class by class, [n, B] int64 in place.

    members  [M] int32 | int64, None where the dataset is sorted by class
    """
    n, size = out.shape
    digit = min(MOST_BITS, max(LEAST_BITS, size.bit_length()))
    held = NO_MEMBERS if members is None else members
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)

    def task(begin: int, end: int) -> None:
        _sort_rows(
            out[begin:end], held, members is None, guide.firsts, guide.cells, guide.shift, digit
        )

    parallel.run(task, n, -(-n // threads), threads)
