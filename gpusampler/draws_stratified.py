"""Stratified draws: what kind stratified makes of one class mix, with its tables on the device.

Takes weights per class, a class index and a seed. Gives a segment, which draws batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gpusampler import ops, plan, random_bits, weights
from gpusampler.class_index import ClassIndex
from gpusampler.draws import KeyEnds
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
        self._tie_key = random_bits.words(seed, random_bits.TREE, 0, segment=number)[:2]
        p = self._plan
        tables = (
            p.rows, p.base_rows, p.rank_row, p.start, p.leaf_class, p.class_leaf, p.shares, p.links
        )  # fmt: skip
        self._tables = tuple(torch.from_numpy(table).to(index.device) for table in tables)
        self._rounds = p.round_batches, p.round_draws, *p.order_grid
        self._grid = plan.grid_or_none(batch_size)
        self._key_ends = KeyEnds(p.key_ends, index.device)

    def mean_counts(self) -> np.ndarray:
        return self._means

    def count_bounds(self) -> np.ndarray:
        """[C] float64: the most that a class's draws differ from its due at any moment."""
        return self._plan.count_bounds()

    def draws(self, n: int) -> np.ndarray:
        return self._plan.draws_before(self.seed, self.number, n)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        p = self._plan
        ops.draw_stratified(
            out, self.index.members, self._tables, (p.root, p.height), self._rounds,
            *self._key_ends((len(out) - 1) * stride + 1), p.smallest, p.largest, *self._grid,
            random_bits.signed(self.seed), self._tie_key, g0, stride, self.first, self.number,
        )  # fmt: skip
