"""CPU twin: the same indices as the kernels, bit for bit, by the C code of this folder.

Takes a Given of a plan, members, a seed and batch numbers. Fills out [n, B] int64, a slab of
batches at a time and several on as many threads. Knows nothing of samplers or epochs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpusampler.bits.random_bits import (
    CLASS_ORDER,
    MEMBER_RHO,
    MEMBER_SIGMA,
    RHO,
    SIGMA,
    TREE,
)
from gpusampler.cpu import library, parallel
from gpusampler.plans.order_guide import Guide

SLAB = 1 << 18  # draws held at once
LEAST_PER_THREAD = 1 << 15
MOST_PLACES = 1 << 21  # batches at once, times levels of the tree: what its room takes
LEAST_BITS, MOST_BITS = 4, 11  # of a digit of a class, which has so many counters
MOST_TABLES, MOST_NUMBERS = 12, 16
NO_MEMORY, NO_ROW = 1, 2


class Call(ctypes.Structure):
    """What every kind is given: Call of call.h."""

    _fields_ = (
        ("out", ctypes.c_void_p), ("batches", ctypes.c_int64), ("size", ctypes.c_int64),
        ("members", ctypes.c_void_p), ("reach", ctypes.c_int64), ("width", ctypes.c_int64),
        ("seed", ctypes.c_uint64), ("g0", ctypes.c_int64), ("stride", ctypes.c_int64),
        ("slot_a", ctypes.c_int64), ("slot_b", ctypes.c_int64),
        ("tables", ctypes.c_void_p * MOST_TABLES), ("rows", ctypes.c_int64 * MOST_TABLES),
        ("numbers", ctypes.c_int64 * MOST_NUMBERS),
    )  # fmt: skip


class Prepared:
    """The part of a call that is the same for all batches of a plan, with what it points to.

    tables   of the kind's C file, in its order; None: there is none
    numbers  likewise
    """

    def __init__(self, tables: Sequence[np.ndarray | None], numbers: Sequence[int]):
        held = [None if table is None else np.ascontiguousarray(table) for table in tables]
        self._made_of = held, numbers
        call = Call()
        for at, table in enumerate(held):
            if table is not None:
                call.tables[at], call.rows[at] = table.ctypes.data, len(table)
        for at, number in enumerate(numbers):
            call.numbers[at] = number
        self._bytes = bytes(call)

    def __reduce__(self) -> tuple[Any, ...]:  # a copy has tables at other addresses
        return Prepared, self._made_of

    def call(
        self, out: np.ndarray, members: np.ndarray | None, seed: int, g0: int, stride: int
    ) -> Call:
        call = Call.from_buffer_copy(self._bytes)
        call.out, (call.batches, call.size) = out.ctypes.data, out.shape
        if members is not None:
            call.members, call.reach = members.ctypes.data, len(members)
            call.width = members.itemsize
        call.seed, call.g0, call.stride = seed, g0, stride
        return call


def _prepared(given: Any, made: Any) -> Prepared:
    """made(given), kept with it."""
    if "cpu" not in given.kept:
        given.kept["cpu"] = made(given)
    return given.kept["cpu"]


def _run(name: str, call: Call, rows: int, rows_each: int, threads: int) -> int:
    """Gives whether a given class was no row."""
    function, results = getattr(library.opened(), name), []

    def task(first: int, end: int) -> None:
        results.append(function(ctypes.addressof(call), first, end))

    parallel.run(task, rows, rows_each, threads)
    if NO_MEMORY in results:
        raise MemoryError(f"no memory to build {call.batches} batches of {call.size}")
    return max(results, default=0)


def _rows_each(out: np.ndarray, threads: int) -> int:
    """Batches of a slab."""
    n, size = out.shape
    slabs = threads * -(-n * size // (threads * SLAB))
    return min(max(1, SLAB // size), -(-n // slabs))


def _of_fixed(given: Any) -> Prepared:
    p = given.plan
    blocks = None if p.blocks is None else p.blocks.table
    return Prepared((p.rows, p.class_rows, blocks), ())


def draw_fixed(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a fixed plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a FixedPlan
    """
    call = _prepared(given, _of_fixed).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    _run("draw_fixed", call, len(out), _rows_each(out, threads), threads)


def _of_random(given: Any) -> Prepared:
    p = given.plan
    shift = 65 - (len(p.guide) - 1).bit_length()
    return Prepared((p.rows, p.cuts, p.guide), (shift, p.steps))


def draw_random(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ..., each slot drawn with replacement.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a RandomPlan
    Raises   ValueError: given.classes names a row that the plan has not.
    """
    call = _prepared(given, _of_random).call(out, members, seed, g0, stride)
    classes = None if given.classes is None else np.asarray(given.classes)
    if classes is not None:
        call.tables[3], call.rows[3] = classes.ctypes.data, classes.size
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    if _run("draw_random", call, out.size, SLAB, threads) == NO_ROW:
        raise ValueError(
            f"classes must be rows of the plan, in [0, {len(given.plan.rows)}), and some are not; "
            f"pass what torch.multinomial drew by the plan's shares"
        )


def _of_stratified(given: Any) -> Prepared:
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


def draw_stratified(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a stratified plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a StratifiedPlan
    """
    call = _prepared(given, _of_stratified).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    most = max(1, MOST_PLACES // (given.plan.height + 1))
    rows_each = min(most, _rows_each(out, threads))
    _run("draw_stratified", call, len(out), rows_each, threads)


def _of_pk(given: Any) -> Prepared:
    p = given.plan
    purposes = (purpose | given.segment << 8 for purpose in (RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA))
    numbers = (given.first, p.members_per_class, *purposes)
    return Prepared((p.rows, p.rotations), numbers)


def draw_pk(
    out: np.ndarray, members: np.ndarray | None, given: Any, seed: int, g0: int, stride: int
) -> None:
    """Fill out [n, B] int64 with batches g0, g0 + stride, ... of a pk plan.

    members  [M] int32 | int64, None where the dataset is sorted by class
    given    a Given of a PKPlan
    """
    call = _prepared(given, _of_pk).call(out, members, seed, g0, stride)
    call.slot_a, call.slot_b = given.slot_grid
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    _run("draw_pk", call, len(out), _rows_each(out, threads), threads)


def by_class(out: np.ndarray, members: np.ndarray | None, guide: Guide) -> None:
    """From places in the order of draws to members class by class, [n, B] int64 in place.

    members  [M] int32 | int64, None where the dataset is sorted by class
    """
    n, size = out.shape
    digit = min(MOST_BITS, max(LEAST_BITS, size.bit_length()))
    prepared = Prepared((guide.firsts, guide.cells), (guide.shift, digit))
    threads = parallel.threads_for(out.size, LEAST_PER_THREAD)
    call = prepared.call(out, members, 0, 0, 1)
    _run("sort_by_class", call, n, -(-n // threads), threads)
