"""Probe: the parts of the C code that its exports do not show, for the tests.

Compiled once a process, with all warnings as errors. Arrays are passed as they are.
"""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gpusampler.bits.random_bits import MEMBER
from gpusampler.cpu import call as calls
from gpusampler.cpu import compiler, library

HERE = Path(__file__).parent
STRICT = ("-Wall", "-Wextra", "-Werror")
CHUNK, WHOLE, FLOAT32_BELOW = 2048, 32, 1 << 21  # bits.h, permute.h


@cache
def probe() -> ctypes.CDLL:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, True)
    flags = [*compiler.FLAGS, *compiler.LEVELS[library.level()], *STRICT]
    flags += ["-Wno-unused-function", f"-I{Path(compiler.__file__).parent}"]
    command = next(compiler.compilers())
    files = [str(HERE / name) for name in ("probe.c", "probe_rows.c")]
    subprocess.run([*command, *flags, "-o", f"{folder}/probe.so", *files], check=True)
    return ctypes.CDLL(f"{folder}/probe.so")


def call(name: str, *arguments: Any) -> int:
    """Arrays as pointers, ints as 64 bits; gives 64 bits."""
    function = getattr(probe(), name)
    function.restype = ctypes.c_uint64
    given = []
    for value in arguments:
        if value is None or isinstance(value, ctypes.c_void_p):
            given.append(value if value is not None else ctypes.c_void_p())
        elif isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            given.append(ctypes.c_void_p(value.ctypes.data))
        else:
            given.append(ctypes.c_uint64(int(value) % (1 << 64)))
    return function(*given)


def philox(counter, key) -> tuple[int, ...]:
    words = np.empty(4, np.uint32)
    call("probe_philox", np.array(counter, np.uint32), np.array(key, np.uint32), words)
    return tuple(words.tolist())


def keys(count: int, seed: int, purpose: int, x: int, y: int) -> np.ndarray:
    found = np.empty((count, 2), np.uint32)
    call("probe_keys", found, count, seed, purpose, x, y)
    return found


def member_keys(count: int, seed: int, cycle: int, label: int) -> np.ndarray:
    return keys(count, seed, MEMBER, cycle, label)


def permute(first: int, m: int, n: int, sides, key) -> np.ndarray:
    """perm(first + e, n, key) for e in range(m), m <= CHUNK."""
    out = np.empty(m, np.uint32)
    sides, key = np.array(sides, np.uint32), np.array(key, np.uint32)
    call("probe_permute", out, first, m, n, sides, key)
    return out


def shipped(out: np.ndarray, points, n: int, a: int, b: int, keys: np.ndarray) -> None:
    """out[t, e] = perm(points[e], n, keys[t])."""
    assert out.dtype == keys.dtype == np.uint32
    points = np.ascontiguousarray(points, np.uint32)
    call("probe_orders", out, len(out), points, len(points), n, np.array([a, b], np.uint32), keys)


def draws(rows, blocks, members, seed, runs, total, listed=None, few=False) -> np.ndarray:
    """What runs ask for (row, to, todo, count, stride, label, ordinal), as lanes or as spans."""
    request = calls.Prepared((), ()).call(np.empty((1, 1), np.int64), members, seed, 0, 1)
    out = np.full(total, -1, np.int64 if members is None else members.dtype)
    runs = np.array([[int(x) % (1 << 64) for x in run] for run in runs], np.uint64)
    ordinals = None if listed is None else np.array(listed, np.uint64)
    call(
        "probe_draws", ctypes.c_void_p(ctypes.addressof(request)), rows, blocks, runs, len(runs),
        ordinals, few, total, out,
    )  # fmt: skip
    return out


def tally(tables: np.ndarray, block: np.ndarray, columns, base: int) -> None:
    columns = np.ascontiguousarray(columns, np.int64)
    block = np.ascontiguousarray(block, np.uint32)
    call("tally", tables, *tables.shape, block, *block.shape, columns, columns.shape[1], base)


def disagreements(one, other) -> np.ndarray:
    out = np.empty(len(one), np.int64)
    one, other = (np.ascontiguousarray(x[: len(one)], np.uint32) for x in (one, other))
    call("disagreements", out, one, other, *one.shape)
    return out
