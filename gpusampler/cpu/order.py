"""Order on the CPU: order.c, batches class by class."""

from __future__ import annotations

from gpusampler.cpu.call import Array, Prepared, run, threads_of
from gpusampler.plans.order_guide import Guide

LEAST_BITS, MOST_BITS = 4, 11  # of a digit of a class, which has so many counters


def by_class(out: Array, members: Array | None, guide: Guide) -> None:
    """From places in the order of draws to members class by class, [n, B] int64 in place.

    members  [M] int32 | int64, None where the dataset is sorted by class
    """
    n, size = out.shape
    digit = min(MOST_BITS, max(LEAST_BITS, size.bit_length()))
    prepared = Prepared((guide.firsts, guide.cells), (guide.shift, digit))
    call = prepared.call(out, members, 0, 0, 1)
    threads = threads_of(call)
    run("sort_by_class", call, n, -(-n // threads), threads)
