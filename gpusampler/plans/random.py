"""Random plan: classes drawn with replacement, as tables to draw from.

Takes integer weights, class sizes and offsets.
Gives one row a class that is drawn, and where each class's part of the u axis ends, on the host.
Knows nothing of seeds, devices, batch numbers or batch sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar

import numpy as np

from gpusampler.bits.random_bits import I63, U64
from gpusampler.plans.order_guide import Guide, class_guide
from gpusampler.plans.table_checks import check_classes, check_same, refuse
from gpusampler.plans.weights import Weights

CLASS, SIZE, FIRST = range(3)  # columns of RandomPlan.rows


@dataclass(frozen=True)
class RandomPlan:
    """Each slot's class is drawn by itself, with replacement.

    rows    [A, 3] int64: CLASS id, SIZE, FIRST place in members
    shares  [A] float64: the probability of each row
    cuts    [A + 1] uint64: row i is drawn where cuts[i] <= u < cuts[i + 1], u of 64 bits; the
            last is 2^64 - 1, which itself draws the last row
    guide   [2^k + 1] int32: the row at the start of each of 2^k equal parts of the u axis
    """

    rows: np.ndarray
    shares: np.ndarray
    cuts: np.ndarray
    guide: np.ndarray
    batch_size = None  # any
    TABLES: ClassVar = {"rows": ("int64", 3), "cuts": ("int64", 0), "guide": ("int32", 0)}
    NUMBERS: ClassVar = ()

    @classmethod
    def of_tables(cls, rows: np.ndarray, cuts: np.ndarray, guide: np.ndarray) -> RandomPlan:
        """The plan of these tables and numbers. Raises ValueError: they are no plan's."""
        check_classes(rows[:, CLASS], rows[:, SIZE], rows[:, FIRST])
        cuts = cuts.view(np.uint64)
        if len(cuts) != len(rows) + 1 or cuts[0] != 0 or cuts[-1] != U64:
            refuse(f"cuts must be {len(rows) + 1} numbers from 0 to 2^64 - 1")
        if (cuts[1:] < cuts[:-1]).any():
            refuse("cuts must ascend")
        check_same("guide", guide, guide_of(cuts[:-1]))
        return cls(rows, np.diff(cuts) / 2.0**64, cuts, guide)

    def tables(self) -> tuple[np.ndarray, ...]:
        """What the op of this kind is given, besides members; numbers() too."""
        return self.rows, self.cuts.view(np.int64), self.guide

    def numbers(self) -> tuple[int, ...]:
        return ()

    @cached_property
    def reach(self) -> int:
        """How many members there must be."""
        return int((self.rows[:, FIRST] + self.rows[:, SIZE]).max())

    def batches(self, first: int) -> tuple[int, int]:
        """The lowest and highest batch number of a segment that begins with `first`."""
        return first, I63

    @cached_property
    def order_guide(self) -> Guide:
        """Which class a place in members is of."""
        return class_guide(self.rows[:, FIRST])

    @cached_property
    def steps(self) -> int:
        """Bisection steps that find the row within the longest part of the guide."""
        return int(np.diff(self.guide).max()).bit_length()


def random_plan(weights: Weights, sizes: np.ndarray, offsets: np.ndarray) -> RandomPlan:
    """Tables for drawing each slot's class with probability w_c / total."""
    drawn = np.flatnonzero(weights.positive())
    rows = np.stack([drawn, sizes[drawn], offsets[drawn]], axis=1).astype(np.int64)
    values = [weights.values[i] for i in weights.which[drawn].tolist()]
    below = accumulate(values[:-1], initial=0)
    cuts = np.array([(w << 64) // weights.total for w in below], dtype=np.uint64)
    ended = np.append(cuts, np.uint64(U64))
    return RandomPlan(rows, weights.shares()[drawn], ended, guide_of(cuts))


def guide_of(cuts: np.ndarray) -> np.ndarray:
    """The guide of a RandomPlan to these cuts, without their end."""
    bits = min(24, (4 * len(cuts)).bit_length())
    starts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    rows = np.searchsorted(cuts, starts, side="right") - 1
    return np.append(rows, len(cuts) - 1).astype(np.int32)
