"""Order guide: from a place in members to the class that it is of.

Takes the first place of each class, ascending. Gives tables on the host.
Knows nothing of batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_CELLS = 1 << 22


@dataclass(frozen=True)
class Guide:
    """Of each of some equal stretches of places, the class at its first; of classes that begin at
    the same place, all but the last have no members.

    firsts  [C] uint64
    cells   [cells + 1] uint32;  shift: a place's cell is place >> shift
    """

    firsts: np.ndarray
    cells: np.ndarray
    shift: int


def class_guide(firsts: np.ndarray) -> Guide:
    most = int(firsts.max(initial=0))
    shift = max(0, most.bit_length() - min(4 * len(firsts), MOST_CELLS).bit_length())
    begins = np.arange((most >> shift) + 1, dtype=np.int64) << shift
    cells = np.maximum(np.searchsorted(firsts, begins, side="right") - 1, 0)
    return Guide(
        firsts.astype(np.uint64), np.append(cells, len(firsts) - 1).astype(np.uint32), shift
    )
