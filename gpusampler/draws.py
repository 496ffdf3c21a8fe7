"""Draws: what the kinds fixed and random make of one class mix, with their tables on the device.

Takes counts or weights per class, a class index and a seed. Gives segments, which draw batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import ops, plan, random_bits, weights
from gpusampler.class_index import ClassIndex
from gpusampler.segments import Segment

DRAW_BLOCK_SLOTS = 1 << 20


def stream_of(device: torch.device) -> int:
    """Where work is queued now; what one stream made, another has not waited for."""
    on_cuda = device.type == "cuda"
    return torch.cuda.current_stream(device).cuda_stream if on_cuda else 0


class KeyEnds:
    """For windows of n batches: where each row's keys end, on the device, and the last end.

    Those of the last few lengths are kept.
    """

    def __init__(self, ends: Callable[[int], np.ndarray], device: torch.device):
        self._ends, self._device = ends, device
        self._kept: dict[tuple[int, int], tuple[Tensor, int]] = {}

    def __call__(self, n: int) -> tuple[Tensor, int]:
        wanted = n, stream_of(self._device)
        found = self._kept.get(wanted)
        if found is None:
            ends = self._ends(n)
            found = torch.from_numpy(ends).to(self._device), int(ends[-1]) if len(ends) else 0
            if len(self._kept) >= 8:
                self._kept.clear()
            self._kept[wanted] = found
        return found


class FixedSegment(Segment):
    """Batches of the same class counts."""

    def __init__(
        self, mix: weights.Weights, index: ClassIndex, seed: int, batch_size: int,
        number: int, first: int, start: np.ndarray,
    ):  # fmt: skip
        super().__init__(number, first, start)
        self.index, self.seed = index, seed
        counts = plan.fixed_counts(mix, batch_size)
        self._plan = plan.fixed_plan(counts, index.host_sizes, index.host_offsets)
        drawn = self._plan.rows[:, plan.CLASS]
        # the kernels add g * count, of which first * count were not drawn
        self._plan.rows[:, plan.START] = start[drawn] - first * counts[drawn]
        self._rows = torch.from_numpy(self._plan.rows).to(index.device)
        self._rank_row = torch.from_numpy(self._plan.rank_row).to(index.device)
        self._grid = plan.grid_or_none(batch_size)
        self._key_ends = KeyEnds(self._plan.key_ends, index.device)

    def mean_counts(self) -> np.ndarray:
        return self._plan.counts.astype(np.float64)

    def draws(self, n: int) -> np.ndarray:
        return self._plan.counts * n

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        ops.draw_fixed(
            out, self.index.members, self._rows, self._rank_row,
            *self._key_ends((len(out) - 1) * stride + 1), self._plan.smallest, self._plan.largest,
            *self._grid, random_bits.signed(self.seed), g0, stride,
        )  # fmt: skip


class RandomSegment(Segment):
    """Slots whose classes are drawn one by one, with replacement."""

    def __init__(
        self, mix: weights.Weights, index: ClassIndex, seed: int, batch_size: int, counter: bool,
        number: int, first: int,
    ):  # fmt: skip
        super().__init__(number, first, np.zeros(index.num_classes, np.int64))
        self.index, self.seed, self.batch_size, self.counter = index, seed, batch_size, counter
        self._plan = plan.random_plan(mix, index.host_sizes, index.host_offsets)
        if not counter and len(self._plan.rows) > 1 << 24:
            raise ValueError(
                f"torch.multinomial takes 2^24 classes, not {len(self._plan.rows)}; "
                f"pass class_draw='counter'"
            )
        self._rows = torch.from_numpy(self._plan.rows).to(index.device)
        self._cuts = torch.from_numpy(self._plan.cuts.view(np.int64)).to(index.device)
        self._guide = torch.from_numpy(self._plan.guide).to(index.device)
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
        ops.draw_random(
            out, self.index.members, self._rows, self._cuts, self._guide, classes,
            self._plan.steps, random_bits.signed(self.seed), g0, stride,
        )  # fmt: skip
