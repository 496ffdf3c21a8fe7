"""Trainers: what some would do wrong in silence with a batch sampler, found and refused.

Takes what a trainer passes to a constructor, or the frame that asks for a batch.
Knows trainers by name and imports none.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch.utils.data import get_worker_info

from gpusampler import frames
from gpusampler.frames import LOADERS
from gpusampler.stream import distributed, lightning

ACCELERATE = "accelerate.data_loader"
IGNITE = "ignite.engine.deterministic"
MMENGINE = "mmengine.runner.loops"
NODES = "torchdata.nodes.adapters"
GROUPING = "torch.utils.data.sampler", "torchdata.stateful_dataloader.sampler"
BATCHER = "torchdata.nodes.batch"
NODES_BETWEEN = NODES, "torchdata.nodes.base_node"
SHARING = (
    *(f"{package}.utilities.distributed" for package in lightning.FABRIC),
    "ignite.distributed.auto",
    ACCELERATE,
)


class Epochs:
    """What trainers reach as `batch_sampler.sampler`, to set the epoch."""

    def __init__(self, owner: Any):
        self.owner = owner

    def set_epoch(self, epoch: int) -> None:
        """Passed on, but for Fabric's: its loader says how often it was iterated, from 0 again
        after a resume, and to iterate again yields the next epoch anyhow."""
        caller = frames.asking()
        if frames.module(caller) == ACCELERATE:
            dispatcher = getattr(frames.held(caller, "self"), "state", None)
            _refuse_sharing_out_twice(self.owner.world_size, dispatcher)
        asks = caller and caller.f_back  # behind Lightning's helper
        if lightning.says_how_often_it_was_iterated(asks):
            return
        lightning.refuse_to_resume_elsewhere(self.owner, asks, epoch)
        self.owner.set_epoch(epoch)


def place_of_nodes(sampler: Any, epoch: int, batch: int) -> tuple[int, int]:
    """The epoch and batch to resume at, where it may be torchdata.nodes that loads the state.

    Its SamplerWrapper counts epochs by itself: one more each time it is iterated anew. A state that
    was saved after the last batch of epoch 2 holds its count of 2, so after loading it would train
    epoch 2 again. This sets its count to 3. And it skips the iteration without batches that such a
    state would begin with, as Loader would take that for an epoch.
    """
    asks = frames.asking()
    if frames.module(asks) != NODES or sampler.unbroken:
        return epoch, batch
    wrapper = frames.held(asks, "self")
    counted = frames.number(wrapper, "epoch")
    if batch + sampler.world_size > sampler.n_batches:
        epoch, batch = epoch + 1, 0
    if counted is None or (epoch, batch) != (counted + 1, 0):
        return epoch, batch
    wrapper.epoch = wrapper.epoch_updater(counted)
    return wrapper.epoch, 0


def is_made_to_be_left() -> bool:
    """Whether it is torchdata's StatefulDataLoader that asks, to restore an iteration that was
    over: it does so with workers, and then iterates anew."""
    frame = frames.asking()
    while frame is not None and frames.module(frame) in LOADERS:
        state = (
            frames.held(frame, "next_iter_state") if frame.f_code.co_name == "__init__" else None
        )
        if isinstance(state, Mapping) and state.get("_iterator_finished") is True:
            return True
        frame = frame.f_back
    return False


def refuse_to_go_astray(sampler: Any, epoch: int, batch: int) -> None:
    """Raise where whoever asks for the first batch of a pass, which begins at this batch of this
    epoch, would train on others than it means to; warn where every process trains on the same."""
    asks = frames.asking()
    module = frames.module(asks)
    if frames.module(frames.behind(asks, SHARING)) in GROUPING:
        _refuse_single_indices()
    elif module == NODES:
        _refuse_batches_of_batches(frames.behind(asks, NODES_BETWEEN))
        warn_of_batches_alike(sampler)
    elif module == ACCELERATE:  # which shards every batch sampler that it prepares
        _refuse_sharing_out_twice(sampler.world_size, frames.held(asks, "self"))
        _refuse_skips(sampler.unbroken, epoch, batch, asks)
    elif module == IGNITE:
        _refuse_skipping_twice(sampler.unbroken, batch, frames.held(asks, "self"))
        warn_of_batches_alike(sampler)
    elif module in LOADERS:
        loop = frames.behind(asks, LOADERS)
        _refuse_skipping_iterations(sampler, epoch, batch, loop)
        if frames.module(loop) != ACCELERATE:  # whose dispatcher asks in one process alone
            warn_of_batches_alike(sampler)


def _refuse_batches_of_batches(node: FrameType | None) -> None:
    """torchdata.nodes.Batcher straight over the node of this sampler; behind a Mapper it is meant
    to put data together."""
    if frames.module(node) == BATCHER and type(frames.held(node, "self")).__name__ == "Batcher":
        raise TypeError(
            "this sampler gives whole batches, and torchdata.nodes.Batcher puts batch_size of them "
            "into each of its own; leave out Batcher"
        )


_told: weakref.WeakSet[Any] = weakref.WeakSet()  # samplers that were warned of


def warn_of_batches_alike(sampler: Any) -> None:
    """Warn once of a sampler that gives each of several processes the same batches, unless it was
    said which share is this process's."""
    processes = distributed.world_size()
    if processes == 1 or sampler.world_size > 1 or sampler.share_was_said or sampler in _told:
        return
    _told.add(sampler)
    frames.warn(
        f"each of {processes} processes gets the same batches from this sampler; pass "
        f"shard='auto' to share them out, or shard=(0, 1) where all are meant to get the same, as "
        f"tensor-parallel peers are"
    )


def warn_of_workers_alike(sampler: Any) -> None:
    """Warn once, in the first of a DataLoader's workers, where each of them iterates the whole of
    this sampler, as an IterableDataset does that holds it."""
    here = get_worker_info()
    if here is None or here.num_workers == 1 or here.id or sampler in _told:
        return
    if sampler.world_size % here.num_workers == 0 or sampler.share_was_said:
        return
    _told.add(sampler)
    frames.warn(
        f"each of {here.num_workers} workers of a DataLoader iterates this sampler and gets the "
        f"same batches; iterate it in the main process, as DataLoader(dataset, "
        f"batch_sampler=sampler), or let each worker iterate sampler.shard(info.id, "
        f"info.num_workers), of info = torch.utils.data.get_worker_info()"
    )


def _refuse_single_indices() -> None:
    raise TypeError(
        "this sampler gives whole batches, and torch's BatchSampler puts batch_size of them into "
        "each of its own, as it does for DataLoader(dataset, sampler=...); give the DataLoader "
        "batch_sampler=sampler, and leave out batch_size"
    )


def _refuse_sharing_out_twice(world_size: int, sharing: Any) -> None:
    processes = frames.number(sharing, "num_processes") or 1
    if world_size > 1 and processes > 1:
        raise RuntimeError(
            f"Accelerate shares out batches over {processes} processes by itself, and this "
            f"sampler is one rank of {world_size} already, so most batches would be left out; "
            f"give accelerator.prepare() the sampler that was not sharded"
        )


def _refuse_skipping_unbroken(who: str) -> None:
    raise RuntimeError(
        f"{who} leaves out the batches of an epoch that are done, and a sampler with unbroken=True "
        f"has no epochs to leave out of; save and load sampler.state_dict() and leave out nothing, "
        f"or make the sampler without unbroken=True"
    )


def _refuse_skips(unbroken: bool, epoch: int, batch: int, frame: FrameType | None) -> None:
    """Accelerate's skip_first_batches leaves out batches of what the sampler yields, so it must
    yield the epoch, from its start, that Accelerate counts. In several processes it hides the
    sampler from set_epoch: SkipBatchSampler over BatchSamplerShard over this sampler."""
    asking: list[Any] = []
    while frame is not None:
        if frames.module(frame) == ACCELERATE:
            asking.append(frames.held(frame, "self"))
        frame = frame.f_back
    skipped = max((frames.number(one, "skip_batches") or 0 for one in asking), default=0)
    if not skipped:
        return
    if unbroken:
        _refuse_skipping_unbroken("Accelerate's skip_first_batches")
    if batch:
        raise RuntimeError(
            f"Accelerate's skip_first_batches leaves out {skipped} batches, and this sampler "
            f"begins at batch {batch} already, so others would be left out; do not load the "
            f"sampler's state where you skip, but call set_epoch({epoch}) of the loader before it"
        )
    counted = [frames.number(one, "iteration") for one in asking]
    told = next((count for count in counted if count is not None), epoch)
    if told != epoch:
        raise RuntimeError(
            f"Accelerate is to go on in epoch {told}, and this sampler in epoch {epoch}, since "
            f"skip_first_batches cannot tell it in several processes; call "
            f"sampler.set_epoch(int(state.epoch)) in on_epoch_begin of a callback of HF Trainer, "
            f"or set_epoch({told}) of the loader before skip_first_batches"
        )


def _refuse_skipping_twice(unbroken: bool, batch: int, skipping: Any) -> None:
    """Ignite's DeterministicEngine leaves out the batches that are done by itself."""
    skipped = frames.number(skipping, "start_iteration")
    if skipped and unbroken:
        _refuse_skipping_unbroken("Ignite's DeterministicEngine")
    if batch and skipped:
        raise RuntimeError(
            f"Ignite's DeterministicEngine leaves out the {skipped} batches that are done by "
            f"itself, and this sampler begins at batch {batch} already, so others would be left "
            f"out; load the engine's state alone, and call sampler.set_epoch() at EPOCH_STARTED"
        )


def _refuse_skipping_iterations(
    sampler: Any, epoch: int, batch: int, loop: FrameType | None
) -> None:
    """mmengine's IterBasedTrainLoop leaves out the batches that are done by itself, too."""
    if loop is None or frames.module(loop) != MMENGINE:
        return
    endless, behind = frames.held(loop, "self"), loop.f_back
    if type(endless).__name__ != "_InfiniteDataloaderIterator" or frames.module(behind) != MMENGINE:
        return
    done = frames.number(frames.held(behind, "self"), "_iter")
    first = frames.number(endless, "_epoch") == 0
    if done and (batch > 0 or (first and epoch * len(sampler) == done)):
        raise RuntimeError(
            f"mmengine's IterBasedTrainLoop leaves out the {done} batches that are done by itself, "
            f"and this sampler begins at batch {batch} of epoch {epoch} already, so others would "
            f"be left out; resume without a hook that loads the sampler's state or sets its epoch"
        )
