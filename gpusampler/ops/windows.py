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
from gpusampler.cpu import twin
from gpusampler.ops import class_order, given

# A compiled graph keeps what is a SymInt as a variable: neither another batch nor another
# segment makes it compile again.
SCHEMA = (
    "(Tensor(a!) out, Tensor? members, Tensor?[] tables, SymInt[] numbers, int seed, SymInt g0, "
    "SymInt stride) -> ()"
)
# Of each kind the CPU twin, and the launch.
BACKENDS = {
    "fixed": (twin.draw_fixed, "gpusampler.kernels.launch.draw_fixed"),
    "random": (twin.draw_random, "gpusampler.kernels.launch.draw_random"),
    "stratified": (
        twin.draw_stratified,
        "gpusampler.kernels.stratified.draw_stratified",
    ),
    "pk": (twin.draw_pk, "gpusampler.kernels.pk.launch"),
    "fixed_unique": (twin.draw_fixed, "gpusampler.kernels.unique.launch_fixed"),
    "stratified_unique": (
        twin.draw_stratified,
        "gpusampler.kernels.unique.launch_stratified",
    ),
}


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


def _register(kind: str, backend: Callable[..., None], launch: str) -> None:
    name = f"gpusampler::draw_{kind}"
    define(name, SCHEMA)

    @impl(name, "CPU")
    def _on_cpu(out, members, tables, numbers, seed, g0, stride):
        found = given.checked(kind, out, members, tables, numbers, g0, stride)
        held = None if members is None else members.numpy()
        if len(out):
            step, guide = stride if len(out) > 1 else 1, found.order_guide
            places = held if guide is None else None
            backend(out.numpy(), places, found, seed % (1 << 64), g0, step)
            if guide is not None:
                twin.by_class(out.numpy(), held, guide)

    @impl(name, "CUDA")
    def _on_cuda(out, members, tables, numbers, seed, g0, stride):
        found = given.checked(kind, out, members, tables, numbers, g0, stride)
        step, guide = stride if len(out) > 1 else 1, found.order_guide
        if len(out):
            places = members if guide is None else None
            with torch.cuda.device(out.device):
                _function(launch)(out, places, tables, found, random_bits, seed, g0, step)
                if guide is not None:
                    class_order.by_class(out, members, found.firsts(out.device))

    @register_fake(name)
    def _nothing(out, members, tables, *_numbers):
        given.check_devices(out, members, tables)


for _kind, (_backend, _launch) in BACKENDS.items():
    _register(_kind, _backend, _launch)

OPS = {kind: getattr(torch.ops.gpusampler, f"draw_{kind}").default for kind in BACKENDS}
