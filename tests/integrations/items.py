"""Items: what every trainer here trains on, a dataset whose item is its index.

Gives the sampler under test, and its stream to hold what was trained on against. One epoch is
six batches of four: three for each of two processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from gpusampler import SamplerFactory

N_BATCHES = 6
ORDER = torch.randperm(100, generator=torch.Generator().manual_seed(5)).tolist()
CLASS_IDXS = [ORDER[:60], ORDER[60:90], ORDER[90:]]
Batches = list[list[int]]


class Items(Dataset):
    def __len__(self) -> int:
        return len(ORDER)

    def __getitem__(self, i: int) -> int:
        return i


def sampler(**options: Any) -> Any:
    """A new sampler of the one stream; on the CPU, as every trainer here is."""
    options = {"alpha": 0.5, "kind": "fixed", **options}
    return SamplerFactory().get(CLASS_IDXS, 4, N_BATCHES, device="cpu", seed=3, **options)


def stream(first: int, end: int, **options: Any) -> Batches:
    """Batches first .. end of the stream; N_BATCHES of them are an epoch."""
    return sampler(**options).batches(0, end)[first:].tolist()


def shares(batches: Batches) -> list[Batches]:
    """What each of two ranks is to be given of these."""
    return [batches[rank::2] for rank in range(2)]


def lists(batches: Any) -> Batches:
    """What a loader yields of Items, as lists of int."""
    return [batch.tolist() for batch in batches]
