"""Class rows: what drawing a member of a class takes, a row of 32-bit words a class.

Takes class sizes, first places in members, draws in every batch. Gives [C, 8] int32.
Knows nothing of weights, seeds or devices.
"""

from __future__ import annotations

import numpy as np

from gpusampler.bits.random_bits import U32, grid_or_none

# Columns: SIZE, GRID_A x GRID_B of its permutation (1 x 1 where that is small), 2^32 - 1 div GRID_B
# and div SIZE, BASE draws a batch, FIRST place in members. A row is one access of a GPU.
SIZE, GRID_A, GRID_B, GRID_INVERSE, SIZE_INVERSE, BASE, FIRST_LOW, FIRST_HIGH = range(8)


def class_rows(sizes: np.ndarray, first: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Rows of classes of at least 1 member.

    >>> class_rows(np.array([3, 40]), np.array([0, 2**32 + 3]), np.array([1, 0]))[:, SIZE:].tolist()
    [[3, 1, 1, -1, 1431655765, 1, 0, 0], [40, 8, 5, 858993459, 107374182, 0, 3, 1]]
    """
    rows = np.zeros((len(sizes), 8), np.int64)
    distinct, which = np.unique(sizes, return_inverse=True)
    rows[:, GRID_A : GRID_B + 1] = np.array([grid_or_none(n) for n in distinct.tolist()])[which]
    rows[:, SIZE] = sizes
    rows[:, GRID_A : GRID_B + 1] = np.maximum(rows[:, GRID_A : GRID_B + 1], 1)
    rows[:, GRID_INVERSE] = U32 // rows[:, GRID_B]
    rows[:, SIZE_INVERSE] = U32 // rows[:, SIZE]
    rows[:, BASE], rows[:, FIRST_LOW], rows[:, FIRST_HIGH] = base, first & U32, first >> 32
    return rows.astype(np.uint32).view(np.int32)


def first_places(rows: np.ndarray) -> np.ndarray:
    """[C] int64: each class's first place in members."""
    low, high = (rows[:, column].view(np.uint32) for column in (FIRST_LOW, FIRST_HIGH))
    return (low | high.astype(np.uint64) << np.uint64(32)).view(np.int64)
