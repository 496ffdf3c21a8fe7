"""Random: each slot's class drawn with replacement, then one of its members.

Takes weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks
from gpusampler.bits import random_bits
from gpusampler.ops.given import stream_of
from gpusampler.plans import weights
from gpusampler.plans.random import CLASS, random_plan
from gpusampler.plans.weights import Weights
from gpusampler.samplers.mixed import MixedBatchSampler
from gpusampler.stream.history import Mark
from gpusampler.stream.segment import Segment, Stretch

DRAW_BLOCK_SLOTS = 1 << 20


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
        stretch = self._stretch(mark)  # by a counter, a class mix needs nothing of where it begins
        return RandomSegment(replace(stretch, first=0) if counter else stretch, mark.mix, counter)

    def _class_draws(self) -> str:
        if self.class_draw == "counter":
            return "counter"
        cuda = self.device.type == "cuda"
        model = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        return f"multinomial, {model}, torch {torch.__version__.partition('+')[0]}"


class RandomSegment(Segment):
    """Slots whose classes are drawn one by one, with replacement."""

    def __init__(self, stretch: Stretch, mix: Weights, counter: bool):
        index = stretch.index
        plan = random_plan(mix, index.host_sizes, index.host_offsets)
        if not counter and len(plan.rows) > 1 << 24:
            raise ValueError(
                f"torch.multinomial takes 2^24 classes, not {len(plan.rows)}; "
                f"pass class_draw='counter'"
            )
        super().__init__(stretch, plan, "random")
        self.counter = counter
        self._shares = torch.from_numpy(plan.shares).to(index.device)
        self._block: tuple[tuple[int, int], Tensor] | None = None

    def mean_counts(self) -> np.ndarray:
        counts = np.zeros(self.index.num_classes)
        counts[self._plan.rows[:, CLASS]] = self._plan.shares * self.batch_size
        return counts

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        if self.counter:
            self._fill(out, self._tables, g0, stride)
            return
        per_block = max(1, DRAW_BLOCK_SLOTS // self.batch_size)
        done = 0
        while done < len(out):
            g = g0 + done * stride
            number, at = divmod(g - self.first, per_block)
            n = min(-((at - per_block) // stride), len(out) - done)
            classes = self._class_block(number, per_block)[at::stride][:n].contiguous()
            self._fill(out[done : done + n], [*self._tables, classes], g, stride)
            done += n

    def _class_block(self, number: int, per_block: int) -> Tensor:
        """The row of every slot of one draw block, [per_block, B]; the last block is kept."""
        wanted, block = (number, stream_of(self.index.device)), self._block
        if block is None or block[0] != wanted:  # a local: other threads may draw others
            block = self._block = None  # the new one then takes the old one's memory
            low, high, _, _ = random_bits.words(
                self.seed, random_bits.DRAW_BLOCK, number, segment=self.number
            )
            generator = torch.Generator(self.index.device).manual_seed(low | high << 32)
            draws = torch.multinomial(
                self._shares, per_block * self.batch_size, replacement=True, generator=generator
            )
            block = self._block = wanted, draws.view(per_block, self.batch_size)
        return block[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_block": None}
