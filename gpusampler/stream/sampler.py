"""Stream: what every sampler does, whatever its kind. Batches one after another, epoch by epoch.

Takes the batches of a kind by their numbers, and a rank. Gives them in order: lists of int to a
DataLoader, tensors to a loop on the device. Carries from batch to batch only a position.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler

from gpusampler import checks, frames
from gpusampler.bits import fingerprint
from gpusampler.ops import graphs
from gpusampler.stream import distributed, lightning, state, trainers
from gpusampler.stream.batches import MAX_BYTES, Batches
from gpusampler.stream.position import Layout, Pass, Position, what_is_left

LIST_WINDOW_BYTES = 1 << 22


class StreamBatchSampler(Batches, BatchSampler):
    """What every sampler does: for annotations and isinstance; each kind is a subclass of it.

    Its names without an underscore are public, but segment_of, mix_of and warn_of, the kinds' own.

    Iterating yields one epoch: n_batches lists of batch_size ints, as a DataLoader takes them;
    with shard(), this rank's share of them. Iterating again yields the next epoch. `iter()` costs
    nothing; the first `next` draws. An iteration keeps the class mix that its epoch began with.

    Read-only are batch_size, n_batches, seed, device, index (the ClassIndex), rank, world_size and
    unbroken (True: an iteration goes on where the last one stopped, across epochs).
    """

    drop_last = True
    unbroken: bool
    rank: int
    world_size: int

    def __init__(
        self, class_idxs: Any, batch_size: Any, n_batches: Any,
        *, device: Any, seed: Any, window_bytes: Any, shard: Any, sampler: Any, unbroken: Any,
        order: Any, unique: Any,
    ):  # fmt: skip
        super().__init__(
            class_idxs, batch_size, n_batches, device=device, seed=seed, order=order, unique=unique
        )
        vars(self).update(rank=0, world_size=1, unbroken=checks.flag("unbroken", unbroken))
        self.window_bytes = checks.integer("window_bytes", window_bytes, 1, 1 << 62)
        self._position = Position()
        self._changes = threading.RLock()
        share = None if shard is None else distributed.rank_and_size(shard)
        share = lightning.agreed_share(share, sampler)
        self.share_was_said = share is not None and not isinstance(shard, str)
        if share is not None:
            self._take_share(*share)

    def __new__(cls, *args: Any, **kwargs: Any) -> StreamBatchSampler:
        lightning.refuse_rebuilding(args, kwargs)
        lightning.retire_the_one_made_anew(cls, args, kwargs)
        return super().__new__(cls)

    @property
    def sampler(self) -> trainers.Epochs:  # type: ignore[override]
        return trainers.Epochs(self)

    @property
    def class_counts(self) -> Tensor:
        """class_counts_in(self.epoch): of the epoch that the next iteration yields."""
        return self.class_counts_in(self.epoch)

    @property
    def effective_class_counts(self) -> Tensor:
        """effective_class_counts_in(self.epoch): of the epoch that the next iteration yields."""
        return self.effective_class_counts_in(self.epoch)

    def describe(self, epoch: int | None = None) -> str:
        """A table: each class's size, the share asked for and given, draws per batch and per epoch,
        draws of one member per epoch, and what share of a batch carries it where samples are in
        several classes. Expected values where classes are drawn at random.
        epoch   None: self.epoch.
        """
        return self._described(self.epoch if epoch is None else epoch)

    def __len__(self) -> int:
        return self.n_batches // self.world_size

    @property
    def _layout(self) -> Layout:
        return Layout(self.n_batches, self.world_size, self.unbroken)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration yields, and that build() builds."""
        return self._position.next(self._layout)[0]

    @property
    def begun_epoch(self) -> int | None:
        """The epoch of the iteration that began last, if one did."""
        return None if self._position.last is None else self._position.last.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration yield this epoch.

        Setting it twice is setting it once, and setting the epoch that load_state_dict() came to
        leaves its batch as it is. An iteration of that very epoch that was begun goes on. With
        unbroken=True nothing is set.
        """
        epoch = checks.integer("epoch", epoch, 0, self._last_epoch())
        if self.unbroken:
            return
        with self._changes:
            if epoch < self._history.oldest:
                self._history.at(epoch, self)  # raises
            self._position = self._position.moved(epoch)

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
        other._position = Position(*self._position.next(self._layout))
        other.share_was_said = not isinstance(where, str)
        other._take_share(*distributed.rank_and_size(where))
        return other

    def _take_share(self, rank: int, world_size: int) -> None:
        if self.world_size != 1 and world_size != 1:
            raise ValueError(
                f"this sampler is rank {self.rank} of {self.world_size} already, and a part of a "
                f"part would leave out batches; shard the one that was not sharded"
            )
        distributed.check_share(self.n_batches, world_size)
        vars(self).update(rank=rank, world_size=world_size)
        self._name_for_graphs(len(self))

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: all but the lock and what Lightning noted of the original (it
        holds the lock), and of the last iteration what it had handed out by now."""
        kept = {k: v for k, v in vars(self).items() if k not in ("_changes", "__pl_attrs_record")}
        return kept | {"_position": self._position.copied()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _changes=threading.RLock())  # nothing here for Lightning to note
        self._name_for_graphs(len(self))

    def check_agreement(self, group: Any = None, share: str = "distinct") -> None:
        """Raise on every rank, naming those that differ, unless all hold the same stream.

        group   the ranks to compare, which all must call: a process group or a DeviceMesh of one
                dimension, as mesh["dp"]; None: the default group.
        share   "distinct": sharded, no two ranks take the same share; "same": all take the same,
                as tensor-parallel peers must: check_agreement(mesh["tp"], share="same").
        Compared are class index, class mix, its changes and how they are read, kind, seed,
        batch_size, n_batches, order, unique, unbroken, epoch, batch and world size. One all_reduce
        of 8 bytes for each of these and rank. A sampler that is whole on all ranks, as Accelerate
        and HF Trainer want it, is checked with share="same".
        """
        told = self.state_dict() | {"unbroken": self.unbroken} | self._rules()
        facts = {k: int(fingerprint.of_bytes(repr(v).encode()), 16) for k, v in told.items()}
        own = self.rank, self.world_size
        distributed.check_same(facts, own, share, group, self.device)

    def state_dict(self, done: int | None = None) -> dict[str, Any]:
        """The place in the stream, as plain ints and strings; the same on every rank.

        done     batches that this rank has trained on since the last iteration began, counted from
                 1 again after load_state_dict(); None: those handed out. For a plain DataLoader
                 with workers, which asks for batches ahead.
        Returns  a dict of fixed keys, about 400 bytes, and where the class mix was changed that
                 mix and how far each class had come.
        The first call reads the class index once; none waits for a device after that.
        """
        with self._changes:  # else of two moments
            history, (epoch, batch) = self._history, self._position.now(done, self._layout)
        return state.pack(self._facts(), history, epoch, batch, self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where state_dict() was taken: on any rank of any world size, on any device.

        Raises  ValueError: it is of another format or another sampler, by name of what differs.
        """
        lightning.refuse_to_revive(self._position)
        told = state.checked(state_dict, self._facts())
        first, schedule, sizes = self._first, self._schedule, self.index.host_sizes
        history = state.loaded(told, first, schedule, self._history, sizes, self)
        place = trainers.place_of_nodes(self, told["epoch"], told["batch"])
        with self._changes:
            self._position.parted(self._history)
            self._history, self._position = history, Position(*place)

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "n_batches": self.n_batches,
            "class_index": self.index.fingerprint,
            "class_mix": self._origin,
            "class_draws": self._class_draws(),
            "order": self.order,
            "unique": int(self.unique),
        }

    def _rules(self) -> dict[str, Any]:
        """What ranks must agree on besides a state: how changes of mix are read."""
        return {}

    def __iter__(self) -> Iterator[list[int]]:
        trainers.refuse_to_go_astray(self, *self._position.next(self._layout))
        some = self._begin()
        for window in self._windows(some, LIST_WINDOW_BYTES):
            for row in window.cpu().numpy():
                self._hand(some)
                yield row.tolist()
        some.over = True

    def on_device(self) -> Iterator[Tensor]:
        """Yield the next epoch as [B] int64 views on the device; the host does not wait for them.

        Batches are built in windows; the current one and the next take at most window_bytes. Only
        the first window of each length waits for a copy, of a fixed plan's small table.
        """
        trainers.warn_of_batches_alike(self)
        some = self._begin()
        for window in self._windows(some, self.window_bytes // 2):
            for row in window:
                self._hand(some)
                yield row
        some.over = True

    def build(self, out: Tensor | None = None, max_bytes: int = MAX_BYTES) -> Tensor:
        """All batches of this epoch at once: [len(self), B] int64 on the device.

        The epoch is `self.epoch`, and stays it: building twice gives the same.

        out        a contiguous tensor of that shape, dtype and device to fill and return.
        max_bytes  the most that the result may take, default 1 GiB.
        Raises     ValueError: the epoch is larger than that; use on_device(), or raise it.
        """
        if out is None:
            checks.byte_budget(len(self), self.batch_size, max_bytes)
        else:
            checks.output(out, (len(self), self.batch_size), self.device)
        if torch.compiler.is_compiling():
            found = graphs.epoch(self._in_graphs, max_bytes)
            return found if out is None else out.copy_(found)
        first = self.epoch * self.n_batches + self.rank
        return self._filled(first, len(self), self.world_size, out)

    def _begin(self) -> Pass:
        with self._changes:
            epoch, batch = self._position.next(self._layout)
            if batch < self.n_batches:  # what a schedule has to say against it comes first
                self._history.at(epoch, self)
            self._position.parted(self._history)
            self._position, some = self._position.begun(self._layout)
        trainers.warn_of_workers_alike(self)
        left = [] if trainers.is_made_to_be_left() else what_is_left(some, self._layout)
        for message in left:
            frames.warn(message)
        return some

    def _hand(self, some: Pass) -> None:
        some.handed += 1
        if self._position.waits_for(some):
            with self._changes:
                if self._position.waits_for(some):
                    self._position = self._position.gone_on(some)

    def _windows(self, some: Pass, most_bytes: int) -> Iterator[Tensor]:
        """This rank's batches of an iteration, in order, as [n, B] tensors of at most so many bytes
        (or one batch). The mix of an epoch is looked up once, when its first batch is due; where
        another was begun or loaded since, as it was then."""
        stride, step = self.world_size, max(1, most_bytes // (8 * self.batch_size))
        epoch, batch, due = some.epoch, some.first, some.length
        while due:
            history = some.history or self._history
            segment = self.segment_of(history.at(epoch, self)[0])
            here = min(due, (self.n_batches - batch) // stride)
            g0 = epoch * self.n_batches + batch + self.rank
            for done in range(0, here, step):
                shape = (min(step, here - done), self.batch_size)
                out = torch.empty(shape, dtype=torch.int64, device=self.device)
                self._draw(segment, out, g0 + done * stride, stride)
                yield out
            epoch, batch, due = epoch + 1, 0, due - here
