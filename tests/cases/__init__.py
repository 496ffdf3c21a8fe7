"""Cases: a plan of any kind over grouped members, and its batches by every implementation.

Each implementation is called in one form, (case, first batch, batches, stride) -> [n][B]:

    slow         plain Python, from the mathematics alone
    cpu          compiled for the CPU
    interpreted  Triton's kernels, native on a GPU or under its interpreter
    emulated     the compiled PTX of the kernels, on the emulator; and the instructions it took
"""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import torch
from reference import slow_kinds, slow_reference

from gpusampler.bits import random_bits
from gpusampler.cpu import order
from gpusampler.ops import class_order, windows
from gpusampler.ops.given import Given
from gpusampler.ops.kinds import KINDS as KINDS_OF_OPS
from gpusampler.plans import blocks, weights
from gpusampler.plans import fixed as plan_fixed
from gpusampler.plans.pk import pk_plan
from gpusampler.plans.random import random_plan
from gpusampler.plans.stratified import stratified_plan

POISON = np.iinfo(np.int64).min
KINDS = ("fixed", "stratified", "random", "pk")
UNIQUE = ("fixed", "stratified")  # the kinds that have the option


@dataclass
class Case:
    """One plan, and how it is drawn.

    mix        alpha, or one weight a class; pk has none
    each       pk: members of a class in a batch, which has batch_size / each classes
    first, segment, start   the segment of a stream: its first batch and number, draws before it
    identity   the dataset is sorted by class, so that no members are stored
    """

    kind: str
    sizes: list[int]
    batch_size: int
    mix: float | list[float] = 0.5
    seed: int = 0
    _: KW_ONLY
    each: int = 1
    first: int = 0
    segment: int = 0
    start: list[int] | None = None
    dtype: type = np.int32
    identity: bool = False
    by_class: bool = False
    unique: bool = False
    groups: list[Any] = field(init=False)
    plan: Any = field(init=False)

    def __post_init__(self) -> None:
        sizes, total = np.array(self.sizes), sum(self.sizes)
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        cuts = list(zip(self.offsets.tolist(), self.offsets[1:].tolist(), strict=False))
        self.members = None
        if self.identity:
            self.groups = [range(a, b) for a, b in cuts]
        else:
            order = np.random.default_rng(self.seed % 1000).permutation(2 * total)[:total]
            self.groups = [sorted(order[a:b].tolist()) for a, b in cuts]
            self.members = np.array([m for group in self.groups for m in group], self.dtype)
        if self.kind == "pk":
            self.plan = pk_plan(sizes, self.offsets, self.batch_size // self.each, self.each)
            return
        if isinstance(self.mix, list):
            self.weights = weights.given(self.mix, sizes, drop_empty=True)
        else:
            self.weights = weights.linear(sizes, self.mix, drop_empty=True)
        self.exact = [self.weights.values[i] for i in self.weights.which]
        self.plan = getattr(self, f"_{self.kind}")(sizes)
        if self.unique:
            self.plan = blocks.with_blocks(self.plan)

    def _fixed(self, sizes: np.ndarray) -> Any:
        counts = plan_fixed.fixed_counts(self.weights, self.batch_size)
        return plan_fixed.fixed_plan(counts, sizes, self.offsets)

    def _random(self, sizes: np.ndarray) -> Any:
        return random_plan(self.weights, sizes, self.offsets)

    def _stratified(self, sizes: np.ndarray) -> Any:
        start = None if self.start is None else np.array(self.start)
        return stratified_plan(self.weights, sizes, self.offsets, self.batch_size, start)

    @property
    def op(self) -> str:
        return f"{self.kind}_unique" if self.unique else self.kind

    def poisoned(self, n: int) -> np.ndarray:
        return np.full((n, self.batch_size), POISON)


def pk_case(sizes: list[int], classes: int, each: int, seed: int, **more: Any) -> Case:
    return Case("pk", sizes, classes * each, 0.0, seed, each=each, **more)


def random_classes(case: Case, n: int, seed: int) -> np.ndarray:
    """[n, B]: rows of a random plan, as another generator may have drawn them."""
    rows = len(case.plan.rows)
    return np.random.default_rng(seed).integers(0, rows, (n, case.batch_size))


def given_of(case: Case, classes: Any = None) -> Given:
    return Given(case.plan, case.first, case.segment, case.by_class, classes)


# ------------------------------------------------------------------------ implementations


def slow(
    case: Case, g0: int, n: int = 1, stride: int = 1, classes: np.ndarray | None = None
) -> list[list[int]]:
    return [
        slow_batch(case, g0 + t * stride, None if classes is None else classes[t])
        for t in range(n)
    ]  # fmt: skip


def slow_batch(case: Case, g: int, rows: np.ndarray | None = None) -> list[int]:
    order = "class" if case.by_class else "shuffle"
    if case.kind == "fixed":
        counts = case.plan.counts.tolist()
        return slow_reference.fixed_batch(
            case.groups, counts, case.seed, g, case.start, unique=case.unique, order=order
        )
    if case.kind == "stratified":
        return slow_kinds.stratified_batch(
            case.groups, case.exact, case.batch_size, case.seed, g, case.start, case.first,
            case.segment, case.unique, order,
        )  # fmt: skip
    if case.kind == "pk":
        return slow_kinds.pk_batch(
            case.groups, case.batch_size // case.each, case.each, case.seed, g, case.first,
            case.segment, order,
        )  # fmt: skip
    if rows is not None:
        labels = case.plan.rows[:, plan_fixed.CLASS][rows].tolist()
        return slow_reference.picked_batch(case.groups, labels, case.seed, g)
    return slow_reference.random_batch(
        case.groups, case.exact, case.batch_size, case.seed, g, order
    )


def cpu(
    case: Case, g0: int, n: int = 1, stride: int = 1, classes: np.ndarray | None = None
) -> list[list[int]]:
    out, given = case.poisoned(n), given_of(case, classes)
    fill = KINDS_OF_OPS[case.op].twin
    guide = given.order_guide
    fill(out, case.members if guide is None else None, given, case.seed, g0, stride)
    if guide is not None:
        order.by_class(out, case.members, guide)
    return out.tolist()


def interpreted(
    case: Case, g0: int, n: int, device: torch.device, stride: int = 1,
    classes: np.ndarray | None = None,
) -> list[list[int]]:  # fmt: skip
    return launched(case, g0, n, device, stride, classes).tolist()


def emulated(
    case: Case, g0: int, n: int, target: str = "cuda:90", stride: int = 1,
    classes: np.ndarray | None = None,
) -> tuple[list[list[int]], dict[str, Counter[str]]]:  # fmt: skip
    """The batches, and of each kernel how many instructions were executed, by opcode."""
    from emulator.launches import Emulated

    with Emulated(target) as machine:
        out = launched(case, g0, n, torch.device("cpu"), stride, classes)
    return out.tolist(), machine.counts


def specs_of(
    case: Case, target: str, classes: np.ndarray | None = None
) -> dict[str, dict[str, Any]]:
    """What would be compiled for a case, by name."""
    from emulator.launches import Recorded

    host = torch.device("cpu")
    with Recorded(target) as machine:
        out, members = on(host, case.poisoned(2)), on(host, case.members)
        launch(case, out, members, given_of(case, on(host, classes)), case.first)
    return machine.specs


def launched(
    case: Case, g0: int, n: int, device: torch.device, stride: int = 1,
    classes: np.ndarray | None = None,
) -> torch.Tensor:  # fmt: skip
    """What the op does on a device: the kernels' own launch, and sorting by class."""
    out, members = on(device, case.poisoned(n)), on(device, case.members)
    given = given_of(case, on(device, classes))
    launch(case, out, members, given, g0, stride)
    if given.order_guide is not None:
        class_order.by_class(out, members, given.firsts(device))
    return out


def launch(
    case: Case, out: torch.Tensor, members: torch.Tensor | None, given: Given, g0: int,
    stride: int = 1,
) -> None:  # fmt: skip
    windows._function(KINDS_OF_OPS[case.op].launch)(
        out, members if given.order_guide is None else None, tables_on(out.device, case.plan),
        given, random_bits, random_bits.signed(case.seed), g0, stride,
    )  # fmt: skip


def on(device: torch.device, array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array).to(device)


def tables_on(device: torch.device, plan: Any) -> list[torch.Tensor]:
    return [torch.from_numpy(table).to(device) for table in plan.tables()]


# ------------------------------------------------------------------------ of a case's batches


def labels_of(case: Case) -> dict[int, int]:
    """The class of each index of a case, whose classes are disjoint."""
    return {int(index): c for c, group in enumerate(case.groups) for index in group}


def classes_of(case: Case, batch: list[int]) -> np.ndarray:
    labels = labels_of(case)
    return np.array([labels[index] for index in batch])
