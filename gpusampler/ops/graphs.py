"""Graph ops: batches of a sampler inside a compiled graph, as one op that it does not look into.

Takes a sampler's handle, and the numbers of batches. Gives [n, B] int64.
A graph holds numbers and no objects, so each sampler has a number of its own here, and dies as if
it had none. The op runs what is run outside of graphs: changes of mix and epochs are followed, and
the graph stays as it is.
"""

from __future__ import annotations

from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.library import define, impl, register_fake

_numbers = count(1)
_samplers: WeakValueDictionary[int, Any] = WeakValueDictionary()
# a graph that CUDA replays would replay the batches of its first run
TAGS = tuple(
    tag for name in ("cudagraph_unsafe",) if (tag := getattr(torch.Tag, name, None)) is not None
)

define(
    "gpusampler::batches",
    "(int handle, SymInt g0, SymInt n, int size, Device device, int max_bytes) -> Tensor",
    tags=TAGS,
)
define(
    "gpusampler::epoch",
    "(int handle, int n, int size, Device device, int max_bytes) -> Tensor",
    tags=TAGS,
)


def handle_of(sampler: Any) -> int:
    """A new number for a sampler; two that live are never of one."""
    handle = next(_numbers)
    _samplers[handle] = sampler
    return handle


def batches(graph: tuple[int, int, int, torch.device], g0: Any, n: Any, max_bytes: int) -> Tensor:
    """What sampler.batches() gives, in a graph."""
    handle, size, _, device = graph
    return torch.ops.gpusampler.batches(handle, g0, n, size, device, max_bytes)


def epoch(graph: tuple[int, int, int, torch.device], max_bytes: int) -> Tensor:
    """What sampler.build() gives, in a graph, of the epoch that it comes to at that moment."""
    handle, size, length, device = graph
    return torch.ops.gpusampler.epoch(handle, length, size, device, max_bytes)


def _sampler(handle: int, size: int, device: torch.device) -> Any:
    found = _samplers.get(handle)
    if found is None or (found.batch_size, found.device) != (size, device):
        raise RuntimeError(
            f"this graph was compiled with a sampler that is gone (number {handle}); keep a "
            f"reference to it as long as the graph runs, or compile anew with the one there is"
        )
    return found


@impl("gpusampler::batches", "CompositeExplicitAutograd")
def _(handle, g0, n, size, device, max_bytes):
    return _sampler(handle, size, device).batches(g0, n, max_bytes)


@impl("gpusampler::epoch", "CompositeExplicitAutograd")
def _(handle, n, size, device, max_bytes):
    return _sampler(handle, size, device).build(max_bytes=max_bytes)


@register_fake("gpusampler::batches")
def _(handle, g0, n, size, device, max_bytes):
    return torch.empty((n, size), dtype=torch.int64, device=device)


@register_fake("gpusampler::epoch")
def _(handle, n, size, device, max_bytes):
    return torch.empty((n, size), dtype=torch.int64, device=device)
