"""Order on the CPU: order.c, batches class by class."""

from __future__ import annotations

import numpy as np

from gpusampler.cpu import parallel
from gpusampler.cpu.call import LEAST_PER_THREAD, Prepared, run
from gpusampler.plans.order_guide import Guide

LEAST_BITS, MOST_BITS = 4, 11  # of a digit of a class, which has so many counters


def by_class(out: np.ndarray, members: np.ndarray | None, guide: Guide) -> None:
    """From places in the order of draws to members class by class, [n, B] int64 in place.

    members  [M] int32 | int64, None where the dataset is sorted by class
    """
    n, size = out.shape
    digit = min(MOST_BITS, max(LEAST_BITS, size.bit_length()))
    prepared = Prepared((guide.firsts, guide.cells), (guide.shift, digit))
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    call = prepared.call(out, members, 0, 0, 1)
    run("sort_by_class", call, n, -(-n // threads), threads)
