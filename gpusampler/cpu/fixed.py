"""Fixed on the CPU: fixed.c by a plan."""

from __future__ import annotations

from typing import Any

from gpusampler.cpu.call import Array, Prepared, prepared, rows_each, run, threads_of


def _of(given: Any) -> Prepared:
    p = given.plan
    blocks = None if p.blocks is None else p.blocks.table
    return Prepared((p.rows, p.class_rows, blocks), ())


def draw(out: Array, members: Array | None, given: Any, seed: int, g0: int, stride: int) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a fixed plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a FixedPlan
    """
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = threads_of(call)
    run("draw_fixed", call, call.batches, rows_each(call, threads), threads)
