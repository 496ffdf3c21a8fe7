"""Library: the compiled C code of the CPU backend, found or made on first use.

Takes what was built with the package, or kept by a process before. Gives its functions, which let
go of the GIL while they run. Of processes that start together one compiles, and a fork waits for a
thread that does.
"""

from __future__ import annotations

import ctypes
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from gpusampler.cpu import cache, compiler

log = logging.getLogger("gpusampler")

NUMBER, POINTER = ctypes.c_int64, ctypes.c_void_p
LABELS = (POINTER, NUMBER, NUMBER, NUMBER, POINTER, NUMBER)  # what counting_sort.c begins with
SIGNATURES: dict[str, tuple[Any, ...]] = {  # besides those that take a Call
    "count_labels": (*LABELS, POINTER),
    "place_labels": (*LABELS, POINTER, NUMBER, NUMBER),
}

_lock = threading.Lock()
_opened: ctypes.CDLL | None = None
_path: Path | None = None
_fault = ""  # of what could not be loaded last

if hasattr(os, "register_at_fork"):  # else a child might wait for a thread that it does not have
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def opened() -> ctypes.CDLL:
    """The library. Raises RuntimeError: it cannot be compiled, and what would help."""
    global _opened
    if _opened is None:
        with _lock:
            if _opened is None:
                _opened = _open()
    return _opened


def kept_in() -> Path | None:
    """The folder that the library is kept in; None where each process compiles it."""
    opened()
    return None if _path is None else _path.parent


def level() -> str:
    """The instructions that this machine has, of those that libraries are made for."""
    if len(compiler.levels()) == 1:
        return "base"
    able = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(able.partition("_")[0], "base")


def _open() -> ctypes.CDLL:
    wanted = compiler.name(level())
    kept = cache.Cache(wanted, os.environ.get("GPUSAMPLER_CACHE_DIR", ""))
    for path in kept.kept():
        library = _load(path)
        if library is not None:
            return library
    return _compile(kept)


def _compile(kept: cache.Cache) -> ctypes.CDLL:
    data = None
    for folder in kept.folders():
        turn = cache.Turn(folder)
        try:
            for path in kept.kept_in(folder):  # another process may have had its turn
                library = _load(path)
                if library is not None:
                    return library
            data = data or _build(f"once, to be kept in {folder}")
            library = _load(cache.write(folder, data, compiler.SUFFIX))
            if library is not None:
                return library
        except OSError as error:
            log.info("compiled code is not kept in %s: %s", folder, error)
        finally:
            turn.end()
    data = data or _build("for each process anew")
    return _load_unkept(data)


def _build(how: str) -> bytes:
    begun = time.monotonic()
    data = compiler.build(
        level(),
        f"compiling what builds batches on the CPU, {how}: a few seconds; `gpusampler warmup` does "
        f"it beforehand",
    )
    log.info("compiled what builds batches on the CPU in %.1f s", time.monotonic() - begun)
    return data


def _load(path: Path) -> ctypes.CDLL | None:
    """None where it cannot be run from there."""
    global _path, _fault
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
    except (OSError, AttributeError) as error:
        _fault = str(error)
        log.info("compiled code in %s is not used: %s", path, error)
        return None
    _path = path
    return library


def _load_unkept(data: bytes) -> ctypes.CDLL:
    global _path
    with tempfile.TemporaryDirectory(prefix="gpusampler-", ignore_cleanup_errors=True) as folder:
        library = _load(cache.write(Path(folder), data, compiler.SUFFIX))
    _path = None
    if library is None:
        raise RuntimeError(
            f"batches on a CPU are built by C code, and what was compiled cannot be loaded: "
            f"{_fault}; set GPUSAMPLER_CACHE_DIR to a folder that is not mounted noexec, or CC to "
            f"a compiler for this machine"
        )
    return library
