"""Torch ops: one call draws a window of batches, on the device that its output is on.

Takes the tables of a plan, members, a seed and the first batch number.
Fills out [n, B] int64. The backend is chosen by the device of the tensors: compiled loops for
"cpu", Triton for "cuda"; neither falls back to the other. The only importer of the kernels, and
both backends are imported on first use. Registered by torch.library.define and not custom_op,
whose first call imports torch._dynamo: 2.4 s of a new process.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.library import define, impl, register_fake

from gpusampler import random_bits

define(
    "gpusampler::draw_fixed",
    "(Tensor(a!) out, Tensor? members, Tensor rows, Tensor rank_row, Tensor key_ends, int n_keys, "
    "int smallest, int largest, int grid_a, int grid_b, int seed, int g0, int stride) -> ()",
)
define(
    "gpusampler::draw_random",
    "(Tensor(a!) out, Tensor? members, Tensor rows, Tensor cuts, Tensor guide, Tensor? classes, "
    "int steps, int seed, int g0, int stride) -> ()",
)


def draw_fixed(
    out: Tensor, members: Tensor | None, rows: Tensor, rank_row: Tensor, key_ends: Tensor,
    n_keys: int, smallest: int, largest: int, grid_a: int, grid_b: int, seed: int, g0: int,
    stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a fixed plan.

    n * B * stride < 2^31.

    members             [M] int32 | int64; None: the dataset is sorted by class
    rows, rank_row      of plan.FixedPlan
    key_ends, n_keys    FixedPlan.key_ends(n * stride) and its last
    smallest, largest   class sizes of rows
    grid_a, grid_b      of [0, B)
    seed                64 bits, as a signed integer
    """
    torch.ops.gpusampler.draw_fixed(
        out, members, rows, rank_row, key_ends, n_keys, smallest, largest, grid_a, grid_b, seed, g0,
        stride,
    )  # fmt: skip


def draw_random(
    out: Tensor, members: Tensor | None, rows: Tensor, cuts: Tensor, guide: Tensor,
    classes: Tensor | None, steps: int, seed: int, g0: int, stride: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., each slot with replacement.

    n * B < 2^31.

    members             [M] int32 | int64; None: the dataset is sorted by class
    rows, cuts, guide   of plan.RandomPlan, the bits of cuts as int64
    classes             [n, B] int64, the row of each slot where drawn already; None: by cuts
    steps               RandomPlan.steps
    seed                64 bits, as a signed integer
    """
    torch.ops.gpusampler.draw_random(
        out, members, rows, cuts, guide, classes, steps, seed, g0, stride
    )


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.numpy()


@impl("gpusampler::draw_fixed", "CPU")
def _(
    out, members, rows, rank_row, key_ends, n_keys, smallest, largest, grid_a, grid_b, seed, g0,
    stride,
):  # fmt: skip
    from gpusampler import cpu

    cpu.draw_fixed(
        out.numpy(), _array(members), rows.numpy(), (grid_a, grid_b), seed % (1 << 64), g0,
        stride,
    )  # fmt: skip


@impl("gpusampler::draw_fixed", "CUDA")
def _(
    out, members, rows, rank_row, key_ends, n_keys, smallest, largest, grid_a, grid_b, seed, g0,
    stride,
):  # fmt: skip
    from gpusampler.kernels import launch

    with torch.cuda.device(out.device):
        launch.draw_fixed(
            out, members, rows, rank_row, key_ends, n_keys, (smallest, largest), (grid_a, grid_b),
            seed, g0, stride, random_bits.MEMBER, random_bits.SLOT,
        )  # fmt: skip


@impl("gpusampler::draw_random", "CPU")
def _(out, members, rows, cuts, guide, classes, steps, seed, g0, stride):
    from gpusampler import cpu

    cpu.draw_random(
        out.numpy(), _array(members), rows.numpy(), cuts.numpy().view(np.uint64), guide.numpy(),
        _array(classes), steps, seed % (1 << 64), g0, stride,
    )  # fmt: skip


@impl("gpusampler::draw_random", "CUDA")
def _(out, members, rows, cuts, guide, classes, steps, seed, g0, stride):
    from gpusampler.kernels import launch

    with torch.cuda.device(out.device):
        launch.draw_random(
            out, members, rows, cuts, guide, classes, steps, seed, g0, stride, random_bits.PICK
        )


@register_fake("gpusampler::draw_fixed")
def _(
    out, members, rows, rank_row, key_ends, n_keys, smallest, largest, grid_a, grid_b, seed, g0,
    stride,
):  # fmt: skip
    return None


@register_fake("gpusampler::draw_random")
def _(out, members, rows, cuts, guide, classes, steps, seed, g0, stride):
    return None
