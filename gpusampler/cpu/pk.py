"""pk on the CPU: pk.c by a plan."""

from __future__ import annotations

from typing import Any

from gpusampler.bits.random_bits import MEMBER_RHO, MEMBER_SIGMA, RHO, SIGMA
from gpusampler.cpu.call import Array, Prepared, prepared, rows_each, run, threads_of


def _of(given: Any) -> Prepared:
    p = given.plan
    purposes = (purpose | given.segment << 8 for purpose in (RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA))
    numbers = (given.first, p.members_per_class, *purposes)
    return Prepared((p.rows, p.rotations), numbers)


def draw(out: Array, members: Array | None, given: Any, seed: int, g0: int, stride: int) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a pk plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a PKPlan
    """
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = threads_of(call)
    run("draw_pk", call, call.batches, rows_each(call, threads), threads)
