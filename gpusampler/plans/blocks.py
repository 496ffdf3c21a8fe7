"""Blocks: how a class is gone through where no batch may have a member twice.

Takes a plan, or class sizes and the draws of each class in a batch: as many in each, or one more
in some. Gives one row a class: the blocks of a pass, and their grids. Knows nothing of weights.

A pass over a class of n visits blocks of places one after another, each block in a keyed order of
its own; places are scattered over the members by one keyed order that stays. Where blocks have at
most L places, as below, and stay, of m draws in a row each member has m / n, rounded down or up: in
a class of n >= m none twice.

Where L is nearly n, the same n - L = few members would come last in each pass, and together. So
these change: a pass has blocks of n - 2 few, few and few, and all blocks move on by `few` places
from pass to pass. Those that are last in a pass are next to last in the next one, and then among
the others: a member never comes earlier by more than it may. There `few` is rounded up to a power
of two, so that a count that changes seldom changes it: a pass then goes on through a change of mix
and each member comes once in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpusampler.bits.random_bits import grid_or_none
from gpusampler.plans.columns import SIZE as ROW_SIZE
from gpusampler.plans.fixed import COUNT, SIZE, FixedPlan
from gpusampler.plans.table_checks import check_same

# Columns of a table of blocks, of 32-bit words; a row is 32 bytes. Each of the BLOCKS of a pass has
# LENGTH places but the last, which has LAST; where they move on by SHIFT, two of LAST follow the
# first. Sides are 1 x 1 where there are few places.
LENGTH, GRID_A, GRID_B, BLOCKS, LAST, LAST_A, LAST_B, SHIFT = range(8)
MOVE_FROM = 4  # a class of so many times `few`


def block_lengths(sizes: np.ndarray, draws: np.ndarray, more: np.ndarray) -> np.ndarray:
    """The longest blocks, [A] int64, for classes of these sizes >= 1.

    draws  [A] int64: of the class in a batch
    more   [A] bool: some batches have one draw more. Where none has, and a pass begins with a
           batch, batches begin at whole multiples of gcd(n, draws) only, and so do blocks.

    >>> sizes, draws = np.array([10, 10, 10, 1000, 3]), np.array([8, 8, 5, 7, 8])
    >>> block_lengths(sizes, draws, np.array([False, True, False, True, False])).tolist()
    [4, 2, 10, 992, 2]
    """
    unit = _units(sizes, draws, more)
    lengths = unit * _anywhere(sizes // unit, draws // unit, more)
    few = _power_of_two(draws + more - 1)
    return np.where((lengths < sizes) & (MOVE_FROM * few <= sizes), sizes - few, lengths)


def aligned(start: np.ndarray, sizes: np.ndarray, draws: np.ndarray, more: Any) -> np.ndarray:
    """The draws of each class before a mix, [C] int64, for classes of any sizes: rounded up where
    its batches may begin at some draws of a pass only, see block_lengths()."""
    sizes = np.maximum(sizes, 1)
    unit = _units(sizes, draws, more)
    bound = block_lengths(sizes, draws, more) > _anywhere(sizes, draws, more)
    return np.where(bound, -(-start // unit) * unit, start)


def _units(sizes: np.ndarray, draws: np.ndarray, more: Any) -> np.ndarray:
    return np.where(more, 1, np.gcd(sizes, draws))


def _anywhere(n: np.ndarray, draws: np.ndarray, more: Any) -> np.ndarray:
    """The longest blocks where batches may begin at any draw of a pass."""
    return np.minimum(np.minimum(_in_units(n, draws + more), _in_units(n, draws)), n)


def _power_of_two(x: np.ndarray) -> np.ndarray:
    """Not below x, and at least 1."""
    return np.int64(1) << np.frexp(np.maximum(x, 1) - 1)[1].astype(np.int64)


def _in_units(n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Of m draws in a row none has a member more often than m / n rounded up, where L is at most
    n - rest + 1, as a member may come L - 1 draws early; and none more rarely than that rounded
    down, where L is at most rest + 1, as it may come L - 1 draws late."""
    rest = m % n
    many = np.where(rest > 0, np.minimum(n - rest + 1, rest + 1), 1)
    return np.where(m < n, n - m + 1, many)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a plan's classes.

    table  [A, 8] int32: the words of one row a class
    span   the fewest and the most places of a block of a class that is drawn
    """

    table: np.ndarray
    span: tuple[int, int]


def with_blocks(plan: Any) -> Any:
    """A FixedPlan or StratifiedPlan whose batches have no member twice."""
    if isinstance(plan, FixedPlan):
        sizes, draws = plan.rows[:, SIZE], plan.rows[:, COUNT]
        more = np.zeros(len(sizes), bool)
    else:
        sizes, (draws, more) = plan.rows[:, ROW_SIZE].astype(np.int64), plan.draws
    table = block_table(sizes, draws, more)
    lengths = table[(draws > 0) | more][:, [LENGTH, LAST]]
    return replace(plan, blocks=Blocks(table, (int(lengths.min()), int(lengths.max()))))


def block_table(sizes: np.ndarray, draws: np.ndarray, more: np.ndarray) -> np.ndarray:
    """[A, 8] int32, the words of a table of blocks; see block_lengths()."""
    lengths = block_lengths(sizes, draws, more)
    few = sizes - lengths
    moves = (few > 0) & (MOVE_FROM * few <= sizes) & (draws + more <= sizes)
    table = np.ones((len(sizes), 8), np.int64)
    table[:, LENGTH] = lengths - few * moves
    table[:, BLOCKS] = np.where(moves, 2, -(-sizes // lengths))
    table[:, LAST] = np.where(moves, few, sizes - (table[:, BLOCKS] - 1) * lengths)
    table[:, SHIFT] = few * moves
    for size, grid in ((LENGTH, GRID_A), (LAST, LAST_A)):
        distinct, which = np.unique(table[:, size], return_inverse=True)
        grids = np.array([grid_or_none(n) for n in distinct.tolist()]).reshape(-1, 2)
        table[:, grid : grid + 2] = np.maximum(grids, 1)[which]
    return table.astype(np.uint32).view(np.int32)


def plan_of_tables(plan_type: Any, *given: Any) -> Any:
    """The plan of these tables, the last of which is its blocks', and numbers.

    Raises  ValueError: they are no plan's.
    """
    at = len(plan_type.TABLES)
    made = with_blocks(plan_type.of_tables(*given[:at], *given[at + 1 :]))
    check_same("blocks", given[at], made.blocks.table)
    return made
