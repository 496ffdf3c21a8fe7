"""Fixed: the same class counts in every batch.

Takes counts or weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpusampler.plans import blocks, mixes
from gpusampler.plans.fixed import fixed_counts, fixed_plan
from gpusampler.plans.uneven import warn_uneven
from gpusampler.plans.weights import Weights
from gpusampler.samplers.mixed import MixedBatchSampler
from gpusampler.stream.history import Mark
from gpusampler.stream.segment import Segment, Stretch


class WeightedFixedBatchSampler(MixedBatchSampler):
    """Batches with the same class counts each; a class goes through all its members, in a new
    order each time, before any repeats.

    class_samples_per_batch  [C] whole numbers >= 0; their sum is the batch size. Or a Weights, and
                             batch_size.
    class_idxs               one sequence of dataset indices a class, or a ClassIndex.
    n_batches                batches in an epoch.
    device                   where batches are built; None: CUDA if there is one, else the CPU.
    seed                     any integer, modulo 2^64.
    shard                    None, or this rank's part of the stream, see shard(): "auto",
                             (rank, world_size), a ProcessGroup, a DeviceMesh of one dimension.
    unbroken                 True: an iteration goes on where the last one stopped, across epochs,
                             for loops that cut epochs short; set_epoch() then sets nothing.
    order                    "shuffle": a batch's slots in a keyed order. "class": class by class,
                             ascending; those of a class in the order in which they are drawn.
    unique                   True: no batch has a member of a class twice, if the class has as many
                             as the batch has draws of it; a class of fewer gives each of its
                             members as often, or once more.
    weighting, drop_empty, schedule
                             how set_alpha() makes a mix of alpha; alpha by epoch, from 1 on.
    sampler                  for Lightning, which passes a DistributedSampler here.

    >>> sampler = WeightedFixedBatchSampler([1, 2], [[7], [3, 4, 5]], 2, device="cpu")
    >>> [sorted(batch)[-1] for batch in sampler]
    [7, 7]
    """

    kind = "fixed"

    def __init__(
        self,
        class_samples_per_batch: Any,
        class_idxs: Any,
        n_batches: int,
        *,
        batch_size: int | None = None,
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
        mix, counts = class_samples_per_batch, None
        if not isinstance(mix, Weights):
            counts = mixes.counts(mix)
            if batch_size not in (None, int(counts.sum())):
                raise ValueError(
                    f"batch_size must be the sum of class_samples_per_batch, {counts.sum()}, not "
                    f"{batch_size}; leave it out"
                )
            batch_size = int(counts.sum())
        super().__init__(
            class_idxs, batch_size, n_batches, device=device, seed=seed, unbroken=unbroken,
            order=order, unique=unique,
            window_bytes=window_bytes, shard=shard, sampler=sampler,
            weighting=weighting, drop_empty=drop_empty,
        )  # fmt: skip
        if counts is not None:
            mix = mixes.of_counts(counts, self.index.host_sizes)
        self._begin_with(mix, schedule)

    def _identity(self, mark: Mark) -> bytes:
        """Its counts, which is all that batches tell of a mix."""
        return fixed_counts(mark.mix, self.batch_size).astype("<i8").tobytes()

    def _segment(self, mark: Mark) -> Segment:
        return FixedSegment(self._stretch(mark), mark.mix)

    def warn_of(self, mark: Mark, scheduled: bool) -> None:
        if not (scheduled and self._warned):  # a schedule's mixes are many, and much alike
            self._warned = self._warned or scheduled
            warn_uneven(mark.mix, self.counts_of(mark), self.index.names)

    def counts_of(self, mark: Mark) -> np.ndarray:
        """[C] int64: the counts in every batch of this mix."""
        return self.segment_of(mark).draws(1)


class FixedSegment(Segment):
    """Batches of the same class counts."""

    def __init__(self, stretch: Stretch, mix: Weights):
        sizes, counts = stretch.index.host_sizes, fixed_counts(mix, stretch.batch_size)
        if stretch.unique:
            start = blocks.aligned(stretch.start, sizes, counts, False)
            stretch = replace(stretch, start=start)
        # g * count are added, of which first * count were not drawn
        before = stretch.start - stretch.first * counts
        plan = fixed_plan(counts, sizes, stretch.index.host_offsets, before)
        if stretch.unique:
            super().__init__(stretch, blocks.with_blocks(plan), "fixed_unique")
        else:
            super().__init__(stretch, plan, "fixed")

    def mean_counts(self) -> np.ndarray:
        return self._plan.counts.astype(np.float64)

    def draws(self, n: int) -> np.ndarray:
        return self._plan.counts * n
