"""Batches: any batch of a stream from its number, whatever the kind.

Takes a class index, sizes and a seed; a subclass makes the segments that draw.
Gives batches [B] of dataset indices as tensors. Each is a pure function of (seed, global batch
number) and of the mixes of the run; nothing here is changed by asking for one.
Knows nothing of iterating, ranks or states.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks
from gpusampler.bits import fingerprint
from gpusampler.index.class_index import ClassIndex
from gpusampler.ops import graphs
from gpusampler.plans.weights import Weights
from gpusampler.stream.describe import table
from gpusampler.stream.history import History, Mark, Schedule
from gpusampler.stream.segment import Segment, Stretch

MAX_SLOTS = 1 << 27  # of one op call: below 2^31, as its positions are 32 bits, and its key
# table (8 bytes a batch and a cycle, so 12 a slot at the worst) then stays below 1.5 GiB
MAX_BYTES = 1 << 30
ORDERS = ("shuffle", "class")


ANOTHER = "make another sampler with it"
READ_ONLY = {  # what is decided where a sampler is made, and what to do instead of setting it
    "kind": ANOTHER,
    "batch_size": ANOTHER,
    "n_batches": ANOTHER,
    "seed": ANOTHER,
    "device": ANOTHER,
    "index": ANOTHER,
    "order": ANOTHER,
    "unique": ANOTHER,
    "unbroken": ANOTHER,
    "class_draw": ANOTHER,
    "classes_per_batch": ANOTHER,
    "members_per_class": ANOTHER,
    "weighting": ANOTHER,
    "drop_empty": ANOTHER,
    "drop_last": "leave it, as all batches are whole",
    "shuffle": "leave it, as members and batches are shuffled anew in each epoch",
    "rank": "call shard(rank, world_size)",
    "world_size": "call shard(rank, world_size)",
    "epoch": "call set_epoch(epoch)",
    "alpha": "call set_alpha(alpha), which holds from the next epoch on",
    "schedule": "call set_alpha(function), which holds from the next epoch on",
    "weights": "call set_weights(weights), which holds from the next epoch on",
    "shares": "call set_shares(shares), which holds from the next epoch on",
    "rates": "call set_rates(rates), which holds from the next epoch on",
}


class Batches:
    """The batches of a stream, by their numbers.

    batch_size, n_batches, seed, device, index (the ClassIndex), order, unique   read-only
    """

    kind: str  # "fixed", "random", ...
    past = "draws"  # what a class mix needs of the epochs before it, see history.Maker
    batch_size: int
    n_batches: int
    seed: int
    device: torch.device
    index: ClassIndex
    order: str
    unique: bool
    _in_graphs: tuple[int, int, int, torch.device]  # what graphs finds it by

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any, *, device: Any, seed: Any,
        order: Any, unique: Any,
    ):  # fmt: skip
        on_cuda = isinstance(class_idxs, ClassIndex) and class_idxs.device.type == "cuda"
        where = checks.device(class_idxs.device if device is None and on_cuda else device)
        vars(self).update(
            batch_size=checks.batch_size(batch_size),
            n_batches=checks.n_batches(n_batches),
            seed=checks.seed(seed),
            device=where,
            order=checks.choice("order", order, ORDERS),
            unique=checks.flag("unique", unique),
        )
        self._check_unique()
        vars(self).update(index=ClassIndex.from_class_idxs(class_idxs, device=where))
        self._name_for_graphs(self.n_batches)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in READ_ONLY:
            raise AttributeError(
                f"{name} of a sampler cannot be set (to {value!r:.40}), since its batches and "
                f"states hang on it; {READ_ONLY[name]}"
            )
        super().__setattr__(name, value)

    def _name_for_graphs(self, length: int) -> None:
        """Take a number for graphs, as a copy must, with what a graph has to know of this."""
        in_graphs = graphs.handle_of(self), self.batch_size, length, self.device
        vars(self)["_in_graphs"] = in_graphs  # not set, so that Lightning has nothing to note

    def _check_unique(self) -> None:
        """Refuse unique=True, or False, where batches cannot be so."""

    def _begin_with(self, mix: Weights | None, schedule: Schedule | None = None) -> None:
        """Let the stream begin with this mix, in epoch 0: what a subclass's __init__ ends with."""
        start = np.zeros(self.index.num_classes, np.int64)
        first = Mark(0, 0, mix, start)
        self.segment_of(first)  # what is wrong with a mix shows now
        self._first, self._schedule = first, schedule
        self._origin = fingerprint.of_bytes(self._identity(first))
        self._history = History((first,), schedule)

    def _stretch(self, mark: Mark) -> Stretch:
        """What is drawn by a mark: the batches of its epoch and those that follow."""
        return Stretch(
            self.index, self.seed, self.batch_size, mark.number, mark.epoch * self.n_batches,
            mark.start, self.order == "class", self.unique,
        )  # fmt: skip

    @abstractmethod
    def _segment(self, mark: Mark) -> Segment:
        """What the kind makes of a mix."""

    @abstractmethod
    def _identity(self, mark: Mark) -> bytes:
        """What tells the mix that the sampler was made with from another."""

    def segment_of(self, mark: Mark) -> Segment:
        found = mark.segment  # which another thread may let go of
        if found is None:
            found = mark.segment = self._segment(mark)
        return found

    def mix_of(self, alpha: Any, epoch: int) -> Weights:
        raise NotImplementedError  # a kind of a class mix has it

    def warn_of(self, mark: Mark, scheduled: bool) -> None:
        """Say what a batch by this mark's mix lacks of it."""

    def _class_draws(self) -> str:
        """Where classes are drawn, if their draws are not the same everywhere."""
        return ""

    def class_counts_in(self, epoch: int) -> Tensor:
        """[C] float64, on the host: expected draws of each class in this epoch, on all ranks."""
        epoch = checks.integer("epoch", epoch, 0, self._last_epoch())
        mark, _ = self._history.at(epoch, self)
        return torch.from_numpy(self.segment_of(mark).mean_counts()) * self.n_batches

    def effective_class_counts_in(self, epoch: int) -> Tensor:
        """[C] float64, on the host: expected samples of this epoch that carry each class, on all
        ranks. More than class_counts_in() where samples are in several classes, since each is drawn
        with all of its."""
        return torch.from_numpy(self.index.carried(self.class_counts_in(epoch).numpy()))

    def _described(self, epoch: int) -> str:
        mark, _ = self._history.at(checks.integer("epoch", epoch, 0, self._last_epoch()), self)
        counts = self.segment_of(mark).mean_counts() * self.n_batches
        return table(
            f"{type(self).__name__}: {self.n_batches} batches of {self.batch_size} an epoch, "
            f"seed {self.seed}, {self.index}, epoch {epoch}",
            self.index.host_sizes,
            None if mark.mix is None else mark.mix.shares(),
            counts,
            self.index.carried(counts),
            self.n_batches,
            self.index.names,
        )

    def batch(self, g: int) -> Tensor:
        """Global batch number g, [B] int64 on the device: batch g mod n_batches of epoch
        g div n_batches.

        The work is O(B), wherever g is; where classes come from torch.multinomial it is one block
        of about 2^20 draws, and the last block is kept.
        """
        return self.batches(g, 1)[0]

    def batches(self, g0: int, count: int, max_bytes: int = MAX_BYTES) -> Tensor:
        """Global batches g0 .. g0 + count, [count, B] int64 on the device; max_bytes as build()."""
        if torch.compiler.is_compiling():
            return graphs.batches(self._in_graphs, g0, count, max_bytes)
        g0 = checks.integer("the first batch", g0, 0, self._last_batch())
        count = checks.integer("count", count, 1, min(1 << 40, self._last_batch() - g0 + 1))
        checks.byte_budget(count, self.batch_size, max_bytes)
        return self._filled(g0, count, 1, None)

    def _last_batch(self) -> int:
        return (1 << 62) // self.batch_size - 1

    def _last_epoch(self) -> int:
        return (self._last_batch() + 1) // self.n_batches - 1

    def _filled(self, g0: int, count: int, stride: int, out: Tensor | None) -> Tensor:
        """Batches g0, g0 + stride, ..., count of them, each by the mix of its epoch."""
        shape = (count, self.batch_size)
        if out is None:
            out = torch.empty(shape, dtype=torch.int64, device=self.device)
        else:
            checks.output(out, shape, self.device)
        history, done = self._history, 0
        while done < count:
            g = g0 + done * stride
            mark, until = history.at(g // self.n_batches, self)
            left = count - done
            if until is not None:
                left = min(left, -((g - until * self.n_batches) // stride))
            part = out if left == count else out[done : done + left]
            self._draw(self.segment_of(mark), part, g, stride)
            done += left
        return out

    def _draw(self, segment: Segment, out: Tensor, g0: int, stride: int) -> None:
        """Fill out, in calls that an op can take."""
        step, n = max(1, MAX_SLOTS // self.batch_size // stride), out.shape[0]
        if n <= step:
            segment.draw(out, g0, stride)
            return
        for done in range(0, n, step):
            segment.draw(out[done : done + step], g0 + done * stride, stride)
