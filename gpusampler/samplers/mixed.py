"""Mixed: what samplers of a class mix share, and how a mix changes while training.

Takes counts or weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpusampler import checks
from gpusampler.plans import mixes, weights
from gpusampler.plans.class_numbers import by_name
from gpusampler.plans.weights import Weights
from gpusampler.stream import packing
from gpusampler.stream.history import Mark
from gpusampler.stream.sampler import StreamBatchSampler


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

        shares  [C] numbers >= 0, one a class, in any unit, or a dict of them by class name, as
                shares= of SamplerFactory.get(); for mixes that follow a loss or an accuracy. See
                set_alpha().
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
        class_weights = by_name("class_weights", class_weights, self.index.names)
        return rule(class_weights, self.index.host_sizes, self._drop_empty, "class_weights")

    def _given(self, **numbers: Any) -> Weights:
        named = {k: by_name(k, values, self.index.names) for k, values in numbers.items()}
        return mixes.mix(self.index.host_sizes, drop_empty=self._drop_empty, **named)

    def _change(self, mix: Weights, schedule: Any = None, told: Any = None) -> None:
        with self._changes:
            epoch = self._position.boundary(self._layout)
            self._history = self._history.changed_at(epoch, mix, self, schedule, told)
