"""Samplers: the two kinds of stream, each with its plan's tables on the device.

Takes counts or weights per class, a class index and a seed. Gives a StreamBatchSampler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks, ops, plan, random_bits, weights
from gpusampler.stream import StreamBatchSampler

DRAW_BLOCK_SLOTS = 1 << 20


class WeightedFixedBatchSampler(StreamBatchSampler):
    """Batches with the same class counts each; a class goes through all its members, in a new
    order each time, before any repeats.

    class_samples_per_batch  [C] whole numbers >= 0; their sum is the batch size.
    class_idxs               one sequence of dataset indices a class, or a ClassIndex.
    n_batches                batches in an epoch.
    device                   where batches are built; None: CUDA if there is one, else the CPU.
    seed                     any integer, modulo 2^64.

    >>> sampler = WeightedFixedBatchSampler([1, 2], [[7], [3, 4, 5]], 2, device="cpu")
    >>> [sorted(batch)[-1] for batch in sampler]
    [7, 7]
    """

    def __init__(
        self,
        class_samples_per_batch: Any,
        class_idxs: Any,
        n_batches: int,
        *,
        device: Any = None,
        seed: int = 0,
        window_bytes: int = 1 << 28,
    ):
        counts = _counts(class_samples_per_batch)
        super().__init__(class_idxs, int(counts.sum()), n_batches, device, seed, window_bytes)
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
        self._plan = plan.fixed_plan(counts, sizes, self.index.host_offsets)
        self._rows = torch.from_numpy(self._plan.rows).to(self.device)
        self._rank_row = torch.from_numpy(self._plan.rank_row).to(self.device)
        self._grid = plan.grid_or_none(self.batch_size)
        self._keys: dict[tuple[int, int], tuple[Tensor, int]] = {}

    @property
    def class_counts(self) -> Tensor:
        return torch.from_numpy(self._plan.counts.astype(np.float64)) * self.n_batches

    def _key_ends(self, n: int) -> tuple[Tensor, int]:
        """For windows of n batches: where each row's keys end, on the device, and the last end."""
        found = self._keys.get((n, self._stream()))
        if found is None:
            ends = self._plan.key_ends(n)
            found = torch.from_numpy(ends).to(self.device), int(ends[-1])
            if len(self._keys) >= 8:
                self._keys.clear()
            self._keys[n, self._stream()] = found
        return found

    def _draw(self, out: Tensor, g0: int) -> None:
        ops.draw_fixed(
            out, self.index.members, self._rows, self._rank_row, *self._key_ends(len(out)),
            self._plan.smallest, self._plan.largest, *self._grid, random_bits.signed(self.seed), g0,
        )  # fmt: skip


class WeightedRandomBatchSampler(StreamBatchSampler):
    """Batches drawn with replacement: each slot's class by its weight, then one of its members.

    class_weights  [C] numbers >= 0: the rate of one sample of the class, as in the original, so
                   that a class of n_c members is drawn in proportion to class_weights[c] * n_c.
    class_idxs     one sequence of dataset indices a class, or a ClassIndex.
    batch_size, n_batches
    class_draw     "multinomial": classes come from torch.multinomial, in blocks of about 2^20;
                   the same on one device model and torch version. "counter": from the batch
                   number and slot; the same everywhere, random access, and faster.
    device, seed   as for WeightedFixedBatchSampler.
    """

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
    ):
        super().__init__(class_idxs, batch_size, n_batches, device, seed, window_bytes)
        self.class_draw = checks.choice("class_draw", class_draw, ("multinomial", "counter"))
        sizes = self.index.host_sizes
        if not isinstance(class_weights, weights.Weights):
            rates = weights.given(class_weights, sizes).shares()
            class_weights = weights.given(rates * sizes, sizes)
        self._plan = plan.random_plan(class_weights, sizes, self.index.host_offsets)
        if self.class_draw == "multinomial" and len(self._plan.rows) > 1 << 24:
            raise ValueError(
                f"torch.multinomial takes 2^24 classes, not {len(self._plan.rows)}; "
                f"pass class_draw='counter'"
            )
        self._rows = torch.from_numpy(self._plan.rows).to(self.device)
        self._cuts = torch.from_numpy(self._plan.cuts.view(np.int64)).to(self.device)
        self._guide = torch.from_numpy(self._plan.guide).to(self.device)
        self._shares = torch.from_numpy(self._plan.shares).to(self.device)
        self._block: tuple[tuple[int, int], Tensor] | None = None

    @property
    def class_counts(self) -> Tensor:
        counts = np.zeros(self.index.num_classes)
        counts[self._plan.rows[:, plan.CLASS]] = self._plan.shares
        return torch.from_numpy(counts * (self.batch_size * self.n_batches))

    def _draw(self, out: Tensor, g0: int) -> None:
        if self.class_draw == "counter":
            self._pick(out, None, g0)
            return
        per_block = max(1, DRAW_BLOCK_SLOTS // self.batch_size)
        done = 0
        while done < len(out):
            number, first = divmod(g0 + done, per_block)
            n = min(per_block - first, len(out) - done)
            classes = self._class_block(number, per_block)[first : first + n]
            self._pick(out[done : done + n], classes, g0 + done)
            done += n

    def _class_block(self, number: int, per_block: int) -> Tensor:
        """The row of every slot of one draw block, [per_block, B]; the last block is kept."""
        wanted, block = (number, self._stream()), self._block
        if block is None or block[0] != wanted:  # a local: other threads may draw others
            block = self._block = None  # the new one then takes the old one's memory
            low, high, _, _ = random_bits.words(self.seed, random_bits.DRAW_BLOCK, number)
            generator = torch.Generator(self.device).manual_seed(low | high << 32)
            draws = torch.multinomial(
                self._shares, per_block * self.batch_size, replacement=True, generator=generator
            )
            block = self._block = wanted, draws.view(per_block, self.batch_size)
        return block[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_block": None}

    def _pick(self, out: Tensor, classes: Tensor | None, g0: int) -> None:
        ops.draw_random(
            out, self.index.members, self._rows, self._cuts, self._guide, classes,
            self._plan.steps, random_bits.signed(self.seed), g0,
        )  # fmt: skip


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
