"""Warming: the CPU path compiled before it is needed.

Takes names of kinds. Leaves the compiled library in the cache, for processes to come.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gpusampler import checks
from gpusampler.cpu import library
from gpusampler.factory import KINDS


def warmup(kinds: str | Iterable[str] | None = None) -> Path | None:
    """Compile what batches on a CPU are built by, or find it compiled.

    kinds    "fixed", "random", "stratified", "pk", or several; None: all of them. One library
             serves them all.
    Returns  the folder where it is kept; None where none can be written, and processes to come
             compile anew.
    Raises   ValueError: a kind that there is not. RuntimeError: there is no C compiler.
    For images, and for jobs that begin many times: some 2 s the first time, where the installation
    has not compiled it. `gpusampler warmup` does the same.
    """
    names = tuple(KINDS) if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for name in names:
        checks.choice("kind", name, tuple(KINDS))
    return library.kept_in()
