"""Describe: a plan's counts as a table for people.

Takes a title, class sizes [C], the shares asked for, expected draws per epoch [C], and of samples
that carry a class. Gives text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_ROWS, MOST_LETTERS = 20, 30


def table(
    title: str,
    sizes: np.ndarray,
    asked: np.ndarray | None,
    per_epoch: np.ndarray,
    carried: np.ndarray,
    n_batches: int,
    names: Sequence[Any] | None = None,
) -> str:
    """One line a class, the first MOST_ROWS of them, and what the rest comes to.

    asked  [C] float64: what part of the draws each class was to have; None: nobody said.
    names  of the classes; None: their numbers

    >>> draws = np.array([200.0, 100.0])
    >>> print(table("Two", np.array([50, 5]), np.array([0.64, 0.36]), draws, draws, 100))
    Two
         class      members    asked    share   per batch      per epoch  per member
             0           50   0.6400   0.6667           2            200           4
             1            5   0.3600   0.3333           1            100          20
    """
    total, shown = per_epoch.sum(), min(len(sizes), MOST_ROWS)
    called = [str(c if names is None else names[c])[:MOST_LETTERS] for c in range(shown)]
    width = max(map(len, [f"{len(sizes)} more", *called, "1234567890"]))
    overlap = not np.array_equal(per_epoch, carried)

    def line(name: str, part: slice) -> str:
        size, draws = sizes[part].sum(), per_epoch[part].sum()
        told = "" if asked is None else f" {asked[part].sum():>8.4f}"
        found = (
            f"{name:>{width}} {size:>12}{told} {draws / total:>8.4f} {draws / n_batches:>11.4g} "
            f"{draws:>14.6g} {draws / max(size, 1):>11.4g}"
        )
        single = part.start < shown
        return found + (f" {carried[part.start] / total:>10.4f}" if overlap and single else "")

    head = (
        f"{'class':>{width}} {'members':>12}{'' if asked is None else '    asked'} {'share':>8} "
        f"{'per batch':>11} {'per epoch':>14} {'per member':>11}"
    )
    lines = [title, head + (f" {'in effect':>10}" if overlap else "")]
    lines += [line(name, slice(c, c + 1)) for c, name in enumerate(called)]
    rest = len(sizes) - MOST_ROWS
    if rest > 0:
        lines.append(line(f"{rest} more", slice(MOST_ROWS, MOST_ROWS + rest)))
    return "\n".join(lines)
