"""Stream: what every sampler does, whatever its kind. Batches one after another, epoch by epoch.

Takes a class index, sizes and a seed; a subclass makes the segments that draw.
Gives batches of dataset indices: lists of int to a DataLoader, tensors to a loop on the device.
All that is carried from batch to batch is a place in the stream: each batch is a pure function of
(seed, global batch number).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler

from gpusampler import checks, distributed, fingerprint, state, trainers
from gpusampler.class_index import ClassIndex
from gpusampler.describe import table
from gpusampler.place import Place, Walk
from gpusampler.segments import Change, History, Segment

MAX_SLOTS = 1 << 27  # of one op call: below 2^31, as its positions are 32 bits, and its key
# table (8 bytes a batch and a cycle, so 12 a slot at the worst) then stays below 1.5 GiB
LIST_WINDOW_BYTES = 1 << 22
MAX_BYTES = 1 << 30


class StreamBatchSampler(BatchSampler):
    """What every sampler here does; how a batch is drawn is a subclass's.

    Iterating yields one epoch: n_batches lists of batch_size ints, as a DataLoader takes them;
    with shard(), this rank's share of them. Iterating again yields the next epoch. `iter()` costs
    nothing; the first `next` draws.

    batch_size, n_batches, seed, device, index (the ClassIndex), rank, world_size,
    drop_last (True)
    """

    drop_last = True
    kind: str  # "fixed", "random", ...

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any,
        *, device: Any, seed: Any, window_bytes: Any, shard: Any, sampler: Any,
    ):  # fmt: skip
        self.batch_size = checks.batch_size(batch_size)
        self.n_batches = checks.n_batches(n_batches)
        self.seed = checks.seed(seed)
        self.window_bytes = checks.integer("window_bytes", window_bytes, 1, 1 << 62)
        on_cuda = isinstance(class_idxs, ClassIndex) and class_idxs.device.type == "cuda"
        self.device = checks.device(class_idxs.device if device is None and on_cuda else device)
        self.index = ClassIndex.from_class_idxs(class_idxs, device=self.device)
        self._history = History(self.index.num_classes, self.n_batches)
        self._place = Place()
        self.rank, self.world_size = 0, 1
        share = None if shard is None else distributed.rank_and_size(shard)
        share = trainers.agreed_share(share, sampler)
        if share is not None:
            self._take_share(*share)

    def __new__(cls, *args: Any, **kwargs: Any) -> StreamBatchSampler:
        trainers.refuse_rebuilding(args, kwargs)
        trainers.retire_the_one_made_anew(cls, depth=1)
        return super().__new__(cls)

    @property
    def sampler(self) -> trainers.Epochs:  # type: ignore[override]
        return trainers.Epochs(self)

    @abstractmethod
    def _segment(self, change: Change, number: int, first: int, start: np.ndarray) -> Segment:
        """The segment of this change of mix (None: the mix that the sampler was made with)."""

    def _class_draws(self) -> str:
        """Where classes are drawn, if their draws are not the same everywhere."""
        return ""

    @property
    def class_counts(self) -> Tensor:
        """[C] float64, on the host: expected draws of each class in this epoch, on all ranks."""
        segment, _ = self._history.at(self.epoch, self._segment)
        return torch.from_numpy(segment.mean_counts()) * self.n_batches

    def __len__(self) -> int:
        return self.n_batches // self.world_size

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration yields, and that build() builds."""
        return self._place.epoch

    @property
    def begun_epoch(self) -> int | None:
        """The epoch of the iteration that began last, if one did."""
        return None if self._place.walk is None else self._place.walk.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration yield this epoch.

        Setting it twice is setting it once, and setting the epoch that load_state_dict() came to
        leaves its batch as it is. An iteration of that very epoch that was begun goes on.
        """
        epoch = checks.integer("epoch", epoch, 0, (self._last_batch() + 1) // self.n_batches - 1)
        self._place = self._place.moved(epoch)

    def shard(self, rank: Any, world_size: int | None = None) -> StreamBatchSampler:
        """One rank's part of this stream, as a sampler of its own.

        rank        this process's rank, with world_size; or alone: "auto", a ProcessGroup, a
                    DeviceMesh of one dimension, to ask torch.distributed.
        Returns     A sampler that iterates batches rank, rank + world_size, ... of each epoch:
                    n_batches // world_size of them on every rank. Whole batches, so each has the
                    class counts of one device's. batch() and batches() still take global numbers.
        """
        where = rank if world_size is None else (rank, world_size)
        other = copy.copy(self)
        other._history = self._history.copy()
        other._place = self._place.at(self._place.epoch, self._place.batch)
        other._take_share(*distributed.rank_and_size(where))
        return other

    def _take_share(self, rank: int, world_size: int) -> None:
        if self.world_size != 1 and world_size != 1:
            raise ValueError(
                f"this sampler is rank {self.rank} of {self.world_size} already, and a part of a "
                f"part would leave out batches; shard the one that was not sharded"
            )
        distributed.check_share(self.n_batches, world_size)
        self.rank, self.world_size = rank, world_size

    def check_agreement(self, group: Any = None) -> None:
        """Raise on every rank, naming those that differ, unless all hold the same stream.

        group   the data-parallel process group; None: the default one. All its ranks must call.
        Compared are class index, class mix and its changes, kind, seed, batch_size, n_batches,
        epoch, batch and world size; sharded, no two ranks may have the same rank.
        One all_reduce of 8 bytes for each of these and rank.
        """
        own = self.state_dict()
        facts = {
            name: int(fingerprint.of_bytes(repr(value).encode()), 16) for name, value in own.items()
        }
        facts["world size"] = self.world_size
        place = self.rank if self.world_size > 1 else None
        distributed.check_same(facts, place, group, self.device)

    def state_dict(self, done: int | None = None) -> dict[str, Any]:
        """The place in the stream, as plain ints and strings; the same on every rank.

        done     batches of the last begun epoch that this rank has trained on; None: those handed
                 out. For a plain DataLoader with workers, which asks for batches ahead.
        Returns  a dict of fixed keys, about 400 bytes, and what set_alpha and set_weights added.
        The first call reads the class index once; none waits for a device after that.
        """
        epoch, batch = self._place.now(done, self.n_batches, self.world_size)
        self._history.follow(epoch, self._segment)
        return state.pack(self._facts(), epoch, batch, self._history.pack())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where state_dict() was taken: on any rank of any world size, on any device.

        Raises  ValueError: it is of another format or another sampler, by name of what differs.
        """
        epoch, batch, segments = state.checked(state_dict, self._facts())
        self._history = self._history.unpacked(segments, self._segment)
        self._place = self._place.at(epoch, batch)

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "n_batches": self.n_batches,
            "class_index": self.index.fingerprint,
            "class_mix": self._history.origin,
            "class_draws": self._class_draws(),
        }

    def __iter__(self) -> Iterator[list[int]]:
        place = self._place
        trainers.refuse_to_go_astray(self.world_size, place.epoch, place.batch, depth=1)
        walk = self._begin()
        for window in self._windows(walk, LIST_WINDOW_BYTES):
            for row in window.cpu().numpy():
                self._hand(walk)
                yield row.tolist()
        walk.over = True

    def on_device(self) -> Iterator[Tensor]:
        """Yield the next epoch as [B] int64 views on the device; the host does not wait for them.

        Batches are built in windows; the current one and the next take at most window_bytes. Only
        the first window of each length waits for a copy, of a fixed plan's small table.
        """
        walk = self._begin()
        for window in self._windows(walk, self.window_bytes // 2):
            for row in window:
                self._hand(walk)
                yield row
        walk.over = True

    def build(self, out: Tensor | None = None, max_bytes: int = MAX_BYTES) -> Tensor:
        """All batches of this epoch at once: [len(self), B] int64 on the device.

        The epoch is `self.epoch`, and stays it: building twice gives the same.

        out        a contiguous tensor of that shape, dtype and device to fill and return.
        max_bytes  the most that the result may take, default 1 GiB.
        Raises     ValueError: the epoch is larger than that; use on_device(), or raise it.
        """
        if out is None:
            checks.byte_budget(len(self), self.batch_size, max_bytes)
        first = self.epoch * self.n_batches + self.rank
        return self._filled(first, len(self), self.world_size, out)

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
        checks.byte_budget(count, self.batch_size, max_bytes)
        return self._filled(g0, count, 1, None)

    @property
    def effective_class_counts(self) -> Tensor:
        """[C] float64, on the host: expected samples of an epoch that carry each class. More than
        class_counts where samples are in several classes, since each is drawn with all of its."""
        return torch.from_numpy(self.index.carried(self.class_counts.numpy()))

    def describe(self) -> str:
        """A table: each class's size, share of the draws, draws per batch and per epoch, draws of
        one member per epoch, and what share of a batch carries it where samples are in several
        classes. Expected values where classes are drawn at random."""
        return table(
            f"{type(self).__name__}: {self.n_batches} batches of {self.batch_size} an epoch, "
            f"seed {self.seed}, {self.index}",
            self.index.host_sizes,
            None,
            self.class_counts.numpy(),
            self.effective_class_counts.numpy(),
            self.n_batches,
        )

    def _last_batch(self) -> int:
        return (1 << 62) // self.batch_size - 1

    def _filled(self, g0: int, count: int, stride: int, out: Tensor | None) -> Tensor:
        """Batches g0, g0 + stride, ..., count of them."""
        shape = (count, self.batch_size)
        if out is None:
            out = torch.empty(shape, dtype=torch.int64, device=self.device)
        else:
            checks.output(out, shape, self.device)
        step = max(1, MAX_SLOTS // self.batch_size // stride)
        done = 0
        while done < count:
            g = g0 + done * stride
            segment, end = self._history.at(g // self.n_batches, self._segment)
            n = min(step, count - done, count if end is None else -((g - end) // stride))
            segment.draw(out[done : done + n], g, stride)
            done += n
        return out

    def _begin(self) -> Walk:
        self._place, walk = self._place.begun()
        return walk

    def _hand(self, walk: Walk) -> None:
        walk.handed += 1
        if self._place.waits_for(walk):
            self._place = self._place.gone_on(walk)

    def _windows(self, walk: Walk, most_bytes: int) -> Iterator[Tensor]:
        """This rank's batches of an epoch, in order, as [n, B] tensors of at most so many bytes
        (or one batch)."""
        stride = self.world_size
        g0 = walk.epoch * self.n_batches + walk.first + self.rank
        count = (self.n_batches - walk.first) // stride
        step = max(1, most_bytes // (8 * self.batch_size))
        for done in range(0, count, step):
            yield self._filled(g0 + done * stride, min(step, count - done), stride, None)
