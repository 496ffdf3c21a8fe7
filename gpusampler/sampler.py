"""Samplers of a class mix: fixed and random, and how a mix changes while training.

Takes counts or weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gpusampler import checks, plan, weights
from gpusampler.draws import FixedSegment, RandomSegment
from gpusampler.segments import Change, Segment
from gpusampler.stream import StreamBatchSampler
from gpusampler.weights import as_weights as checked_weights


class MixedBatchSampler(StreamBatchSampler):
    """A sampler whose class mix comes from weights, and may change from one epoch to the next."""

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any, *,
        weighting: Any, drop_empty: Any, schedule: Any, **options: Any,
    ):  # fmt: skip
        super().__init__(class_idxs, batch_size, n_batches, **options)
        self._weighting = checks.choice("weighting", weighting, weights.WEIGHTINGS)
        self._drop_empty = bool(drop_empty)
        if schedule is not None and not callable(schedule):
            raise TypeError(
                f"schedule must be a function of the epoch that gives alpha, not "
                f"{schedule!r} ({type(schedule).__name__}); pass a function"
            )
        self._history.schedule = schedule

    def _mix(self, change: Change) -> weights.Weights:
        sizes = self.index.host_sizes
        if isinstance(change, np.ndarray):
            return weights.given(change, sizes, self._drop_empty)
        return weights.ALPHA_WEIGHTINGS[self._weighting](
            sizes, checks.alpha(change), self._drop_empty
        )

    def set_alpha(self, alpha: Any) -> None:
        """Let the class mix be of this alpha from the next epoch boundary on.

        alpha   in [0, 1], or a function of the epoch that gives it. With the weighting that the
                sampler was made with.
        An epoch that was begun keeps its mix. Members go on in their order: a class that is drawn
        more or less often from then on still goes through all its members before any repeats.
        All ranks must call it alike, in the same epoch; state_dict() holds it.
        """
        if self._weighting not in weights.ALPHA_WEIGHTINGS:
            raise ValueError(
                f"weighting={self._weighting!r} has no alpha to set; "
                f"use set_weights(), or make the sampler with weighting='linear' or 'power'"
            )
        change = alpha(self._boundary()) if callable(alpha) else alpha
        self._change(float(checks.alpha(change)), alpha if callable(alpha) else None)

    def set_weights(self, weights: Any) -> None:
        """Let the class mix be in proportion to these from the next epoch boundary on.

        weights  [C] numbers >= 0, one a class, as weights= of SamplerFactory.get(); for mixes that
                 follow a loss or an accuracy. See set_alpha().
        """
        self._change(checked_weights(weights, self.index.num_classes), None)

    def _boundary(self) -> int:
        return self._place.epoch + (self._place.batch > 0)

    def _change(self, change: Change, schedule: Any) -> None:
        history, epoch = self._history.copy(), self._boundary()
        history.follow(epoch - 1, self._segment)
        history.schedule = None
        history.begin(epoch, change, self._segment)
        history.schedule, history.followed = schedule, epoch + 1
        self._history = history


class WeightedFixedBatchSampler(MixedBatchSampler):
    """Batches with the same class counts each; a class goes through all its members, in a new
    order each time, before any repeats.

    class_samples_per_batch  [C] whole numbers >= 0; their sum is the batch size.
    class_idxs               one sequence of dataset indices a class, or a ClassIndex.
    n_batches                batches in an epoch.
    device                   where batches are built; None: CUDA if there is one, else the CPU.
    seed                     any integer, modulo 2^64.
    shard                    None, or this rank's part of the stream, see shard(): "auto",
                             (rank, world_size), a ProcessGroup, a DeviceMesh of one dimension.
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
        device: Any = None,
        seed: int = 0,
        window_bytes: int = 1 << 28,
        shard: Any = None,
        weighting: str = "linear",
        drop_empty: bool = False,
        schedule: Any = None,
        sampler: Any = None,
    ):
        counts = _counts(class_samples_per_batch)
        super().__init__(
            class_idxs, int(counts.sum()), n_batches, device=device, seed=seed,
            window_bytes=window_bytes, shard=shard, sampler=sampler,
            weighting=weighting, drop_empty=drop_empty, schedule=schedule,
        )  # fmt: skip
        sizes = self.index.host_sizes
        if len(counts) != len(sizes):
            raise ValueError(
                f"class_samples_per_batch must have one count for each of the {len(sizes)} "
                f"classes, not {len(counts)}; pass {len(sizes)} of them"
            )
        stranded = np.flatnonzero((counts > 0) & (sizes == 0))
        if len(stranded):
            c = stranded[0]
            raise ValueError(
                f"class {c} has a count of {counts[c]} per batch and no members; set it to 0"
            )
        self._counts = counts
        self._history.begin(0, None, self._segment)

    def _segment(self, change: Change, number: int, first: int, start: np.ndarray) -> Segment:
        if change is None:
            counts = self._counts
        else:
            mix = self._mix(change)
            counts = plan.fixed_counts(mix, self.batch_size)
            plan.warn_uneven(mix, counts, stacklevel=2)
        return FixedSegment(counts, self.index, self.seed, number, first, start)


class WeightedRandomBatchSampler(MixedBatchSampler):
    """Batches drawn with replacement: each slot's class by its weight, then one of its members.

    class_weights  [C] numbers >= 0: the rate of one sample of the class, as in the original, so
                   that a class of n_c members is drawn in proportion to class_weights[c] * n_c.
    class_idxs     one sequence of dataset indices a class, or a ClassIndex.
    batch_size, n_batches
    class_draw     "multinomial": classes come from torch.multinomial, in blocks of about 2^20;
                   the same on one device model and torch version. "counter": from the batch
                   number and slot; the same everywhere, random access, and faster.
    device, seed, shard, ...   as for WeightedFixedBatchSampler.
    """

    kind = "random"

    def __init__(
        self,
        class_weights: Any,
        class_idxs: Any,
        batch_size: int,
        n_batches: int,
        *,
        class_draw: str = "multinomial",
        device: Any = None,
        seed: int = 0,
        window_bytes: int = 1 << 28,
        shard: Any = None,
        weighting: str = "linear",
        drop_empty: bool = False,
        schedule: Any = None,
        sampler: Any = None,
    ):
        super().__init__(
            class_idxs, batch_size, n_batches, device=device, seed=seed,
            window_bytes=window_bytes, shard=shard, sampler=sampler,
            weighting=weighting, drop_empty=drop_empty, schedule=schedule,
        )  # fmt: skip
        self.class_draw = checks.choice("class_draw", class_draw, ("multinomial", "counter"))
        if not isinstance(class_weights, weights.Weights):
            sizes = self.index.host_sizes
            rates = weights.given(class_weights, sizes).shares()
            class_weights = weights.given(rates * sizes, sizes)
        self._first_mix = class_weights
        self._history.begin(0, None, self._segment)

    def _segment(self, change: Change, number: int, first: int, start: np.ndarray) -> Segment:
        mix = self._first_mix if change is None else self._mix(change)
        counter = self.class_draw == "counter"
        return RandomSegment(mix, self.index, self.seed, self.batch_size, counter, number, first)

    def _class_draws(self) -> str:
        if self.class_draw == "counter":
            return "counter"
        cuda = self.device.type == "cuda"
        model = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        return f"multinomial, {model}, torch {torch.__version__.partition('+')[0]}"


def _counts(values: Any) -> np.ndarray:
    """class_samples_per_batch as [C] int64, whose sum is a batch size."""
    name = "class_samples_per_batch"
    found = checks.whole_numbers(name, values, "pass one count a class")
    if found.dtype == torch.bool:
        raise TypeError(f"{name} must be a list of integers, not bool; pass one count a class")
    counts = found.cpu().numpy().astype(np.int64)
    if (counts < 0).any():
        c = int(np.argmax(counts < 0))
        raise ValueError(f"a count per batch must be >= 0, but class {c} has {counts[c]}; mend it")
    checks.batch_size(sum(counts.tolist()))  # in Python ints, which do not wrap
    return counts
