"""Options: the types of what each kind takes by keyword, for editors and type checkers.

Takes and gives nothing while a program runs: keywords.py refuses what no kind takes. A test holds
the names here equal to the names there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
import torch

Number: TypeAlias = "float | Fraction | Decimal | np.floating[Any] | np.integer[Any]"
Alpha: TypeAlias = "Number | Callable[[int], Number] | None"


class Options(TypedDict, total=False):
    """What every kind takes, of any value."""

    device: str | torch.device | int | None
    seed: int | None
    window_bytes: int
    shard: Any
    unbroken: bool
    order: Literal["shuffle", "class"]
    drop_empty: bool
    sampler: Any


class PKOptions(Options, total=False):
    """What kind "pk" takes besides its P and K."""

    unique: Literal[True]


class MixOptions(Options, total=False):
    """What the kinds that have a class mix take."""

    weights: Any
    shares: Any
    rates: Any
    weighting: Literal["linear", "power", "effective_number", "repeat_factor"]
    beta: Number | None
    threshold: Number | None


class PassOptions(MixOptions, total=False):
    """What kinds "fixed" and "stratified" take, which go through a class's members in passes."""

    unique: bool


class RandomOptions(MixOptions, total=False):
    """What kind "random" takes."""

    unique: Literal[False]
    class_draw: Literal["multinomial", "counter"]
