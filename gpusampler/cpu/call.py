"""Call: what the C code of this folder is given, whatever the kind, and its run on threads.

Takes the tables and numbers of a plan, members, a seed and batch numbers. Has out [n, B] int64
filled, a slab of batches at a time and several on as many threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gpusampler.cpu import library, parallel

SLAB = 1 << 18  # draws held at once
LEAST_PER_THREAD = 1 << 15
MOST_TABLES, MOST_NUMBERS = 12, 16
Array = np.ndarray | Tensor
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

    def call(self, out: Array, members: Array | None, seed: int, g0: int, stride: int) -> Call:
        """Of out [n, B] int64, and members [M] int32 | int64 or None."""
        call = Call.from_buffer_copy(self._bytes)
        call.out, (call.batches, call.size) = address(out), out.shape
        if members is not None:
            call.members, call.reach = address(members), members.shape[0]
            call.width = members.itemsize
        call.seed, call.g0, call.stride = seed, g0, stride
        return call


def address(array: Array) -> int:
    """Of its first element. A tensor tells it in a tenth of the time."""
    return array.data_ptr() if isinstance(array, Tensor) else array.ctypes.data


def prepared(given: Any, made: Any) -> Prepared:
    """made(given), kept with it."""
    if "cpu" not in given.kept:
        given.kept["cpu"] = made(given)
    return given.kept["cpu"]


def run(name: str, call: Call, rows: int, each: int, threads: int) -> int:
    """Let that function of the library fill `each` rows at a time. Gives whether it met NO_ROW."""
    function, results = getattr(library.opened(), name), []
    if function.argtypes is None:
        function.argtypes = library.POINTER, library.NUMBER, library.NUMBER

    def task(first: int, end: int) -> None:
        results.append(function(ctypes.addressof(call), first, end))

    parallel.run(task, rows, each, threads)
    if NO_MEMORY in results:
        raise MemoryError(f"no memory to build {call.batches} batches of {call.size}")
    return max(results, default=0)


def threads_of(call: Call) -> int:
    """How many threads fill it."""
    return parallel.threads_for(call.batches * call.size, LEAST_PER_THREAD)


def rows_each(call: Call, threads: int) -> int:
    """Batches of a slab."""
    n, size = call.batches, call.size
    slabs = threads * -(-n * size // (threads * SLAB))
    return min(max(1, SLAB // size), -(-n // slabs))
