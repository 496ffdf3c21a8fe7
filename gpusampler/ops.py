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

from gpusampler import forks, random_bits

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
    "gpusampler::draw_stratified",
    "(Tensor(a!) out, Tensor? members, Tensor rows, Tensor base_rows, Tensor rank_row, "
    "Tensor start, Tensor leaf_class, Tensor class_leaf, Tensor shares, Tensor links, "
    "int[] tree, int[] rounds, Tensor key_ends, int n_keys, int smallest, int largest, int grid_a, "
    "int grid_b, int seed, int[] tie_key, int g0, int stride, int first, int segment) -> ()",
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
    key_ends, n_keys    FixedPlan.key_ends((n - 1) * stride + 1) and its last
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


def draw_stratified(
    out: Tensor, members: Tensor | None, tables: tuple[Tensor, ...], tree: tuple[int, int],
    rounds: tuple[int, int, int, int], key_ends: Tensor, n_keys: int, smallest: int, largest: int,
    grid_a: int, grid_b: int, seed: int, tie_key: tuple[int, int], g0: int, stride: int, first: int,
    segment: int,
) -> None:  # fmt: skip
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a stratified plan.

    n * B * stride < 2^31, or n = 1.

    members             [M] int32 | int64; None: the dataset is sorted by class
    tables              rows, base_rows, rank_row, start, leaf_class, class_leaf, shares, links of
                        plan_stratified.StratifiedPlan
    tree, rounds        its root and height; round_batches, round_draws and order_grid
    smallest, largest   of StratifiedPlan
    key_ends, n_keys    StratifiedPlan.key_ends((n - 1) * stride + 1) and its last, or 0
    grid_a, grid_b      of [0, B)
    seed                64 bits, as a signed integer
    tie_key             words 0 and 1 of the plan's use TREE
    first, segment      the first batch of the plan's segment, at most g0, and the segment's number
    """
    torch.ops.gpusampler.draw_stratified(
        out, members, *tables, tree, rounds, key_ends, n_keys, smallest, largest, grid_a, grid_b,
        seed, tie_key, g0, stride, first, segment,
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
    with forks.importing:
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
    with forks.importing:
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


@impl("gpusampler::draw_stratified", "CPU")
def _(out, members, rows, base_rows, rank_row, *rest):
    with forks.importing:
        from gpusampler import cpu_stratified

    tables = tuple(table.numpy() for table in (rows, base_rows, *rest[:5]))
    tree, rounds, (*grid, seed, tie_key, g0, stride, first, segment) = rest[5], rest[6], rest[11:]
    cpu_stratified.draw_stratified(
        out.numpy(), _array(members), tables, tuple(tree),
        (*rounds[:2], random_bits.CLASS_ORDER | segment << 8, tuple(rounds[2:])), tuple(grid),
        seed % (1 << 64), tie_key, g0, stride, first,
    )  # fmt: skip


@impl("gpusampler::draw_stratified", "CUDA")
def _(out, members, rows, base_rows, rank_row, *rest):
    from gpusampler.kernels import stratified

    tree, rounds, key_ends, n_keys, *span = rest[5:11]
    *grid, seed, tie_key, g0, stride, first, segment = rest[11:]
    with torch.cuda.device(out.device):
        stratified.draw_stratified(
            out, members, (rows, base_rows, rank_row, *rest[:5]), tree, rounds, key_ends, n_keys,
            span, grid, seed, tie_key, g0, stride, first, random_bits.MEMBER, random_bits.SLOT,
            random_bits.CLASS_ORDER | segment << 8,
        )  # fmt: skip


@register_fake("gpusampler::draw_stratified")
def _(*_given):
    return None


@impl("gpusampler::draw_pk", "CPU")
def _(out, members, rows, rotations, per_class, copies, spans, grid_a, grid_b, seed, *batches):
    with forks.importing:
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
