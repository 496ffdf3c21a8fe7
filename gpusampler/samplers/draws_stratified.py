"""Stratified draws: what kind stratified makes of one class mix, with its tables on the device.

Takes weights per class, a class index and a seed. Gives a segment, which draws batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from gpusampler.bits import random_bits
from gpusampler.index.class_index import ClassIndex
from gpusampler.ops import given
from gpusampler.ops import windows as ops
from gpusampler.plans import blocks
from gpusampler.plans.stratified import stratified_plan
from gpusampler.stream.history import Mark
from gpusampler.stream.segment import Segment


class StratifiedSegment(Segment):
    """Batches that each have every class's quota, rounded down or up."""

    def __init__(
        self, mark: Mark, index: ClassIndex, seed: int, batch_size: int, first: int,
        by_class: bool = False, unique: bool = False,
    ):  # fmt: skip
        mix, sizes = mark.mix, index.host_sizes
        self._plan = stratified_plan(mix, sizes, index.host_offsets, batch_size, mark.start)
        if unique:
            start = blocks.aligned(self._plan.start, sizes, *self._plan.draws)
            self._plan = blocks.with_blocks(replace(self._plan, start=start))
        super().__init__(mark.number, first, self._plan.start)
        self.index, self.seed = index, seed
        self._means = mix.shares() * batch_size
        self._kind = "stratified_unique" if unique else "stratified"
        where = index.device, self._kind
        self._given = given.tables_on(*where, self._plan, first, mark.number, by_class)

    def mean_counts(self) -> np.ndarray:
        return self._means

    def count_bounds(self) -> np.ndarray:
        """[C] float64: the most that a class's draws differ from its due at any moment."""
        return self._plan.count_bounds()

    def draws(self, n: int) -> np.ndarray:
        return self._plan.draws_before(self.seed, self.number, n)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        seed = random_bits.signed(self.seed)
        ops.draw(self._kind, out, self.index.members, *self._given, seed, g0, stride)
