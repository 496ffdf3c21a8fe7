"""Fixed plan: the same class counts in every batch, as tables to draw from.

Takes integer weights, class sizes and offsets, a batch size.
Gives counts and one row a class that is drawn, int64, on the host.
Knows nothing of seeds, devices or batch numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gpusampler.bits.random_bits import I63, grid_or_none
from gpusampler.plans.columns import class_rows
from gpusampler.plans.table_checks import (
    MOST_BATCH,
    MOST_PLACES,
    check_classes,
    check_range,
    check_same,
    refuse,
)
from gpusampler.plans.weights import Weights

# Columns of FixedPlan.rows.
CLASS, SIZE, FIRST, COUNT, RANK, GRID_A, GRID_B, START = range(8)


@dataclass(frozen=True)
class FixedPlan:
    """The same class counts in every batch.

    counts      [C] int64, sum B
    rows        [A, 8] int64, one a class with a count: CLASS id, SIZE, FIRST place in members,
                COUNT a batch, first RANK in a batch, GRID_A x GRID_B (0 where size is small),
                START: its draws before batch 0
    rank_row    [B] int32: the row of each rank
    blocks      None, or the Blocks of each row: then no batch has a member twice
    """

    counts: np.ndarray
    rows: np.ndarray
    rank_row: np.ndarray
    blocks: Any = None
    order_guide = None  # ranks are class by class
    TABLES: ClassVar = {"rows": ("int64", 8), "rank_row": ("int32", 0)}
    NUMBERS: ClassVar = ()

    @classmethod
    def of_tables(cls, rows: np.ndarray, rank_row: np.ndarray) -> FixedPlan:
        """The plan of these tables and numbers. Raises ValueError: they are no plan's."""
        counts = rows[:, COUNT]
        check_classes(rows[:, CLASS], rows[:, SIZE], rows[:, FIRST])
        check_range("counts", counts, 1, MOST_BATCH)
        if len(rank_row) > MOST_BATCH or counts.sum() != len(rank_row):
            refuse(f"counts must sum to the {len(rank_row)} ranks, below 2^24, not {counts.sum()}")
        given = (CLASS, SIZE, FIRST, COUNT, START)
        check_range("draws before", rows[:, START], -MOST_PLACES, MOST_PLACES)
        made, ranks = fixed_tables(*(rows[:, column] for column in given))
        check_same("rows", rows, made)
        check_same("rank_row", rank_row, ranks)
        return cls(counts, rows, rank_row)

    def tables(self) -> tuple[np.ndarray, ...]:
        """What the op of this kind is given, besides members; numbers() too."""
        given = self.rows, self.rank_row
        return given if self.blocks is None else (*given, self.blocks.table)

    def numbers(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_size(self) -> int:
        return len(self.rank_row)

    @cached_property
    def grid(self) -> tuple[int, int]:
        """The permutation grid of [0, B)."""
        return grid_or_none(self.batch_size)

    @cached_property
    def class_rows(self) -> np.ndarray:
        """[A, 8] int32: of each row."""
        return class_rows(self.rows[:, SIZE], self.rows[:, FIRST], self.rows[:, COUNT])

    @cached_property
    def reach(self) -> int:
        """How many members there must be."""
        return int((self.rows[:, FIRST] + self.rows[:, SIZE]).max())

    def batches(self, first: int) -> tuple[int, int]:
        """The lowest and highest batch number whose ordinals are in [0, 2^63)."""
        start, count = self.rows[:, START], self.rows[:, COUNT]
        lowest = int((-(start // count)).max())
        highest = (np.int64(I63) - np.maximum(start, 0)) // count
        return max(first, lowest), int(highest.min()) - 1

    @cached_property
    def smallest(self) -> int:
        return int(self.rows[:, SIZE].min())

    @cached_property
    def largest(self) -> int:
        return int(self.rows[:, SIZE].max())

    def key_ends(self, n_batches: int) -> np.ndarray:
        """Where each row's keys end in a table of one key per (row, cycle) of a window.

        [A] int64; a window of n_batches can touch so many cycles wherever it begins.
        """
        size, count = self.rows[:, SIZE], self.rows[:, COUNT]
        cycles = np.where(size == 1, 1, n_batches * count // size + 2)
        return np.cumsum(cycles)


def fixed_counts(weights: Weights, batch_size: int) -> np.ndarray:
    """Whole counts for one batch, [C] int64, sum batch_size.

    Each class gets its quota batch_size * w_c / total rounded down; what is left goes to the
    largest remainders, a tie to the lower class id.
    Source  Hamilton's method of apportionment.

    >>> from gpusampler.plans.weights import given
    >>> fixed_counts(given([1.3, 1.3, 1.4], np.array([5, 5, 5])), 4).tolist()
    [1, 1, 2]
    """
    quotients = [divmod(batch_size * value, weights.total) for value in weights.values]
    base = np.array([quotient for quotient, _ in quotients])[weights.which]
    remainders = [remainder for _, remainder in quotients]
    rank_of = {r: i for i, r in enumerate(sorted(set(remainders), reverse=True))}
    rank = np.array([rank_of[r] for r in remainders])[weights.which]
    extra = batch_size - int(base.sum())
    base[np.argsort(rank, kind="stable")[:extra]] += 1
    return base


def fixed_plan(
    counts: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, start: np.ndarray | None = None
) -> FixedPlan:
    """Tables for the given counts per batch. Every class with a count must have members.

    start  [C] draws of each class before batch 0; None: none.
    """
    drawn = np.flatnonzero(counts)
    given = drawn, sizes[drawn], offsets[drawn], counts[drawn]
    return FixedPlan(counts, *fixed_tables(*given, 0 if start is None else start[drawn]))


def fixed_tables(
    classes: np.ndarray, sizes: np.ndarray, firsts: np.ndarray, counts: np.ndarray, start: Any
) -> tuple[np.ndarray, np.ndarray]:
    """rows and rank_row of a FixedPlan, from those of its columns that others follow from."""
    rows = np.zeros((len(classes), 8), dtype=np.int64)
    rows[:, CLASS], rows[:, SIZE], rows[:, FIRST] = classes, sizes, firsts
    rows[:, COUNT], rows[:, START] = counts, start
    rows[:, RANK] = np.cumsum(counts) - counts
    distinct, which = np.unique(rows[:, SIZE], return_inverse=True)
    rows[:, GRID_A : GRID_B + 1] = np.array([grid_or_none(n) for n in distinct.tolist()])[which]
    return rows, np.repeat(np.arange(len(classes), dtype=np.int32), counts)
