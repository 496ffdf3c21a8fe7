"""mmengine in one process or two: what a Runner trains on, unbroken and resumed."""

from __future__ import annotations

import sys
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from items import Batches, Items, sampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from processes import report
from torch.utils.data import DataLoader

EPOCHS = 3
NAMES = (f"run {i}" for i in count())


class Model(BaseModel):
    """Lists the indices that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: Batches = []

    def forward(self, index: list[int], mode: str = "tensor") -> dict[str, torch.Tensor]:
        self.trained.append(index)
        return {"loss": self.weight.sum()}


class Place(Hook):
    """Holds the sampler's place in mmengine's checkpoints."""

    def __init__(self, batches: Any):
        self.batches = batches

    def before_train_epoch(self, runner: Runner) -> None:
        self.begun = runner.iter

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        done = checkpoint["meta"]["iter"] - self.begun
        if isinstance(runner.train_loop, IterBasedTrainLoop):  # one epoch to mmengine
            done = (done - 1) % len(self.batches) + 1
        checkpoint["sampler"] = self.batches.state_dict(done=done)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self.batches.load_state_dict(checkpoint["sampler"])


def collated(items: list[int]) -> dict[str, list[int]]:
    return {"index": items}


def from_config() -> dict[str, Any]:
    """A loader as a config of mmengine holds it; sampler is a key that it asks for."""
    batches = sampler(shard="auto")
    options = {"num_workers": 0, "collate_fn": collated}
    return {"dataset": Items(), "sampler": None, "batch_sampler": batches, **options}


def trained(
    folder: str, resume: str | None = None, save: tuple[int, bool] = (1000, True),
    place: bool = False, workers: int = 0, train: Any = None, loader: Any = None,
    set_epoch: bool = True,
) -> Batches:  # fmt: skip
    """What is trained on in all epochs, or after a checkpoint; save: interval, by epoch."""
    batches, model = sampler(shard="auto"), Model()
    distributed = dist.is_initialized()
    options = {"batch_sampler": batches, "num_workers": workers, "collate_fn": collated}
    saving = {"type": "CheckpointHook", "interval": save[0], "by_epoch": save[1]}
    left_out = dict.fromkeys(("logger", "timer", "runtime_info", "param_scheduler"))
    if not set_epoch:
        left_out["sampler_seed"] = None
    runner = Runner(
        MMDistributedDataParallel(model) if distributed else model,
        work_dir=folder,
        train_dataloader=loader or DataLoader(Items(), **options),
        train_cfg=train or {"by_epoch": True, "max_epochs": EPOCHS},
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)),
        default_hooks=left_out | {"checkpoint": saving | {"save_last": False}},
        custom_hooks=[Place(batches)] if place else [],
        launcher="pytorch" if distributed else "none",
        load_from=resume and f"{folder}/{resume}.pth",
        resume=resume is not None,
        experiment_name=next(NAMES),
        log_level="ERROR",
    )
    try:
        runner.train()
    finally:  # ends its workers; collected in a cycle they wait 5 s each
        vars(getattr(runner.train_loop, "dataloader_iterator", runner)).pop("_iterator", None)
    return model.trained


if __name__ == "__main__":
    dist.init_process_group("gloo")
    folder = sys.argv[1]
    found = {
        "epochs": trained(folder, save=(1, True)),
        "epochs, workers": trained(folder, workers=2),
        "epochs, config": trained(folder, loader=from_config()),
        "epoch_2": trained(folder, "epoch_2"),
        "to 4": trained(folder, save=(4, False), place=True),
        "iter_4": trained(folder, "iter_4", place=True),
        "iter_4, workers": trained(folder, "iter_4", place=True, workers=2),
    }
    report(found)
    dist.destroy_process_group()
