"""Round robin on the CPU: round_robin.c by a plan."""

from __future__ import annotations

from typing import Any

from gpusampler.cpu.call import Array, Prepared, prepared, rows_each, run, threads_of


def _of(given: Any) -> Prepared:
    return Prepared((given.plan.rows,), ())


def draw(out: Array, members: Array | None, given: Any, seed: int, g0: int, stride: int) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a RoundRobinPlan."""
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    threads = threads_of(call)
    run("draw_round_robin", call, call.batches, rows_each(call, threads), threads)
