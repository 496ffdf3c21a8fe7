"""Slow model of the stream: where a sampler is, which mix an epoch has, what a batch then holds.

Takes what was called, in order. Gives the position, the batches and what is refused.
Its own arithmetic of positions, epochs and changes; batches come from the slow references, with
every change of the run kept. Knows nothing of windows, tensors, threads or how a state is packed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import gcd

import torch

from reference import slow_kinds
from reference import slow_reference as slow

SIZES, SEED, BLOCK_SLOTS = (9, 5, 2), 3, 56
MEMBERS = ((0, 2, 4, 5, 7, 9, 11, 12, 15), (1, 3, 8, 13, 14), (6, 10))
PER_CLASS, CLASSES = 3, 2  # of kind pk
Curve = Callable[[int], float]
Weights = tuple[int, ...]
Mixes = tuple[tuple[int, Weights], ...]  # first epoch and weights, in lowest terms


def lowest(weights: Sequence[int]) -> Weights:
    """
    >>> lowest([6, 0, 4])
    (3, 0, 2)
    """
    divisor = gcd(*weights)
    return tuple(w // divisor for w in weights)


def by_alpha(alpha: float) -> Weights:
    return lowest(slow.linear_weights(SIZES, alpha))


def fixed_counts(weights: Weights, batch_size: int = 8) -> list[int]:
    return slow.fixed_counts(weights, batch_size)


def by_decimals(values: Sequence[float]) -> Weights:
    """The ratios of the decimals that these print as.

    >>> by_decimals([0.1, 0.2, 0.7])
    (1, 2, 7)
    """
    exact = [Fraction(repr(float(x))) for x in values]
    shared = 1
    for x in exact:
        shared *= x.denominator
    return lowest([int(x * shared) for x in exact])


@lru_cache(maxsize=2**16)
def batch_of(
    kind: str, n_batches: int, batch_size: int, mixes: Mixes, g: int, unique: bool, order: str
) -> list[int]:
    """Batch g by slot, of a run that had these mixes up to its epoch."""
    if kind == "pk":
        return slow_kinds.pk_batch(MEMBERS, CLASSES, PER_CLASS, SEED, g, order=order)
    (begin, weights), number = mixes[-1], len(mixes) - 1
    if kind == "counter":
        return slow.random_batch(MEMBERS, weights, batch_size, SEED, g, order)
    if kind == "multinomial":
        classes = _drawn(weights, number, g - begin * n_batches, batch_size)
        return slow.picked_batch(MEMBERS, classes, SEED, g, order)
    of_kind = kind, MEMBERS, mixes, batch_size, n_batches, SEED
    return slow_kinds.segmented_batch(*of_kind, *divmod(g, n_batches), unique, order)


def _drawn(weights: Weights, number: int, r: int, batch_size: int) -> list[int]:
    """Classes of a segment's batch r: torch.multinomial draws a block of batches at once."""
    per_block = BLOCK_SLOTS // batch_size
    block, at = divmod(r, per_block)
    w0, w1, _, _ = slow.bits(SEED, slow.DRAW_BLOCK | number << 8, block)
    drawn = [c for c, w in enumerate(weights) if w]
    shares = [float(Fraction(weights[c], sum(weights))) for c in drawn]
    generator = torch.Generator().manual_seed(w0 | w1 << 32)
    rows = torch.multinomial(
        torch.tensor(shares, dtype=torch.float64),
        per_block * batch_size,
        replacement=True,
        generator=generator,
    ).tolist()
    return [drawn[row] for row in rows[at * batch_size : (at + 1) * batch_size]]


@lru_cache(maxsize=2**12)
def followed(mixes: Mixes, curve: Curve | None, since: int, epoch: int) -> Mixes:
    """The mixes up to an epoch, where a curve gives the alpha of each from `since` on."""
    found = [mix for mix in mixes if mix[0] <= epoch]
    for e in range(since, epoch + 1) if curve else ():
        weights = by_alpha(curve.of(e))  # type: ignore[attr-defined]
        if weights != found[-1][1]:
            found.append((e, weights))
    return tuple(found)


@dataclass(frozen=True)
class Timeline:
    """Which mix every epoch has. All that ever was stays in it, for it gives the draws before;
    `oldest` is the first epoch that a sampler must still know."""

    kind: str
    n_batches: int
    batch_size: int
    mixes: Mixes
    curve: Curve | None = None
    since: int = 0
    oldest: int = 0
    by_hand: bool = False  # someone changed the mix
    unique: bool = False
    order: str = "shuffle"

    def until(self, epoch: int) -> Mixes:
        return followed(self.mixes, self.curve, self.since, epoch)

    def batch(self, g: int) -> list[int]:
        mixes = self.until(g // self.n_batches)
        options = self.unique, self.order
        return batch_of(self.kind, self.n_batches, self.batch_size, mixes, g, *options)

    def known_from(self, epoch: int) -> int:
        """The epoch from which on the mix of this one is known, if no earlier is asked for.

        Where batches depend on no past, a curve's mix of the epoch before is not looked at.
        """
        alone = self.kind == "counter" and self.curve and epoch >= self.since
        return epoch if alone else max(self.oldest, self.until(epoch)[-1][0])

    def changed(self, epoch: int, weights: Weights, curve: Curve | None = None) -> Timeline:
        """With these from an epoch on; what was to begin there or later is dropped."""
        if epoch == self.oldest:  # what came before is not known any more: nothing to compare with
            oldest, mixes = epoch, tuple(mix for mix in self.mixes if mix[0] < epoch)
            mixes += ((epoch, weights),)
        else:
            oldest, mixes = self.known_from(epoch - 1), self.until(epoch - 1)
            if mixes[-1][1] != weights:
                mixes += ((epoch, weights),)
        same = oldest == self.oldest and mixes[-1] == self.until(oldest)[-1]
        by_hand = self.by_hand or curve is not self.curve or not same
        since = epoch + 1 if curve else 0
        return replace(self, mixes=mixes, curve=curve, since=since, oldest=oldest, by_hand=by_hand)

    def curved(self, epoch: int, curve: Curve) -> Timeline:
        return self.changed(epoch, by_alpha(curve.of(epoch)), curve)  # type: ignore[attr-defined]

    def saved(self, epoch: int, batch: int) -> Timeline:
        """What a state of this position holds: changed by hand, no mix before the one in force."""
        if not self.by_hand:
            return self
        begun = self.mixes[-1][0]
        follows = self.curve and epoch >= begun
        known = max(begun, epoch - (batch == 0)) if follows else epoch
        return replace(self, oldest=self.known_from(known))


@dataclass
class Pass:
    """One iteration, from its first batch on."""

    epoch: int
    batch: int
    count: int  # batches that it yields
    timeline: Timeline | None  # None: that of its sampler, whatever it becomes
    handed: int = 0
    exhausted: bool = False
    ended: bool = False  # by set_epoch of another epoch


@dataclass
class Stream:
    """A sampler's place in its stream, and what its next calls give."""

    timeline: Timeline
    unbroken: bool = False
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    batch: int = 0
    last: Pass | None = None
    waits: bool = False  # the last pass, since its own epoch was set: it goes on, or begins anew

    @property
    def n_batches(self) -> int:
        return self.timeline.n_batches

    def copied(self) -> Stream:
        return replace(self, last=self.last and replace(self.last))

    def sharded(self, rank: int, world_size: int) -> Stream:
        epoch, batch = self.position()
        return Stream(self.timeline, self.unbroken, rank, world_size, epoch, batch)

    def behind(self, walk: Pass, handed: int) -> tuple[int, int]:
        """Epoch and batch behind so many batches of a pass, on all ranks.

        Unbroken, an epoch's end is the next one's begin, and comes where the ranks could not all
        have one more.
        """
        epoch, batch = walk.epoch, walk.batch
        for i in range(handed + 1):
            if self.unbroken and self.n_batches - batch < self.world_size:
                epoch, batch = epoch + 1, 0
            if i < handed:
                batch += self.world_size
        return epoch, batch

    def position(self) -> tuple[int, int]:
        """Epoch and batch where the next iteration begins."""
        if self.unbroken and self.last:
            return self.behind(self.last, self.last.handed)
        return self.epoch, self.batch

    def state(self, done: int | None = None) -> tuple[int, int]:
        """Epoch and batch of a state. ValueError: no pass was begun, not so many batches, or the
        mix of that epoch is not known any more."""
        last, place = self.last, self.position()
        if done is not None:
            if last is None or not 0 <= done <= last.count:
                raise ValueError
            place = self.behind(last, done)
        elif last and not (last.exhausted or last.ended or self.waits):
            place = self.behind(last, last.handed)
        if place[0] < self.timeline.oldest:
            raise ValueError
        return place

    def set_epoch(self, epoch: int) -> None:
        if self.unbroken:
            return
        if epoch < self.timeline.oldest:
            raise ValueError
        if epoch != self.epoch:
            self.epoch, self.batch = epoch, 0
        self.waits = False
        if self.last:
            self.last.ended |= self.last.epoch != epoch
            self.waits = not (self.last.exhausted or self.last.ended)

    def load(self, timeline: Timeline, epoch: int, batch: int) -> None:
        self._part()
        self.timeline, self.last, self.waits = timeline, None, False
        self.epoch, self.batch = epoch, batch

    def _part(self) -> None:
        """The last pass, if it lives, goes on with the mixes that it knows by now."""
        if self.last:
            self.last.timeline = self.last.timeline or self.timeline

    def begin(self) -> Pass:
        epoch, batch = self.position()
        self._part()
        left = self.n_batches - (0 if self.unbroken else batch)
        kept = None if self.unbroken else self.timeline
        self.last = Pass(epoch, batch, left // self.world_size, kept)
        self.waits = False
        if not self.unbroken:
            self.epoch, self.batch = epoch + 1, 0
        return self.last

    def lost(self) -> range:
        """The batches of the epoch that no rank gets from the iteration that is to begin, where
        they are more than those of every epoch."""
        lost = (self.n_batches - self.position()[1]) % self.world_size
        if lost <= self.n_batches % self.world_size:
            return range(0)
        return range(self.n_batches - lost, self.n_batches)

    def hand(self, walk: Pass) -> list[int] | None:
        """The next batch of a pass; None: it has none left."""
        if walk.handed == walk.count:
            walk.exhausted = True
            return None
        epoch, batch = self.behind(walk, walk.handed)
        walk.handed += 1
        if walk is self.last and self.waits:
            self.epoch, self.batch, self.waits = walk.epoch + 1, 0, False
        timeline = walk.timeline or self.timeline
        return timeline.batch(epoch * self.n_batches + batch + self.rank)

    def boundary(self) -> int:
        """The epoch from which a change of mix holds."""
        epoch, batch = self.position()
        begun = self.waits and self.last and 0 < self.last.handed < self.last.count
        return epoch + 1 if batch or begun else epoch
