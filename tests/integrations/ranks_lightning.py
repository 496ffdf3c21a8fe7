"""Lightning in two processes: what Trainer and Fabric train on, and what they refuse.

Each function takes where to run, ALONE or DDP; most give the batches of each epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from items import Batches, Items, lists, sampler
from lightning import Fabric, LightningDataModule, LightningModule, Trainer
from processes import RANKS, report, said
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

Where = dict[str, Any]
ALONE: Where = {"accelerator": "cpu", "devices": 1}
DDP: Where = {"accelerator": "cpu", "devices": RANKS, "strategy": "ddp"}
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
EPOCHS = 3


class Stop(Exception):
    """Ends a run within an epoch."""


class Module(LightningModule):
    """Keeps what it is trained on, by epoch; after `last` batches it saves last.ckpt and stops."""

    def __init__(self, loader: Callable[[], Any] | None = None, last: int = 0):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.loader, self.last = loader, last
        self.trained: list[Batches] = [[] for _ in range(EPOCHS)]

    def train_dataloader(self) -> Any:
        return self.loader()

    def training_step(self, batch: Any, _: int) -> Any:
        self.trained[self.current_epoch].append(batch.tolist())
        return self.layer(torch.ones(1, 1)).sum()

    def on_train_batch_end(self, *_: Any) -> None:
        if sum(map(len, self.trained)) == self.last:
            self.trainer.save_checkpoint("last.ckpt")
            raise Stop

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Exact(Module):
    """With workers: what they were given ahead and nobody trained on, the next epoch is given."""

    def on_train_epoch_end(self) -> None:
        ours = self.trainer.train_dataloader.batch_sampler
        ours.load_state_dict(ours.state_dict(done=int(self.trainer.num_training_batches)))


def loader_of(batches: Any, workers: int = 0, cls: Any = DataLoader) -> Any:
    return cls(Items(), batch_sampler=batches, num_workers=workers)


class Data(LightningDataModule):
    def train_dataloader(self) -> Any:
        return loader_of(sampler())


def fit(where: Where, *given: Any, module: Any = None, path: Any = None, **options: Any) -> Any:
    """What a module is trained on by fit(module, *given); it is saved after the last epoch."""
    module = module or Module()
    trainer = Trainer(**where, **QUIET, **{"max_epochs": EPOCHS, **options})
    trainer.fit(module, *given, ckpt_path=path, weights_only=False if path else None)
    trainer.save_checkpoint("whole.ckpt")
    trainer.train_dataloader._iterator = None  # saved, it began; its workers would wait 5 s each
    return module.trained


def hook(where: Where, loader: Callable[[], Any], **options: Any) -> list[Batches]:
    """The loader is made in train_dataloader()."""
    return fit(where, module=Module(loader), **options)


def resuming(workers: int, cls: Any = StatefulDataLoader, last: int = 0) -> Module:
    """Its sampler begins with the epoch that the trainer begins with."""

    def loader() -> Any:
        batches = sampler()
        batches.set_epoch(module.trainer.fit_loop.epoch_progress.current.processed)
        return loader_of(batches, workers, cls)

    module = Module(loader, last)
    return module


def resumed(where: Where, stops: list[int], workers: int) -> list[list[Batches]]:
    """What each run is trained on: of so many batches each, and then one to the end."""
    found, path = [], None
    for last in [*stops, 0]:
        module = resuming(workers, last=last)
        try:
            fit(where, module=module, path=path)
        except Stop:
            path = "last.ckpt"
        found.append(module.trained)
    return found


def fabric(where: Where, ours: Callable[[], Any], **options: Any) -> list[Batches]:
    """Epochs of a loader that is made and set up within launch()."""

    def train(fabric: Fabric) -> list[Batches]:
        loader = fabric.setup_dataloaders(loader_of(ours()), **options)
        return [lists(loader) for _ in range(EPOCHS)]

    return Fabric(**where).launch(train)


def fabric_resumed(where: Where, ours: Callable[[], Any], **options: Any) -> list[Batches]:
    """Epoch 0, two batches of epoch 1; its rest and epoch 2, by a loader that is loaded."""

    def train(fabric: Fabric) -> list[Batches]:
        first, second = (fabric.setup_dataloaders(loader_of(ours()), **options) for _ in range(2))
        found = [lists(first)]
        batches = iter(first)
        found.append(lists(next(batches) for _ in range(2)))
        fabric.save("fabric.ckpt", {"sampler": first.batch_sampler})
        fabric.load("fabric.ckpt", {"sampler": second.batch_sampler})
        return [*found, lists(second), lists(second)]

    return Fabric(**where).launch(train)


def fabric_outside(where: Where, ours: Any, **options: Any) -> list[Batches]:
    fabric = Fabric(**where)
    fabric.launch()
    loader = fabric.setup_dataloaders(loader_of(ours), **options)
    return [lists(loader) for _ in range(EPOCHS)]


def changed() -> Any:
    """A sampler whose class mix was changed since it was made."""
    ours = sampler()
    ours.set_weights([0, 1, 1])
    return ours


def kept(where: Where) -> list[str]:
    """What is said where the sampler that a hook made is used after it."""
    ours = []

    def loader() -> Any:
        ours.append(sampler())
        return loader_of(ours[0])

    hook(where, loader)
    uses = [
        lambda: ours[0].set_weights([0, 1, 1]),
        lambda: ours[0].set_epoch(1),
        lambda: ours[0].load_state_dict(sampler().state_dict()),
        lambda: ours[0].state_dict(),
        lambda: list(ours[0]),
    ]
    return [said(use) for use in uses]


def cut_short(where: Where, workers: int = 0, cls: Any = DataLoader) -> list[Batches]:
    """Epochs of two batches each, of an unbroken sampler."""
    kind = Exact if workers else Module
    module = kind(lambda: loader_of(sampler(unbroken=True), workers, cls))
    return fit(where, module=module, limit_train_batches=2)


CUT: dict[str, Callable[[Where], list[Batches]]] = {
    "alone": cut_short,
    "stateful": lambda where: cut_short(where, cls=StatefulDataLoader),
    "workers": lambda where: cut_short(where, 2),
    "stateful, workers": lambda where: cut_short(where, 2, StatefulDataLoader),
}
OFF = {"use_distributed_sampler": False}
TRAINED: dict[str, Callable[[Where], list[Batches]]] = {
    "hook": lambda where: hook(where, lambda: loader_of(sampler())),
    "hook, workers": lambda where: hook(where, lambda: loader_of(sampler(), 2)),
    "hook, stateful": lambda where: hook(
        where, lambda: loader_of(sampler(), cls=StatefulDataLoader)
    ),
    "hook, shard=": lambda where: hook(where, lambda: loader_of(sampler(shard="auto"))),
    "hook, shard()": lambda where: hook(where, lambda: loader_of(sampler().shard("auto"))),
    "hook, off": lambda where: hook(where, lambda: loader_of(sampler().shard("auto")), **OFF),
    "data module": lambda where: fit(where, Data()),
    "outside, off": lambda where: fit(where, loader_of(sampler().shard("auto")), **OFF),
    "fabric": lambda where: fabric(where, sampler),
    "fabric, off": lambda where: fabric(where, lambda: sampler(shard="auto"), **OFF),
    "fabric, outside, off": lambda where: fabric_outside(where, sampler().shard("auto"), **OFF),
}
CHANGED = {
    "hook": lambda where: hook(where, lambda: loader_of(changed())),
    "fabric": lambda where: fabric(where, changed),
}
FABRIC_RESUMED = {
    "on": lambda where: fabric_resumed(where, sampler),
    "off": lambda where: fabric_resumed(where, lambda: sampler(shard="auto"), **OFF),
}
MADE_OUTSIDE = sampler()
OUTSIDE = {
    "loader": lambda where: fit(where, loader_of(sampler())),
    "sampler": lambda where: hook(where, lambda: loader_of(MADE_OUTSIDE)),
    "fabric": lambda where: fabric_outside(where, sampler()),
}


def single() -> Any:
    return DataLoader(Items(), sampler=sampler(), batch_size=2)


def fabric_single(where: Where) -> list[Batches]:
    def train(fabric: Fabric) -> list[Batches]:
        return lists(fabric.setup_dataloaders(single()))

    return Fabric(**where).launch(train)


SINGLE = {
    "hook": lambda where: hook(where, single),
    "hook, off": lambda where: hook(where, single, **OFF),
    "outside": lambda where: fit(where, single()),
    "fabric": fabric_single,
}


if __name__ == "__main__":
    report(
        {
            "outside": {name: said(lambda run=run: run(DDP)) for name, run in OUTSIDE.items()},
            "trained": {name: run(DDP) for name, run in TRAINED.items()},
            "changed": {name: run(DDP) for name, run in CHANGED.items()},
            "fabric resumed": {name: run(DDP) for name, run in FABRIC_RESUMED.items()},
            "resumed": [resumed(DDP, [1, 4], workers) for workers in (0, 2)],
            "cut short": {name: run(DDP) for name, run in CUT.items()},
            "kept": kept(DDP),
            "single": {name: said(lambda run=run: run(DDP)) for name, run in SINGLE.items()},
        }
    )
