"""Plan: from weights to what each batch holds of each class, as the tables that are drawn from.

Takes integer weights, class sizes and offsets, a batch size.
Gives counts per batch and tables on the host, int64; only classes that are drawn have a row.
Knows nothing of seeds, devices or batch numbers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from gpusampler import checks
from gpusampler.bits import random_bits
from gpusampler.bits.random_bits import grid_or_none
from gpusampler.plans.columns import class_rows
from gpusampler.plans.order_guide import Guide, class_guide
from gpusampler.plans.weights import Weights

# Columns of FixedPlan.rows and RandomPlan.rows: the first three are the same.
CLASS, SIZE, FIRST, COUNT, RANK, GRID_A, GRID_B, START = range(8)
I63 = (1 << 63) - 1


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


class UnevenShareWarning(UserWarning):
    """The counts of a fixed batch give a class over 10 % more or less than it was to have."""


class StarvedClassWarning(UnevenShareWarning):
    """A class with a positive weight has no slot in a fixed batch, and is never drawn."""


def warn_uneven(weights: Weights, counts: np.ndarray, stacklevel: int) -> None:
    """Tell how many classes get over 10 % more or less than they are due, and which is the worst;
    and of those that get nothing the names, 10 at most."""
    off, worst = _far_off(weights, counts)
    if off == 0:
        return
    size, classes = int(counts.sum()), len(counts)
    larger = enough(weights, size)
    by_size = "" if larger is None else f", or batch_size={larger}, where none does"
    due = size * weights.values[weights.which[worst]] / weights.total
    far = (
        f"{off} of {classes} classes get over 10 % more or less than their share; the worst, class "
        f"{worst}, gets {counts[worst]} of {size} draws in every batch, and is due {due:.4g} "
        f"({counts[worst] / due - 1:+.0%}). "
    )
    starved = np.flatnonzero(weights.positive() & (counts == 0))
    if len(starved) == 0:
        text = (
            f"{far}Use kind='stratified', which keeps each share over time, kind='random', which "
            f"does by chance{by_size}"
        )
        warnings.warn(text, UnevenShareWarning, stacklevel=stacklevel)
        return
    named = ", ".join(map(str, starved[:10].tolist()))
    more = f" and {len(starved) - 10} more" if len(starved) > 10 else ""
    text = (
        f"every batch leaves out {len(starved)} of {classes} classes: {named}{more}; "
        f"a batch of {size} is too small to give each a slot by its weight. {far}"
        f"Use kind='stratified', give them more weight{by_size}"
    )
    warnings.warn(text, StarvedClassWarning, stacklevel=stacklevel)


def enough(weights: Weights, size: int) -> int | None:
    """A batch size above this one at which no class gets over 10 % more or less than it is due:
    each is due 10 draws, of which less than one is lost or won, or all are due whole draws."""
    least = min(value for value in weights.values if value)
    found = min(-(-10 * weights.total // least), weights.total * (size // weights.total + 1))
    return found if found <= checks.MAX_BATCH_SIZE else None


def _far_off(weights: Weights, counts: np.ndarray) -> tuple[int, int]:
    """How many classes are over 10 % off what they are due, and the first of those that are off
    the most."""
    size = int(counts.sum())
    pairs, first, times = np.unique(
        weights.which * (size + 1) + counts, return_index=True, return_counts=True
    )
    found = []
    for pair, c, time in zip(pairs.tolist(), first.tolist(), times.tolist(), strict=True):
        due = size * weights.values[pair // (size + 1)]
        off = abs(pair % (size + 1) * weights.total - due)
        if 10 * off > due:
            found.append((Fraction(off, due), -c, time))
    return (sum(time for *_, time in found), -max(found)[1]) if found else (0, 0)


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


def random_plan(weights: Weights, sizes: np.ndarray, offsets: np.ndarray) -> RandomPlan:
    """Tables for drawing each slot's class with probability w_c / total."""
    drawn = np.flatnonzero(weights.positive())
    rows = np.stack([drawn, sizes[drawn], offsets[drawn]], axis=1).astype(np.int64)
    values = [weights.values[i] for i in weights.which[drawn].tolist()]
    below = accumulate(values[:-1], initial=0)
    cuts = np.array([(w << 64) // weights.total for w in below], dtype=np.uint64)
    ended = np.append(cuts, np.uint64(random_bits.U64))
    return RandomPlan(rows, weights.shares()[drawn], ended, guide_of(cuts))


def guide_of(cuts: np.ndarray) -> np.ndarray:
    """The guide of a RandomPlan to these cuts, without their end."""
    bits = min(24, (4 * len(cuts)).bit_length())
    starts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    rows = np.searchsorted(cuts, starts, side="right") - 1
    return np.append(rows, len(cuts) - 1).astype(np.int32)
