"""State: a sampler's place in its stream, as a small dict that any checkpoint can hold.

Takes and gives plain ints and strings under fixed names, whatever happened in the run: what saves
one kind of state saves all, and a checkpoint needs no template. Knows nothing of how one draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 1
UNCHANGED = "pass the state as it was given"
POSITION = ("epoch", "batch", "segments")
NAMES = {  # what must be the same here and in the state, and what it is called
    "kind": "kind",
    "seed": "seed",
    "batch_size": "batch_size",
    "n_batches": "n_batches",
    "class_index": "the class index (labels)",
    "class_mix": "the class mix (alpha or weights) that the run began with",
    "class_draws": "where classes are drawn (class_draw, device model, torch version)",
}


def pack(own: Mapping[str, Any], epoch: int, batch: int, segments: str) -> dict[str, Any]:
    return {"format": FORMAT, **own, "segments": segments, "epoch": epoch, "batch": batch}


def checked(state: Any, own: Mapping[str, Any]) -> tuple[int, int, str]:
    """Epoch, batch and segments of a state that belongs to a sampler of these facts.

    Raises  TypeError: it is no state. ValueError: of another format, out of range, or of another
            sampler, by the name of what differs.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"a state must be the dict that state_dict() gave, not {type(state).__name__}; "
            f"pass that"
        )
    found = state.get("format")
    if type(found) is not int or found != FORMAT:
        raise ValueError(
            f"a state must be of format {FORMAT}, not {found!r}; load it with the version of "
            f"gpusampler that wrote it, or begin its epoch anew with set_epoch()"
        )
    missing = [name for name in (*NAMES, *POSITION) if name not in state]
    if missing:
        raise ValueError(f"a state must hold {', '.join(missing)}; pass it whole, as it was given")
    wrong = [
        f"{told}: {state[name]!r} there, {own[name]!r} here"
        for name, told in NAMES.items()
        if state[name] != own[name]
    ]
    if wrong:
        raise ValueError(
            f"this state is of another sampler, which differs in {'; '.join(wrong)}. "
            f"Make the sampler as it was made for that run (a change of mix: set_alpha or "
            f"set_weights after loading), or begin anew with set_epoch()"
        )
    most = (1 << 62) // (own["batch_size"] * own["n_batches"])
    epoch = _whole("epoch", state["epoch"], most)
    batch = _whole("batch", state["batch"], own["n_batches"])
    segments = state["segments"]
    if not isinstance(segments, str):
        raise TypeError(f"segments of a state must be text, not {segments!r}; {UNCHANGED}")
    return epoch, batch, segments


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} of a state must be an int, not {value!r}; {UNCHANGED}")
    if not 0 <= value <= most:
        raise ValueError(f"{name} of a state must be in [0, {most}], not {value}; {UNCHANGED}")
    return value
