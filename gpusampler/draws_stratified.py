"""Stratified draws: what kind stratified makes of one class mix, with its tables on the device.

Takes weights per class, a class index and a seed. Gives a segment, which draws batches.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import ops, plan, random_bits, weights
from gpusampler.class_index import ClassIndex
from gpusampler.draws import stream_of
from gpusampler.plan_stratified import BASE, BLOCK, BLOCK_BITS, stratified_plan
from gpusampler.segments import Segment

TABLE_CELLS = 1 << 22  # classes times blocks whose tables are held at once: 24 bytes each
MOST_BLOCKS = 1 << 15  # the second side of a CUDA grid has 16 bits

Tables = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class StratifiedSegment(Segment):
    """Batches that each have every class's quota, rounded down or up."""

    def __init__(
        self, mix: weights.Weights, index: ClassIndex, seed: int, batch_size: int,
        number: int, first: int, start: np.ndarray,
    ):  # fmt: skip
        super().__init__(number, first, start)
        self.index, self.seed = index, seed
        self._plan = stratified_plan(mix, index.host_sizes, index.host_offsets, batch_size, start)
        self._means = mix.shares() * batch_size
        p, on = self._plan, index.device
        self._rows = torch.from_numpy(p.rows).to(on)
        self._base = torch.from_numpy(p.base_rows).to(on), torch.from_numpy(p.rank_row).to(on)
        self._start = torch.from_numpy(p.start).to(on)
        self._cuts = torch.from_numpy(p.cut_high).to(on), torch.from_numpy(p.cut_low).to(on)
        self._grid = plan.grid_or_none(batch_size)
        self._keys: dict[tuple[int, int], tuple[Tensor, int]] = {}
        self._kept: tuple[int, int, Tables] | None = None

    def mean_counts(self) -> np.ndarray:
        return self._means

    def draws(self, n: int) -> np.ndarray:
        return self._plan.draws_before(self.seed, self.number, n)

    def identity(self) -> bytes:
        p = self._plan
        told = p.rows[:, BASE].astype("<i4"), p.cut_high.astype("<i8"), p.cut_low.astype("<i4")
        return b"".join(x.tobytes() for x in told)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        p = self._plan
        most = min(MOST_BLOCKS, max(1, TABLE_CELLS // max(len(p.rows), BLOCK))) * BLOCK
        done = 0
        while done < len(out):
            g = g0 + done * stride
            block, b0 = divmod(g - self.first, BLOCK)
            n = min(-((b0 - most) // stride), len(out) - done)
            ops.draw_stratified(
                out[done : done + n], self.index.members, self._rows, *self._base,
                self._tables(block, (b0 + (n - 1) * stride >> BLOCK_BITS) + 1),
                *self._key_ends(min(n * stride, BLOCK)), p.smallest, p.largest, *self._grid,
                random_bits.signed(self.seed), g, stride, b0,
            )  # fmt: skip
            done += n

    def _tables(self, block: int, count: int) -> Tables:
        """Of so many blocks; those that were made last are kept."""
        stream, kept = stream_of(self.index.device), self._kept
        if kept is not None and kept[0] == stream:  # a local: other threads may draw others
            at, (draws, ends, classes, guide, points) = block - kept[1], kept[2]
            if 0 <= at <= len(ends) - count:
                of = slice(at, at + count)
                return draws[of], ends[of], classes[of], guide[of], points[of]
        kept = self._kept = None  # the new ones then take the old ones' memory
        p = self._plan
        shapes = (len(p.rows), 4), (len(p.rows),), (len(p.rows),), (p.extra + 1,), (BLOCK,)
        draws, ends, classes, guide, points = (
            torch.empty((count, *shape), dtype=torch.int32, device=self.index.device)
            for shape in shapes
        )
        tables = draws, ends, classes, guide, points
        ops.stratified_blocks(
            tables, self._rows, self._start, *self._cuts, *p.grid, random_bits.signed(self.seed),
            self.number, block,
        )  # fmt: skip
        self._kept = stream, block, tables
        return tables

    def _key_ends(self, n: int) -> tuple[Tensor, int]:
        """For n batches of a block: where each base row's keys end, and the last end."""
        wanted = n, stream_of(self.index.device)
        found = self._keys.get(wanted)
        if found is None:
            ends = self._plan.key_ends(n)
            last = int(ends[-1]) if len(ends) else 0
            found = torch.from_numpy(ends).to(self.index.device), last
            if len(self._keys) >= 8:
                self._keys.clear()
            self._keys[wanted] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
