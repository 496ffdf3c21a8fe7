"""Round robin: every class in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
from gpusampler.plans.round_robin import RoundRobinPlan  # type: ignore[import-not-found]

from gpusampler.stream.history import Mark
from gpusampler.stream.sampler import StreamBatchSampler
from gpusampler.stream.segment import Segment, Stretch


class RoundRobinBatchSampler(StreamBatchSampler):
    kind = "round_robin"

    def __init__(self, class_idxs: Any, batch_size: int, n_batches: int, **options: Any):
        given = {
            "device": "cpu", "seed": 0, "window_bytes": 1 << 28, "shard": None, "sampler": None,
            "unbroken": False, "order": "shuffle", "unique": False,
        }  # fmt: skip
        super().__init__(class_idxs, batch_size, n_batches, **{**given, **options})
        self._begin_with(None)

    def _identity(self, mark: Mark) -> bytes:
        return b"in turn"

    def _segment(self, mark: Mark) -> Segment:
        return RoundRobinSegment(self._stretch(mark))


class RoundRobinSegment(Segment):
    def __init__(self, stretch: Stretch):
        sizes, firsts = stretch.index.host_sizes, stretch.index.host_offsets[:-1]
        plan = RoundRobinPlan(np.stack([sizes, firsts], axis=1), stretch.batch_size)
        super().__init__(stretch, plan, "round_robin")

    def mean_counts(self) -> np.ndarray:
        classes = self.index.num_classes
        return np.full(classes, self.batch_size / classes)
