"""Round robin on the CPU: round_robin.c by a plan."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpusampler.cpu.call import Prepared, prepared, rows_each, run


def draw(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a RoundRobinPlan."""
    call = prepared(given, lambda given: Prepared((given.plan.rows,), ())).call(
        out, members, seed, g0, stride
    )
    run("draw_round_robin", call, len(out), rows_each(out, 1), 1)
