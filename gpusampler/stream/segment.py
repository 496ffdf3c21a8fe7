"""Segment: what a kind makes of one class mix, from some batch of the stream on.

Takes nothing; each kind's own says what it takes. Gives batches, and how often each class came.
Knows nothing of epochs or ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor


class Segment(ABC):
    """Batches of one class mix, from global batch number `first` on.

    number  how many mixes came before it in the run
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
