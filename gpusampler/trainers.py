"""Trainers: what some would do wrong in silence with a batch sampler, found and refused.

Takes what a trainer passes to a constructor, or the frame that asks for a batch.
Knows trainers by name and imports none.
"""

from __future__ import annotations

import sys
from typing import Any

from torch.utils.data import DistributedSampler, Sampler, SequentialSampler


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
            "Lightning does to distribute it; make it inside train_dataloader() (Lightning then "
            "passes rank and world size to it), or pass use_distributed_sampler=False and "
            "sampler.shard(rank, world_size)"
        )


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


def refuse_double_sharding(world_size: int, depth: int) -> None:
    """Accelerate shards every batch sampler that it prepares, sharded or not."""
    if world_size == 1:
        return
    caller = sys._getframe(depth + 1)
    if caller.f_globals.get("__name__") != "accelerate.data_loader":
        return
    processes = getattr(caller.f_locals.get("self"), "num_processes", 1)
    if processes > 1:
        raise RuntimeError(
            f"Accelerate shares out batches over {processes} processes by itself, and this "
            f"sampler is one rank of {world_size} already, so most batches would be left out; "
            f"give accelerator.prepare() the sampler that was not sharded"
        )
