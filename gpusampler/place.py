"""Place: where a sampler is in its stream, and what it has handed out.

Takes epochs and batches within them. Gives the place that a state holds.
Knows nothing of how a batch is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpusampler import checks


@dataclass
class Walk:
    """One iteration: the epoch and batch it began with, the batches it has handed out."""

    epoch: int
    first: int
    handed: int = 0
    over: bool = False


@dataclass(frozen=True)
class Place:
    """The epoch, and the batch within it, that the next iteration begins with; and the iteration
    that began last, which waits while that is its own epoch: it goes on, or begins anew."""

    epoch: int = 0
    batch: int = 0
    walk: Walk | None = None

    def begun(self) -> tuple[Place, Walk]:
        """After an iteration began: the next one yields the epoch after its."""
        walk = Walk(self.epoch, self.batch)
        return Place(self.epoch + 1, 0, walk), walk

    def moved(self, epoch: int) -> Place:
        """At another epoch's begin; where this one is to begin, its batch stays."""
        walk = self.walk
        if walk is not None and walk.epoch != epoch:
            walk = replace(walk, over=True)
        return Place(epoch, self.batch if epoch == self.epoch else 0, walk)

    def at(self, epoch: int, batch: int) -> Place:
        """At this batch, with no iteration behind it."""
        return Place(epoch, batch)

    def waits_for(self, walk: Walk) -> bool:
        return self.walk is walk and self.epoch == walk.epoch

    def gone_on(self, walk: Walk) -> Place:
        """After the iteration that waited went on."""
        return Place(walk.epoch + 1, 0, walk)

    def now(self, done: int | None, n_batches: int, world_size: int) -> tuple[int, int]:
        """Epoch and batch behind all that was handed out, or behind `done` batches of this rank."""
        walk = self.walk
        if done is None:
            if walk is None or walk.over or self.waits_for(walk):
                return self.epoch, self.batch
            return walk.epoch, walk.first + walk.handed * world_size
        if walk is None:
            raise ValueError(
                f"done counts batches of an epoch that was begun, and none was; "
                f"iterate first, or pass None, not {done}"
            )
        most = (n_batches - walk.first) // world_size
        return walk.epoch, walk.first + checks.integer("done", done, 0, most) * world_size
