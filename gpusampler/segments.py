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
        self.epochs: list[int] = []
        self.changes: list[Change] = []
        self.segments: list[Segment] = []
        self.origin = b""  # the identity of the mix that the sampler was made with

    def copy(self) -> History:
        other = History(self.num_classes, self.n_batches, self.schedule)
        other.followed, other.origin = self.followed, self.origin
        other.epochs, other.changes = list(self.epochs), list(self.changes)
        other.segments = list(self.segments)
        return other

    def begin(self, epoch: int, change: Change, make: Maker) -> None:
        """Let `change` hold from this epoch on; what was to begin there or later is dropped."""
        keep = bisect_right(self.epochs, epoch - 1)
        start = np.zeros(self.num_classes, np.int64)
        if keep:
            last = self.segments[keep - 1]
            start = last.start + last.draws((epoch - self.epochs[keep - 1]) * self.n_batches)
        made = make(change, keep, epoch * self.n_batches, start)
        self.origin = self.origin or made.identity()
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
            alpha = self.schedule(self.followed)
            if alpha != self.changes[-1]:
                self.begin(self.followed, alpha, make)
            self.followed += 1

    def pack(self) -> str:
        """All changes, and how far the schedule was followed, as text."""
        told = [
            [epoch, _packed(change)]
            for epoch, change in zip(self.epochs, self.changes, strict=True)
            if change is not None
        ]
        return json.dumps([self.followed, told])

    def unpacked(self, text: str, make: Maker) -> History:
        """The history that gave this text."""
        followed, changes = json.loads(text)
        other = History(self.num_classes, self.n_batches, self.schedule)
        other.origin = self.origin
        for epoch, change in [(0, None), *changes]:
            other.begin(epoch, _unpacked(change), make)
        other.followed = followed
        return other


def _packed(change: Change) -> Any:
    if isinstance(change, np.ndarray):
        return base64.b64encode(change.astype("<f8").tobytes()).decode()
    return change


def _unpacked(change: Any) -> Change:
    if isinstance(change, str):
        return np.frombuffer(base64.b64decode(change), "<f8").astype(np.float64)
    return change
