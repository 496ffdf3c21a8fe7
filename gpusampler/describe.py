"""Describe: a plan's counts as a table for people.

Takes a title, class sizes [C], expected draws per epoch [C], and of samples that carry a class.
Gives text.
"""

from __future__ import annotations

import numpy as np

MOST_ROWS = 20


def table(
    title: str, sizes: np.ndarray, per_epoch: np.ndarray, carried: np.ndarray, n_batches: int
) -> str:
    """One line a class, the first MOST_ROWS of them, and what the rest comes to."""
    head = (
        f"{'class':>10} {'members':>12} {'share':>8} {'per batch':>11} {'per epoch':>14} "
        f"{'per member':>11}"
    )
    total, overlap = per_epoch.sum(), not np.array_equal(per_epoch, carried)
    lines = [title, head + (f" {'in effect':>10}" if overlap else "")]
    for c in range(min(len(sizes), MOST_ROWS)):
        in_effect = f" {carried[c] / total:>10.4f}" if overlap else ""
        lines.append(_line(str(c), sizes[c], per_epoch[c], total, n_batches) + in_effect)
    rest = len(sizes) - MOST_ROWS
    if rest > 0:
        size, draws = sizes[MOST_ROWS:].sum(), per_epoch[MOST_ROWS:].sum()
        lines.append(_line(f"{rest} more", size, draws, total, n_batches))
    return "\n".join(lines)


def _line(name: str, size: int, draws: float, total: float, n_batches: int) -> str:
    return (
        f"{name:>10} {size:>12} {draws / total:>8.4f} {draws / n_batches:>11.4g} "
        f"{draws:>14.6g} {draws / max(size, 1):>11.4g}"
    )
