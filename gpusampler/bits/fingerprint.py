"""Fingerprint: 64 bits that tell one class index, or one plan, from another.

Takes tensors on any device, and bytes. Gives 16 hexadecimal digits, the same on every device.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

CHUNK = {"cpu": 1 << 16, "cuda": 1 << 24}  # in the cache there; few launches here
ODD_0, ODD_1 = 0x9E3779B97F4A7C15 - (1 << 64), 0x27D4EB2F165667C5


def of_bytes(*parts: bytes) -> str:
    """Of a sequence of byte strings, their lengths included."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def of_members(members: Tensor | None, offsets: np.ndarray, num_samples: int) -> str:
    """Of a class index: members [M] or None for the identity, offsets [C+1].

    Reads members once, in chunks; on CUDA it waits for the device.
    """
    total = 0 if members is None else _sum_of_mixed(members)
    head = f"{members is None} {num_samples} {total}".encode()
    return of_bytes(head, np.ascontiguousarray(offsets, "<i8").tobytes())


def _sum_of_mixed(members: Tensor) -> int:
    """The sum over places of a mix of place and member, in integers that wrap at 64 bits."""
    step = CHUNK[members.device.type]
    total = torch.zeros((), dtype=torch.int64, device=members.device)
    places = torch.arange(min(step, len(members)), dtype=torch.int64, device=members.device)
    for first in range(0, len(members), step):
        part = members[first : first + step].to(torch.int64)
        x = (places[: len(part)] + first).mul_(ODD_0).add_(part)
        x.bitwise_xor_(x >> 29).mul_(ODD_1).bitwise_xor_(x >> 32)
        total += x.sum()
    return int(total)
