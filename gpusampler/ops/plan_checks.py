"""Plan checks: whether tables are a plan's, as read back from tensors.

Takes the tables and numbers of a plan as its kind's op is given them. Gives the plan; raises where
they do not belong together. What follows from other columns is made again and compared, so that a
table which passes is one that a plan could have. Knows nothing of devices or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from gpusampler.bits import random_bits
from gpusampler.plans import columns as class_rows
from gpusampler.plans import fixed as plan
from gpusampler.plans import pk as plan_pk
from gpusampler.plans import stratified as plan_stratified
from gpusampler.plans.blocks import with_blocks
from gpusampler.plans.even_tree import (
    CARRY,
    LEFT,
    LEFT_SHIFT,
    NEED_LEFT,
    NEED_RIGHT,
    RIGHT,
    SHARE_BITS,
    SPLIT,
)

MOST_MEMBERS = (1 << 31) - 1  # of a class
MOST_PLACES = 1 << 62  # members
MOST_BATCH = (1 << 24) - 1

# Each kind's tables: name -> dtype and columns (0: one-dimensional).
TABLES: dict[str, dict[str, tuple[str, int]]] = {
    "fixed": {"rows": ("int64", 8), "rank_row": ("int32", 0)},
    "random": {"rows": ("int64", 3), "cuts": ("int64", 0), "guide": ("int32", 0)},
    "stratified": {
        "rows": ("int32", 8), "base_rows": ("int32", 2), "rank_row": ("int32", 0),
        "start": ("int64", 0), "leaf_class": ("int32", 0), "class_leaf": ("int32", 0),
        "shares": ("int64", 0), "links": ("int32", 3),
    },
    "pk": {"rows": ("int64", 3), "rotations": ("int64", 9)},
}  # fmt: skip
for _kind in ("fixed", "stratified"):
    TABLES[f"{_kind}_unique"] = {**TABLES[_kind], "blocks": ("int32", 8)}
# Each kind's numbers, which stand behind its segment's first batch and number, and whether batches
# are class by class.
NUMBERS: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "random": (),
    "stratified": ("batch_size", "root", "height", "round_batches", "round_draws"),
    "pk": ("classes_per_batch", "members_per_class"),
}


for _kind in ("fixed", "stratified"):
    NUMBERS[f"{_kind}_unique"] = NUMBERS[_kind]


def refuse(what: str) -> NoReturn:
    raise ValueError(f"{what}; pass tables and numbers as the plan gives them")


def plan_of(kind: str, tables: list[np.ndarray], numbers: list[int]) -> Any:
    """The plan of these tables. Raises ValueError: they are no plan's."""
    return _PLANS[kind](*tables, *numbers)


def _each(name: str, values: np.ndarray, low: int, high: int) -> None:
    wrong = (values < low) | (values > high)
    if wrong.any():
        refuse(f"{name} must be in [{low}, {high}], not {values[wrong][0]}")


def _same(name: str, values: np.ndarray, expected: np.ndarray) -> None:
    if values.shape != expected.shape or (values != expected).any():
        refuse(f"{name} must follow from the other columns, and does not")


def _check_classes(classes: np.ndarray, sizes: np.ndarray, firsts: np.ndarray) -> None:
    if len(classes) == 0:
        refuse("a plan must draw a class, and rows is empty")
    _each("class ids", classes, 0, (1 << 31) - 1)
    if (np.diff(classes) <= 0).any():
        refuse("class ids must ascend")
    _each("class sizes", sizes, 1, MOST_MEMBERS)
    _each("first places", firsts, 0, MOST_PLACES)


def _fixed(rows: np.ndarray, rank_row: np.ndarray) -> plan.FixedPlan:
    counts = rows[:, plan.COUNT]
    _check_classes(rows[:, plan.CLASS], rows[:, plan.SIZE], rows[:, plan.FIRST])
    _each("counts", counts, 1, MOST_BATCH)
    if len(rank_row) > MOST_BATCH or counts.sum() != len(rank_row):
        refuse(f"counts must sum to the {len(rank_row)} ranks, below 2^24, not {counts.sum()}")
    columns = (plan.CLASS, plan.SIZE, plan.FIRST, plan.COUNT, plan.START)
    _each("draws before", rows[:, plan.START], -MOST_PLACES, MOST_PLACES)
    made, ranks = plan.fixed_tables(*(rows[:, column] for column in columns))
    _same("rows", rows, made)
    _same("rank_row", rank_row, ranks)
    return plan.FixedPlan(counts, rows, rank_row)


def _random(rows: np.ndarray, cuts: np.ndarray, guide: np.ndarray) -> plan.RandomPlan:
    _check_classes(rows[:, plan.CLASS], rows[:, plan.SIZE], rows[:, plan.FIRST])
    cuts = cuts.view(np.uint64)
    if len(cuts) != len(rows) + 1 or cuts[0] != 0 or cuts[-1] != random_bits.U64:
        refuse(f"cuts must be {len(rows) + 1} numbers from 0 to 2^64 - 1")
    if (cuts[1:] < cuts[:-1]).any():
        refuse("cuts must ascend")
    _same("guide", guide, plan.guide_of(cuts[:-1]))
    return plan.RandomPlan(rows, np.diff(cuts) / 2.0**64, cuts, guide)


def _pk(rows: np.ndarray, rotations: np.ndarray, per_batch: int, per_class: int) -> plan_pk.PKPlan:
    numbers = np.array([per_batch, per_class])
    _each("classes_per_batch and members_per_class", numbers, 1, MOST_BATCH)
    if per_batch * per_class > MOST_BATCH or per_batch > len(rows):
        refuse(
            f"classes_per_batch must be at most the {len(rows)} rows, and times members_per_class "
            f"below 2^24, not {per_batch} and {per_class}"
        )
    at = rows[:, plan_pk.ROTATION]
    _each("rotations of rows", at, plan_pk.CLASSES + 1, len(rotations) - 1)
    sizes, firsts = rotations[at, plan_pk.SIZE], rows[:, plan_pk.FIRST]
    _check_classes(rows[:, plan_pk.CLASS], sizes, firsts)
    made = plan_pk.pk_tables(rows[:, plan_pk.CLASS], sizes, firsts, per_batch, per_class)
    _same("rows", rows, made[0])
    _same("rotations", rotations, made[1])
    return plan_pk.PKPlan(rows, rotations, per_batch, per_class)


def _stratified(
    rows: np.ndarray, base_rows: np.ndarray, rank_row: np.ndarray, start: np.ndarray,
    leaf_class: np.ndarray, class_leaf: np.ndarray, shares: np.ndarray, links: np.ndarray,
    *numbers: int,
) -> plan_stratified.StratifiedPlan:  # fmt: skip
    batch_size, root, height, batches, draws = numbers
    classes, base = np.arange(len(rows)), rows[:, class_rows.BASE].astype(np.int64)
    sizes, firsts = rows[:, class_rows.SIZE], class_rows.first_places(rows)
    _check_classes(classes, sizes, firsts)
    _each("batch_size", np.array([batch_size]), 1, MOST_BATCH)
    _each("base draws", base, 0, batch_size)
    _each("draws before", start, 0, MOST_PLACES)
    extra = batch_size - int(base.sum())
    _same("rows", rows, class_rows.class_rows(sizes, firsts, base))
    if len(start) != len(rows) or len(rank_row) != batch_size - extra or extra < 0:
        refuse(f"base draws must be the {len(rank_row)} ranks, and start [{len(rows)}]")
    made, ranks = plan_stratified.base_tables(base)
    _same("base_rows", base_rows, made)
    _same("rank_row", rank_row, ranks)
    _each("classes of leaves", leaf_class, 0, len(rows) - 1)
    _same("class_leaf", class_leaf, plan_stratified.leaves_of(leaf_class, len(rows)))
    _same("leaf_class", class_leaf[leaf_class], np.arange(len(leaf_class)))
    _check_tree(base[leaf_class] > 0, shares, links, root, height, extra)
    _check_rounds(len(leaf_class), extra, base[leaf_class].any(), batches, draws)
    used = sizes[(base > 0) | (class_leaf >= 0)]
    return plan_stratified.StratifiedPlan(
        batch_size, extra, rows, base_rows, rank_row, start, leaf_class, class_leaf, shares,
        links, root, height, batches, draws, int(used.min()), int(used.max()),
    )  # fmt: skip


def _check_rounds(leaves: int, extra: int, based: Any, batches: int, draws: int) -> None:
    """A round is some batches in which each leaf has as many extras as any other."""
    if (batches, draws) == (0, 0):
        return
    if based or not 0 < batches < 1 << 42 or leaves * draws != batches * extra:
        refuse(f"a round must give {leaves} leaves as many draws each, not {batches} and {draws}")


def _check_tree(
    based: np.ndarray, shares: np.ndarray, links: np.ndarray, root: int, height: int, extra: int
) -> None:
    """The nodes above leaves low .. high split them at v, each once; and of a node's extras in
    every batch as many go down as reach it, none of them to a leaf."""
    leaves = len(based)
    if len(shares) != leaves or len(links) != leaves or leaves == 1 or (leaves > 0) != (extra > 0):
        refuse(f"shares and links must be of the {leaves} leaves, for {extra} extras")
    _each("shares", shares[shares != -(1 << SHARE_BITS)], 0, (1 << SHARE_BITS) - 1)
    before, levels = np.append(0, np.cumsum(based)), 0
    v, low, high, whole = (np.array([x] if leaves else []) for x in (root, 0, leaves, extra))
    while len(v):
        if ((v <= low) | (v >= high)).any() or levels > leaves:
            refuse("a node must split the leaves that are below it")
        split, levels = links[v, SPLIT].astype(np.int64), levels + 1
        left = split >> LEFT_SHIFT
        needs = (before[v] > before[low]) * NEED_LEFT | (before[high] > before[v]) * NEED_RIGHT
        _same("links", split & (NEED_LEFT | NEED_RIGHT), needs)
        below = np.concatenate([links[v, LEFT], links[v, RIGHT]]).astype(np.int64)
        whole = np.concatenate([left, whole - left - (split & CARRY)])
        low, high = np.concatenate([low, v]), np.concatenate([v, high])
        leaf = high - low == 1
        _same("links", -1 - below[leaf], low[leaf])
        if (whole < 0).any() or whole[leaf].any():
            refuse("the extras of a batch must come down to no leaf twice")
        v, low, high, whole = (x[~leaf] for x in (below, low, high, whole))
    if height != levels or (leaves == 0 and root != 0):
        refuse(f"root and height must be the tree's, of {levels} levels, not {root} and {height}")


def _unique(kind: str, tables: int) -> Callable[..., Any]:
    def plan_of(*given: Any) -> Any:
        made = with_blocks(_PLANS[kind](*given[:tables], *given[tables + 1 :]))
        _same("blocks", given[tables], made.blocks.table)
        return made

    return plan_of


_PLANS: dict[str, Callable[..., Any]] = {
    "fixed": _fixed, "random": _random, "stratified": _stratified, "pk": _pk,
    "fixed_unique": _unique("fixed", 2), "stratified_unique": _unique("stratified", 8),
}  # fmt: skip
