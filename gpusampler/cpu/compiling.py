"""Compiling: the decorators of all that numba compiles here.

Takes functions. Gives them compiled on first use, or as a process of the same sources, compiler
and machine has compiled them before (cache). Processes that start together compile once, and a
fork waits for a thread that compiles (forks).
Numba's own cache looks at a function's file alone: it would run old code after a change in what
that calls, or in the constants that it takes from elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.binding import ffi
from numba import njit
from numba.core import caching, config, entrypoints
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

from gpusampler import forks
from gpusampler.cache import Cache, Turn

log = logging.getLogger("gpusampler")
SETTINGS = (
    "BOUNDSCHECK", "CPU_FEATURES", "CPU_NAME", "DEBUGINFO_DEFAULT", "ENABLE_AVX",
    "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE",
)  # fmt: skip
SLOW = 1.0  # seconds

forks.hold(global_compiler_lock, ffi.lib._lock)
# made now, while this module is imported: the first use makes them under locks of their own
entrypoints.init_all()
cpu_target.target_context  # noqa: B018
cpu_target.typing_context  # noqa: B018
np.ma  # noqa: B018

_cache: Cache | None = None
_said_so = False


class Compilation:
    """One call from outside, with all that it compiles on its way; under numba's lock."""

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.begun = time.monotonic()
        self.compiled = 0
        self.may_keep: dict[str, bool] = {}

    def tell(self, ended: bool = False) -> None:
        """Say that it takes time: once a process as soon as it does, and how long it took."""
        global _said_so
        seconds = time.monotonic() - self.begun
        if not self.compiled or seconds < SLOW:
            return
        if not _said_so:
            _said_so = True
            folder = kept_in()
            kept = "for each process anew" if folder is None else f"once, to be kept in {folder}"
            log.warning(
                "compiling what builds batches on the CPU, %s: 10 to 60 s; `gpusampler warmup` "
                "does it beforehand",
                kept,
            )
        if ended:
            log.info("compiled %d functions in %.1f s", self.compiled, seconds)


_current: Compilation | None = None


def _in_turn(compile_one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Dispatcher.compile of numba: what it compiles on its way is part of one Compilation."""

    @wraps(compile_one)
    def compile_in_turn(signature: Any) -> Any:
        global _current
        if global_compiler_lock.is_locked():  # by this thread
            return compile_one(signature)
        with global_compiler_lock:
            _current = Compilation()
            try:
                return compile_one(signature)
            finally:
                if _current.turn is not None:
                    _current.turn.end()
                _current.tell(ended=True)
                _current = None

    return compile_in_turn


class Kept(caching.NullCache):
    """What numba asks for compiled code, and gives it to."""

    def __init__(self, function: Any):
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """None where it has to be compiled."""
        current = _current
        cache = _opened(target_context)
        if current is None or not self._kept(cache, current):
            return None
        found = self._read(cache, sig, target_context)
        if found is None and current.turn is None:
            current.turn = cache.turn()
            found = self._read(cache, sig, target_context)  # another may have had its turn
        return found

    def save_overload(self, sig: Any, cres: Any) -> None:
        current = _current
        if current is None:
            return
        current.compiled += 1
        current.tell()
        if _cache is None or not self._kept(_cache, current) or not _cache.holds(self._module):
            return
        if cres.lifted or cres.library.has_dynamic_globals:
            log.info("%s cannot be kept compiled", self._function.__qualname__)
            return
        try:
            _cache.write(self._name(sig), dumps(cres._reduce()))
        except Exception as error:  # of another numba, perhaps: what was compiled is right
            log.warning("compiled code is not kept: %s: %s", type(error).__name__, error)

    @property
    def _module(self) -> str:
        return self._function.__module__

    def _kept(self, cache: Cache, current: Compilation) -> bool:
        if self._module not in current.may_keep:
            current.may_keep[self._module] = cache.holds(self._module)
        return current.may_keep[self._module]

    def _name(self, sig: Any) -> str:
        name = f"{self._module.partition('.')[2]}.{self._function.__qualname__}"
        return f"{name}-{hashlib.sha256(str(sig).encode()).hexdigest()[:16]}"

    def _read(self, cache: Cache, sig: Any, target_context: Any) -> Any:
        data = cache.read(self._name(sig))
        if data is None:
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(data))
        except Exception as error:
            log.info("compiling anew what was kept: %s: %s", type(error).__name__, error)
            return None


def _opened(target_context: Any) -> Cache:
    """The cache of this process, made when it is first looked into."""
    global _cache
    target_context.refresh()  # so that what is read finds the functions that it calls
    if _cache is None:
        settings = (f"{name}={getattr(config, name, None)}" for name in SETTINGS)
        machine = target_context.codegen().magic_tuple()
        versions = sys.version, numba.__version__, llvmlite.__version__, np.__version__
        _cache = Cache((*versions, *machine, *settings), given=config.CACHE_DIR)  # type: ignore[attr-defined]
    return _cache


def _decorator(**options: Any) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        if hasattr(dispatcher, "_cache"):  # not with NUMBA_DISABLE_JIT
            dispatcher._cache = Kept(function)
            dispatcher.compile = _in_turn(dispatcher.compile)
        return dispatcher

    return decorate


compiled = _decorator()
compiled_without_checks = _decorator(error_model="numpy")  # of a division: they break the vectors
inlined = njit(nogil=True, inline="always")


def kept_in() -> Path | None:
    """The folder that compiled code is kept in, if there is one."""
    return None if _cache is None else _cache.folder()
