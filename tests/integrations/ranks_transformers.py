"""HF Trainer in one process or two: what it trains on, unbroken and resumed."""

from __future__ import annotations

import sys
from typing import Any

import torch
from items import Batches, Items, sampler
from processes import report, said
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

EPOCHS = 3


class Model(nn.Module):
    """Lists the indices that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.trained: Batches = []

    def forward(self, index: Tensor) -> dict[str, Tensor]:
        self.trained.append(index.tolist())
        return {"loss": self.weight.sum()}


class Plain(Trainer):
    """A loader that Accelerate is not shown: with a share of each rank's own."""

    loader: Any

    def get_train_dataloader(self) -> DataLoader:
        return self.loader


class Prepared(Plain):
    """Accelerate shares out what the sampler gives."""

    def get_train_dataloader(self) -> DataLoader:
        return self.accelerator.prepare(self.loader)


class Single(Plain):
    """The sampler in the place of the one of single indices."""

    def get_train_dataloader(self) -> DataLoader:
        return Trainer.get_train_dataloader(self)

    def _get_train_sampler(self, *_: Any) -> Any:
        return self.loader.batch_sampler


class SetEpoch(TrainerCallback):
    def __init__(self, batches: Any):
        self.batches = batches

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.batches.set_epoch(int(state.epoch))


def collated(items: list[int]) -> dict[str, Tensor]:
    return {"index": torch.tensor(items)}


def trained(
    folder: str, kind: type[Plain] = Prepared, resume: int | None = None, workers: int = 0,
    set_epoch: bool = True, shard: Any = None, save_steps: int = 1000, **options: Any,
) -> Batches:  # fmt: skip
    """What is trained on in all epochs, or after the checkpoint of a step."""
    arguments = TrainingArguments(
        output_dir=folder, num_train_epochs=EPOCHS, save_steps=save_steps, logging_strategy="no",
        report_to=[], use_cpu=True, disable_tqdm=True, ddp_find_unused_parameters=False, **options,
    )  # fmt: skip
    batches = sampler(shard=shard)
    trainer = kind(
        Model(),
        arguments,
        train_dataset=Items(),
        callbacks=[SetEpoch(batches)] if set_epoch else [],
    )
    trainer.loader = DataLoader(
        Items(), batch_sampler=batches, num_workers=workers, collate_fn=collated
    )
    checkpoint = None if resume is None else f"{folder}/checkpoint-{resume}"
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer.model.trained


def refusal(folder: str, **options: Any) -> str:
    """What is raised."""
    return said(lambda: trained(folder, **options))


if __name__ == "__main__":
    folder = sys.argv[1]
    plain = {"kind": Plain, "shard": "auto"}
    found = {
        "epochs": trained(folder, set_epoch=False, save_steps=2),
        "epochs, workers": trained(folder, set_epoch=False, workers=2),
        "epochs, plain": trained(folder, set_epoch=False, **plain),
        "resumed": [trained(folder, resume=step) for step in (4, 6)],
        "resumed, workers": [trained(folder, resume=step, workers=2) for step in (4, 6)],
        "resumed, plain": [trained(folder, resume=step, **plain) for step in (4, 6)],
        "refusal": refusal(folder, shard="auto"),
        "single": refusal(folder, kind=Single),
        "refusal, workers": refusal(folder, shard="auto", workers=2),
        "lost": refusal(folder, resume=4, set_epoch=False),
        "lost, workers": refusal(folder, resume=4, set_epoch=False, workers=2),
    }
    report(found)
