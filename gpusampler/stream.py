"""Stream: what every sampler does, whatever its kind. Batches one after another, epoch by epoch.

Takes a class index, sizes and a seed; a subclass draws.
Gives batches of dataset indices: lists of int to a DataLoader, tensors to a loop on the device.
All that is carried from batch to batch is the next epoch's number: each batch is a pure function
of (seed, global batch number).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler

from gpusampler import checks
from gpusampler.class_index import ClassIndex
from gpusampler.describe import table

MAX_SLOTS = 1 << 27  # of one op call: below 2^31, as its positions are 32 bits, and its key
# table (8 bytes a batch and a cycle, so 12 a slot at the worst) then stays below 1.5 GiB
LIST_WINDOW_BYTES = 1 << 22
MAX_BYTES = 1 << 30


class _Epochs:
    """What trainers reach as `batch_sampler.sampler`: passes set_epoch on."""

    def __init__(self, owner: StreamBatchSampler):
        self.owner = owner

    def set_epoch(self, epoch: int) -> None:
        self.owner.set_epoch(epoch)


class StreamBatchSampler(BatchSampler):
    """What every sampler here does; how a batch is drawn is a subclass's.

    Iterating yields one epoch: n_batches lists of batch_size ints, as a DataLoader takes them.
    Iterating again yields the next epoch. `iter()` costs nothing; the first `next` draws.

    batch_size, n_batches, seed, device, index (the ClassIndex), drop_last (True)
    """

    drop_last = True

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any,
        device: Any, seed: Any, window_bytes: Any,
    ):  # fmt: skip
        self.batch_size = checks.batch_size(batch_size)
        self.n_batches = checks.n_batches(n_batches)
        self.seed = checks.seed(seed)
        self.window_bytes = checks.integer("window_bytes", window_bytes, 1, 1 << 62)
        on_cuda = isinstance(class_idxs, ClassIndex) and class_idxs.device.type == "cuda"
        self.device = checks.device(class_idxs.device if device is None and on_cuda else device)
        self.index = ClassIndex.from_class_idxs(class_idxs, device=self.device)
        self.sampler = _Epochs(self)  # type: ignore[assignment]
        self._epoch = 0

    @abstractmethod
    def _draw(self, out: Tensor, g0: int) -> None:
        """Fill out [n, B] with batches g0 .. g0 + n; n * B < 2^31."""

    def _stream(self) -> int:
        """Where work is queued now; what one stream made, another has not waited for."""
        on_cuda = self.device.type == "cuda"
        return torch.cuda.current_stream(self.device).cuda_stream if on_cuda else 0

    @property
    @abstractmethod
    def class_counts(self) -> Tensor:
        """[C] float64, on the host: expected draws of each class in an epoch."""

    def __len__(self) -> int:
        return self.n_batches

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration yields, and that build() builds."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration yield this epoch. Setting it twice is setting it once."""
        self._epoch = checks.integer(
            "epoch", epoch, 0, (self._last_batch() + 1) // self.n_batches - 1
        )

    def __iter__(self) -> Iterator[list[int]]:
        for window in self._windows(LIST_WINDOW_BYTES):
            for row in window.cpu().numpy():
                yield row.tolist()

    def on_device(self) -> Iterator[Tensor]:
        """Yield the next epoch as [B] int64 views on the device; the host does not wait for them.

        Batches are built in windows; the current one and the next take at most window_bytes. Only
        the first window of each length waits for a copy, of a fixed plan's small table.
        """
        for window in self._windows(self.window_bytes // 2):
            yield from window

    def build(self, out: Tensor | None = None, max_bytes: int = MAX_BYTES) -> Tensor:
        """All batches of this epoch at once: [n_batches, B] int64 on the device.

        The epoch is `self.epoch`, and stays it: building twice gives the same.

        out        a contiguous tensor of that shape, dtype and device to fill and return.
        max_bytes  the most that the result may take, default 1 GiB.
        Raises     ValueError: the epoch is larger than that; use on_device(), or raise it.
        """
        if out is None:
            self._check_bytes(self.n_batches, max_bytes)
        return self._filled(self._epoch * self.n_batches, self.n_batches, out)

    def batch(self, g: int) -> Tensor:
        """Global batch number g, [B] int64 on the device: batch g mod n_batches of epoch
        g div n_batches.

        The work is O(B), wherever g is; where classes come from torch.multinomial it is one block
        of about 2^20 draws, and the last block is kept.
        """
        return self.batches(g, 1)[0]

    def batches(self, g0: int, count: int, max_bytes: int = MAX_BYTES) -> Tensor:
        """Global batches g0 .. g0 + count, [count, B] int64 on the device; max_bytes as build()."""
        g0 = checks.integer("the first batch", g0, 0, self._last_batch())
        count = checks.integer("count", count, 1, min(1 << 40, self._last_batch() - g0 + 1))
        self._check_bytes(count, max_bytes)
        return self._filled(g0, count, None)

    def describe(self) -> str:
        """A table: each class's size, share of the draws, draws per batch and per epoch, and
        draws of one member per epoch. Expected values where classes are drawn at random."""
        return table(
            f"{type(self).__name__}: {self.n_batches} batches of {self.batch_size} an epoch, "
            f"seed {self.seed}, {self.index}",
            self.index.host_sizes,
            self.class_counts.numpy(),
            self.n_batches,
        )

    def _last_batch(self) -> int:
        return (1 << 62) // self.batch_size - 1

    def _check_bytes(self, count: int, max_bytes: int) -> None:
        size = 8 * count * self.batch_size
        if size > checks.integer("max_bytes", max_bytes, 0, 1 << 62):
            raise ValueError(
                f"{count} batches of {self.batch_size} take {size} bytes, more than "
                f"max_bytes={max_bytes}; iterate on_device(), which works in windows, "
                f"or raise max_bytes"
            )

    def _filled(self, g0: int, count: int, out: Tensor | None) -> Tensor:
        shape = (count, self.batch_size)
        if out is None:
            out = torch.empty(shape, dtype=torch.int64, device=self.device)
        elif not isinstance(out, Tensor):
            raise TypeError(
                f"out must be a contiguous int64 tensor of shape {shape} on {self.device}, "
                f"not {type(out).__name__}; pass torch.empty({shape}, dtype=torch.int64)"
            )
        elif (
            tuple(out.shape) != shape
            or out.dtype != torch.int64
            or out.device != self.device
            or not out.is_contiguous()
        ):
            raise ValueError(
                f"out must be a contiguous int64 tensor of shape {shape} on {self.device}, "
                f"not {out.dtype} of shape {tuple(out.shape)} on {out.device}; "
                f"pass torch.empty({shape}, dtype=torch.int64, device='{self.device}')"
            )
        step = MAX_SLOTS // self.batch_size
        for first in range(0, count, step):
            self._draw(out[first : first + step], g0 + first)
        return out

    def _windows(self, most_bytes: int) -> Iterator[Tensor]:
        """The next epoch, in order, as [n, B] tensors of at most so many bytes (or one batch)."""
        g0 = self._epoch * self.n_batches
        self._epoch += 1
        step = max(1, most_bytes // (8 * self.batch_size))
        for first in range(0, self.n_batches, step):
            yield self._filled(g0 + first, min(step, self.n_batches - first), None)
