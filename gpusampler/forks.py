"""Forks: a child never inherits a lock that a thread of its parent held, and which it needs.

Takes locks that threads hold while they compile. A fork waits until it has them, and until no
other thread imports what compiles. Else a child, in which those threads do not exist, would wait
for ever at its first batch.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from contextlib import AbstractContextManager, suppress
from typing import Any

PACKAGES = ("gpusampler", "llvmlite", "numba", "numpy")
_held: list[AbstractContextManager[Any]] = []  # in the order in which threads take them
_taken: list[AbstractContextManager[Any]] = []  # by the fork that is under way


def hold(*locks: AbstractContextManager[Any]) -> None:
    """Take these at a fork."""
    _held.extend(locks)


def _importing() -> list[Any]:
    """The locks of those modules that other threads are importing now."""
    found: dict[str, Any] = getattr(importlib._bootstrap, "_module_locks", {})
    others = sys._current_frames().keys() - {threading.get_ident()}
    locks = [ref() for name, ref in list(found.items()) if name.partition(".")[0] in PACKAGES]
    return [lock for lock in locks if getattr(lock, "owner", None) in others]


def _before() -> None:
    blocked: list[Any] = []
    while True:
        for module in _importing():
            try:
                module.acquire()
                module.release()
            except RuntimeError:  # its thread waits for a module that this one is importing
                blocked.append(module)
        for lock in _held:
            lock.__enter__()
            _taken.append(lock)
        if all(module in blocked for module in _importing()):
            return
        _after()  # one has begun meanwhile, and may wait for one of these locks


def _after() -> None:
    while _taken:
        with suppress(RuntimeError):  # of a fork that was interrupted
            _taken.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
