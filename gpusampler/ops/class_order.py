"""Class order: batches class by class, in torch, for devices whose twin cpu.order is not for.

Takes batches of places in members, in the order in which they were drawn, and the first place of
each class, ascending. Gives the members there, sorted by class; a class's stay in their order.
Knows nothing of how they were drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLOTS_AT_ONCE = 1 << 22  # a sort takes some 40 bytes a slot beside them


def by_class(out: Tensor, members: Tensor | None, firsts: Tensor) -> None:
    """From places in the order of draws to members class by class, [n, B] int64 in place.

    members  [M] int32 | int64, None where the dataset is sorted by class
    firsts   [C] int64
    """
    step = max(1, SLOTS_AT_ONCE // out.shape[1])
    for begin in range(0, len(out), step):
        part = out[begin : begin + step]
        classes = torch.searchsorted(firsts, part, right=True, out_int32=True)
        at = torch.sort(classes, dim=1, stable=True).indices
        places = part.gather(1, at)
        part.copy_(places if members is None else members[places])
