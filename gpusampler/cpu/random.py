"""Random on the CPU: random.c by a plan."""

from __future__ import annotations

from typing import Any

from gpusampler.cpu.call import NO_ROW, SLAB, Array, Prepared, address, prepared, run, threads_of


def _of(given: Any) -> Prepared:
    p = given.plan
    shift = 65 - (len(p.guide) - 1).bit_length()
    return Prepared((p.rows, p.cuts, p.guide), (shift, p.steps))


def draw(out: Array, members: Array | None, given: Any, seed: int, g0: int, stride: int) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a RandomPlan
    Raises   ValueError: given.classes names a row that the plan has not.
    """
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    if given.classes is not None:
        call.tables[3], call.rows[3] = address(given.classes), call.batches * call.size
    threads = threads_of(call)
    if run("draw_random", call, call.batches * call.size, SLAB, threads) == NO_ROW:
        raise ValueError(
            f"classes must be rows of the plan, in [0, {len(given.plan.rows)}), and some are not; "
            f"pass what torch.multinomial drew by the plan's shares"
        )
