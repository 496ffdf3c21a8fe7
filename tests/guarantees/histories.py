"""Histories: any order of calls, each answer compared with the slow model's.

Hypothesis makes up a run: samplers of one kind, iterated, stopped midway, moved, saved, loaded into
each other and other world sizes, sharded, copied, their mix changed, asked by several threads.
`tests/guarantees/test_histories.py` runs 200 of them; by hand

    PYTHONPATH=tests python tests/guarantees/histories.py 5000 [seed]

runs as many as you like, new ones each time unless there is a seed.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from hypothesis import HealthCheck, assume, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reference import slow_stream as slow

from gpusampler import SamplerFactory
from gpusampler.samplers import random as random_kind
from gpusampler.stream import sampler as stream

LAST = 7  # the last epoch that is set
RARELY = st.sampled_from([False, False, False, True])
SHARES = st.sampled_from([(0, 1), (0, 2), (1, 2), (0, 3), (2, 3)])
KINDS = {
    "fixed": {"kind": "fixed"},
    "stratified": {"kind": "stratified"},
    "counter": {"kind": "random", "class_draw": "counter"},
    "multinomial": {"kind": "random"},
    "pk": {"kind": "pk", "classes_per_batch": slow.CLASSES, "members_per_class": slow.PER_CLASS},
}
ALPHAS = (0, 0.25, 0.5, 1)
WEIGHTS = {  # what is passed, and its ratios
    "as alpha 0": ([9, 5, 2], (9, 5, 2)),
    "many of the rare": (np.array([1, 1, 6], np.float32), (1, 1, 6)),
    "the same again": (torch.tensor([0.125, 0.125, 0.75]), (1, 1, 6)),
    "none of the first": ((0, 1, 3), (0, 1, 3)),
}


class Curve:
    """Alpha by epoch, which notes the epochs it was asked for. One of each name, also unpickled."""

    asked: ClassVar[list[int]] = []

    def __init__(self, name: str, of: Callable[[int], float]):
        self.name, self.of = name, of

    def __call__(self, epoch: int) -> float:
        assert type(epoch) is int
        Curve.asked.append(epoch)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0)  # lets another thread ask meanwhile
        return self.of(epoch)

    def __reduce__(self) -> tuple[Any, ...]:
        return curve_named, (self.name,)

    def __repr__(self) -> str:
        return f"CURVES[{self.name!r}]"


def curve_named(name: str) -> Curve:
    return CURVES[name]


CURVES = {
    "ramp": Curve("ramp", lambda e: min(1.0, e / 4) if e != 3 else 0.5),
    "step": Curve("step", lambda e: 0.0 if e < 3 else 1.0),
    "saw": Curve("saw", lambda e: float(e % 2)),
}


@dataclass(repr=False)
class Sampler:
    """A sampler and what the model says of it."""

    real: Any
    model: slow.Stream


@dataclass(repr=False)
class Walk:
    """An iterator of a sampler; its pass once it has begun."""

    of: Sampler
    real: Any
    model: slow.Pass | None = None
    over: bool = False


@dataclass(repr=False)
class State:
    real: dict[str, Any]
    timeline: slow.Timeline
    epoch: int
    batch: int


def carried(state: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(state))


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda sampler: pickle.loads(pickle.dumps(sampler)),
}


def as_lists(found: Any) -> list[list[int]]:
    return found.tolist() if hasattr(found, "tolist") else found


def few(machine: Histories) -> bool:
    """So that most calls meet on one sampler."""
    return len(machine.bundles.get("samplers", ())) < 3


class Histories(RuleBasedStateMachine):
    samplers: Bundle[Sampler] = Bundle("samplers")
    walks: Bundle[Walk] = Bundle("walks")
    states: Bundle[State] = Bundle("states")

    @initialize(
        target=samplers,
        kind=st.sampled_from(["stratified", *KINDS]),
        n_batches=st.sampled_from([4, 5, 6]),
        unbroken=st.sampled_from([False, False, True]),
        alpha=st.sampled_from([0, 0.5, *CURVES.values()]),
        window=st.sampled_from([1, 2, 100]),
        share=SHARES,
        unique=RARELY,
        by_class=RARELY,
    )
    def begin(self, kind, n_batches, unbroken, alpha, window, share, unique, by_class):
        self.kind, self.seen, self.all, self.begun = kind, {}, [], []
        self.options = {**KINDS[kind], "n_batches": n_batches, "device": "cpu", "seed": slow.SEED}
        if kind != "pk":
            self.options["alpha"] = alpha
        if unbroken:
            self.options["unbroken"] = True
        unique = unique and kind in ("fixed", "stratified")
        if unique:
            self.options["unique"] = True
        order = "class" if by_class else "shuffle"
        self.options["order"] = order
        batch_size = slow.CLASSES * slow.PER_CLASS if kind == "pk" else 8
        self.options |= {"batch_size": batch_size, "window_bytes": 16 * batch_size * window}
        self.patched = random_kind.DRAW_BLOCK_SLOTS, stream.LIST_WINDOW_BYTES
        random_kind.DRAW_BLOCK_SLOTS, stream.LIST_WINDOW_BYTES = (
            slow.BLOCK_SLOTS,
            8 * batch_size * window,
        )
        curve = alpha if callable(alpha) and kind != "pk" else None
        mixes = ((0, slow.by_alpha(curve.of(0) if curve else alpha if kind != "pk" else 1)),)
        timeline = slow.Timeline(
            kind, n_batches, batch_size, mixes, curve, 1, unique=unique, order=order
        )
        self.first = slow.Stream(timeline, unbroken)
        return self.known(self.sharded(Sampler(self.made(), self.first.copied()), share))

    def made(self):
        members = [list(part) for part in slow.MEMBERS]
        Curve.asked.clear()
        made = SamplerFactory().get(members, **self.options)
        self.asked_at_most(0)
        return made

    def teardown(self):
        if not hasattr(self, "patched"):
            return
        try:
            if sys.exc_info()[0] is None:  # else a rule has failed
                self.at_last()
        finally:
            random_kind.DRAW_BLOCK_SLOTS, stream.LIST_WINDOW_BYTES = self.patched

    def at_last(self):
        """Look at every sampler, and at what its next iteration yields."""
        for sampler in self.all:
            self.look(sampler)
            walk = self.iterate(sampler, False, 1)
            self.looked_at(sampler)
            self.end(walk, False)
            self.look(sampler)

    def known(self, sampler):
        self.all.append(sampler)
        return sampler

    def asked_at_most(self, epoch):
        """No curve was asked for an epoch that is not needed yet."""
        assert max(Curve.asked, default=0) <= max(epoch, 0)
        Curve.asked.clear()

    # ------------------------------------------------------------------- iterating

    @rule(target=walks, sampler=samplers, on_device=st.booleans(), n=st.integers(0, 3))
    def iterate(self, sampler, on_device, n):
        walk = Walk(sampler, sampler.real.on_device() if on_device else iter(sampler.real))
        self.hand_out(walk, n)
        return walk

    @rule(walk=walks, n=st.integers(1, 3), waits=st.booleans())
    def hand_out(self, walk, n, waits=False):
        if waits:
            self.set_begun_epoch(walk.of)
        for _ in range(n):
            self.next_of(walk)

    @rule(walk=consumes(walks), abandoned=st.booleans())
    def end(self, walk, abandoned):
        if abandoned:
            walk.real.close()
            walk.over = True
        while not walk.over:
            self.next_of(walk)

    def next_of(self, walk):
        if walk.over:
            return
        if walk.model is None:
            self.first_of(walk)
        else:
            self.compare_next(walk, next(walk.real, None))

    def first_of(self, walk):
        model, lost = walk.of.model, walk.of.model.lost()
        empty = not model.unbroken and model.n_batches - model.position()[1] < model.world_size
        walk.model = model.begin()
        self.begun.append(walk)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = next(walk.real, None)
        told = [str(each.message) for each in caught if each.category is UserWarning]
        assert bool(told) == bool(lost or empty), told
        if lost:
            assert any(f"batches {lost[0]} to {lost[-1]} " in text for text in told), told
        self.compare_next(walk, found)

    def compare_next(self, walk, found):
        expected = walk.of.model.hand(walk.model)
        assert (None if found is None else as_lists(found)) == expected
        walk.over = expected is None
        self.asked_at_most(self.last_epoch(walk.model))

    def last_epoch(self, model):
        """The epoch of the last batch of a pass."""
        return model.epoch + (model.batch > 0 and self.first.unbroken)

    # ------------------------------------------------------------------- moving

    @rule(sampler=samplers)
    def set_begun_epoch(self, sampler):
        if sampler.model.last:
            self.set_epoch(sampler, sampler.model.last.epoch)

    @rule(sampler=samplers, epoch=st.one_of(st.none(), st.integers(0, LAST)))
    def set_epoch(self, sampler, epoch):
        model = sampler.model
        epoch = model.position()[0] if epoch is None else epoch
        if self.refused(lambda: model.set_epoch(epoch)):
            assert self.refused(lambda: sampler.real.set_epoch(epoch), "epoch")
        else:
            sampler.real.set_epoch(epoch)
        self.asked_at_most(epoch)

    def refused(self, call, told=""):
        """Whether a call raises ValueError; the model's says nothing more."""
        try:
            call()
        except ValueError as error:
            assert told in str(error), error
            return True
        return False

    @rule(target=states, sampler=samplers, done=st.one_of(st.none(), st.integers(0, 6)))
    def state(self, sampler, done):
        if self.refused(lambda: sampler.model.state(done)):
            assert self.refused(lambda: sampler.real.state_dict(done=done))
            done = None
        return self.looked_at(sampler, done)

    def looked_at(self, sampler, done=None):
        """A state, which is that of all samplers at this place."""
        Curve.asked.clear()
        place, found = sampler.model.state(done), sampler.real.state_dict(done=done)
        self.asked_at_most(place[0] - (place[1] == 0))
        assert (found["epoch"], found["batch"]) == place
        assert {type(value) for value in found.values()} <= {int, str}
        timeline = sampler.model.timeline.saved(*place)
        assert self.seen.setdefault((place, timeline), found) == found
        return State(carried(found), timeline, *place)

    @rule(sampler=samplers, state=states, again=st.booleans())
    def load(self, sampler, state, again):
        self.loaded(sampler, state)
        if again:  # as a trainer does that has told the epoch already
            self.set_epoch(sampler, None)

    def loaded(self, sampler, state):
        model, curve, by_hand = sampler.model, state.timeline.curve, state.timeline.by_hand
        own = model.timeline.curve if by_hand and model.timeline.by_hand else None
        assume(own in (None, curve) or curve is None)
        again = by_hand and curve is not None and own is None
        sampler.real.load_state_dict(state.real)
        model.load(state.timeline, state.epoch, state.batch)
        self.asked_at_most(state.epoch)
        if again:  # a state holds no function
            sampler.real.set_alpha(curve)
            model.timeline = model.timeline.curved(model.boundary(), curve)
            Curve.asked.clear()

    @precondition(few)
    @rule(target=samplers, state=states, share=SHARES)
    def resume(self, state, share):
        sampler = self.sharded(Sampler(self.made(), self.first.copied()), share)
        self.loaded(sampler, state)
        return self.known(sampler)

    @precondition(few)
    @rule(target=samplers, sampler=samplers, how=st.sampled_from(["shard", *COPIES]), share=SHARES)
    def another(self, sampler, how, share):
        if how == "shard":
            assume(1 in (share[1], sampler.model.world_size))
            return self.known(self.sharded(sampler, share))
        made = Sampler(COPIES[how](sampler.real), sampler.model.copied())
        self.asked_at_most(0)
        for walk in self.begun:
            if walk.of is sampler:
                self.hand_out(walk, 1)
        self.looked_at(made)
        return self.known(made)

    def sharded(self, sampler, share):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            real = sampler.real.shard(share)
        self.asked_at_most(0)
        return Sampler(real, sampler.model.sharded(*share))

    # ------------------------------------------------------------------- changing the mix

    @precondition(lambda self: self.kind != "pk")
    @rule(
        sampler=samplers,
        change=st.sampled_from([*ALPHAS, *WEIGHTS]),
        waits=st.booleans(),
        saved=RARELY,
    )
    def change(self, sampler, change, waits, saved):
        if waits:
            self.set_begun_epoch(sampler)
        if change in ALPHAS:
            sampler.real.set_alpha(change)
            ratios = slow.by_alpha(change)
        else:
            given, ratios = WEIGHTS[change]
            sampler.real.set_weights(given)
        boundary = sampler.model.boundary()
        sampler.model.timeline = sampler.model.timeline.changed(boundary, ratios)
        self.asked_at_most(boundary - 1)
        if saved:
            self.loaded(sampler, self.looked_at(sampler))

    @precondition(lambda self: self.kind != "pk")
    @rule(sampler=samplers, name=st.sampled_from(sorted(CURVES)))
    def follow(self, sampler, name):
        sampler.real.set_alpha(CURVES[name])
        boundary = sampler.model.boundary()
        sampler.model.timeline = sampler.model.timeline.curved(boundary, CURVES[name])
        self.asked_at_most(boundary)

    # ------------------------------------------------------------------- asking

    @rule(
        sampler=samplers, epoch=st.integers(0, LAST + 2), b=st.integers(0, 3), n=st.integers(1, 9)
    )
    def batches(self, sampler, epoch, b, n):
        timeline = sampler.model.timeline
        g = epoch * timeline.n_batches + b
        if epoch < timeline.oldest:
            assert self.refused(lambda: sampler.real.batches(g, n), f"{timeline.oldest}")
        else:
            expected = [timeline.batch(g + i) for i in range(n)]
            assert sampler.real.batches(g, n).tolist() == expected
            assert sampler.real.batch(g).tolist() == expected[0]
        self.asked_at_most((g + n - 1) // timeline.n_batches)

    @rule(sampler=samplers)
    def look(self, sampler):
        real, model = sampler.real, sampler.model
        assert real.build().tolist() == self.built(model)
        assert real.epoch == model.position()[0]
        assert real.begun_epoch == (model.last and model.last.epoch)
        assert np.allclose(real.class_counts, self.counts(model))
        real.describe()
        self.asked_at_most(real.epoch)
        self.looked_at(sampler)

    def built(self, model):
        g, each = model.position()[0] * model.n_batches, model.n_batches // model.world_size
        return [model.timeline.batch(g + model.rank + i * model.world_size) for i in range(each)]

    def counts(self, model):
        weights = model.timeline.until(model.position()[0])[-1][1]
        whole = model.n_batches * model.timeline.batch_size
        if self.kind == "pk":
            return [whole / len(slow.SIZES)] * len(slow.SIZES)
        if self.kind == "fixed":
            per_batch = slow.fixed_counts(weights)
            return [model.n_batches * n for n in per_batch]
        return [whole * w / sum(weights) for w in weights]

    # ------------------------------------------------------------------- threads

    @rule(walk=walks, n=st.integers(1, 6), order=st.randoms(use_true_random=False))
    def threads(self, walk, n, order):
        """Others ask while one iterates: each answer is one that a single thread could get."""
        real, model = walk.of.real, walk.of.model
        low, high = model.timeline.oldest, LAST
        epochs = sorted(order.randint(low, high) for _ in range(6)) if low <= high else [low] * 6
        order.shuffle(epochs)
        asked = [e * model.n_batches + order.randrange(model.n_batches) for e in epochs]
        threads = [Asking(real, asked[:3]), Asking(real, asked[3:])]
        before = model.copied()
        for thread in threads:
            thread.start()
        try:
            places, built = [before.state()], [self.built(before)]
            for _ in range(n if not walk.over else 0):
                if walk.model is None:
                    walk.model = model.begin()
                    places.append(model.state())
                self.next_among_threads(walk)
                places.append(model.state())
                built.append(self.built(model))
                if walk.over:
                    break
        finally:
            for thread in threads:
                thread.join()
        Curve.asked.clear()
        after = walk.of.real.state_dict()
        for thread in threads:
            if thread.error:
                raise thread.error
            for g, batch in thread.batches:
                assert batch == model.timeline.batch(g)
            for state in thread.states:
                assert (state["epoch"], state["batch"]) in places
                if (state["epoch"], state["batch"]) == (after["epoch"], after["batch"]):
                    assert state == after
            assert all(each in built for each in thread.built)
        self.looked_at(walk.of)

    @rule(one=walks, other=walks, n=st.integers(1, 6))
    def two_that_iterate(self, one, other, n):
        """Two threads go on with an iterator each, of one sampler or of two."""
        assume(one is not other)
        for walk in (one, other):
            if walk.model is None:
                self.next_of(walk)
        threads = [Iterating(walk.real, n) for walk in (one, other) if not walk.over]
        begun = [walk for walk in (one, other) if not walk.over]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        Curve.asked.clear()
        for walk, thread in zip(begun, threads, strict=True):
            if thread.error:
                raise thread.error
            for found in thread.found:
                expected = walk.of.model.hand(walk.model)
                assert found == expected
                walk.over = expected is None
        for walk in begun:
            self.looked_at(walk.of)

    def next_among_threads(self, walk):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = next(walk.real, None)
        expected = walk.of.model.hand(walk.model)
        assert (None if found is None else as_lists(found)) == expected
        walk.over = expected is None


class Iterating(threading.Thread):
    """Takes the next few of an iterator."""

    def __init__(self, iterator: Any, n: int):
        super().__init__()
        self.iterator, self.n = iterator, n
        self.found: list[list[int] | None] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(self.n):
                found = next(self.iterator, None)
                self.found.append(None if found is None else as_lists(found))
                if found is None:
                    return
        except BaseException as error:  # the rule raises it
            self.error = error


class Asking(threading.Thread):
    """Asks a sampler for what changes nothing, over and over."""

    def __init__(self, sampler: Any, numbers: list[int]):
        super().__init__()
        self.sampler, self.numbers = sampler, numbers
        self.batches: list[tuple[int, list[int]]] = []
        self.states: list[dict[str, Any]] = []
        self.built: list[list[list[int]]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for g in self.numbers:
                self.states.append(self.sampler.state_dict())
                self.batches.append((g, self.sampler.batch(g).tolist()))
                self.built.append(self.sampler.build().tolist())
                self.sampler.describe()
        except BaseException as error:  # the rule raises it
            self.error = error


def quiet() -> settings:
    return settings(
        deadline=None,
        database=None,
        stateful_step_count=40,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


if __name__ == "__main__":
    count = int(sys.argv[1])
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"{count} histories of seed {chosen}", flush=True)
    warnings.simplefilter("ignore")
    begun = time.monotonic()
    run_state_machine_as_test(
        seed(chosen)(Histories), settings=settings(quiet(), max_examples=count)
    )
    print(f"all held, in {time.monotonic() - begun:.0f} s")
