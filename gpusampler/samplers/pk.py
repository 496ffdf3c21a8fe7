"""pk: P distinct classes in every batch, K members of each (metric learning).

Takes a class index, P, K and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpusampler import checks
from gpusampler.plans.pk import CLASS, pk_plan
from gpusampler.stream.history import Mark
from gpusampler.stream.sampler import StreamBatchSampler
from gpusampler.stream.segment import Segment, Stretch


class PKBatchSampler(StreamBatchSampler):
    """Batches of P distinct classes, K members of each.

    Classes come round by rotation: none twice in a batch, and none once more often than another
    by more than one at the end of each A div P batches, A being the classes with members. So do a
    class's members; those of one visit are distinct where there are K. A class of fewer gives each
    of them K div n_c times, and K mod n_c in rotation.

    class_idxs         one sequence of dataset indices a class, or a ClassIndex. Classes without
                       members are left out.
    classes_per_batch  P, at most the classes with members.
    members_per_class  K; the batch size is P * K.
    n_batches          batches in an epoch.
    order              "shuffle": a batch's slots in a keyed order; "class": classes ascending, the
                       K members of each together, so that a batch is x.view(P, K, ...).
    unique             True: batches of this kind are so.
    device, seed, window_bytes, shard, sampler   as for WeightedFixedBatchSampler.

    >>> sampler = PKBatchSampler([[0, 1, 2], [3, 4], [5]], 2, 2, 3, device="cpu")
    >>> [len(batch) for batch in sampler], sampler.class_counts.tolist()
    ([4, 4, 4], [4.0, 4.0, 4.0])
    """

    kind = "pk"
    classes_per_batch: int
    members_per_class: int

    def __init__(
        self,
        class_idxs: Any,
        classes_per_batch: int,
        members_per_class: int,
        n_batches: int,
        *,
        device: Any = None,
        seed: int | None = 0,
        window_bytes: int = 1 << 28,
        shard: Any = None,
        unbroken: bool = False,
        order: str = "shuffle",
        unique: bool = True,
        sampler: Any = None,
    ):
        most = checks.MAX_BATCH_SIZE
        vars(self).update(
            classes_per_batch=checks.integer("classes_per_batch", classes_per_batch, 1, most),
            members_per_class=checks.integer("members_per_class", members_per_class, 1, most),
        )
        size = self.classes_per_batch * self.members_per_class
        if size > most:
            raise ValueError(
                f"a batch must have at most {most} indices, not classes_per_batch * "
                f"members_per_class = {size}; lower one of them"
            )
        super().__init__(
            class_idxs, size, n_batches, device=device, seed=seed, window_bytes=window_bytes,
            shard=shard, sampler=sampler, unbroken=unbroken, order=order,
            unique=unique,
        )  # fmt: skip
        filled = int(np.count_nonzero(self.index.host_sizes))
        if self.classes_per_batch > filled:
            raise ValueError(
                f"classes_per_batch must be at most the {filled} classes that have members, not "
                f"{self.classes_per_batch}; a batch has no class twice, so lower it"
            )
        self._begin_with(None)

    def _check_unique(self) -> None:
        if not self.unique:
            raise ValueError(
                "batches of kind 'pk' have no member twice whose class has members_per_class, so "
                "unique must be True, not False; leave it out, or take another kind"
            )

    def _identity(self, mark: Mark) -> bytes:
        return f"{self.classes_per_batch} x {self.members_per_class}".encode()

    def _segment(self, mark: Mark) -> Segment:
        return PKSegment(self._stretch(mark), self.classes_per_batch, self.members_per_class)


class PKSegment(Segment):
    """Batches of P classes and K members of each, whose visits are counted from `first` on."""

    def __init__(self, stretch: Stretch, classes_per_batch: int, members_per_class: int):
        index, (p, k) = stretch.index, (classes_per_batch, members_per_class)
        super().__init__(stretch, pk_plan(index.host_sizes, index.host_offsets, p, k), "pk")

    def mean_counts(self) -> np.ndarray:
        p, counts = self._plan, np.zeros(self.index.num_classes)
        counts[p.rows[:, CLASS]] = p.classes_per_batch * p.members_per_class / len(p.rows)
        return counts
