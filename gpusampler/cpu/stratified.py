"""Stratified on the CPU: stratified.c by a plan."""

from __future__ import annotations

from typing import Any

from gpusampler.bits.random_bits import CLASS_ORDER, TREE
from gpusampler.cpu.call import Array, Prepared, prepared, rows_each, run, threads_of

MOST_PLACES = 1 << 21  # batches at once, times levels of the tree: what its room takes


def _of(given: Any) -> Prepared:
    p, segment = given.plan, given.segment << 8
    blocks = None if p.blocks is None else p.blocks.table
    tables = (
        p.rows, p.base_rows, p.start, p.leaf_class, p.class_leaf, p.shares, p.links, blocks
    )  # fmt: skip
    numbers = (
        given.first, CLASS_ORDER | segment, TREE | segment, p.root, p.height, p.round_batches,
        p.round_draws, *p.order_grid,
    )  # fmt: skip
    return Prepared(tables, numbers)


def draw(out: Array, members: Array | None, given: Any, seed: int, g0: int, stride: int) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a stratified plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a StratifiedPlan
    """
    call = prepared(given, _of).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = threads_of(call)
    most = max(1, MOST_PLACES // (given.plan.height + 1))
    each = min(most, rows_each(call, threads))
    run("draw_stratified", call, call.batches, each, threads)
