"""Stratified draws: what kind stratified makes of one class mix, with its tables on the device.

Takes weights per class, a class index and a seed. Gives a segment, which draws batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gpusampler import given, ops, random_bits, weights
from gpusampler.class_index import ClassIndex
from gpusampler.class_rows import BASE
from gpusampler.plan_stratified import stratified_plan
from gpusampler.segments import Segment


class StratifiedSegment(Segment):
    """Batches that each have every class's quota, rounded down or up."""

    def __init__(
        self, mix: weights.Weights, index: ClassIndex, seed: int, batch_size: int,
        number: int, first: int, start: np.ndarray,
    ):  # fmt: skip
        super().__init__(number, first, start)
        self.index, self.seed = index, seed
        self._plan = stratified_plan(mix, index.host_sizes, index.host_offsets, batch_size, start)
        self._means = mix.shares() * batch_size
        self._given = given.tables_on(index.device, "stratified", self._plan, first, number)

    def mean_counts(self) -> np.ndarray:
        return self._means

    def count_bounds(self) -> np.ndarray:
        """[C] float64: the most that a class's draws differ from its due at any moment."""
        return self._plan.count_bounds()

    def draws(self, n: int) -> np.ndarray:
        return self._plan.draws_before(self.seed, self.number, n)

    def identity(self) -> bytes:
        p = self._plan
        rounds = np.array([p.round_batches, p.round_draws])
        told = p.rows[:, BASE], p.leaf_class, p.links, p.shares, rounds
        return b"".join(np.ascontiguousarray(x, f"<i{x.itemsize}").tobytes() for x in told)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        seed = random_bits.signed(self.seed)
        ops.draw("stratified", out, self.index.members, *self._given, seed, g0, stride)
