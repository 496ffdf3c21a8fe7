"""Segments: the class mixes of a run, each from some epoch on, and what came before them.

Takes changes (an alpha or weights, from an epoch on) or a schedule, and a maker of segments.
Gives the segment of any epoch, with the draws of each class before it, so that a change of mix
costs no member its turn. Knows nothing of how a kind draws.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from gpusampler import fingerprint

Change = float | np.ndarray | None  # an alpha, weights [C], or what the sampler was made with
Schedule = Callable[[int], float]


class Segment(ABC):
    """What a kind makes of one class mix, from global batch number `first` on.

    number  its place among the segments
    start   [C] int64: draws of each class before it
    """

    def __init__(self, number: int, first: int, start: np.ndarray):
        self.number, self.first, self.start = number, first, start

    @abstractmethod
    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        """Fill out [n, B] with batches g0, g0 + stride, ..."""

    @abstractmethod
    def mean_counts(self) -> np.ndarray:
        """[C] float64: expected draws of each class in a batch."""

    @abstractmethod
    def draws(self, n: int) -> np.ndarray:
        """[C] int64: draws of each class in the segment's first n batches, where they are counted
        at all: zeros where members are drawn with replacement."""

    @abstractmethod
    def identity(self) -> bytes:
        """What tells its mix from another."""


Maker = Callable[[Change, int, int, np.ndarray], Segment]


class History:
    """Which segment an epoch belongs to. Epochs of n_batches; all segments begin with one."""

    def __init__(self, num_classes: int, n_batches: int, schedule: Schedule | None = None):
        self.num_classes, self.n_batches = num_classes, n_batches
        self.schedule = schedule
        self.followed = 1  # epochs whose alpha the schedule has told
        self.by_hand = 0  # the epoch of the last change that was not the schedule's
        self.epochs: list[int] = []
        self.changes: list[Change] = []
        self.segments: list[Segment] = []
        self.origin = ""  # the fingerprint of the mix that the sampler was made with

    def copy(self) -> History:
        other = History(self.num_classes, self.n_batches, self.schedule)
        other.followed, other.by_hand = self.followed, self.by_hand
        other.origin = self.origin
        other.epochs, other.changes = list(self.epochs), list(self.changes)
        other.segments = list(self.segments)
        return other

    def begin(self, epoch: int, change: Change, make: Maker) -> None:
        """Let `change` hold from this epoch on; what was to begin there or later is dropped."""
        self._begin(epoch, change, make)
        self.by_hand = epoch

    def _begin(self, epoch: int, change: Change, make: Maker) -> None:
        keep = bisect_right(self.epochs, epoch - 1)
        if keep and np.array_equal(self.changes[keep - 1], change):  # type: ignore[arg-type]
            del self.epochs[keep:], self.changes[keep:], self.segments[keep:]
            return
        start = np.zeros(self.num_classes, np.int64)
        if keep:
            last = self.segments[keep - 1]
            start = last.start + last.draws((epoch - self.epochs[keep - 1]) * self.n_batches)
        made = make(change, keep, epoch * self.n_batches, start)
        self.origin = self.origin or fingerprint.of_bytes(made.identity())
        change = change if change is None or isinstance(change, np.ndarray) else float(change)
        self.epochs[keep:], self.changes[keep:], self.segments[keep:] = [epoch], [change], [made]

    def at(self, epoch: int, make: Maker) -> tuple[Segment, int | None]:
        """The segment of an epoch, and the first batch of the next one, if there is one."""
        self.follow(epoch, make)
        i = bisect_right(self.epochs, epoch)
        end = self.segments[i].first if i < len(self.segments) else None
        return self.segments[i - 1], end

    def follow(self, epoch: int, make: Maker) -> None:
        """Ask the schedule for the alpha of each epoch up to this one."""
        while self.schedule is not None and self.followed <= epoch:
            self._begin(self.followed, self.schedule(self.followed), make)
            self.followed += 1

    def pack(self, epoch: int | None = None) -> str:
        """All changes, how far a schedule was followed, and whether there is one, as text.

        What the schedule told of epochs after this one is left out: some ranks may have asked.
        """
        last = max(self.followed - 1 if epoch is None else epoch, self.by_hand)
        told = [
            [first, _packed(change)]
            for first, change in zip(self.epochs, self.changes, strict=True)
            if change is not None and first <= last
        ]
        return json.dumps([min(self.followed, last + 1), self.schedule is not None, told])

    def unpacked(self, text: str, make: Maker) -> History:
        """The history that gave this text, with this one's schedule if that one had any.

        Raises  ValueError: no history gave it.
        """
        try:
            followed, scheduled, changes = json.loads(text)
            other = History(self.num_classes, self.n_batches)
            other.origin = self.origin
            for epoch, change in [(0, None), *changes]:
                other.begin(epoch, _unpacked(change), make)
            other.followed, other.by_hand = followed, followed - 1
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"segments of a state must be as state_dict() gave them, not {text!r:.80}; "
                f"pass the state unchanged"
            ) from error
        if scheduled:
            other.schedule = self.schedule or _unknown_schedule
        return other


def _unknown_schedule(epoch: int) -> float:
    raise ValueError(
        f"the state's run follows a function of the epoch, which a state cannot hold, and alpha of "
        f"epoch {epoch} is not in it; call set_alpha(that function) after load_state_dict()"
    )


def _packed(change: Change) -> Any:
    if isinstance(change, np.ndarray):
        return base64.b64encode(change.astype("<f8").tobytes()).decode()
    return change


def _unpacked(change: Any) -> Change:
    if isinstance(change, str):
        return np.frombuffer(base64.b64decode(change), "<f8").astype(np.float64)
    return change
