"""Random plans: class sizes, members and the tables drawn from, for the parity tests.

All three implementations are called here in one form: (case, first batch, batches) -> [n, B].
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from reference import slow_reference as slow

from gpusampler.bits import random_bits
from gpusampler.cpu import twin as cpu
from gpusampler.ops.given import Given
from gpusampler.plans import fixed as plan
from gpusampler.plans import weights
from gpusampler.plans.random import random_plan

POISON = np.iinfo(np.int64).min


@dataclass
class Case:
    """One plan over grouped members; identity: the dataset is sorted by class."""

    sizes: list[int]
    batch_size: int
    alpha: float
    seed: int
    dtype: type = np.int32
    identity: bool = False
    groups: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        total = sum(self.sizes)
        order = np.arange(total)
        if not self.identity:
            order = np.random.default_rng(self.seed % 1000).permutation(2 * total)[:total]
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        cuts = zip(self.offsets, self.offsets[1:], strict=False)
        self.groups = [sorted(order[a:b].tolist()) for a, b in cuts]
        flat = [m for group in self.groups for m in group]
        self.members = None if self.identity else np.array(flat, dtype=self.dtype)
        sizes = np.array(self.sizes)
        self.weights = weights.linear(sizes, self.alpha, drop_empty=True)
        self.fixed = plan.fixed_plan(
            plan.fixed_counts(self.weights, self.batch_size), sizes, self.offsets
        )
        self.random = random_plan(self.weights, sizes, self.offsets)
        self.grid = plan.grid_or_none(self.batch_size)

    def poisoned(self, n: int) -> np.ndarray:
        return np.full((n, self.batch_size), POISON)


def random_case(rnd: random.Random) -> Case:
    """Sizes and batches that straddle every threshold: 1, the ranked sizes, the block."""
    classes = rnd.choice([1, 2, 3, 8, 30])
    kinds = rnd.choice([[0, 1, 2, 5], [1, 31, 32, 33], [33, 64, 100, 997], [0, 1, 20, 32, 500]])
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[0] = sizes[0] or 3
    return Case(
        sizes,
        rnd.choice([1, 2, 7, 31, 32, 33, 64, 100, 255, 256, 257]),
        rnd.choice([0.0, 0.3, 0.5, 1.0]),
        rnd.randrange(1 << 64),
        rnd.choice([np.int32, np.int64]),
        rnd.random() < 0.25,
    )


def first_batch(rnd: random.Random) -> int:
    return rnd.choice([0, 1, 1000, (1 << 32) - 2, 1 << 40, (1 << 53) + 1])


def twin_fixed(case: Case, g0: int, n: int, stride: int = 1) -> list[list[int]]:
    out = case.poisoned(n)
    cpu.draw_fixed(out, case.members, Given(case.fixed), case.seed, g0, stride)
    return out.tolist()


def twin_random(
    case: Case, g0: int, n: int, classes: np.ndarray | None = None, stride: int = 1
) -> list[list[int]]:
    out, given = case.poisoned(n), Given(case.random, classes=classes)
    cpu.draw_random(out, case.members, given, case.seed, g0, stride)
    return out.tolist()


def slow_fixed(case: Case, g0: int, n: int) -> list[list[int]]:
    counts = case.fixed.counts.tolist()
    return [slow.fixed_batch(case.groups, counts, case.seed, g) for g in range(g0, g0 + n)]


def slow_random(case: Case, g0: int, n: int) -> list[list[int]]:
    exact = [case.weights.values[i] for i in case.weights.which]
    return [
        slow.random_batch(case.groups, exact, case.batch_size, case.seed, g)
        for g in range(g0, g0 + n)
    ]


def slow_picked(case: Case, g0: int, classes: np.ndarray) -> list[list[int]]:
    labels = case.random.rows[:, plan.CLASS][classes].tolist()
    return [slow.picked_batch(case.groups, row, case.seed, g0 + i) for i, row in enumerate(labels)]


def on(device: torch.device, array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array).to(device)


def tables_on(device: torch.device, plan: Any) -> list[torch.Tensor]:
    return [torch.from_numpy(table).to(device) for table in plan.tables()]


def kernel_fixed(
    case: Case, g0: int, n: int, device: torch.device, stride: int = 1
) -> list[list[int]]:
    from gpusampler.kernels import launch

    out, tables = on(device, case.poisoned(n)), tables_on(device, case.fixed)
    launch.draw_fixed(
        out, on(device, case.members), tables, Given(case.fixed), random_bits,
        random_bits.signed(case.seed), g0, stride,
    )  # fmt: skip
    return out.tolist()


def kernel_random(
    case: Case,
    g0: int,
    n: int,
    device: torch.device,
    classes: np.ndarray | None = None,
    stride: int = 1,
) -> list[list[int]]:
    from gpusampler.kernels import launch

    out, tables = on(device, case.poisoned(n)), tables_on(device, case.random)
    given = Given(case.random, classes=on(device, classes))
    launch.draw_random(
        out, on(device, case.members), tables, given, random_bits, random_bits.signed(case.seed),
        g0, stride,
    )  # fmt: skip
    return out.tolist()
