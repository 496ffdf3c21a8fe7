"""History: which class mix each epoch has, and what each class had come to when it began.

Takes changes of mix, each from an epoch on, and a schedule: a function of the epoch that gives
alpha. Gives the mark of any epoch: its mix, and the draws of each class before it, so that a
change costs no member its turn.
What is kept does not grow: of changes by hand the mix in force and the one to come; of a schedule
marks here and there, from which any other is reached again.
Knows nothing of how a kind draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gpusampler.plans.weights import Weights
from gpusampler.stream.segment import Segment

Schedule = Callable[[int], Any]
MOST_NUMBERS = (1 << 24) - 1  # a mix's number has 24 bits of a key's purpose word
MOST_MARKS = 64  # of a schedule, kept
MOST_CHANGES = 10_000  # of a schedule, followed in one call
MOST_ASKED = 1 << 20  # epochs that a schedule is asked for in one call


@dataclass(eq=False)
class Mark:
    """A class mix, from the begin of an epoch on.

    number   how many mixes came before it in the run
    mix      a Weights; None where the kind has no mix
    start    [C] int64: draws of each class before it; zeros where the kind does not count them
    told     the alpha that a schedule gave
    segment  what the kind has made of it, where it was asked for
    packed   mix and start as a state holds them, where one was asked for
    """

    epoch: int
    number: int
    mix: Any
    start: np.ndarray
    told: Any = None
    segment: Segment | None = None
    packed: tuple[str, str] | None = None


class Maker(Protocol):
    """What a history asks of its sampler.

    past  what a mark needs to know of the epochs before it: "draws" of each class and its number,
          the "number" alone, or "nothing".
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def n_batches(self) -> int: ...

    @property
    def past(self) -> str: ...

    @property
    def unique(self) -> bool: ...

    def mix_of(self, alpha: Any, epoch: int) -> Weights: ...

    def warn_of(self, mark: Mark, scheduled: bool) -> None: ...

    def segment_of(self, mark: Mark) -> Segment: ...


class History:
    """The mixes of a run. Not changed but for what was reached of a schedule; a change of mix makes
    another.

    marks     the mix in force, and the one to come if there is one
    schedule  what is asked for alpha of the epochs after the last mark, or None
    changed   whether someone has changed the mix since the sampler was made
    reached   of a schedule: marks, each with the last epoch known to have its mix; the first is the
              last of marks
    """

    def __init__(
        self,
        marks: tuple[Mark, ...],
        schedule: Schedule | None = None,
        changed: bool = False,
        reached: tuple[tuple[Mark, int], ...] = (),
    ):
        self.marks, self.schedule, self.changed = marks, schedule, changed
        self.reached = reached or ((marks[-1], marks[-1].epoch),)
        self._alone: Mark | None = None

    @property
    def oldest(self) -> int:
        """The first epoch whose mix is kept."""
        return self.marks[0].epoch

    def at(self, epoch: int, make: Maker) -> tuple[Mark, int | None]:
        """The mark of an epoch, and the first epoch that it may not hold for; None: it holds on."""
        if epoch < self.oldest:
            raise ValueError(
                f"epoch {epoch} lies before epoch {self.oldest}, the first whose class mix is kept "
                f"after changes of mix; load a state of that time, or make the sampler anew"
            )
        if len(self.marks) == 2 and epoch < self.marks[1].epoch:
            return self.marks[0], self.marks[1].epoch
        if self.schedule is None:
            return self.marks[-1], None
        return self._followed(epoch, make), epoch + 1

    def kept(self, epoch: int, batch: int, make: Maker) -> tuple[Mark, Mark | None]:
        """What a state of this place holds: the mark in force, and the one to come. A schedule is
        not asked for an epoch of which no batch was handed out, so all ranks at a place hold the
        same, wherever they have looked."""
        if epoch < self.oldest:
            self.at(epoch, make)  # raises
        if len(self.marks) == 2 and epoch < self.marks[1].epoch:
            return self.marks[0], self.marks[1]
        if self.schedule is None:
            return self.marks[-1], None
        known = max(self.marks[-1].epoch, epoch - (batch == 0))
        return self.at(known, make)[0], None

    def changed_at(
        self, epoch: int, mix: Weights, make: Maker, schedule: Schedule | None, told: Any
    ) -> History:
        """With this mix from an epoch on; what was to begin there or later is dropped."""
        if epoch == self.oldest:
            old = self.marks[0]
            mark = old if mix == old.mix else Mark(epoch, old.number, mix, old.start)
            marks: tuple[Mark, ...] = (mark,)
        else:
            before, _ = self.at(epoch - 1, make)
            same = mix == before.mix
            marks = (before,) if same else (before, next_mark(before, epoch, mix, make))
        if marks != self.marks[:1]:
            make.warn_of(marks[-1], False)
        changed = self.changed or marks != self.marks[:1] or schedule is not self.schedule
        marks = (*marks[:-1], replace(marks[-1], told=told)) if schedule else marks
        return History(marks, schedule, changed, ((marks[-1], epoch),) if schedule else ())

    def _followed(self, epoch: int, make: Maker) -> Mark:
        """The mark of an epoch under the schedule, from the nearest that was reached.

        Threads that follow at the same time come to the same marks, and what was reached is
        replaced as a whole, so none waits for another.
        """
        mark, through = max(
            (pair for pair in self.reached if pair[0].epoch <= epoch), key=lambda p: p[0].epoch
        )
        if epoch <= through:
            return mark
        if make.past == "nothing":
            return self._by_itself(epoch, make)
        if epoch - through > MOST_ASKED:
            raise _too_far(epoch, through, f"{MOST_ASKED} epochs")
        found = {mark.epoch: (mark, through)}
        try:
            while through < epoch:
                if len(found) > MOST_CHANGES:
                    raise _too_far(epoch, through, f"{MOST_CHANGES} changes of mix")
                told = self._ask(through + 1)
                if not _same_number(told, mark.told):
                    mix = make.mix_of(told, through + 1)
                    if mix != mark.mix:
                        mark = next_mark(mark, through + 1, mix, make)
                        make.warn_of(mark, True)
                    mark.told = told
                through += 1
                found[mark.epoch] = (mark, through)
        finally:
            self._keep(found)
        return mark

    def _ask(self, epoch: int) -> Any:
        return self.schedule(epoch)  # type: ignore[misc]

    def _by_itself(self, epoch: int, make: Maker) -> Mark:
        """A mark that needs no past; what the kind made of the last one's mix is kept."""
        told, kept = self._ask(epoch), self._alone
        if kept is None or not _same_number(told, kept.told):
            last = self.marks[-1]
            kept = Mark(epoch, last.number, make.mix_of(told, epoch), last.start, told)
            make.segment_of(kept)
            self._alone = kept
        return replace(kept, epoch=epoch, packed=None)

    def _keep(self, found: dict[int, tuple[Mark, int]]) -> None:
        """Add to what was reached; of many marks every second goes, but for the first and last."""
        merged = {pair[0].epoch: pair for pair in self.reached} | found
        pairs = [merged[epoch] for epoch in sorted(merged)]
        while len(pairs) > MOST_MARKS:
            pairs = [pairs[0], *pairs[1:-1][::2], pairs[-1]]
        for mark, _ in pairs[1:-2]:
            mark.segment = None
        self.reached = tuple(pairs)


def next_mark(before: Mark, epoch: int, mix: Weights, make: Maker) -> Mark:
    """The mark of another mix, which begins where `before` has come to at this epoch."""
    if before.number == MOST_NUMBERS:
        raise ValueError(
            f"a run has at most {MOST_NUMBERS} changes of mix, and epoch {epoch} would have one "
            f"more; begin another run, with a seed of its own"
        )
    start = before.start
    if make.past == "draws":
        segment = make.segment_of(before)
        start = segment.start + segment.draws((epoch - before.epoch) * make.n_batches)
    return Mark(epoch, before.number + 1, mix, start)


def _same_number(told: Any, other: Any) -> bool:
    plain = type(told) in (int, float) and type(other) in (int, float)
    return plain and told == other


def _too_far(epoch: int, through: int, what: str) -> ValueError:
    return ValueError(
        f"a schedule is followed epoch by epoch, at most {what} in one call, and epoch {epoch} is "
        f"too far from epoch {through}, the last one known; ask for batches of epochs between "
        f"them first, load a state of a later epoch, give alpha as a number, or take "
        f"kind='random' with class_draw='counter', which needs no past"
    )


def unknown_schedule(epoch: int) -> float:
    """In the place of a schedule that a state's run had, and no state can hold."""
    raise ValueError(
        f"the state's run follows a function of the epoch, which a state cannot hold, and alpha of "
        f"epoch {epoch} is not in it; call set_alpha(that function) after load_state_dict()"
    )
