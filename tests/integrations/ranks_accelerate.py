"""Accelerate in two processes: what each is given, and what it resumes with."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration
from items import Batches, Items, lists, sampler
from processes import report, said
from torch.utils.data import DataLoader


def prepared(batches: Any, workers: int = 0, **options: Any) -> tuple[Accelerator, Any]:
    """A new accelerator, and the loader that it prepared; options of DataLoaderConfiguration."""
    AcceleratorState._reset_state(False)
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
    loader = DataLoader(Items(), batch_sampler=batches, num_workers=workers)
    return accelerator, accelerator.prepare(loader)


def epochs(**options: Any) -> list[Batches]:
    """Epochs 0, 1 and, after set_epoch, 7."""
    _, loader = prepared(sampler(), **options)
    found = [lists(loader), lists(loader)]
    loader.set_epoch(7)
    return [*found, lists(loader)]


def skipped(done: int, workers: int) -> list[Batches]:
    """Epoch 3 without its first batches, and epoch 4."""
    accelerator, loader = prepared(sampler(), workers)
    loader.set_epoch(3)
    rest = lists(accelerator.skip_first_batches(loader, done))
    loader.set_epoch(4)
    return [rest, lists(loader)]


def saved_and_resumed(done: int, workers: int, folder: str) -> list[Batches]:
    """Epoch 2 up to a save_state(); its rest and epoch 3, after load_state()."""
    start = sampler()
    start.set_epoch(2)
    accelerator, loader = prepared(start, workers, use_stateful_dataloader=True)
    loader.set_epoch(2)
    batches = iter(loader)
    first = lists(next(batches) for _ in range(done))
    accelerator.save_state(folder)
    accelerator.wait_for_everyone()  # each process writes the one file of the loader's state
    accelerator, loader = prepared(sampler(), workers, use_stateful_dataloader=True)
    accelerator.load_state(folder)
    found = [first]
    for epoch in (2, 3):
        loader.set_epoch(epoch)
        found.append(lists(loader))
    return found


def skipped_twice(folder: str) -> str:
    """What is raised where the sampler was loaded, and batches are skipped as well."""
    start = sampler()
    accelerator, loader = prepared(start)
    accelerator.register_for_checkpointing(start)
    loader.set_epoch(3)
    next(iter(loader))
    accelerator.save_state(folder)
    accelerator.wait_for_everyone()
    again = sampler()
    accelerator, loader = prepared(again)
    accelerator.register_for_checkpointing(again)
    accelerator.load_state(folder)
    loader.set_epoch(3)
    rest = accelerator.skip_first_batches(loader, 1)
    return said(lambda: lists(rest))


def refusal(**options: Any) -> str:
    """What is raised where each rank gives its own share."""
    rank = AcceleratorState().process_index
    _, loader = prepared(sampler(shard=(rank, 2)), **options)
    return said(lambda: lists(loader))


def single(**options: Any) -> str:
    """What is raised where the sampler is given in the place of one of single indices."""
    AcceleratorState._reset_state(False)
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
    loader = accelerator.prepare(DataLoader(Items(), sampler=sampler(), batch_size=2))
    return said(lambda: lists(loader))


if __name__ == "__main__":
    found = {
        "epochs": epochs(),
        "epochs, workers": epochs(workers=2),
        "epochs, dispatched": epochs(dispatch_batches=True),
        "epochs, split": epochs(split_batches=True),
        "skipped": skipped(1, 0),
        "skipped, workers": skipped(1, 2),
        "resumed": saved_and_resumed(1, 0, "saved"),
        "resumed, workers": saved_and_resumed(1, 2, "saved with workers"),
        "skipped twice": skipped_twice("registered"),
        "refusal": refusal(),
        "refusal, workers": refusal(workers=2),
        "refusal, split": refusal(split_batches=True),
        "refusal, dispatched": refusal(dispatch_batches=True),
        "single": single(),
        "single, stateful": single(use_stateful_dataloader=True),
    }
    report(found)
    Accelerator().end_training()
