"""Round robin plan: draw d of the stream falls in class d mod C, and takes its members in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gpusampler.bits.random_bits import I63, grid_or_none
from gpusampler.plans.table_checks import MOST_BATCH, check_classes, check_range

SIZE, FIRST = range(2)  # columns of RoundRobinPlan.rows


@dataclass(frozen=True)
class RoundRobinPlan:
    """rows [C, 2] int64: SIZE and FIRST place in members of each class"""

    rows: np.ndarray
    batch_size: int
    order_guide = None
    TABLES: ClassVar = {"rows": ("int64", 2)}
    NUMBERS: ClassVar = ("batch_size",)

    @classmethod
    def of_tables(cls, rows: np.ndarray, batch_size: int) -> RoundRobinPlan:
        check_classes(np.arange(len(rows)), rows[:, SIZE], rows[:, FIRST])
        check_range("batch_size", np.array([batch_size]), 1, MOST_BATCH)
        return cls(rows, batch_size)

    def tables(self) -> tuple[np.ndarray, ...]:
        return (self.rows,)

    def numbers(self) -> tuple[int, ...]:
        return (self.batch_size,)

    @property
    def grid(self) -> tuple[int, int]:
        return grid_or_none(self.batch_size)

    @property
    def reach(self) -> int:
        return int(self.rows.sum(axis=1).max())

    def batches(self, first: int) -> tuple[int, int]:
        return first, I63 // self.batch_size - 1
