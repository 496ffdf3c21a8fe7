"""Frames: whose code asks, where no argument tells it.

Gives the frame of the code that called into this package, the module that a frame's code is of, and
what a function there holds under a name; and warns at the line that asked.
Whoever asks looks at the module first: before Python 3.13, to read what a frame holds keeps all of
it alive for as long as the frame runs. Nothing here raises, whatever the code that asks is run as.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Collection
from types import FrameType
from typing import Any

PACKAGE = __name__.partition(".")[0]
LOADERS = "torch.utils.data.dataloader", "torchdata.stateful_dataloader.stateful_dataloader"
# around each constructor, while it notes what samplers are made of
LIGHTNING = "lightning.fabric.utilities.data", "lightning_fabric.utilities.data"


def asking() -> FrameType | None:
    """The frame that called into this package; None where C code did, first in its thread."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and module(frame).partition(".")[0] == PACKAGE:
        frame = frame.f_back
    return frame


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called into this package, or over whose DataLoader it iterates,
    however deep in the package the reason is found."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_for_others(module(frame)):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_for_others(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE or name in LOADERS or name in LIGHTNING


def module(frame: FrameType | None) -> str:
    """The name of the module whose code this is, or nothing. exec() takes any kind of dict."""
    name = None if frame is None else dict.get(frame.f_globals, "__name__")
    return name if type(name) is str else ""


def behind(frame: FrameType | None, modules: Collection[str]) -> FrameType | None:
    """The nearest frame, from this one on, that is of none of these modules."""
    while frame is not None and module(frame) in modules:
        frame = frame.f_back
    return frame


def held(frame: FrameType | None, name: str) -> Any:
    """What a function holds under this name, or None. Only where its module is one looked for."""
    if frame is None or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return None  # not a function's: exec() takes any mapping for its locals
    return frame.f_locals.get(name)


def number(owner: Any, name: str) -> int | None:
    """An attribute that is an integer, or None where it is not."""
    try:
        value = getattr(owner, name, None)
    except Exception:  # of a property of somebody else's
        return None
    return value if type(value) is int else None
