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
define(
    "gpusampler::draw_pk",
    "(Tensor(a!) out, Tensor? members, Tensor rows, Tensor rotations, int per_class, bool copies, "
    "int[] spans, int grid_a, int grid_b, int seed, int g0, int stride, int first, int segment) "
    "-> ()",
)
define(
    "gpusampler::stratified_blocks",
    "(Tensor(a!) draws, Tensor(b!) ends, Tensor(c!) classes, Tensor(d!) guide, Tensor(e!) points, "
    "Tensor rows, Tensor start, Tensor cut_high, Tensor cut_low, int grid_a, int grid_b, int seed, "
    "int segment, int first_block) -> ()",
)
define(
    "gpusampler::draw_stratified",
    "(Tensor(a!) out, Tensor? members, Tensor rows, Tensor base_rows, Tensor rank_row, "
    "Tensor draws, Tensor ends, Tensor classes, Tensor guide, Tensor points, Tensor key_ends, "
    "int n_keys, int smallest, int largest, int grid_a, int grid_b, int seed, int g0, int stride, "
    "int b0) -> ()",
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


def stratified_blocks(
    tables: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], rows: Tensor, start: Tensor,
    cut_high: Tensor, cut_low: Tensor, grid_a: int, grid_b: int, seed: int, segment: int,
    first_block: int,
) -> None:  # fmt: skip
    """Fill the tables of a stratified plan's blocks from first_block on, one block a row.

    tables              draws, ends, classes, guide, points: see cpu_stratified_blocks
    rows, start, cuts   of plan_stratified.StratifiedPlan
    grid_a, grid_b      StratifiedPlan.grid
    seed                64 bits, as a signed integer
    """
    torch.ops.gpusampler.stratified_blocks(
        *tables, rows, start, cut_high, cut_low, grid_a, grid_b, seed, segment, first_block
    )


def draw_stratified(
    out: Tensor, members: Tensor | None, rows: Tensor, base_rows: Tensor, rank_row: Tensor,
    tables: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], key_ends: Tensor, n_keys: int,
    smallest: int, largest: int, grid_a: int, grid_b: int, seed: int, g0: int, stride: int, b0: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a stratified plan.

    n * B * stride < 2^31, or n = 1.

    members             [M] int32 | int64; None: the dataset is sorted by class
    rows, base_rows, rank_row, smallest, largest   of plan_stratified.StratifiedPlan
    tables              of the blocks of these batches, the first of which is b0 of the tables
    key_ends, n_keys    StratifiedPlan.key_ends(min(n * stride, 1024)) and its last, or 0
    grid_a, grid_b      of [0, B)
    seed                64 bits, as a signed integer
    """
    torch.ops.gpusampler.draw_stratified(
        out, members, rows, base_rows, rank_row, *tables, key_ends, n_keys, smallest, largest,
        grid_a, grid_b, seed, g0, stride, b0,
    )  # fmt: skip


def draw_pk(
    out: Tensor, members: Tensor | None, rows: Tensor, rotations: Tensor, per_class: int,
    copies: bool, spans: tuple[int, int, int, int], grid_a: int, grid_b: int, seed: int, g0: int,
    stride: int, first: int, segment: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a pk plan, n * B < 2^31.

    members         [M] int32 | int64; None: the dataset is sorted by class
    rows, rotations, copies, spans   of plan_pk.PKPlan, per_class its members_per_class
    grid_a, grid_b  of [0, B)
    seed            64 bits, as a signed integer
    first, segment  the first batch of the plan's segment, at most g0, and the segment's number
    """
    torch.ops.gpusampler.draw_pk(
        out, members, rows, rotations, per_class, copies, spans, grid_a, grid_b, seed, g0, stride,
        first, segment,
    )  # fmt: skip


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


@impl("gpusampler::stratified_blocks", "CPU")
def _(draws, ends, classes, guide, points, *plan):
    from gpusampler import cpu_stratified_blocks

    tables = draws.numpy(), ends.numpy(), classes.numpy(), guide.numpy(), points.numpy()
    rows, start, high, low = (x.numpy() for x in plan[:4])
    grid_a, grid_b, seed, segment, first_block = plan[4:]
    cpu_stratified_blocks.stratified_blocks(
        tables, rows, start, high, low, (grid_a, grid_b), seed % (1 << 64), segment, first_block
    )


@impl("gpusampler::stratified_blocks", "CUDA")
def _(draws, ends, classes, guide, points, *plan):
    from gpusampler.kernels import stratified_blocks

    grid_a, grid_b, seed, segment, first_block = plan[4:]
    with torch.cuda.device(draws.device):
        stratified_blocks.stratified_blocks(
            (draws, ends, classes, guide, points), *plan[:4], (grid_a, grid_b), seed, first_block,
            random_bits.TREE | segment << 8, random_bits.CLASS_ORDER | segment << 8,
        )  # fmt: skip


@impl("gpusampler::draw_stratified", "CPU")
def _(out, members, rows, base_rows, rank_row, *rest):
    from gpusampler import cpu_stratified

    draws, ends, classes, guide, points = (x.numpy() for x in rest[:5])
    tables, (grid_a, grid_b, seed, g0, stride, b0) = (draws, ends, classes, guide, points), rest[9:]
    cpu_stratified.draw_stratified(
        out.numpy(), _array(members), rows.numpy(), base_rows.numpy(), rank_row.numpy(), tables,
        (grid_a, grid_b), seed % (1 << 64), g0, stride, b0,
    )  # fmt: skip


@impl("gpusampler::draw_stratified", "CUDA")
def _(out, members, rows, base_rows, rank_row, *rest):
    from gpusampler.kernels import stratified

    key_ends, n_keys, smallest, largest, grid_a, grid_b, *batches = rest[5:]
    with torch.cuda.device(out.device):
        stratified.draw_stratified(
            out, members, rows, base_rows, rank_row, rest[:5], key_ends, n_keys,
            (smallest, largest), (grid_a, grid_b), *batches, random_bits.MEMBER, random_bits.SLOT,
        )  # fmt: skip


@register_fake("gpusampler::stratified_blocks")
def _(*_given):
    return None


@register_fake("gpusampler::draw_stratified")
def _(*_given):
    return None


@impl("gpusampler::draw_pk", "CPU")
def _(out, members, rows, rotations, per_class, copies, spans, grid_a, grid_b, seed, *batches):
    from gpusampler import cpu_pk

    cpu_pk.draw_pk(
        out.numpy(), _array(members), rows.numpy(), rotations.numpy(), per_class, (grid_a, grid_b),
        seed % (1 << 64), *batches,
    )  # fmt: skip


@impl("gpusampler::draw_pk", "CUDA")
def _(out, members, rows, rotations, per_class, copies, spans, grid_a, grid_b, seed, *batches):
    from gpusampler.kernels import pk

    names = ("SLOT", "RHO", "SIGMA", "MEMBER_RHO", "MEMBER_SIGMA")
    with torch.cuda.device(out.device):
        pk.launch(
            out, members, rows, rotations, per_class, copies, spans, (grid_a, grid_b), seed,
            *batches, {name: getattr(random_bits, name) for name in names},
        )  # fmt: skip


@register_fake("gpusampler::draw_pk")
def _(out, members, rows, rotations, per_class, copies, spans, grid_a, grid_b, seed, *batches):
    return None
