"""pk plans at random, and all implementations of them in one form: (case, batches) -> [n][B].

twin: compiled for the CPU. kernel: Triton, native or interpreted. executed: the compiled PTX, on
the emulator. slow: plain Python.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from emulator import aot, ptx
from emulator.emulated import MEMBERS
from gpusampler.kernels import launch, pk
from reference import slow_kinds

from cases import POISON, on, tables_on
from gpusampler.bits import random_bits
from gpusampler.cpu import twin as cpu_pk
from gpusampler.ops.given import Given
from gpusampler.plans import fixed as plan
from gpusampler.plans import pk as plan_pk

PURPOSES = {
    name: getattr(random_bits, name)
    for name in ("SLOT", "RHO", "SIGMA", "MEMBER_RHO", "MEMBER_SIGMA")
}


@dataclass
class PKCase:
    """One pk plan over grouped members; identity: the dataset is sorted by class."""

    sizes: list[int]
    classes: int
    each: int
    seed: int
    first: int = 0
    segment: int = 0
    dtype: type = np.int32
    identity: bool = False
    groups: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        cuts = list(zip(self.offsets.tolist(), self.offsets[1:].tolist(), strict=False))
        self.members = None
        if self.identity:
            self.groups = [range(a, b) for a, b in cuts]
        else:
            total = sum(self.sizes)
            order = np.random.default_rng(self.seed % 1000).permutation(2 * total)[:total]
            self.groups = [sorted(order[a:b].tolist()) for a, b in cuts]
            self.members = np.array([m for group in self.groups for m in group], self.dtype)
        self.plan = plan_pk.pk_plan(np.array(self.sizes), self.offsets, self.classes, self.each)
        self.batch_size = self.classes * self.each
        self.grid = plan.grid_or_none(self.batch_size)

    def poisoned(self, n: int) -> np.ndarray:
        return np.full((n, self.batch_size), POISON)


def random_case(rnd: random.Random, largest_batch: int = 1000) -> PKCase:
    """Sizes, classes and members that straddle every threshold, and divide or do not."""
    kinds = rnd.choice(
        [[0, 1, 2, 5], [1, 31, 32, 33], [33, 64, 100, 997], [0, 1, 20, 32, 35, 500], [3], [40]]
    )
    sizes = [rnd.choice(kinds) for _ in range(rnd.choice([1, 2, 3, 7, 13, 31, 32, 33, 40, 97]))]
    sizes[0] = sizes[0] or 3
    filled = sum(n > 0 for n in sizes)
    each = rnd.choice([1, 2, 3, 4, 5, 8, 9, 17, 33, 64, 100])
    classes = min(rnd.choice([1, filled, rnd.randint(1, filled)]), max(1, largest_batch // each))
    return PKCase(
        sizes, classes, each, rnd.randrange(1 << 64),
        first=rnd.choice([0, 0, 5, (1 << 33) + 1]),
        segment=rnd.choice([0, 0, 1, (1 << 24) - 1]),
        dtype=rnd.choice([np.int32, np.int64]),
        identity=rnd.random() < 0.25,
    )  # fmt: skip


def batches(rnd: random.Random, case: PKCase) -> tuple[int, int, int]:
    """The first batch, how many, and how far apart."""
    g0 = case.first + rnd.choice([0, 1, 1000, (1 << 32) - 2, 1 << 40, (1 << 50) + 1])
    return g0, rnd.choice([1, 2, 7]), rnd.choice([1, 1, 3, 1 << 20])


def slow(case: PKCase, g0: int, n: int, stride: int = 1) -> list[list[int]]:
    return [
        slow_kinds.pk_batch(
            case.groups, case.classes, case.each, case.seed, g, case.first, case.segment
        )
        for g in range(g0, g0 + n * stride, stride)
    ]


def twin(case: PKCase, g0: int, n: int, stride: int = 1) -> list[list[int]]:
    out = case.poisoned(n)
    given = Given(case.plan, case.first, case.segment)
    cpu_pk.draw_pk(out, case.members, given, case.seed, g0, stride)
    return out.tolist()


def kernel(case: PKCase, g0: int, n: int, device: torch.device, stride: int = 1) -> list[list[int]]:
    out, given = on(device, case.poisoned(n)), Given(case.plan, case.first, case.segment)
    pk.launch(
        out, on(device, case.members), tables_on(device, case.plan), given, random_bits,
        random_bits.signed(case.seed), g0, stride,
    )  # fmt: skip
    return out.tolist()


# ------------------------------------------------------------------ compiled ahead of time
SIGNATURES = {
    "pk_visits": {
        "visits_ptr": "*i32", "first_ptr": "*i64", "keys_ptr": "*i32", "rows_ptr": "*i64",
        "rotations_ptr": "*i64", "n_visits": "i64", "n": "i64", "per_batch": "u32",
        "per_batch_inverse": "u32", "per_class": "u32", "seed": "i64", "segment": "i64",
        "g0": "i64", "stride": "i64", "r0": "i64",
    },
    "draw_pk": {
        "out_ptr": "*i64", "members_ptr": "*i32", "visits_ptr": "*i32", "first_ptr": "*i64",
        "keys_ptr": "*i32", "n_slots": "i32", "size": "u32", "size_inverse": "u32",
        "per_class": "u32", "per_class_inverse": "u32", "per_batch": "u32", "slot_a": "u32",
        "slot_b": "u32", "slot_inverse": "u32",
    },
}  # fmt: skip
FEW, GRID, MIXED, FULL = 0, 1, 2, 3  # SIZES of kernels/permutation.py


def visits_spec(target: str, sigma: int, rho: int) -> dict[str, Any]:
    return {
        "kernel": "gpusampler.kernels.pk:pk_visits",
        "target": target,
        "signature": SIGNATURES["pk_visits"],
        "constexprs": {
            **PURPOSES, "SIGMA_SIZES": sigma, "RHO_SIZES": rho, "BLOCK": launch.TABLE_BLOCK
        },
        "num_warps": launch.WARPS,
    }  # fmt: skip


def draw_spec(
    target: str, sigma: int, rho: int, slot: int, copies: bool = False, members: str = "*i32",
    identity: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return {
        "kernel": "gpusampler.kernels.pk:draw_pk",
        "target": target,
        "signature": {**SIGNATURES["draw_pk"], "members_ptr": members},
        "constexprs": {
            "IDENTITY": identity, "COPIES": copies, "SIGMA_SIZES": sigma, "RHO_SIZES": rho,
            "SLOT_SIZES": slot, "BLOCK": pk.DRAW_BLOCK,
        },
        "num_warps": launch.WARPS,
    }  # fmt: skip


def variants(target: str) -> dict[str, dict[str, Any]]:
    """Those whose code differs most, by name; the largest of each kernel first."""
    return {
        "visits-grid": visits_spec(target, GRID, GRID),
        "draw-mixed-copies": draw_spec(target, MIXED, MIXED, GRID, copies=True),
        "visits-few-grid": visits_spec(target, FEW, GRID),
        "draw-few-copies": draw_spec(target, FEW, FEW, FULL, copies=True),
        "draw-grid": draw_spec(target, GRID, GRID, FULL),
    }


def _run(spec: dict[str, Any], lanes: int, params: list[Any]) -> Counter[str]:
    made = aot.compile_kernel(spec)
    grid = -(-lanes // spec["constexprs"]["BLOCK"])
    return ptx.parse(made["ptx"]).launch((grid,), params, made["shared"])


def executed(
    case: PKCase, g0: int, n: int, target: str, stride: int = 1
) -> tuple[list[list[int]], Counter[str]]:
    """The batches, and the instructions executed, with those of both kernels."""
    p, size, per_batch = case.plan, case.batch_size, case.classes
    count, kept = n * per_batch, len(p.rows) - len(p.rows) % per_batch
    visits = ptx.Buffer(np.zeros((count, 16), np.int32), "visits", writable=True)
    firsts = ptx.Buffer(np.zeros(count, np.int64), "firsts", writable=True)
    keys = ptx.Buffer(np.zeros((n, 2), np.int32), "keys", writable=True)
    counts = _run(
        visits_spec(
            target, launch.row_sizes(kept, kept), launch.row_sizes(len(p.rows), len(p.rows))
        ),
        count + n,
        [visits, firsts, keys, ptx.Buffer(p.rows, "rows"), ptx.Buffer(p.rotations, "rotations"),
         count, n, per_batch, launch.inverse(per_batch), case.each, random_bits.signed(case.seed),
         case.segment, g0, stride, g0 - case.first],
    )  # fmt: skip
    for table in (visits, firsts, keys):
        table.assert_fully_written()
    a, b = case.grid
    dtype = np.dtype(case.dtype)
    held = np.zeros(0, dtype) if case.members is None else case.members
    out = ptx.Buffer(case.poisoned(n), "out", writable=True)
    counts += _run(
        draw_spec(
            target, launch.row_sizes(*p.spans[:2]), launch.row_sizes(*p.spans[2:]),
            launch.slot_sizes(size, a, b), p.copies, MEMBERS[dtype], case.members is None,
        ),
        n * size,
        [out, ptx.Buffer(held, "members"), ptx.Buffer(visits.array, "visits"),
         ptx.Buffer(firsts.array, "firsts"), ptx.Buffer(keys.array, "keys"), n * size, size,
         launch.inverse(size), case.each, launch.inverse(case.each), per_batch, a, max(b, 1),
         launch.inverse(max(b, 1))],
    )  # fmt: skip
    out.assert_fully_written()
    return out.array.tolist(), counts
