"""Torch ops: one call draws a window of batches, on the device that its output is on.

Takes a plan's tables and numbers, members, a seed and the first batch number.
Fills out [n, B] int64. The backend is chosen by the device of the tensors: compiled loops for
"cpu", Triton for "cuda"; neither falls back to the other. The only importer of the kernels, and
both backends are imported on first use. Registered by torch.library.define and not custom_op,
whose first call imports torch._dynamo: 2.4 s of a new process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

import torch
from torch import Tensor
from torch.library import define, impl, register_fake

from gpusampler.bits import random_bits
from gpusampler.cpu import order
from gpusampler.ops import class_order, given
from gpusampler.ops.kinds import KINDS

# A compiled graph keeps what is a SymInt as a variable: neither another batch nor another
# segment makes it compile again.
SCHEMA = (
    "(Tensor(a!) out, Tensor? members, Tensor?[] tables, SymInt[] numbers, int seed, SymInt g0, "
    "SymInt stride) -> ()"
)


def draw(
    kind: str, out: Tensor, members: Tensor | None, tables: Sequence[Tensor | None],
    numbers: Sequence[int], seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a plan; n * B * stride < 2^31.

    members          [M] int32 | int64; None: the dataset is sorted by class
    tables, numbers  of the plan: given.tables_on(). Kind random: and [n, B] int64, the row of each
                     slot where it was drawn already
    seed             64 bits, as a signed integer
    Raises           ValueError: something does not fit the rest, by name
    """
    OPS[kind](out, members, tables, numbers, seed, g0, stride)


@cache
def _function(path: str) -> Callable[..., None]:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _register(kind: str, fill: Callable[..., None], launch: str) -> None:
    name = f"gpusampler::draw_{kind}"
    define(name, SCHEMA)

    @impl(name, "CPU")
    def _on_cpu(out, members, tables, numbers, seed, g0, stride):
        found, n = given.checked(kind, out, members, tables, numbers, g0, stride)
        if n == 0:
            return
        guide = found.order_guide
        places = members if guide is None else None
        fill(out, places, found, seed % (1 << 64), g0, stride if n > 1 else 1)
        if guide is not None:
            order.by_class(out, members, guide)

    @impl(name, "CUDA")
    def _on_cuda(out, members, tables, numbers, seed, g0, stride):
        found, n = given.checked(kind, out, members, tables, numbers, g0, stride)
        if n == 0:
            return
        step, guide = stride if n > 1 else 1, found.order_guide
        places = members if guide is None else None
        with torch.cuda.device(out.device):
            _function(launch)(out, places, tables, found, random_bits, seed, g0, step)
            if guide is not None:
                class_order.by_class(out, members, found.firsts(out.device))

    @register_fake(name)
    def _nothing(out, members, tables, *_numbers):
        given.check_devices(out, members, tables)


for _name, _kind in KINDS.items():
    _register(_name, _kind.twin, _kind.launch)

OPS = {kind: getattr(torch.ops.gpusampler, f"draw_{kind}").default for kind in KINDS}
