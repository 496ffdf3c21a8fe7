"""Plans drawn with the options order="class" and unique=True, by every implementation in one form.

twin: the op on the CPU. kernel: the launch, native or interpreted, and what sorts on a device.
slow: plain Python. Each gives [n][B] of (kind, case, first batch, batches, stride).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpusampler.kernels import launch, pk, stratified, unique
from reference import slow_kinds, slow_reference

import cases
from cases import pk_cases, stratified_cases
from gpusampler.bits import random_bits
from gpusampler.ops import class_order, given
from gpusampler.ops import windows as ops
from gpusampler.plans import blocks

KINDS = ("fixed", "stratified", "random", "pk")
UNIQUE = ("fixed", "stratified")
LAUNCHES = {
    "fixed": launch.draw_fixed, "random": launch.draw_random, "pk": pk.launch,
    "stratified": stratified.draw_stratified, "fixed_unique": unique.launch_fixed,
    "stratified_unique": unique.launch_stratified,
}  # fmt: skip


@dataclass
class Drawn:
    """A case of a kind, with its options."""

    kind: str
    case: Any
    by_class: bool = False
    unique: bool = False

    def __post_init__(self) -> None:
        own = {"fixed": "fixed", "random": "random"}.get(self.kind, "plan")
        self.plan = getattr(self.case, own)
        if self.unique:
            self.plan = blocks.with_blocks(self.plan)
        self.op = f"{self.kind}_unique" if self.unique else self.kind
        self.first = getattr(self.case, "first", 0)
        self.segment = getattr(self.case, "segment", 0)

    def twin(self, g0: int, n: int, stride: int = 1) -> list[list[int]]:
        out, c = torch.from_numpy(self.case.poisoned(n)), self.case
        members = None if c.members is None else torch.from_numpy(c.members)
        tables = given.tables_on(
            torch.device("cpu"), self.op, self.plan, self.first, self.segment, self.by_class
        )
        ops.draw(self.op, out, members, *tables, random_bits.signed(c.seed), g0, stride)
        return out.tolist()

    def kernel(self, g0: int, n: int, device: torch.device, stride: int = 1) -> list[list[int]]:
        out, c = cases.on(device, self.case.poisoned(n)), self.case
        found = given.Given(self.plan, self.first, self.segment, self.by_class)
        members = cases.on(device, c.members)
        LAUNCHES[self.op](
            out, members if found.order_guide is None else None,
            cases.tables_on(device, self.plan), found, random_bits, random_bits.signed(c.seed), g0,
            stride,
        )  # fmt: skip
        if found.order_guide is not None:
            class_order.by_class(out, members, found.firsts(device))
        return out.tolist()

    def slow(self, g: int) -> list[int]:
        c, order = self.case, "class" if self.by_class else "shuffle"
        if self.kind == "fixed":
            counts = self.plan.counts.tolist()
            return slow_reference.fixed_batch(
                c.groups, counts, c.seed, g, unique=self.unique, order=order
            )
        if self.kind == "stratified":
            return slow_kinds.stratified_batch(
                c.groups, c.exact, c.batch_size, c.seed, g, c.start, c.first, c.segment,
                self.unique, order,
            )  # fmt: skip
        if self.kind == "pk":
            return slow_kinds.pk_batch(
                c.groups, c.classes, c.each, c.seed, g, c.first, c.segment, order
            )
        exact = [c.weights.values[i] for i in c.weights.which]
        return slow_reference.random_batch(c.groups, exact, c.batch_size, c.seed, g, order)


def random_drawn(
    rnd: random.Random, kind: str, by_class: bool, unique: bool, most: int = 300
) -> tuple[Drawn, int]:
    """A case of the kind, and a batch to begin with."""
    if kind == "pk":
        case: Any = pk_cases.random_case(rnd, most)
        return Drawn(kind, case, by_class), pk_cases.batches(rnd, case)[0]
    if kind == "stratified":
        case = stratified_cases.random_case(rnd, most)
        return Drawn(kind, case, by_class, unique), stratified_cases.first_batch(rnd, case)
    case = cases.random_case(rnd)
    return Drawn(kind, case, by_class, unique), cases.first_batch(rnd)


def labels_of(case: Any) -> dict[int, int]:
    """The class of each index of a case, whose classes are disjoint."""
    return {int(index): c for c, group in enumerate(case.groups) for index in group}


def classes_of(case: Any, batch: list[int]) -> np.ndarray:
    labels = labels_of(case)
    return np.array([labels[index] for index in batch])
