"""Trainers: what some would do wrong in silence with a batch sampler, found and refused.

Takes what a trainer passes to a constructor, or the frame that asks for a batch.
Knows trainers by name and imports none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch.utils.data import DistributedSampler, Sampler, SequentialSampler

ACCELERATE = "accelerate.data_loader"
IGNITE = "ignite.engine.deterministic"
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

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(
            "Lightning made this sampler anew to distribute it, and the loader has the new one; "
            "use that, trainer.train_dataloader.batch_sampler or, with Fabric, "
            "loader.batch_sampler"
        )


def retire_the_one_made_anew(cls: type, depth: int) -> None:
    """Lightning's first way to inject a sampler: cls(as at first, sampler=...), and what was set
    since. Whoever kept the one that was first would change what no loader has."""
    caller = sys._getframe(depth + 1)
    first = caller.f_locals.get("orig_object")
    if _is_of(FABRIC, "utilities.data", caller) and isinstance(first, cls):
        vars(first)["_position"] = MadeAnew()


class Epochs:
    """What trainers reach as `batch_sampler.sampler`, to set the epoch."""

    def __init__(self, owner: Any):
        self.owner = owner

    def set_epoch(self, epoch: int) -> None:
        """Passed on, but for Fabric's: its loader says how often it was iterated, from 0 again
        after a resume, and to iterate again yields the next epoch anyhow."""
        caller = sys._getframe(1)
        if caller.f_globals.get("__name__") == ACCELERATE:
            dispatcher = getattr(caller.f_locals.get("self"), "state", None)
            _refuse_sharing_out_twice(self.owner.world_size, dispatcher)
        asks = caller.f_back  # behind Lightning's helper
        if asks is not None and _is_of(FABRIC, "wrappers", asks):
            return
        if asks is not None and _is_of(TRAINER, "loops.fit_loop", asks):
            _refuse_batches_ahead(asks.f_locals, self.owner.begun_epoch, epoch)
        self.owner.set_epoch(epoch)


def _refuse_batches_ahead(asks: Mapping[str, Any], begun: int | None, epoch: int) -> None:
    """Lightning that resumes lets workers ask for batches, and sets the epoch after that."""
    resumes = getattr(asks.get("self"), "is_resuming", False)
    workers = getattr(asks.get("dl"), "num_workers", 0)
    if resumes and workers and begun not in (None, epoch):
        raise RuntimeError(
            f"Lightning resumes epoch {epoch}, and its workers were given batches of epoch {begun} "
            f"before it said so; in train_dataloader(), call sampler.set_epoch("
            f"self.trainer.fit_loop.epoch_progress.current.processed), and where the checkpoint "
            f"was saved in the last step of an epoch resume with num_workers=0"
        )


def _is_of(packages: tuple[str, str], module: str, frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in {f"{package}.{module}" for package in packages}


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


def refuse_to_go_astray(world_size: int, epoch: int, batch: int, depth: int) -> None:
    """Raise where whoever asks for the first batch would train on others than it means to."""
    caller = sys._getframe(depth + 1)
    module = caller.f_globals.get("__name__")
    if module == ACCELERATE:  # which shards every batch sampler that it prepares
        _refuse_sharing_out_twice(world_size, caller.f_locals.get("self"))
        _refuse_lost_epoch(epoch, caller)
    elif module == IGNITE:
        _refuse_skipping_twice(batch, caller.f_locals.get("self"))


def _refuse_sharing_out_twice(world_size: int, sharing: Any) -> None:
    processes = getattr(sharing, "num_processes", 1)
    if world_size > 1 and processes > 1:
        raise RuntimeError(
            f"Accelerate shares out batches over {processes} processes by itself, and this "
            f"sampler is one rank of {world_size} already, so most batches would be left out; "
            f"give accelerator.prepare() the sampler that was not sharded"
        )


def _refuse_lost_epoch(epoch: int, frame: FrameType | None) -> None:
    """In several processes Accelerate's skip_first_batches hides the sampler from its set_epoch,
    and HF Trainer resumes so: SkipBatchSampler over BatchSamplerShard over this sampler."""
    asking: list[Any] = []
    while frame is not None:
        if frame.f_globals.get("__name__") == ACCELERATE:
            asking.append(frame.f_locals.get("self"))
        frame = frame.f_back
    told = next((one.iteration for one in asking if hasattr(one, "iteration")), epoch)
    if told != epoch and any(type(one).__name__ == "SkipBatchSampler" for one in asking):
        raise RuntimeError(
            f"Accelerate is to go on in epoch {told}, and this sampler in epoch {epoch}, since "
            f"skip_first_batches cannot tell it in several processes; call "
            f"sampler.set_epoch(int(state.epoch)) in on_epoch_begin of a callback of HF Trainer, "
            f"or set_epoch({told}) of the loader before skip_first_batches"
        )


def _refuse_skipping_twice(batch: int, skipping: Any) -> None:
    """Ignite's DeterministicEngine leaves out the batches that are done by itself."""
    skipped = getattr(skipping, "start_iteration", None)
    if batch and skipped:
        raise RuntimeError(
            f"Ignite's DeterministicEngine leaves out the {skipped} batches that are done by "
            f"itself, and this sampler begins at batch {batch} already, so others would be left "
            f"out; load the engine's state alone, and call sampler.set_epoch() at EPOCH_STARTED"
        )
