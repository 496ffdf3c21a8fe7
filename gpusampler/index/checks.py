"""Index checks: whether the parts of a class index that somebody made by hand belong together.

Takes members, offsets and a number of samples. Gives them back as what the rest of the house
relies on without looking again: of the right types, in their bounds, and nobody else's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler import checks

GROUPED = "or let ClassIndex.from_class_idxs() group them"


def offsets(given: Any) -> np.ndarray:
    """[C + 1] int64 from 0 on, ascending, each class below 2^31 members, some member in all."""
    repair = "pass 0 and the cumulative sums of the class sizes"
    found = checks.whole_numbers("offsets", given, repair)
    if found.dtype == torch.bool:
        raise TypeError(f"offsets must be whole numbers, not bool; {repair}")
    ends = found.cpu().numpy().astype(np.int64)  # a copy
    if len(ends) < 2 or len(ends) > checks.MAX_CLASS_SIZE:
        raise ValueError(
            f"offsets must have one number more than there are classes, so in [2, 2^31), not "
            f"{len(ends)}; {repair}"
        )
    if ends[0] != 0:
        raise ValueError(f"offsets must begin with 0, not {ends[0]}; {repair}")
    falls = np.flatnonzero(ends[1:] < ends[:-1])
    if len(falls):
        c = int(falls[0])
        raise ValueError(
            f"offsets must not descend, but class {c} begins at {ends[c]} and ends at "
            f"{ends[c + 1]}; {repair}"
        )
    sizes = np.diff(ends)
    if int(sizes.max()) > checks.MAX_CLASS_SIZE:
        c = int(sizes.argmax())
        raise ValueError(
            f"a class must have less than 2^31 members, but class {c} has {sizes[c]}; split it"
        )
    if ends[-1] == 0:
        raise ValueError(
            f"offsets must leave some class a member, but all {len(sizes)} classes are empty; "
            f"{repair}"
        )
    return ends


def members(given: Any, ends: np.ndarray, num_samples: int) -> Tensor | None:
    """[M] int32 or int64 as offsets have it, each in [0, num_samples), ascending in each class; a
    copy, so that what is checked is what is kept. None: place is index."""
    count = int(ends[-1])
    if given is None:
        if count != num_samples:
            raise ValueError(
                f"without members, offsets must end at num_samples, {num_samples}, and they end at "
                f"{count}; pass members, or offsets of all samples"
            )
        return None
    if not isinstance(given, Tensor) or given.dtype not in (torch.int32, torch.int64):
        met = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(
            f"members must be an int32 or int64 tensor, or None, not {met}; "
            f"pass torch.as_tensor(members, dtype=torch.int64)"
        )
    if given.layout != torch.strided or given.is_meta or tuple(given.shape) != (count,):
        raise ValueError(
            f"members must be a dense tensor of the {count} indices that offsets end at, not "
            f"{given.layout} of shape {tuple(given.shape)} on {given.device}; pass one index a "
            f"member, {GROUPED}"
        )
    found = given.detach().clone(memory_format=torch.contiguous_format)
    low, high = (int(x) for x in torch.aminmax(found))
    if low < 0 or high >= num_samples:
        at = int(torch.nonzero((found < 0) | (found >= num_samples))[0])
        raise ValueError(
            f"members must be in [0, {num_samples}), but member {at} is {int(found[at])}; mend it, "
            f"or pass a larger num_samples"
        )
    falls = torch.nonzero(found[1:] < found[:-1]).flatten().cpu().numpy() + 1
    within = falls[~np.isin(falls, ends)]
    if len(within):
        at = int(within[0])
        raise ValueError(
            f"members must ascend in each class, but member {at} is {int(found[at])} after "
            f"{int(found[at - 1])}; sort each class's, {GROUPED}"
        )
    return found


def disjoint(found: Tensor | None) -> bool:
    """Whether no sample is a member twice."""
    if found is None:
        return True
    ordered = torch.sort(found).values
    return not bool((ordered[1:] == ordered[:-1]).any())
