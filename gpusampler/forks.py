"""Forks: a child never inherits a lock that a thread of its parent held, and which it needs.

Takes locks that threads hold while they import or compile. A fork waits until it has them all.
Else a child, in which those threads do not exist, would wait for ever at its first batch.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, suppress
from typing import Any

importing = threading.RLock()  # held where a module that compiles is imported on first use
_held: list[AbstractContextManager[Any]] = [importing]  # in the order in which threads take them
_taken: list[AbstractContextManager[Any]] = []  # by the fork that is under way


def hold(*locks: AbstractContextManager[Any]) -> None:
    """Take these too at a fork, after those that were named before."""
    _held.extend(locks)


def _before() -> None:
    for lock in _held:
        lock.__enter__()
        _taken.append(lock)


def _after() -> None:
    while _taken:
        with suppress(RuntimeError):  # of a fork that was interrupted
            _taken.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
