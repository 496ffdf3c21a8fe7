"""Keywords: the options that each kind takes, and what to say of any other.

Takes a kind's sampler class and the keywords that a caller passed. Gives nothing, or an error that
names the nearest keyword and all there are. What is taken is read from the signatures.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from gpusampler.plans.mixes import mix

INNER = ("schedule",)  # what a class takes from the factory
ELSEWHERE = {
    "kind": "it to get(), which makes any kind",
    "schedule": "alpha=f, a function of the epoch",
    "temperature": "weighting='power' with alpha = 1 - 1 / temperature",
    "class_weights": "shares= (what part of the draws a class has) or rates= (how often one "
    "member is drawn)",
    "shuffle": "nothing: members and batches are shuffled, anew in each epoch",
    "replacement": "kind='random' (with), or kind='fixed' or 'stratified' (without)",
    "drop_last": "nothing: all batches are whole",
    "labels": "ClassIndex.from_labels(labels) as class_idxs",
    "num_workers": "it to the DataLoader",
    "generator": "seed=",
    "rank": "shard=(rank, world_size)",
    "world_size": "shard=(rank, world_size)",
    "num_replicas": "shard=(rank, world_size)",
}


def of(make: Callable[..., Any]) -> list[str]:
    """What is passed to this by keyword only, and by its users."""
    parameters = inspect.signature(make).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    return [name for name in names if name not in INNER]


MIXING = tuple(name for name in of(mix) if name not in ("alpha", "num_samples"))


def check(
    kind: str, passed: Iterable[str], taken: dict[str, list[str]], positional: Iterable[str]
) -> None:
    """Refuse a keyword that this kind does not take.

    taken       the options of each kind.
    positional  the arguments that have a place: taken too, and passed otherwise.
    Raises      TypeError, as Python does.
    """
    for name in passed:
        if name not in taken[kind]:
            raise TypeError(
                f"unexpected keyword argument {name!r}; {_repair(name, kind, taken, positional)}. "
                f"kind={kind!r} takes {', '.join(taken[kind])}"
            )


def _repair(name: str, kind: str, taken: dict[str, list[str]], positional: Iterable[str]) -> str:
    if name in ELSEWHERE:
        return f"pass {ELSEWHERE[name]}"
    others = [repr(other) for other, names in taken.items() if name in names]
    if others:
        return f"leave it out, or take kind {' or '.join(others)}, which has it"
    near = difflib.get_close_matches(name, [*taken[kind], *positional], 1)
    return f"pass {near[0]!r}, if that was meant" if near else "leave it out"
