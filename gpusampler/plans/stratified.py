"""Stratified plan: every batch has each class's quota, rounded down or up, evenly over the batches.

Takes integer weights, class sizes and offsets, a batch size, the draws before.
Gives tables on the host, and each class's draws before any batch. Batches are counted from the
start of the plan, r. Knows nothing of devices or global batch numbers.

A class of weight w out of S has base = B * w div S draws in every batch. Its rest, B * w mod S, is
due to it besides, and comes as extras: one more draw in some batches. (Of 10 draws a batch, weights
5, 4 and 3 are due 4 1/6, 3 1/3 and 2 1/2: 4, 3 and 2 draws in every batch, and one extra a batch
for one of the three.) An even tree over the classes with a rest shares out the extras.

Where all rests are the same, each class has had equally many extras after some batches, a period.
Then the classes may change places in the tree, and do so each round of some periods; so any two
meet. Else two classes below a node of at most one extra a batch never meet by their extras.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, ClassVar

import numpy as np

from gpusampler.bits import random_bits
from gpusampler.bits.keyed_order import keyed_order
from gpusampler.bits.random_bits import CLASS_ORDER, I63, grid_or_none
from gpusampler.plans.columns import BASE, SIZE, class_rows, first_places
from gpusampler.plans.even_tree import (
    BOUND_BITS,
    CARRY,
    SPLIT,
    bounds,
    check_tree,
    down,
    even_tree,
    ticks_of_left,
)
from gpusampler.plans.order_guide import Guide, class_guide
from gpusampler.plans.table_checks import (
    MOST_BATCH,
    MOST_PLACES,
    check_classes,
    check_range,
    check_same,
    refuse,
)
from gpusampler.plans.weights import Weights

MAX_BATCHES = 1 << 42  # shares of ticks are of 63 bits
LEAST_ROUND = 256  # batches
CLASS, RANK = range(2)  # columns of base_rows


@dataclass(frozen=True)
class StratifiedPlan:
    """Class counts of each batch, in closed form.

    batch_size, extra  B, and how many of them are extras
    rows        [C, 8] int32: class_rows(), SIZE 1 where a class is empty
    base_rows   [A, 2] int32, ascending: CLASS id and first RANK of each class with base draws
    rank_row    [B - extra] int32: the base row of each rank of base draws
    start       [C] int64: draws of each class before r = 0
    leaf_class  [L] int32: the class of each leaf of the tree, in ascending order of its rest
    class_leaf  [C] int32: the leaf of each class, -1 where its quota is whole
    shares, links, root, height   of the even tree over them
    round_batches, round_draws  of a round, and of each leaf's class in it; 0 where there are none.
                In round k the class of leaf i is leaf_class[perm(i, L, key(CLASS_ORDER, k))]
    smallest, largest  sizes of the classes with a positive weight
    blocks      None, or the Blocks of each class: then no batch has a member twice
    """

    batch_size: int
    extra: int
    rows: np.ndarray
    base_rows: np.ndarray
    rank_row: np.ndarray
    start: np.ndarray
    leaf_class: np.ndarray
    class_leaf: np.ndarray
    shares: np.ndarray
    links: np.ndarray
    root: int
    height: int
    round_batches: int
    round_draws: int
    smallest: int
    largest: int
    blocks: Any = None
    TABLES: ClassVar = {
        "rows": ("int32", 8), "base_rows": ("int32", 2), "rank_row": ("int32", 0),
        "start": ("int64", 0), "leaf_class": ("int32", 0), "class_leaf": ("int32", 0),
        "shares": ("int64", 0), "links": ("int32", 3),
    }  # fmt: skip
    NUMBERS: ClassVar = ("batch_size", "root", "height", "round_batches", "round_draws")

    @classmethod
    def of_tables(
        cls, rows: np.ndarray, base_rows: np.ndarray, rank_row: np.ndarray, start: np.ndarray,
        leaf_class: np.ndarray, class_leaf: np.ndarray, shares: np.ndarray, links: np.ndarray,
        *numbers: int,
    ) -> StratifiedPlan:  # fmt: skip
        """The plan of these tables and numbers. Raises ValueError: they are no plan's."""
        batch_size, root, height, batches, draws = numbers
        classes, base = np.arange(len(rows)), rows[:, BASE].astype(np.int64)
        sizes, firsts = rows[:, SIZE], first_places(rows)
        check_classes(classes, sizes, firsts)
        check_range("batch_size", np.array([batch_size]), 1, MOST_BATCH)
        check_range("base draws", base, 0, batch_size)
        check_range("draws before", start, 0, MOST_PLACES)
        extra = batch_size - int(base.sum())
        check_same("rows", rows, class_rows(sizes, firsts, base))
        if len(start) != len(rows) or len(rank_row) != batch_size - extra or extra < 0:
            refuse(f"base draws must be the {len(rank_row)} ranks, and start [{len(rows)}]")
        made, ranks = base_tables(base)
        check_same("base_rows", base_rows, made)
        check_same("rank_row", rank_row, ranks)
        check_range("classes of leaves", leaf_class, 0, len(rows) - 1)
        check_same("class_leaf", class_leaf, leaves_of(leaf_class, len(rows)))
        check_same("leaf_class", class_leaf[leaf_class], np.arange(len(leaf_class)))
        check_tree(base[leaf_class] > 0, shares, links, root, height, extra)
        _check_rounds(len(leaf_class), extra, base[leaf_class].any(), batches, draws)
        used = sizes[(base > 0) | (class_leaf >= 0)]
        return cls(
            batch_size, extra, rows, base_rows, rank_row, start, leaf_class, class_leaf, shares,
            links, root, height, batches, draws, int(used.min()), int(used.max()),
        )  # fmt: skip

    def tables(self) -> tuple[np.ndarray, ...]:
        """What the op of this kind is given, besides members; numbers() too."""
        given = (
            self.rows, self.base_rows, self.rank_row, self.start, self.leaf_class,
            self.class_leaf, self.shares, self.links,
        )  # fmt: skip
        return given if self.blocks is None else (*given, self.blocks.table)

    def numbers(self) -> tuple[int, ...]:
        return self.batch_size, self.root, self.height, self.round_batches, self.round_draws

    @cached_property
    def grid(self) -> tuple[int, int]:
        """The permutation grid of [0, B)."""
        return grid_or_none(self.batch_size)

    @cached_property
    def reach(self) -> int:
        """How many members there must be."""
        drawn = (self.rows[:, BASE] > 0) | (self.class_leaf >= 0)
        return int((first_places(self.rows) + self.rows[:, SIZE])[drawn].max())

    def batches(self, first: int) -> tuple[int, int]:
        """The lowest and highest batch number of a segment that begins with `first`."""
        most = (I63 - int(self.start.max())) // self.batch_size - 1
        return first, first + min(MAX_BATCHES - 1, most)

    def key_ends(self, n_batches: int) -> np.ndarray:
        """Where each base row's keys end in a table of one key per (base row, cycle).

        [A] int64; n_batches can touch so many cycles wherever they begin.
        """
        rows = self.rows[self.base_rows[:, CLASS]].astype(np.int64)
        size = rows[:, SIZE]
        cycles = np.where(size == 1, 1, n_batches * (rows[:, BASE] + 1) // size + 2)
        return np.cumsum(cycles)

    @cached_property
    def order_guide(self) -> Guide:
        """Which class a place in members is of."""
        return class_guide(first_places(self.rows))

    @property
    def draws(self) -> tuple[np.ndarray, np.ndarray]:
        """[C] int64 and bool: the draws of each class in every batch, and whether some batches have
        one more."""
        return self.rows[:, BASE].astype(np.int64), self.class_leaf >= 0

    @property
    def tree(self) -> tuple[int, int]:
        return self.root, self.height

    @cached_property
    def order_grid(self) -> tuple[int, int]:
        """Of the leaves' order in a round."""
        return grid_or_none(len(self.leaf_class))

    def draws_before(self, seed: int, segment: int, r: int) -> np.ndarray:
        """[C] int64: draws of each class in batches 0 .. r of the plan, without `start`.

        >>> from gpusampler.plans.weights import given
        >>> plan = stratified_plan(given([3, 2, 1], [9, 9, 9]), [9, 9, 9], [0, 9, 18], 4)
        >>> plan.draws_before(0, 0, 3 * 1024).tolist()
        [6144, 4096, 2048]
        """
        draws, classes = r * self.rows[:, BASE].astype(np.int64), self.leaf_class
        key = random_bits.tree_key(seed, segment)
        if self.round_batches:
            number, r = divmod(r, self.round_batches)
            draws[classes] += number * self.round_draws
            order_key = random_bits.words(seed, CLASS_ORDER, number, segment=segment)[:2]
            classes = classes[keyed_order(len(classes), order_key)]

        def share_out(v: np.ndarray, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            carry = (self.links[v, SPLIT] & CARRY).astype(bool)
            ticks = np.where(carry, np.uint64(r) - ones, ones)
            left = ticks_of_left(self.shares[v].view(np.uint64), v, ticks, key)
            both = left, ticks - left
            one, other = (np.where(carry, np.uint64(r) - taken, taken) for taken in both)
            return one, other

        for leaf, ones in down(self.root, self.links, share_out):
            draws[classes[leaf]] += ones.astype(np.int64)
        return draws

    def count_bounds(self) -> np.ndarray:
        """[C] float64: the most that draws_before can differ from r times the class's quota."""
        most = np.zeros(len(self.rows))
        for leaf, bound in bounds(self.root, self.links, self.shares):
            most[self.leaf_class[leaf]] = bound / float(1 << BOUND_BITS)
        if self.round_batches:  # a class may be at any leaf
            most[self.leaf_class] = most.max()
        return most


def stratified_plan(
    weights: Weights,
    sizes: np.ndarray,
    offsets: np.ndarray,
    batch_size: int,
    start: np.ndarray | None = None,
) -> StratifiedPlan:
    """Tables for class counts of batch_size * w_c / total, rounded down or up in each batch.

    start  [C] draws of each class before the first batch; None: none.
    """
    quotients = [divmod(batch_size * value, weights.total) for value in weights.values]
    base = np.array([quotient for quotient, _ in quotients], np.int64)[weights.which]
    extra = batch_size - int(base.sum())
    base_rows, rank_row = base_tables(base)
    sizes = np.asarray(sizes, np.int64)
    used = sizes[weights.positive()]
    leaf_class, rests = _leaves([rest for _, rest in quotients], weights.which)
    return StratifiedPlan(
        batch_size,
        extra,
        class_rows(np.maximum(sizes, 1), np.asarray(offsets, np.int64)[: len(sizes)], base),
        base_rows,
        rank_row,
        np.zeros(len(sizes), np.int64) if start is None else np.asarray(start, np.int64),
        leaf_class,
        leaves_of(leaf_class, len(sizes)),
        *even_tree(rests, weights.total, base[leaf_class] > 0),
        *_round(rests, extra, bool(base[leaf_class].any())),
        int(used.min()),
        int(used.max()),
    )


def _leaves(rests: list[int], which: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Classes with a rest, in ascending order of it and then of class id; and their rests."""
    rank = {rest: i for i, rest in enumerate(sorted(set(rests)))}
    ranks = np.array([rank[rest] for rest in rests])[which]
    order = np.argsort(ranks, kind="stable")
    some = np.array([rest > 0 for rest in rests])[which]
    order = order[some[order]]
    return order.astype(np.int32), [rests[i] for i in which[order].tolist()]


def _round(rests: list[int], extra: int, based: bool) -> tuple[int, int]:
    """Batches of a round, and draws of each class in it. based: some have base draws, too, and are
    then together in every batch."""
    if not rests or rests[0] != rests[-1] or based:
        return 0, 0
    period = len(rests) // gcd(len(rests), extra)
    batches = period * -(-LEAST_ROUND // period)
    return batches, batches * extra // len(rests)


def base_tables(base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """base_rows and rank_row of a StratifiedPlan, from each class's draws in every batch."""
    drawn = np.flatnonzero(base)
    counts = base[drawn]
    base_rows = np.stack([drawn, np.cumsum(counts) - counts], axis=1).astype(np.int32)
    return base_rows, np.repeat(np.arange(len(drawn), dtype=np.int32), counts)


def leaves_of(leaf_class: np.ndarray, classes: int) -> np.ndarray:
    """class_leaf of a StratifiedPlan."""
    class_leaf = np.full(classes, -1, np.int32)
    class_leaf[leaf_class] = np.arange(len(leaf_class))
    return class_leaf


def _check_rounds(leaves: int, extra: int, based: Any, batches: int, draws: int) -> None:
    """A round is some batches in which each leaf has as many extras as any other."""
    if (batches, draws) == (0, 0):
        return
    if based or not 0 < batches < 1 << 42 or leaves * draws != batches * extra:
        refuse(f"a round must give {leaves} leaves as many draws each, not {batches} and {draws}")
