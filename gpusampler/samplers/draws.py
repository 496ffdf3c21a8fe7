"""Draws: what the kinds fixed and random make of one class mix, with their tables on the device.

Takes counts or weights per class, a class index and a seed. Gives segments, which draw batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler.bits import random_bits
from gpusampler.index.class_index import ClassIndex
from gpusampler.ops import given
from gpusampler.ops import windows as ops
from gpusampler.ops.given import stream_of
from gpusampler.plans import blocks
from gpusampler.plans import fixed as plan
from gpusampler.stream.history import Mark
from gpusampler.stream.segment import Segment

DRAW_BLOCK_SLOTS = 1 << 20


class FixedSegment(Segment):
    """Batches of the same class counts."""

    def __init__(
        self, mark: Mark, index: ClassIndex, seed: int, batch_size: int, first: int,
        by_class: bool = False, unique: bool = False,
    ):  # fmt: skip
        counts, start = plan.fixed_counts(mark.mix, batch_size), mark.start
        if unique:
            start = blocks.aligned(start, index.host_sizes, counts, False)
        super().__init__(mark.number, first, start)
        self.index, self.seed = index, seed
        # g * count are added, of which first * count were not drawn
        before = start - first * counts
        self._plan = plan.fixed_plan(counts, index.host_sizes, index.host_offsets, before)
        self._kind = "fixed_unique" if unique else "fixed"
        if unique:
            self._plan = blocks.with_blocks(self._plan)
        where = index.device, self._kind
        self._given = given.tables_on(*where, self._plan, first, mark.number, by_class)

    @property
    def counts(self) -> np.ndarray:
        """[C] int64, in every batch."""
        return self._plan.counts

    def mean_counts(self) -> np.ndarray:
        return self._plan.counts.astype(np.float64)

    def draws(self, n: int) -> np.ndarray:
        return self._plan.counts * n

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        seed = random_bits.signed(self.seed)
        ops.draw(self._kind, out, self.index.members, *self._given, seed, g0, stride)


class RandomSegment(Segment):
    """Slots whose classes are drawn one by one, with replacement."""

    def __init__(
        self, mark: Mark, index: ClassIndex, seed: int, batch_size: int, counter: bool, first: int,
        by_class: bool = False,
    ):  # fmt: skip
        number = mark.number
        super().__init__(number, first, np.zeros(index.num_classes, np.int64))
        self.index, self.seed, self.batch_size, self.counter = index, seed, batch_size, counter
        self._plan = plan.random_plan(mark.mix, index.host_sizes, index.host_offsets)
        if not counter and len(self._plan.rows) > 1 << 24:
            raise ValueError(
                f"torch.multinomial takes 2^24 classes, not {len(self._plan.rows)}; "
                f"pass class_draw='counter'"
            )
        self._given = given.tables_on(index.device, "random", self._plan, first, number, by_class)
        self._shares = torch.from_numpy(self._plan.shares).to(index.device)
        self._block: tuple[tuple[int, int], Tensor] | None = None

    def mean_counts(self) -> np.ndarray:
        counts = np.zeros(self.index.num_classes)
        counts[self._plan.rows[:, plan.CLASS]] = self._plan.shares * self.batch_size
        return counts

    def draws(self, n: int) -> np.ndarray:
        return np.zeros(self.index.num_classes, np.int64)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        if self.counter:
            self._pick(out, None, g0, stride)
            return
        per_block = max(1, DRAW_BLOCK_SLOTS // self.batch_size)
        done = 0
        while done < len(out):
            g = g0 + done * stride
            number, at = divmod(g - self.first, per_block)
            n = min(-((at - per_block) // stride), len(out) - done)
            classes = self._class_block(number, per_block)[at::stride][:n].contiguous()
            self._pick(out[done : done + n], classes, g, stride)
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

    def _pick(self, out: Tensor, classes: Tensor | None, g0: int, stride: int) -> None:
        tables, numbers = self._given
        drawn = tables if classes is None else [*tables, classes]
        seed = random_bits.signed(self.seed)
        ops.draw("random", out, self.index.members, drawn, numbers, seed, g0, stride)
