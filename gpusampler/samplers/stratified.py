"""Stratified: each batch has every class's quota, rounded down or up, evenly over time.

Takes weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler.plans import blocks, weights
from gpusampler.plans.stratified import MAX_BATCHES, stratified_plan
from gpusampler.plans.weights import Weights
from gpusampler.samplers.mixed import MixedBatchSampler
from gpusampler.stream.history import Mark
from gpusampler.stream.segment import Segment, Stretch


class StratifiedBatchSampler(MixedBatchSampler):
    """Batches that each hold every class's share of the batch size, rounded down or up.

    A class's draws stay within count_bounds of its share at every moment, however small it is: two
    draws or less for nearly every mix, and twice that over any run of batches, for as long as it
    runs. So no class is left out for good. A class goes through all its members, in a new order
    each time, before any repeats. Where all shares are whole numbers these are the batches of
    WeightedFixedBatchSampler.

    class_weights  the class mix: a Weights, or [C] shares of the draws, numbers >= 0 in any unit
                   (not rates, as of WeightedRandomBatchSampler). None where shares= or rates= says
                   it, as of SamplerFactory.get().
    class_idxs     one sequence of dataset indices a class, or a ClassIndex.
    batch_size, n_batches
    device, seed, shard, order, unique, ...   as for WeightedFixedBatchSampler.

    Batches are numbered below 2^42. A batch takes O(batch_size * log(C)) work.

    Classes of less than one draw a batch are shared out in groups that together have at most one,
    and two of a group never meet in a batch. Groups hold classes of like shares; where all shares
    are the same they are formed anew each time all have been drawn equally often, after 256 batches
    at least.

    >>> sampler = StratifiedBatchSampler([3, 2], [range(9), range(9, 15)], 4, 5, device="cpu")
    >>> [sum(i < 9 for i in batch) for batch in sampler], sampler.class_counts.tolist()
    ([2, 3, 2, 3, 2], [12.0, 8.0])
    """

    kind = "stratified"

    def __init__(
        self,
        class_weights: Any,
        class_idxs: Any,
        batch_size: int,
        n_batches: int,
        *,
        shares: Any = None,
        rates: Any = None,
        device: Any = None,
        seed: int | None = 0,
        window_bytes: int = 1 << 28,
        shard: Any = None,
        unbroken: bool = False,
        order: str = "shuffle",
        unique: bool = False,
        weighting: str = "linear",
        drop_empty: bool = False,
        schedule: Any = None,
        sampler: Any = None,
    ):
        super().__init__(
            class_idxs, batch_size, n_batches, device=device, seed=seed, unbroken=unbroken,
            order=order, unique=unique,
            window_bytes=window_bytes, shard=shard, sampler=sampler,
            weighting=weighting, drop_empty=drop_empty,
        )  # fmt: skip
        mix = self._first_mix(class_weights, weights.given, shares=shares, rates=rates)
        self._begin_with(mix, schedule)

    def _segment(self, mark: Mark) -> Segment:
        return StratifiedSegment(self._stretch(mark), mark.mix)

    @property
    def count_bounds(self) -> Tensor:
        """[C] float64, on the host: the most that a class's draws since the mix began can differ
        from its share of them, at any moment of this epoch's mix."""
        mark, _ = self._history.at(self.epoch, self)
        return torch.from_numpy(self.segment_of(mark).count_bounds())  # type: ignore[attr-defined]

    def _last_batch(self) -> int:
        return min(super()._last_batch(), MAX_BATCHES - 1)


class StratifiedSegment(Segment):
    """Batches that each have every class's quota, rounded down or up."""

    def __init__(self, stretch: Stretch, mix: Weights):
        index, size = stretch.index, stretch.batch_size
        plan = stratified_plan(mix, index.host_sizes, index.host_offsets, size, stretch.start)
        if stretch.unique:
            start = blocks.aligned(stretch.start, index.host_sizes, *plan.draws)
            stretch, plan = replace(stretch, start=start), replace(plan, start=start)
            super().__init__(stretch, blocks.with_blocks(plan), "stratified_unique")
        else:
            super().__init__(stretch, plan, "stratified")
        self._means = mix.shares() * size

    def mean_counts(self) -> np.ndarray:
        return self._means

    def count_bounds(self) -> np.ndarray:
        """[C] float64: the most that a class's draws differ from its due at any moment."""
        return self._plan.count_bounds()

    def draws(self, n: int) -> np.ndarray:
        return self._plan.draws_before(self.seed, self.number, n)
