"""Table checks: whether tables are a plan's, as read back from tensors.

What follows from other columns is made again and compared, so that a table which passes is one
that a plan could have. Each plan's own are in its of_tables().
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

MOST_MEMBERS = (1 << 31) - 1  # of a class
MOST_PLACES = 1 << 62  # members
MOST_BATCH = (1 << 24) - 1


def refuse(what: str) -> NoReturn:
    raise ValueError(f"{what}; pass tables and numbers as the plan gives them")


def check_range(name: str, values: np.ndarray, low: int, high: int) -> None:
    wrong = (values < low) | (values > high)
    if wrong.any():
        refuse(f"{name} must be in [{low}, {high}], not {values[wrong][0]}")


def check_same(name: str, values: np.ndarray, expected: np.ndarray) -> None:
    if values.shape != expected.shape or (values != expected).any():
        refuse(f"{name} must follow from the other columns, and does not")


def check_classes(classes: np.ndarray, sizes: np.ndarray, firsts: np.ndarray) -> None:
    if len(classes) == 0:
        refuse("a plan must draw a class, and rows is empty")
    check_range("class ids", classes, 0, (1 << 31) - 1)
    if (np.diff(classes) <= 0).any():
        refuse("class ids must ascend")
    check_range("class sizes", sizes, 1, MOST_MEMBERS)
    check_range("first places", firsts, 0, MOST_PLACES)
