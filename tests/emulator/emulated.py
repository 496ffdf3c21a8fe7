"""The launches of gpusampler/kernels/launch.py, on the PTX emulator instead of a GPU.

Each gives the batches and the instructions executed. Outputs must be wholly written.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from cases import POISON, Case
from gpusampler.kernels import launch

from emulator import aot, ptx, shipped
from gpusampler.bits import random_bits

NAME = {value: name for name, value in shipped.SIZES.items()}
MEMBERS = {np.dtype(np.int32): "*i32", np.dtype(np.int64): "*i64"}


def run(spec: dict, lanes: int, params: list) -> Counter:
    made = aot.compile_kernel(spec)
    grid = -(-lanes // spec["constexprs"]["BLOCK"])
    return ptx.parse(made["ptx"]).launch((grid,), params, made["shared"])


def members_of(case: Case) -> tuple[ptx.Buffer, dict]:
    if case.members is None:
        return ptx.Buffer(np.zeros(0, np.int32), "members"), {"identity": True}
    return ptx.Buffer(case.members, "members"), {"members": MEMBERS[case.members.dtype]}


def fixed(
    case: Case, g0: int, n: int, target: str, slots: str | None = None
) -> tuple[list[list[int]], Counter]:
    plan, size = case.fixed, case.batch_size
    ends = plan.key_ends(n)
    rows = ptx.Buffer(plan.rows, "rows")
    window = ptx.Buffer(np.zeros((len(plan.rows), 8), np.int32), "window", writable=True)
    keys = ptx.Buffer(np.zeros((ends[-1] + n, 2), np.int32), "keys", writable=True)
    lanes = int(ends[-1]) + n
    counts = run(
        shipped.tables(target), lanes,
        [window, keys, rows, ptx.Buffer(ends, "key_ends"), len(plan.rows), int(ends[-1]), n,
         len(plan.rows).bit_length(), random_bits.signed(case.seed), g0, 1],
    )  # fmt: skip
    window.assert_fully_written()
    keys.assert_fully_written()

    members, variant = members_of(case)
    a, b = case.grid
    sizes = NAME[launch.row_sizes(plan.smallest, plan.largest)]
    slots = slots or NAME[launch.slot_sizes(size, a, b)]
    out = ptx.Buffer(np.full((n, size), POISON), "out", writable=True)
    counts += run(
        shipped.fixed(target, sizes, slots, **variant), n * size,
        [out, members, rows, ptx.Buffer(plan.rank_row, "rank_row"),
         ptx.Buffer(window.array, "window"), ptx.Buffer(keys.array, "keys"), n * size,
         int(ends[-1]), size, launch.inverse(size), a, max(b, 1), launch.inverse(max(b, 1))],
    )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts


def random(
    case: Case, g0: int, n: int, target: str, classes: np.ndarray | None = None
) -> tuple[list[list[int]], Counter]:
    plan, size = case.random, case.batch_size
    members, variant = members_of(case)
    out = ptx.Buffer(np.full((n, size), POISON), "out", writable=True)
    drawn = np.zeros(0, np.int64) if classes is None else classes
    counts = run(
        shipped.random(target, drawn=classes is not None, **variant), n * size,
        [out, members, ptx.Buffer(plan.rows, "rows"), ptx.Buffer(plan.cuts, "cuts"),
         ptx.Buffer(plan.guide, "guide"), ptx.Buffer(drawn, "classes"), n * size, size,
         launch.inverse(size), plan.steps, 33 - (len(plan.guide) - 1).bit_length(),
         random_bits.signed(case.seed), g0, 1],
    )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts
