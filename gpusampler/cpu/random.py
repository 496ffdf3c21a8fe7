"""Random on the CPU: random.c by a plan."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpusampler.cpu import parallel
from gpusampler.cpu.call import LEAST_PER_THREAD, NO_ROW, SLAB, Prepared, prepared, run


def _of(given: Any) -> Prepared:
    p = given.plan
    shift = 65 - (len(p.guide) - 1).bit_length()
    return Prepared((p.rows, p.cuts, p.guide), (shift, p.steps))


def draw(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a RandomPlan
    Raises   ValueError: given.classes names a row that the plan has not.
    """
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    classes = None if given.classes is None else np.asarray(given.classes)
    if classes is not None:
        call.tables[3], call.rows[3] = classes.ctypes.data, classes.size
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    if run("draw_random", call, out.size, SLAB, threads) == NO_ROW:
        raise ValueError(
            f"classes must be rows of the plan, in [0, {len(given.plan.rows)}), and some are not; "
            f"pass what torch.multinomial drew by the plan's shares"
        )
