"""Cases at random, of sizes, classes and batches that straddle every threshold of their kind."""

from __future__ import annotations

import random

import numpy as np

from cases import Case, pk_case

FIXED_SIZES = [[0, 1, 2, 5], [1, 31, 32, 33], [33, 64, 100, 997], [0, 1, 20, 32, 500]]
PK_SIZES = [*FIXED_SIZES[:3], [0, 1, 20, 32, 35, 500], [3], [40]]


def random_case(
    rnd: random.Random, kind: str, most: int = 300, *, by_class: bool = False, unique: bool = False
) -> Case:
    """Of at most so many classes; pk: of batches of at most so many, whatever that needs."""
    options = {"by_class": by_class, "unique": unique}
    if kind == "pk":
        return _pk(rnd, most, by_class)
    return _stratified(rnd, most, options) if kind == "stratified" else _mixed(rnd, kind, options)


def _mixed(rnd: random.Random, kind: str, options: dict[str, bool]) -> Case:
    classes = rnd.choice([1, 2, 3, 8, 30])
    kinds = rnd.choice(FIXED_SIZES)
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[0] = sizes[0] or 3
    return Case(
        kind, sizes,
        rnd.choice([1, 2, 7, 31, 32, 33, 64, 100, 255, 256, 257]),
        rnd.choice([0.0, 0.3, 0.5, 1.0]),
        rnd.randrange(1 << 64),
        dtype=rnd.choice([np.int32, np.int64]),
        identity=rnd.random() < 0.25,
        **options,
    )  # fmt: skip


def _stratified(rnd: random.Random, most: int, options: dict[str, bool]) -> Case:
    """Often of more classes than draws; some weights are 0."""
    classes = rnd.choice([c for c in (1, 2, 3, 7, 31, 32, 33, 60, 300) if c <= most])
    kinds = rnd.choice(FIXED_SIZES)
    sizes = [rnd.choice(kinds) for _ in range(classes)]
    sizes[0] = sizes[0] or 3
    alpha = rnd.choice([0.0, 0.3, 0.5, 1.0, None])
    mix = [rnd.choice([0.0, 1.0, 3.0, rnd.random()]) for _ in sizes]
    mix[0] = 1.0
    return Case(
        "stratified", sizes,
        rnd.choice([1, 2, 7, 31, 32, 33, 64, 100, 257]),
        mix if alpha is None else alpha,
        rnd.randrange(1 << 64),
        first=rnd.choice([0, 0, 5, (1 << 33) + 1]),
        segment=rnd.choice([0, 0, 3]),
        start=rnd.choice([None, [rnd.randrange(1 << 40) for _ in sizes]]),
        dtype=rnd.choice([np.int32, np.int64]),
        identity=rnd.random() < 0.25,
        **options,
    )  # fmt: skip


def _pk(rnd: random.Random, largest_batch: int, by_class: bool) -> Case:
    """Members and classes that divide or do not."""
    kinds = rnd.choice(PK_SIZES)
    sizes = [rnd.choice(kinds) for _ in range(rnd.choice([1, 2, 3, 7, 13, 31, 32, 33, 40, 97]))]
    sizes[0] = sizes[0] or 3
    filled = sum(n > 0 for n in sizes)
    each = rnd.choice([1, 2, 3, 4, 5, 8, 9, 17, 33, 64, 100])
    classes = min(rnd.choice([1, filled, rnd.randint(1, filled)]), max(1, largest_batch // each))
    return pk_case(
        sizes, classes, each, rnd.randrange(1 << 64),
        first=rnd.choice([0, 0, 5, (1 << 33) + 1]),
        segment=rnd.choice([0, 0, 1, (1 << 24) - 1]),
        dtype=rnd.choice([np.int32, np.int64]),
        identity=rnd.random() < 0.25,
        by_class=by_class,
    )  # fmt: skip


def first_batch(rnd: random.Random, case: Case) -> int:
    """Near and far batches of the segment."""
    if case.kind == "pk":
        return case.first + rnd.choice([0, 1, 1000, (1 << 32) - 2, 1 << 40, (1 << 50) + 1])
    if case.kind == "stratified":
        far = [(1 << 32) - 2, (1 << 33) - 1, rnd.randrange(1 << 41)]
        return case.first + rnd.choice([0, 1, 2, 1023, 5000, *far])
    return rnd.choice([0, 1, 1000, (1 << 32) - 2, 1 << 40, (1 << 53) + 1])
