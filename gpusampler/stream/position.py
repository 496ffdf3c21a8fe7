"""Position: where a sampler is in its stream, and what its last iteration has handed out.

Takes epochs and batches within them. Gives the position that a state holds.
Knows nothing of how a batch is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gpusampler import checks


class Layout(NamedTuple):
    """How a stream is cut: n_batches an epoch, of which each of world_size ranks has every
    world_size-th; unbroken: iterations follow each other without regard to epochs."""

    n_batches: int
    world_size: int
    unbroken: bool

    def left(self, batch: int) -> int:
        """This rank's batches from `batch` to the end of the epoch."""
        return (self.n_batches - batch) // self.world_size

    def length(self, batch: int) -> int:
        """Batches of an iteration that begins there."""
        return self.left(0) if self.unbroken else self.left(batch)

    def after(self, epoch: int, batch: int, handed: int) -> tuple[int, int]:
        """Epoch and batch behind so many of this rank's batches.

        >>> Layout(10, 2, False).after(0, 4, 3), Layout(10, 2, True).after(0, 4, 5)
        ((0, 10), (1, 4))
        """
        if not self.unbroken or handed < self.left(batch):
            return epoch, batch + handed * self.world_size
        epochs, rest = divmod(handed - self.left(batch), self.left(0))
        return epoch + 1 + epochs, rest * self.world_size


@dataclass
class Pass:
    """One iteration: the epoch and batch it began with, how many batches it is to hand out, how
    many it has; over: it has come to its end, or set_epoch() went elsewhere; history: the mixes
    that it knows, where its sampler has gone on to others."""

    epoch: int
    first: int
    length: int
    handed: int = 0
    over: bool = False
    history: Any = None


@dataclass(frozen=True)
class Position:
    """The epoch and batch that the next iteration begins with, and the last iteration.

    A last pass of that very epoch, which set_epoch() has named again, waits: it goes on, or the
    epoch begins anew.
    """

    epoch: int = 0
    batch: int = 0
    last: Pass | None = None

    def next(self, layout: Layout) -> tuple[int, int]:
        """Epoch and batch that the next iteration begins with."""
        if layout.unbroken and self.last is not None:
            return layout.after(self.last.epoch, self.last.first, self.last.handed)
        return self.epoch, self.batch

    def begun(self, layout: Layout) -> tuple[Position, Pass]:
        """After an iteration began: the next one yields the epoch after its."""
        epoch, batch = self.next(layout)
        last = Pass(epoch, batch, layout.length(batch))
        return Position(epoch + 1, 0, last), last

    def parted(self, history: Any) -> None:
        """Let the last pass, if it goes on, do so by these mixes: another begins, or is loaded."""
        if self.last is not None and self.last.history is None:
            self.last.history = history

    def moved(self, epoch: int) -> Position:
        """At another epoch's begin; where this one is to begin, its batch stays."""
        last = self.last
        if last is not None and last.epoch != epoch:
            last = replace(last, over=True)
        return Position(epoch, self.batch if epoch == self.epoch else 0, last)

    def copied(self) -> Position:
        """The same, which no iteration moves on."""
        return replace(self, last=None if self.last is None else replace(self.last, history=None))

    def waits_for(self, some: Pass) -> bool:
        return self.last is some and self.epoch == some.epoch

    def gone_on(self, some: Pass) -> Position:
        """After the pass that waited went on."""
        return Position(some.epoch + 1, 0, some)

    def boundary(self, layout: Layout) -> int:
        """The epoch that no one has begun: a change of mix holds from there on."""
        epoch, batch = self.next(layout)
        waits = self.last is not None and not self.last.over and self.waits_for(self.last)
        begun = waits and 0 < self.last.handed < self.last.length  # type: ignore[union-attr]
        return epoch + (batch > 0 or begun)

    def now(self, done: int | None, layout: Layout) -> tuple[int, int]:
        """Epoch and batch behind all that was handed out, or behind `done` batches of this rank."""
        last = self.last
        if done is None:
            if last is None or (not layout.unbroken and (last.over or self.waits_for(last))):
                return self.epoch, self.batch
            return layout.after(last.epoch, last.first, last.handed)
        if last is None:
            raise ValueError(
                f"done counts batches of an iteration that was begun, and none was; "
                f"iterate first, or pass None, not {done}"
            )
        return layout.after(last.epoch, last.first, checks.integer("done", done, 0, last.length))


def what_is_left(some: Pass, layout: Layout) -> list[str]:
    """What to warn of where an iteration begins with less than an epoch: that it yields nothing,
    that batches of the epoch go to no rank."""
    epoch, end = some.epoch, layout.n_batches
    left, lost = end - some.first, (end - some.first) % layout.world_size
    found = []
    if some.length == 0:
        found.append(
            f"this iteration yields no batch: it is what the loaded state has left of epoch "
            f"{epoch}, and the next one yields epoch {epoch + 1}. A loop that counts epochs "
            f"from there on needs set_epoch({epoch + 1}) after loading"
        )
    if lost > end % layout.world_size:
        found.append(
            f"no rank gets batches {end - lost} to {end - 1} of epoch {epoch}: it goes on at "
            f"batch {some.first}, and {layout.world_size} ranks cannot share out the other "
            f"{left} evenly. Resume on a number of ranks that divides {left} to train on all"
        )
    return found
