"""Packing: class mixes and counts as text that a state can hold.

Takes a mark. Gives text of base64, compressed; and back, refusing what no run gave.
Knows nothing of states.
"""

from __future__ import annotations

import base64
import zlib
from math import gcd
from typing import Any

import numpy as np

from gpusampler.plans.weights import Weights
from gpusampler.stream.history import Mark

MOST_DIGITS = 4000  # of one weight
UNCHANGED = "pass the state as it was given"


def packed_mark(mark: Mark, counted: bool) -> tuple[str, str]:
    """Mix and start as text; made once a mark. counted: whether start says anything."""
    if mark.packed is None:
        start = _text(np.ascontiguousarray(mark.start, "<i8").tobytes()) if counted else ""
        mark.packed = "" if mark.mix is None else _text(mix_bytes(mark.mix)), start
    return mark.packed


def mix_bytes(mix: Weights) -> bytes:
    """The distinct weights in decimals, then which of them each class has."""
    which = mix.which.astype(_which_type(len(mix.values)))
    return ",".join(map(str, mix.values)).encode() + b";" + which.tobytes()


def _which_type(values: int) -> np.dtype[Any]:
    return np.dtype("u1" if values <= 1 << 8 else "<u2" if values <= 1 << 16 else "<u4")


def unpacked_mix(name: str, text: str, sizes: np.ndarray) -> Weights:
    """The mix of this text, for classes of these sizes.

    Raises  ValueError: no mix gave it.
    """
    data = _bytes(name, text, (MOST_DIGITS + 5) * len(sizes) + 1)
    told, _, rest = data.partition(b";")
    try:
        if any(len(part) > MOST_DIGITS or not part.isdigit() for part in told.split(b",")):
            raise ValueError("a weight is no whole number")
        values = tuple(int(part) for part in told.split(b","))
        which = np.frombuffer(rest, _which_type(len(values))).astype(np.int64)
    except ValueError as error:
        raise not_given(name) from error
    times = np.bincount(which, minlength=len(values)) if len(which) else np.zeros(1, np.int64)
    lowest = list(values) == sorted(set(values)) and gcd(*values) == 1
    if len(which) != len(sizes) or len(times) != len(values) or not times.all() or not lowest:
        raise not_given(name)
    mix = Weights(values, which, sum(v * t for v, t in zip(values, times.tolist(), strict=True)))
    if (mix.positive() & (sizes == 0)).any():
        raise not_given(name)
    return mix


def unpacked_start(text: str, classes: int, draws: int, more: int = 0) -> np.ndarray:
    """[C] draws of each class, `draws` in all, or up to so many more.

    Raises  ValueError: no run gave it.
    """
    data = _bytes("start", text, 8 * classes + 1)
    if len(data) != 8 * classes:
        raise not_given("start")
    start = np.frombuffer(data, "<i8").astype(np.int64)
    if (start < 0).any() or (start > 1 << 62).any():
        raise not_given("start")
    if not draws <= sum(start.tolist()) <= draws + more:
        raise not_given("start")
    return start


def _text(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _bytes(name: str, text: str, most: int) -> bytes:
    """What _text() made the text of, at most so many bytes of it."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), most)
    except (ValueError, zlib.error) as error:
        raise not_given(name) from error
    if not inflate.eof or inflate.unused_data:
        raise not_given(name)
    return data


def not_given(name: str) -> ValueError:
    return ValueError(f"{name} of a state must be as state_dict() gave it; {UNCHANGED}")
