"""State: a sampler's place in its stream and its class mix, as a small dict for any checkpoint.

Takes and gives plain ints and strings under fixed names, whatever happened in the run: what saves
one kind of state saves all, and a checkpoint needs no template. Its size does not grow with the
changes of mix. Knows nothing of how one draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpusampler.stream.history import History, Maker, Mark, Schedule, next_mark, unknown_schedule
from gpusampler.stream.packing import (
    UNCHANGED,
    not_given,
    packed_mark,
    unpacked_mix,
    unpacked_start,
)

FORMAT = 2
NAMES = {  # what must be the same here and in the state, and what it is called
    "kind": "kind",
    "seed": "seed",
    "batch_size": "batch_size",
    "n_batches": "n_batches",
    "class_index": "the class index (labels)",
    "class_mix": "the class mix (alpha or weights) that the run began with",
    "class_draws": "where classes are drawn (class_draw, device model, torch version)",
    "order": "order",
    "unique": "unique",
}
# The mix in force, where it is not the one that the sampler was made with, and the one to come.
MIX: dict[str, Any] = {
    "schedule": 0, "changed": 0, "mix_epoch": 0, "mix_number": 0, "mix": "", "start": "",
    "next_epoch": 0, "next_mix": "",
}  # fmt: skip


def pack(
    own: Mapping[str, Any], history: History, epoch: int, batch: int, make: Maker
) -> dict[str, Any]:
    """The state of this place; a mix that the sampler was made with is left out."""
    mark, coming = history.kept(epoch, batch, make)
    counted = make.past == "draws"
    mix: dict[str, Any] = {"schedule": int(history.schedule is not None)}
    mix["changed"] = int(history.changed)
    if history.changed or (mark.number and make.past != "nothing"):
        number = 0 if make.past == "nothing" else mark.number  # by which route it came is no matter
        mix |= {"mix_epoch": mark.epoch, "mix_number": number}
        mix["mix"], mix["start"] = packed_mark(mark, counted)
    if coming is not None:
        mix |= {"next_epoch": coming.epoch, "next_mix": packed_mark(coming, counted)[0]}
    return {"format": FORMAT, **own, **MIX, **mix, "epoch": epoch, "batch": batch}


def checked(state: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """A state that belongs to a sampler of these facts, its fields of their types and ranges.

    Raises  TypeError: it is no state. ValueError: of another format, out of range, or of another
            sampler, by the name of what differs.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"a state must be the dict that state_dict() gave, not {type(state).__name__}; "
            f"pass that"
        )
    if "format" not in state:
        raise ValueError(
            "a state must hold format and more, and this dict does not: it is not what "
            "state_dict() gave; pass that, as checkpoint['sampler'] where it was saved under a name"
        )
    found = state["format"]
    if type(found) is not int or found != FORMAT:
        raise ValueError(
            f"a state must be of format {FORMAT}, not {found!r:.80}; load it with the version of "
            f"gpusampler that wrote it, or begin its epoch anew with set_epoch()"
        )
    missing = [name for name in (*NAMES, *MIX, "epoch", "batch") if name not in state]
    if missing:
        raise ValueError(f"a state must hold {', '.join(missing)}; pass it whole, as it was given")
    wrong = [
        f"{told}: {state[name]!r:.80} there, {own[name]!r} here"
        for name, told in NAMES.items()
        if type(state[name]) is not type(own[name]) or state[name] != own[name]
    ]
    if wrong:
        raise ValueError(
            f"this state is of another sampler, which differs in {'; '.join(wrong)}. "
            f"Make the sampler as it was made for that run (a change of mix: set_alpha or "
            f"set_weights after loading), or begin anew with set_epoch()"
        )
    most = (1 << 62) // (own["batch_size"] * own["n_batches"])
    ranges = {
        "epoch": most, "batch": own["n_batches"], "schedule": 1, "changed": 1,
        "mix_epoch": most, "next_epoch": most, "mix_number": (1 << 24) - 1,
    }  # fmt: skip
    for name, high in ranges.items():
        _whole(name, state[name], high)
    for name in ("mix", "start", "next_mix"):
        if type(state[name]) is not str:
            raise TypeError(f"{name} of a state must be text, not {state[name]!r:.80}; {UNCHANGED}")
    return dict(state)


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} of a state must be an int, not {value!r:.80}; {UNCHANGED}")
    if not 0 <= value <= most:
        raise ValueError(f"{name} of a state must be in [0, {most}], not {value}; {UNCHANGED}")
    return value


def loaded(
    told: Mapping[str, Any],
    first: Mark,
    schedule: Schedule | None,
    now: History,
    sizes: np.ndarray,
    make: Maker,
) -> History:
    """The history that a checked state tells.

    first, schedule  the mark and the schedule that the sampler was made with
    now              its history: a schedule that was set by hand goes on after a state that has one
    sizes            [C] of its classes
    Raises           ValueError: no run of this sampler gave it.
    """
    if not told["changed"] and not told["schedule"] and schedule is not None:
        raise ValueError(
            "this state is of another sampler: there alpha is a number, here a function of the "
            "epoch. Make the sampler with the alpha of that run, or begin anew with set_epoch()"
        )
    if told["changed"]:
        follows = (now.schedule if now.changed else None) or unknown_schedule
    else:
        follows = schedule or unknown_schedule
    scheduled = follows if told["schedule"] else None
    if first.mix is None and scheduled:
        raise not_given("schedule")
    if not told["mix"]:
        others = "changed", "mix_epoch", "mix_number", "start", "next_epoch", "next_mix"
        if any(told[name] for name in others):
            raise not_given("mix")
        return History((first,), scheduled)
    if first.mix is None or not (told["changed"] or told["schedule"]):
        raise not_given("mix")
    comes = bool(told["next_epoch"])
    if comes != bool(told["next_mix"]) or (comes and not told["changed"]):
        raise not_given("next_mix")
    mark = _mark(told, first, sizes, make)
    through = max(mark.epoch, told["epoch"] - (told["batch"] == 0))
    if not told["changed"]:
        return History((first,), scheduled, False, ((first, 0), (mark, through)))
    marks: tuple[Mark, ...] = (mark,)
    if told["next_epoch"]:
        if told["next_epoch"] <= told["epoch"]:
            raise not_given("next_epoch")
        mix = unpacked_mix("next_mix", told["next_mix"], sizes)
        marks = (mark, next_mark(mark, told["next_epoch"], mix, make))
        through = told["next_epoch"]
    return History(marks, scheduled, True, ((marks[-1], through),) if scheduled else ())


def _mark(told: Mapping[str, Any], first: Mark, sizes: np.ndarray, make: Maker) -> Mark:
    epoch, number = told["mix_epoch"], told["mix_number"]
    if make.past == "nothing":
        numbered = number == 0
    else:
        numbered = (epoch == 0 or number > 0) and number <= epoch
    if epoch > told["epoch"] or not numbered:
        raise not_given("mix_epoch")
    start = first.start
    if make.past == "draws":
        draws = epoch * make.n_batches * make.batch_size
        passed_over = number * make.batch_size if make.unique else 0
        start = unpacked_start(told["start"], len(start), draws, passed_over)
    elif told["start"]:
        raise not_given("start")
    mark = Mark(epoch, number, unpacked_mix("mix", told["mix"], sizes), start)
    make.segment_of(mark)
    return mark
