"""Segment: what a kind makes of one class mix, from some batch of the stream on.

Takes a plan, and the stretch of a stream that it is for. Gives batches, and how often each class
came. Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gpusampler.bits import random_bits
from gpusampler.index.class_index import ClassIndex
from gpusampler.ops import given, windows


@dataclass(frozen=True)
class Stretch:
    """The batches of a stream from one change of the class mix to the next.

    number    how many mixes came before it in the run
    first     its first batch
    start     [C] int64: draws of each class before it
    by_class  whether batches are class by class
    unique    whether no batch has a member twice
    """

    index: ClassIndex
    seed: int
    batch_size: int
    number: int
    first: int
    start: np.ndarray
    by_class: bool
    unique: bool


class Segment(ABC):
    """Batches of one class mix over a stretch: batch `first` and those that follow.

    start  [C] int64: draws of each class before it
    """

    def __init__(self, stretch: Stretch, plan: Any, op: str):
        self.index, self.seed, self.batch_size = stretch.index, stretch.seed, stretch.batch_size
        self.number, self.first, self.start = stretch.number, stretch.first, stretch.start
        self._op, self._plan = op, plan
        where = stretch.index.device, op, plan, stretch.first, stretch.number, stretch.by_class
        self._tables, self._numbers = given.tables_on(*where)

    def draw(self, out: Tensor, g0: int, stride: int) -> None:
        """Fill out [n, B] with batches g0, g0 + stride, ..."""
        self._fill(out, self._tables, g0, stride)

    def _fill(self, out: Tensor, tables: list[Tensor], g0: int, stride: int) -> None:
        seed = random_bits.signed(self.seed)
        windows.draw(self._op, out, self.index.members, tables, self._numbers, seed, g0, stride)

    @abstractmethod
    def mean_counts(self) -> np.ndarray:
        """[C] float64: expected draws of each class in a batch."""

    def draws(self, n: int) -> np.ndarray:
        """[C] int64: draws of each class in the segment's first n batches, where they are counted
        at all: zeros where members are drawn with replacement."""
        return np.zeros(self.index.num_classes, np.int64)
