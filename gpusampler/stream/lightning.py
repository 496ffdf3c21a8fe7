"""Lightning: how Trainer and Fabric give each rank its share, and resume, by their own ways.

Takes what they pass to a constructor, and the frames of their loops.
Imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from torch.utils.data import DistributedSampler, Sampler, SequentialSampler

from gpusampler import frames

FABRIC = "lightning.fabric", "lightning_fabric"
TRAINER = "lightning.pytorch", "pytorch_lightning"


def refuse_rebuilding(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Lightning's second way to inject a sampler: cls(sampler, batch_size=..., drop_last=...),
    which tells nothing of the classes."""
    if (
        len(args) == 1
        and isinstance(args[0], Sampler)
        and set(kwargs)
        == {
            "batch_size",
            "drop_last",
        }
    ):
        raise TypeError(
            "a class-balanced sampler must not be made anew from a sampler of single indices, as "
            "Lightning does to distribute it; make it inside train_dataloader(), or for Fabric in "
            "the function that launch() calls (Lightning then passes rank and world size to it), "
            "or pass use_distributed_sampler=False and sampler.shard(rank, world_size)"
        )


class MadeAnew:
    """In the place of a sampler that Lightning made anew: to ask where it is raises."""

    def copied(self) -> MadeAnew:
        """Copies of the sampler, as checkpoints make them, are made anew as well."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(
            "Lightning made this sampler anew to distribute it, and the loader has the new one; "
            "use that, trainer.train_dataloader.batch_sampler or, with Fabric, "
            "loader.batch_sampler"
        )


def retire_the_one_made_anew(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Lightning's first way to inject a sampler: cls(as at first, sampler=...), and what was set
    since. Whoever kept the one that was first would change what no loader has."""
    if not any(isinstance(given, Sampler) for given in (*args, *kwargs.values())):
        return
    asks = frames.asking()
    if _is_of(FABRIC, "utilities.data", asks):
        first = frames.held(asks, "orig_object")
        if isinstance(first, cls):
            vars(first).update(_position=MadeAnew(), _history=MadeAnew())


def refuse_to_revive(position: Any) -> None:
    """Raise where a state is to be loaded into a sampler that was made anew."""
    if isinstance(position, MadeAnew):
        _ = position.epoch


def agreed_share(share: tuple[int, int] | None, sampler: Any) -> tuple[int, int] | None:
    """(rank, world_size), as asked for or as the sampler tells that Lightning passes in a hook."""
    if sampler is None or type(sampler) is SequentialSampler:
        return share
    if not isinstance(sampler, DistributedSampler):
        raise TypeError(
            f"sampler must be a DistributedSampler, whose rank and world size are taken, not "
            f"{type(sampler).__name__}; leave it out"
        )
    told = sampler.rank, sampler.num_replicas
    if share not in (None, told):
        raise ValueError(
            f"shard says rank {share[0]} of {share[1]}, and the trainer's sampler rank {told[0]} "
            f"of {told[1]}; leave shard to the trainer, or pass use_distributed_sampler=False"
        )
    return told


def says_how_often_it_was_iterated(asks: FrameType | None) -> bool:
    """Fabric's loader sets as the epoch how often it was iterated, from 0 again after a resume."""
    return _is_of(FABRIC, "wrappers", asks)


def refuse_to_resume_elsewhere(sampler: Any, asks: FrameType | None, epoch: int) -> None:
    """Raise where Trainer's loop sets an epoch and goes on with other batches than it means to."""
    if not _is_of(TRAINER, "loops.fit_loop", asks) or sampler.unbroken:
        return
    loop = frames.held(asks, "self")
    if getattr(loop, "is_resuming", False):
        _refuse_batches_ahead(asks, sampler.begun_epoch, epoch)
        _refuse_place_left(sampler, getattr(loop, "_combined_loader_states_to_load", None), epoch)


def _refuse_batches_ahead(asks: FrameType | None, begun: int | None, epoch: int) -> None:
    """Lightning that resumes lets workers ask for batches, and sets the epoch after that."""
    workers = frames.number(frames.held(asks, "dl"), "num_workers")
    if workers and begun not in (None, epoch):
        raise RuntimeError(
            f"Lightning resumes epoch {epoch}, and its workers were given batches of epoch {begun} "
            f"before it said so; in train_dataloader(), call sampler.set_epoch("
            f"self.trainer.fit_loop.epoch_progress.current.processed), and where the checkpoint "
            f"was saved in the last step of an epoch resume with num_workers=0"
        )


def _refuse_place_left(sampler: Any, states: Any, epoch: int) -> None:
    """A loop that came from a checkpoint of an epoch's last step counts on as if it had begun the
    next epoch, and does not load the loaders' states of a checkpoint taken within that."""
    for told in _places(states):
        batch = told.get("batch")
        if not batch or told.get("epoch") != epoch or not _is_state_of(sampler, told):
            continue
        if sampler.state_dict()["batch"] != batch:  # else it was loaded by hand
            raise RuntimeError(
                f"the checkpoint holds batch {batch} of epoch {epoch}, and Lightning does not load "
                f"it, since an earlier part of this run was resumed from the last step of an "
                f"epoch; it would train epoch {epoch} from its start. Resume from a checkpoint "
                f"that was not taken in the last step of an epoch, nor in a run resumed from one"
            )


def _is_state_of(sampler: Any, told: Mapping[str, Any]) -> bool:
    return bool(told["class_index"] == sampler.index.fingerprint)


def _places(states: Any) -> Iterator[Mapping[str, Any]]:
    """The states of samplers in those of loaders."""
    if isinstance(states, Mapping) and "class_index" in states:
        yield states
    elif isinstance(states, (Mapping, list, tuple)):
        for one in states.values() if isinstance(states, Mapping) else states:
            yield from _places(one)


def _is_of(packages: tuple[str, str], module: str, frame: FrameType | None) -> bool:
    return frames.module(frame) in {f"{package}.{module}" for package in packages}
