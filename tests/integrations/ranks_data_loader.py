"""torch's DataLoader in two processes: who is warned that both train on the same batches."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from items import Items, lists, sampler
from processes import report
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader


def told(use: Callable[[], Any]) -> list[list[str]]:
    """Where it was warned, and of what."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    found = [(warning.filename, str(warning.message)) for warning in caught]
    return [[name, text] for name, text in found if "processes gets" in text]


def epochs(batches: Any, cls: Any = DataLoader, **options: Any) -> None:
    """Two epochs."""
    loader = cls(Items(), batch_sampler=batches, **options)
    lists(loader), lists(loader)


def on_device(batches: Any) -> None:
    list(batches.on_device()), list(batches.on_device())


def shared_out_by_hand() -> None:
    """Whole batches that each rank takes its part of."""
    rank = dist.get_rank()
    assert len([batch for i, batch in enumerate(sampler()) if i % 2 == rank]) == 3


WARNED = {
    "plain": lambda: epochs(sampler()),
    "workers": lambda: epochs(sampler(), num_workers=2),
    "stateful": lambda: epochs(sampler(), StatefulDataLoader),
    "stateful, workers": lambda: epochs(sampler(), StatefulDataLoader, num_workers=2),
    "on_device": lambda: on_device(sampler()),
    "auto before": lambda: epochs(AUTO_BEFORE),
}
QUIET = {
    "auto": lambda: epochs(sampler(shard="auto")),
    "said": lambda: epochs(sampler(shard=(0, 1))),
    "said by shard()": lambda: epochs(sampler().shard(0, 1)),
    "said, on_device": lambda: on_device(sampler(shard=(0, 1))),
    "by hand": shared_out_by_hand,
    "built": lambda: sampler().build(),
}


if __name__ == "__main__":
    world = os.environ.pop("WORLD_SIZE")
    AUTO_BEFORE = sampler(shard="auto")
    os.environ["WORLD_SIZE"] = world
    dist.init_process_group("gloo")
    report({name: told(use) for name, use in (WARNED | QUIET).items()})
    dist.destroy_process_group()
