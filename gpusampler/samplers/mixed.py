"""Samplers of a class mix: fixed and random, and how a mix changes while training.

Takes counts or weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gpusampler import checks
from gpusampler.plans import fixed as plan
from gpusampler.plans import mixes, weights
from gpusampler.plans.weights import Weights
from gpusampler.samplers.draws import FixedSegment, RandomSegment
from gpusampler.stream import packing
from gpusampler.stream.history import Mark
from gpusampler.stream.sampler import StreamBatchSampler
from gpusampler.stream.segment import Segment


class MixedBatchSampler(StreamBatchSampler):
    """A sampler whose class mix comes from weights, and may change from one epoch to the next."""

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any, *,
        weighting: Any, drop_empty: Any, **options: Any,
    ):  # fmt: skip
        super().__init__(class_idxs, batch_size, n_batches, **options)
        self._weighting = checks.choice("weighting", weighting, weights.WEIGHTINGS)
        self._drop_empty = checks.flag("drop_empty", drop_empty)
        self._warned = False

    def _rules(self) -> dict[str, Any]:
        return {"weighting": self._weighting, "drop_empty": self._drop_empty}

    def _begin_with(self, mix: Weights | None, schedule: Any = None) -> None:
        if schedule is not None and not callable(schedule):
            raise TypeError(
                f"schedule must be a function of the epoch that gives alpha, not "
                f"{schedule!r} ({type(schedule).__name__}); pass a function"
            )
        super()._begin_with(mix, schedule)

    def _identity(self, mark: Mark) -> bytes:
        return packing.mix_bytes(mark.mix)

    def mix_of(self, alpha: Any, epoch: int) -> Weights:
        """The class mix of an alpha that a schedule gave for this epoch."""
        return self._by_alpha(checks.alpha(alpha, epoch=epoch))

    def _by_alpha(self, alpha: Any) -> Weights:
        make, sizes = weights.ALPHA_WEIGHTINGS[self._weighting], self.index.host_sizes
        return make(sizes, alpha, self._drop_empty)

    def set_alpha(self, alpha: Any) -> None:
        """Let the class mix be of this alpha from the next epoch boundary on.

        alpha   in [0, 1], or a function of the epoch that gives it. With the weighting that the
                sampler was made with.
        An epoch that was begun keeps its mix. Members go on in their order: a class that is drawn
        more or less often from then on still goes through all its members before any repeats (with
        unique=True see README). next(iter(sampler)) begins an epoch, too.
        All ranks must call it alike, in the same epoch; state_dict() holds it. What is kept is the
        mix in force and the one to come: earlier epochs can then not be asked for any more.
        """
        if self._weighting not in weights.ALPHA_WEIGHTINGS:
            raise ValueError(
                f"weighting={self._weighting!r} has no alpha to set; "
                f"use set_weights(), or make the sampler with weighting='linear' or 'power'"
            )
        if callable(alpha):
            epoch = self._position.boundary(self._layout)
            told = alpha(epoch)
            self._change(self.mix_of(told, epoch), alpha, told)
        else:
            self._change(self._by_alpha(checks.alpha(alpha)))

    def set_shares(self, shares: Any) -> None:
        """Let each class have this part of the draws from the next epoch boundary on.

        shares  [C] numbers >= 0, one a class, in any unit, as shares= of SamplerFactory.get(); for
                mixes that follow a loss or an accuracy. See set_alpha().
        """
        self._change(self._given(shares=shares))

    def set_weights(self, weights: Any) -> None:
        """The same as set_shares()."""
        self._change(self._given(weights=weights))

    def set_rates(self, rates: Any) -> None:
        """Let a member of each class be drawn this often from the next epoch boundary on: a class's
        share is its rate times its size.

        rates   [C] numbers >= 0, one a class, in any unit. See set_alpha().
        """
        self._change(self._given(rates=rates))

    def _first_mix(self, class_weights: Any, rule: Any, **named: Any) -> Weights:
        """The mix that it is made with: class_weights by their rule, or shares or rates."""
        if class_weights is None:
            return self._given(**named)
        if any(value is not None for value in named.values()):
            raise ValueError(
                f"the class mix comes from class_weights or from {' or '.join(named)}, and several "
                f"were given; pass None for class_weights"
            )
        if isinstance(class_weights, Weights):
            return replace(class_weights, which=class_weights.which.copy())
        return rule(class_weights, self.index.host_sizes, self._drop_empty, "class_weights")

    def _given(self, **numbers: Any) -> Weights:
        return mixes.mix(self.index.host_sizes, drop_empty=self._drop_empty, **numbers)

    def _change(self, mix: Weights, schedule: Any = None, told: Any = None) -> None:
        with self._changes:
            epoch = self._position.boundary(self._layout)
            self._history = self._history.changed_at(epoch, mix, self, schedule, told)


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
        seed: int = 0,
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
        return plan.fixed_counts(mark.mix, self.batch_size).astype("<i8").tobytes()

    def _segment(self, mark: Mark) -> Segment:
        first = mark.epoch * self.n_batches
        return FixedSegment(
            mark, self.index, self.seed, self.batch_size, first, self.order == "class", self.unique
        )  # fmt: skip

    def warn_of(self, mark: Mark, scheduled: bool) -> None:
        if not (scheduled and self._warned):  # a schedule's mixes are many, and much alike
            self._warned = self._warned or scheduled
            plan.warn_uneven(mark.mix, self.counts_of(mark), stacklevel=6)

    def counts_of(self, mark: Mark) -> np.ndarray:
        """[C] int64: the counts in every batch of this mix."""
        return self.segment_of(mark).counts  # type: ignore[attr-defined]


class WeightedRandomBatchSampler(MixedBatchSampler):
    """Batches drawn with replacement: each slot's class by its weight, then one of its members.

    class_weights  [C] numbers >= 0: the rate of one sample of the class, as in the original, so
                   that a class of n_c members is drawn in proportion to class_weights[c] * n_c.
                   None where shares= or rates= says the mix, as of SamplerFactory.get().
    class_idxs     one sequence of dataset indices a class, or a ClassIndex.
    batch_size, n_batches
    class_draw     "multinomial": classes come from torch.multinomial, in blocks of about 2^20;
                   the same on one device model and torch version. "counter": from the batch
                   number and slot; the same everywhere, random access, and faster.
    order          "class": class by class, ascending; those of a class in the order of the slots
                   that they have otherwise.
    device, seed, shard, ...   as for WeightedFixedBatchSampler.
    """

    kind = "random"
    class_draw: str

    def __init__(
        self,
        class_weights: Any,
        class_idxs: Any,
        batch_size: int,
        n_batches: int,
        *,
        shares: Any = None,
        rates: Any = None,
        class_draw: str = "multinomial",
        device: Any = None,
        seed: int = 0,
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
        draws = checks.choice("class_draw", class_draw, ("multinomial", "counter"))
        vars(self).update(class_draw=draws)
        mix = self._first_mix(class_weights, weights.rates, shares=shares, rates=rates)
        self._begin_with(mix, schedule)

    def _check_unique(self) -> None:
        if self.unique:
            raise ValueError(
                "kind='random' draws with replacement, so a batch may have a member twice, and "
                "unique must be False, not True; leave it out, or take kind='fixed' or "
                "'stratified', which can be unique"
            )

    @property
    def past(self) -> str:  # type: ignore[override]
        return "nothing" if self.class_draw == "counter" else "number"

    def _segment(self, mark: Mark) -> Segment:
        counter = self.class_draw == "counter"
        first = 0 if counter else mark.epoch * self.n_batches
        return RandomSegment(
            mark, self.index, self.seed, self.batch_size, counter, first, self.order == "class"
        )  # fmt: skip

    def _class_draws(self) -> str:
        if self.class_draw == "counter":
            return "counter"
        cuda = self.device.type == "cuda"
        model = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        return f"multinomial, {model}, torch {torch.__version__.partition('+')[0]}"
