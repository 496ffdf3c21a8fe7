"""Random stratified plans, for the parity tests.

The three implementations are called here in one form: (case, first batch, batches, stride)
-> [n, B].
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from reference import slow_kinds as slow

from cases import POISON, on, tables_on
from gpusampler.bits import random_bits
from gpusampler.cpu import twin as cpu_stratified
from gpusampler.ops.given import Given
from gpusampler.plans import fixed as plan
from gpusampler.plans import weights
from gpusampler.plans.stratified import stratified_plan


@dataclass
class StratifiedCase:
    """A segment of a stream over grouped members; identity: the dataset is sorted by class."""

    sizes: list[int]
    batch_size: int
    alpha: float | list[float]  # or one weight a class
    seed: int = 0
    first: int = 0
    segment: int = 0
    start: list[int] | None = None
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
        if isinstance(self.alpha, list):
            self.weights = weights.given(self.alpha, sizes, drop_empty=True)
        else:
            self.weights = weights.linear(sizes, self.alpha, drop_empty=True)
        self.exact = [self.weights.values[i] for i in self.weights.which]
        self.plan = stratified_plan(
            self.weights, sizes, self.offsets, self.batch_size,
            None if self.start is None else np.array(self.start),
        )  # fmt: skip
        self.grid = plan.grid_or_none(self.batch_size)
        self.tie_key = random_bits.words(
            self.seed, random_bits.TREE, 0, segment=self.segment
        )[:2]  # fmt: skip

    def poisoned(self, n: int) -> np.ndarray:
        return np.full((n, self.batch_size), POISON)


def random_case(rnd: random.Random, most: int = 300) -> StratifiedCase:
    """Sizes, classes and batches that straddle every threshold; often C > B; weights of 0."""
    classes = rnd.choice([c for c in (1, 2, 3, 7, 31, 32, 33, 60, 300) if c <= most])
    kinds = rnd.choice([[0, 1, 2, 5], [1, 31, 32, 33], [33, 64, 100, 997], [0, 1, 20, 32, 500]])
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[0] = sizes[0] or 3
    alpha = rnd.choice([0.0, 0.3, 0.5, 1.0, None])
    mix = [rnd.choice([0.0, 1.0, 3.0, rnd.random()]) for _ in sizes]
    mix[0] = 1.0
    return StratifiedCase(
        sizes,
        rnd.choice([1, 2, 7, 31, 32, 33, 64, 100, 257]),
        mix if alpha is None else alpha,
        rnd.randrange(1 << 64),
        rnd.choice([0, 0, 5, (1 << 33) + 1]),
        rnd.choice([0, 0, 3]),
        rnd.choice([None, [rnd.randrange(1 << 40) for _ in sizes]]),
        rnd.choice([np.int32, np.int64]),
        rnd.random() < 0.25,
    )


def first_batch(rnd: random.Random, case: StratifiedCase) -> int:
    """Near and far batches of the segment."""
    r = rnd.choice([0, 1, 2, 1023, 5000, (1 << 32) - 2, (1 << 33) - 1, rnd.randrange(1 << 41)])
    return case.first + r


def tree_of(case: StratifiedCase) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Root and height, and what a plan says of rounds."""
    p = case.plan
    return (p.root, p.height), (p.round_batches, p.round_draws, *p.order_grid)


def given_of(case: StratifiedCase) -> Given:
    return Given(case.plan, case.first, case.segment)


def tables_of(case: StratifiedCase) -> tuple[np.ndarray, ...]:
    return case.plan.tables()


def twin(case: StratifiedCase, g0: int, n: int, stride: int = 1) -> list[list[int]]:
    out = case.poisoned(n)
    cpu_stratified.draw_stratified(out, case.members, given_of(case), case.seed, g0, stride)
    return out.tolist()


def slow_batch(case: StratifiedCase, g: int) -> list[int]:
    return slow.stratified_batch(
        case.groups, case.exact, case.batch_size, case.seed, g, case.start, case.first, case.segment
    )


def kernel(
    case: StratifiedCase, g0: int, n: int, device: torch.device, stride: int = 1
) -> list[list[int]]:
    from gpusampler.kernels import stratified

    out = on(device, case.poisoned(n))
    stratified.draw_stratified(
        out, on(device, case.members), tables_on(device, case.plan), given_of(case), random_bits,
        random_bits.signed(case.seed), g0, stride,
    )  # fmt: skip
    return out.tolist()
