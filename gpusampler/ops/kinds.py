"""Kinds: of each op, by its name, the plan whose tables it takes and what fills out on a device.

Kernels are named and not imported, since a process without a GPU has no need of Triton.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from gpusampler.cpu import fixed, pk, random, stratified
from gpusampler.plans import blocks
from gpusampler.plans.fixed import FixedPlan
from gpusampler.plans.pk import PKPlan
from gpusampler.plans.random import RandomPlan
from gpusampler.plans.stratified import StratifiedPlan


@dataclass(frozen=True)
class Kind:
    """What an op draws by.

    plan    the plan's type
    twin    what fills out on the CPU
    launch  the name of what fills out on a GPU
    unique  whether the plan has blocks
    """

    plan: Any
    twin: Callable[..., None]
    launch: str
    unique: bool = False

    @cached_property
    def tables(self) -> dict[str, tuple[str, int]]:
        """Of each table its dtype and columns (0: it is one-dimensional)."""
        return self.plan.TABLES | ({"blocks": ("int32", 8)} if self.unique else {})

    @property
    def numbers(self) -> tuple[str, ...]:
        """The plan's numbers, which stand behind the first batch and number of its segment, and
        whether batches are class by class."""
        return self.plan.NUMBERS

    def plan_of(self, tables: list[np.ndarray], numbers: list[int]) -> Any:
        """The plan of these tables. Raises ValueError: they are no plan's."""
        read = partial(blocks.plan_of_tables, self.plan) if self.unique else self.plan.of_tables
        return read(*tables, *numbers)


KINDS = {
    "fixed": Kind(FixedPlan, fixed.draw, "gpusampler.kernels.fixed.launch"),
    "random": Kind(RandomPlan, random.draw, "gpusampler.kernels.random.launch"),
    "stratified": Kind(StratifiedPlan, stratified.draw, "gpusampler.kernels.stratified.launch"),
    "pk": Kind(PKPlan, pk.draw, "gpusampler.kernels.pk.launch"),
    "fixed_unique": Kind(
        FixedPlan, fixed.draw, "gpusampler.kernels.unique.launch_fixed", unique=True
    ),
    "stratified_unique": Kind(
        StratifiedPlan,
        stratified.draw,
        "gpusampler.kernels.unique.launch_stratified",
        unique=True,
    ),
}
