"""Given: what an op is given is looked through here, before a loop or a kernel sees it.

Takes the tensors and numbers of a call. Gives the plan that they are of, or raises and names what
does not fit. The contents of a plan's tables are read once: a plan's own tables are known from the
start (tables_on), others are read when they are first met, or met changed; a call then costs a few
comparisons. Knows nothing of how a kind draws.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusampler.ops.kinds import KINDS
from gpusampler.plans.table_checks import refuse

MOST_DRAWS = 1 << 62  # of a stream: ordinals are of 64 bits, with a sign on some devices
MOST_SLOTS = 1 << 31  # of a window, times its stride: positions in it are of 32 bits
MOST_BATCH = 1 << 24


class KeyEnds:
    """For windows of n batches: where each row's keys end, on the device, and the last end.

    Those of the last few lengths are kept.
    """

    def __init__(self, plan: Any):
        self._plan = plan
        self._kept: dict[tuple[int, torch.device, int], tuple[Tensor, int]] = {}

    def __call__(self, n: int, device: torch.device) -> tuple[Tensor, int]:
        wanted = n, device, stream_of(device)
        found = self._kept.get(wanted)
        if found is None:
            ends = self._plan.key_ends(n)
            found = torch.from_numpy(ends).to(device), int(ends[-1]) if len(ends) else 0
            if len(self._kept) >= 8:
                self._kept.clear()
            self._kept[wanted] = found
        return found


def stream_of(device: torch.device) -> int:
    """Where work is queued now; what one stream made, another has not waited for."""
    on_cuda = device.type == "cuda"
    return torch.cuda.current_stream(device).cuda_stream if on_cuda else 0


@dataclass(frozen=True)
class Given:
    """A plan, and the stretch of a stream that it is for.

    plan            FixedPlan, RandomPlan, StratifiedPlan or PKPlan
    first, segment  the first batch of the plan's segment, and the segment's number
    by_class        whether batches are class by class, each in the order of its draws
    classes         [n, B] int64 of the call: kind random's rows, where they were drawn already
    """

    plan: Any
    first: int = 0
    segment: int = 0
    by_class: bool = False
    classes: Any = None
    kept: dict[Any, Tensor] = field(default_factory=dict, compare=False)
    key_ends: KeyEnds = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_ends", KeyEnds(self.plan))

    @property
    def order_guide(self) -> Any:
        """What a batch is sorted by; None where it need not be."""
        return self.plan.order_guide if self.by_class else None

    def firsts(self, device: torch.device) -> Tensor:
        """[C] int64: the first place of each class, on the device."""
        wanted = device, stream_of(device)
        if wanted not in self.kept:
            if len(self.kept) >= 8:
                self.kept.clear()
            firsts = torch.from_numpy(self.order_guide.firsts.view(np.int64))
            self.kept[wanted] = firsts.to(device)
        return self.kept[wanted]

    @property
    def slot_grid(self) -> tuple[int, int]:
        """The permutation grid of slots; -1 x -1 where they are ranks."""
        return (-1, -1) if self.by_class else self.plan.grid


@dataclass(frozen=True)
class _Entry:
    """Tables that were found to be of one plan, by identity, and what a call must keep to."""

    kind: str
    tables: tuple[Callable[[], Any], ...]  # weak references
    versions: tuple[int | None, ...]
    numbers: tuple[int, ...]
    given: Given
    device: torch.device
    batch_size: int | None  # None: any
    reach: int  # of members
    lowest: int  # batch number
    highest: int


_known: dict[int, _Entry] = {}


def tables_on(
    device: torch.device, kind: str, plan: Any, first: int, segment: int, by_class: bool = False
) -> tuple[list[Tensor], list[int]]:
    """A plan's tables as tensors of their own on the device, and its numbers: what its kind's op
    takes. They are known to be of this plan as long as nobody changes them."""
    tables = [torch.tensor(table, device=device) for table in plan.tables()]
    numbers = [first, segment, int(by_class), *plan.numbers()]
    _remember(kind, tables, numbers, plan)
    return tables, numbers


def checked(
    kind: str, out: Tensor, members: Tensor | None, tables: Sequence[Tensor | None],
    numbers: Sequence[int], g0: int, stride: int,
) -> tuple[Given, int]:  # fmt: skip
    """What a call gives, if all of it belongs together; and how many batches it asks for.

    Raises  ValueError: a shape, dtype, device, table or number does not fit the others.
    """
    entry, few = _entry_of(kind, tables, numbers), len(KINDS[kind].tables)
    if len(tables) > few and (kind != "random" or len(tables) > few + 1):
        names = ", ".join(KINDS[kind].tables)
        refuse(f"kind {kind!r} has the tables {names}, not {len(tables)} tables")
    if entry is None:
        entry = _read(kind, tables[:few], numbers)
    if out is None:
        refuse("out must be a tensor, not None")
    shape, device = out.shape, out.device
    _check_out(out, shape, entry.batch_size)
    n, batch_size = shape
    _check_window(entry, n, batch_size, g0, stride)
    if members is not None:
        _check_members(members, device, entry.reach)
    if entry.device != device:
        check_devices(out, None, tables)
    if len(tables) == few:
        return entry.given, n
    return replace(entry.given, classes=_checked_classes(tables[few], out)), n


def check_devices(out: Tensor, members: Tensor | None, tables: Sequence[Tensor | None]) -> None:
    for tensor in (members, *tables):
        if tensor is not None and tensor.device != out.device:
            refuse(f"members and tables must be on {out.device} as out is, not {tensor.device}")


def _check_out(out: Tensor, shape: torch.Size, batch_size: int | None) -> None:
    fits = len(shape) == 2 and batch_size in (None, shape[1]) and 0 < shape[1] < MOST_BATCH
    if not fits or out.dtype != torch.int64 or not out.is_contiguous():
        refuse(
            f"out must be [n, {batch_size or 'B'}] int64 and contiguous, not {tuple(out.shape)} "
            f"{out.dtype} of strides {out.stride()}; B is below 2^24"
        )


def _check_window(entry: _Entry, n: int, batch_size: int, g0: int, stride: int) -> None:
    if stride < 1:
        refuse(f"stride must be at least 1, not {stride}")
    last = g0
    if n > 1:
        last += (n - 1) * stride
        if n * batch_size * stride >= MOST_SLOTS:
            refuse(
                f"n * B * stride must be below 2^31, not {n} * {batch_size} * {stride}; fill fewer "
                f"batches a call"
            )
    highest = min(entry.highest, MOST_DRAWS // batch_size - 1)
    if g0 < entry.lowest or last > highest:
        refuse(
            f"batches must be in [{entry.lowest}, {highest}], not {g0} .. {last}; the plan holds "
            f"for no others"
        )


def _check_members(members: Tensor, device: torch.device, reach: int) -> None:
    shape = members.shape
    fits = len(shape) == 1 and shape[0] >= reach and members.dtype in (torch.int32, torch.int64)
    if not fits or not members.is_contiguous() or members.device != device:
        refuse(
            f"members must be [M] int32 or int64, contiguous on {device}, with M at least the "
            f"{reach} that the plan's classes reach to, not {tuple(members.shape)} {members.dtype} "
            f"on {members.device}"
        )


def _checked_classes(classes: Tensor | None, out: Tensor) -> Tensor | None:
    if classes is None:
        return None
    fits = classes.shape == out.shape and classes.dtype == torch.int64
    if not fits or not classes.is_contiguous() or classes.device != out.device:
        refuse(
            f"classes must be {tuple(out.shape)} int64 beside out, not {tuple(classes.shape)} "
            f"{classes.dtype} on {classes.device}"
        )
    return classes


def _version(table: Any) -> int | None:
    """How often a table was changed in place; None: it never tells."""
    return None if table.is_inference() else table._version


def _entry_of(kind: str, tables: Sequence[Any], numbers: Sequence[int]) -> _Entry | None:
    """What is known of these very tables, if none was changed since; tables behind those of the
    kind do not matter."""
    entry = _known.get(id(tables[0])) if tables else None
    if entry is None or entry.kind != kind or entry.numbers != tuple(numbers):
        return None
    if len(tables) < len(entry.tables):
        return None
    for known, version, table in zip(entry.tables, entry.versions, tables, strict=False):
        if known() is not table:
            return None
        if version is not None and version != table._version:
            return None
    return entry


def _read(kind: str, tables: Sequence[Any], numbers: Sequence[int]) -> _Entry:
    """Tables that are not known: their shapes, and then their contents."""
    names = KINDS[kind].tables
    if len(numbers) != 3 + len(KINDS[kind].numbers):
        told = ", ".join(("first", "segment", "by_class", *KINDS[kind].numbers))
        refuse(f"kind {kind!r} has the numbers {told}, not {list(numbers)}")
    if len(tables) != len(names):
        refuse(f"kind {kind!r} has the tables {', '.join(names)}, not {len(tables)} tables")
    for table, (name, (dtype, columns)) in zip(tables, names.items(), strict=True):
        width = (columns,) if columns else ()
        if table is None or table.dim() != 1 + len(width) or tuple(table.shape[1:]) != width:
            refuse(f"{name} must be of shape [rows{f', {columns}' if columns else ''}]")
        if str(table.dtype) != f"torch.{dtype}" or not table.is_contiguous():
            refuse(f"{name} must be {dtype} and contiguous, not {table.dtype}")
        if table.device != tables[0].device:
            refuse(f"{name} must be on the other tables' device, not on {table.device}")
    arrays = [np.array(table.cpu().numpy()) for table in tables]
    plan = KINDS[kind].plan_of(arrays, list(numbers[3:]))
    return _remember(kind, tables, numbers, plan)


def _remember(kind: str, tables: Sequence[Any], numbers: Sequence[int], plan: Any) -> _Entry:
    first, segment, by_class = numbers[:3]
    if by_class not in (0, 1):
        refuse(f"by_class must be 0 or 1, not {by_class}")
    if not 0 <= segment < 1 << 24:
        refuse(f"a segment's number must be in [0, 2^24), not {segment}")
    if first < 0:
        refuse(f"a segment's first batch must be at least 0, not {first}")
    lowest, highest = plan.batches(first)
    mine, known = id(tables[0]), _known

    def forget(_: Any) -> None:
        known.pop(mine, None)

    refs = (weakref.ref(tables[0], forget), *map(weakref.ref, tables[1:]))
    versions = tuple(_version(table) for table in tables)
    found, on = Given(plan, first, segment, by_class == 1), tables[0].device
    held = found, on, plan.batch_size, plan.reach
    entry = _Entry(kind, refs, versions, tuple(numbers), *held, lowest, highest)
    known[mine] = entry
    return entry
