"""pk plan: so many distinct classes a batch, so many members of each, as tables to draw from.

Takes class sizes and offsets, classes per batch (P) and members per class (K).
Gives one row a class with members and one a rotation, int64, on the host.
Knows nothing of seeds, devices or batch numbers.

A rotation (n, take): each visit takes `take` different ones of n. A cycle is n div take visits and
has none twice; the n mod take that it leaves out move on from cycle to cycle, and a turn is the
cycles until all were left out equally often. Classes rotate by (A, P), the members of a class of
n by (n, K mod n), after K div n whole copies of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import ClassVar

import numpy as np

from gpusampler.bits.random_bits import I63, grid_or_none
from gpusampler.plans.table_checks import (
    MOST_BATCH,
    check_classes,
    check_range,
    check_same,
    refuse,
)

# Columns of PKPlan.rows.
CLASS, FIRST, ROTATION = range(3)
# Columns of PKPlan.rotations.
SIZE, TAKE, PER_CYCLE, LEAVE, PERIOD, SIGMA_A, SIGMA_B, RHO_A, RHO_B = range(9)
CLASSES = 0  # the row of PKPlan.rotations by which the classes come


@dataclass(frozen=True)
class PKPlan:
    """P distinct classes in every batch, K members of each.

    rows       [A, 3] int64, one a class with members: CLASS id, FIRST place in members, the
               ROTATION of its members
    rotations  [1 + D, 9] int64, that of the classes, then one a distinct class size, ascending:
               SIZE n, what a visit TAKEs (may be 0), visits PER_CYCLE, what a cycle LEAVEs out,
               cycles a turn (PERIOD), SIGMA_A x SIGMA_B the grid of [0, n - LEAVE) and
               RHO_A x RHO_B that of [0, n) (0 where that is small)
    classes_per_batch, members_per_class
    """

    rows: np.ndarray
    rotations: np.ndarray
    classes_per_batch: int
    members_per_class: int
    order_guide = None  # visits are put in the order of their classes
    TABLES: ClassVar = {"rows": ("int64", 3), "rotations": ("int64", 9)}
    NUMBERS: ClassVar = ("classes_per_batch", "members_per_class")

    @classmethod
    def of_tables(
        cls, rows: np.ndarray, rotations: np.ndarray, per_batch: int, per_class: int
    ) -> PKPlan:
        """The plan of these tables and numbers. Raises ValueError: they are no plan's."""
        numbers = np.array([per_batch, per_class])
        check_range("classes_per_batch and members_per_class", numbers, 1, MOST_BATCH)
        if per_batch * per_class > MOST_BATCH or per_batch > len(rows):
            refuse(
                f"classes_per_batch must be at most the {len(rows)} rows, and times "
                f"members_per_class below 2^24, not {per_batch} and {per_class}"
            )
        at = rows[:, ROTATION]
        check_range("rotations of rows", at, CLASSES + 1, len(rotations) - 1)
        sizes, firsts = rotations[at, SIZE], rows[:, FIRST]
        check_classes(rows[:, CLASS], sizes, firsts)
        made = pk_tables(rows[:, CLASS], sizes, firsts, per_batch, per_class)
        check_same("rows", rows, made[0])
        check_same("rotations", rotations, made[1])
        return cls(rows, rotations, per_batch, per_class)

    def tables(self) -> tuple[np.ndarray, ...]:
        """What the op of this kind is given, besides members; numbers() too."""
        return self.rows, self.rotations

    def numbers(self) -> tuple[int, ...]:
        return self.classes_per_batch, self.members_per_class

    @property
    def batch_size(self) -> int:
        return self.classes_per_batch * self.members_per_class

    @cached_property
    def grid(self) -> tuple[int, int]:
        """The permutation grid of [0, B)."""
        return grid_or_none(self.batch_size)

    @cached_property
    def reach(self) -> int:
        """How many members there must be."""
        return int((self.rows[:, FIRST] + self.rotations[self.rows[:, ROTATION], SIZE]).max())

    def batches(self, first: int) -> tuple[int, int]:
        """The lowest and highest batch number of a segment that begins with `first`."""
        return first, I63

    @property
    def copies(self) -> bool:
        """Whether some class has so few members that a visit takes each at least once."""
        return int(self.rotations[CLASSES + 1, SIZE]) <= self.members_per_class

    @cached_property
    def spans(self) -> tuple[int, int, int, int]:
        """The smallest and largest n - LEAVE, then the smallest and largest n, of the members'
        rotations; 1 where none takes any."""
        used = self.rotations[CLASSES + 1 :]
        used = used[used[:, TAKE] > 0]
        if len(used) == 0:
            return 1, 1, 1, 1
        sizes = used[:, SIZE]
        kept = sizes - used[:, LEAVE]
        return int(kept.min()), int(kept.max()), int(sizes.min()), int(sizes.max())


def pk_plan(
    sizes: np.ndarray, offsets: np.ndarray, classes_per_batch: int, members_per_class: int
) -> PKPlan:
    """Tables for the given classes, of which at least classes_per_batch must have members.

    >>> plan = pk_plan(np.array([5, 0, 3]), np.array([0, 5, 5, 8]), 1, 4)
    >>> plan.rows.tolist()
    [[0, 0, 2], [2, 5, 1]]
    >>> plan.rotations[:, :5].tolist()
    [[2, 1, 2, 0, 1], [3, 1, 3, 0, 1], [5, 4, 1, 1, 5]]
    """
    classes = np.flatnonzero(sizes)
    numbers = classes_per_batch, members_per_class
    return PKPlan(*pk_tables(classes, sizes[classes], offsets[classes], *numbers), *numbers)


def pk_tables(
    classes: np.ndarray, sizes: np.ndarray, firsts: np.ndarray, per_batch: int, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """rows and rotations of a PKPlan, for the classes with members."""
    distinct, which = np.unique(sizes, return_inverse=True)
    rotations = [_rotation(len(classes), per_batch)]
    rotations += [_rotation(n, per_class % n) for n in distinct.tolist()]
    rows = np.stack([classes, firsts, which + 1], axis=1)
    return rows.astype(np.int64), np.array(rotations, dtype=np.int64)


def _rotation(n: int, take: int) -> list[int]:
    leave = n % take if take else 0
    per_cycle = n // take if take else 1
    period = n // gcd(n, leave)
    return [n, take, per_cycle, leave, period, *grid_or_none(n - leave), *grid_or_none(n)]
