"""Ignite in one process or two: what an engine trains on, unbroken and resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import DeterministicEngine, Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from items import Batches, Items, sampler
from processes import report, said
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

EPOCHS = 3


class Run:
    """An engine over this rank's share, what it has trained on, and what it is saved as."""

    def __init__(self, kind: type[Engine] = Engine, loader: Any = DataLoader, workers: int = 0):
        self.sampler = sampler(shard="auto")
        self.loader = loader(Items(), batch_sampler=self.sampler, num_workers=workers)
        self.trained: Batches = []
        self.begun = 0
        self.engine = kind(lambda engine, batch: self.trained.append(batch.tolist()))
        self.engine.add_event_handler(Events.EPOCH_STARTED, self.begin)

    def begin(self, engine: Engine) -> None:
        self.sampler.set_epoch(engine.state.epoch - 1)
        self.begun = engine.state.iteration

    def go(self, stop: int | None = None) -> Batches:
        if stop is not None:
            once = Events.ITERATION_COMPLETED(once=stop)
            self.engine.add_event_handler(once, self.engine.terminate)
        self.engine.run(self.loader, max_epochs=EPOCHS)
        self.loader._iterator = None  # ends its workers; collected in a cycle they wait 5 s each
        return self.trained

    def parts(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


def epochs(kind: type[Engine] = Engine, workers: int = 0) -> Batches:
    return Run(kind, workers=workers).go()


def epochs_of_auto_dataloader() -> Batches:
    run = Run()
    run.loader = idist.auto_dataloader(Items(), batch_sampler=run.sampler)
    return run.go()


def single() -> str:
    """What is said where the sampler is given in the place of one of single indices."""
    size = 2 * idist.get_world_size()
    loader = idist.auto_dataloader(Items(), sampler=sampler(), batch_size=size)
    return said(lambda: list(loader))


def epochs_of(length: int) -> Batches:
    """Epochs of so many batches, set_epoch() left out."""
    trained: Batches = []
    engine = Engine(lambda engine, batch: trained.append(batch.tolist()))
    loader = DataLoader(Items(), batch_sampler=sampler(shard="auto"))
    engine.run(loader, max_epochs=EPOCHS, epoch_length=length)
    return trained


def from_epoch(first: int) -> Batches:
    """From an epoch that the engine was told, and the sampler was not."""
    run = Run()
    length = len(run.loader)
    run.engine.load_state_dict({"epoch": first, "max_epochs": EPOCHS, "epoch_length": length})
    return run.go()


def resumed(stop: int, folder: str, saved: tuple[str, ...], **options: Any) -> list[Batches]:
    """Up to a Checkpoint of these parts of a run; its rest."""
    first, file = up_to_checkpoint(stop, folder, saved, **options)
    idist.barrier()
    run = Run(**options)
    Checkpoint.load_objects(run.parts(*saved), torch.load(file, weights_only=False))
    return [first, run.go()]


def up_to_checkpoint(
    stop: int, folder: str, saved: tuple[str, ...], **options: Any
) -> tuple[Batches, Path]:
    run = Run(**options)
    checkpoint = Checkpoint(run.parts(*saved), DiskSaver(folder, require_empty=False))
    run.engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), checkpoint)
    return run.go(stop), Path(folder) / str(checkpoint.last_checkpoint)


def resumed_by_done(stops: list[int], workers: int) -> list[Batches]:
    """Up to each stop, and the rest; the sampler's state is of the batches done."""
    found, state = [], None
    for stop in [*stops, None]:
        trained, state = part(state, stop, workers)
        found.append(trained)
    return found


def part(state: Any, stop: int | None, workers: int) -> tuple[Batches, Any]:
    run = Run(workers=workers)
    if state is not None:
        run.engine.load_state_dict(state["engine"])
        run.sampler.load_state_dict(state["sampler"])
    trained = run.go(stop)
    done = run.engine.state.iteration - run.begun
    state = {"engine": run.engine.state_dict(), "sampler": run.sampler.state_dict(done=done)}
    return trained, state


if __name__ == "__main__":
    idist.initialize("gloo")
    folder = sys.argv[1]
    loader = {"saved": ("engine", "loader"), "loader": StatefulDataLoader, "workers": 2}
    found = {
        "epochs": epochs(),
        "epochs, workers": epochs(workers=2),
        "epochs, deterministic": epochs(DeterministicEngine),
        "epochs, auto_dataloader": epochs_of_auto_dataloader(),
        "from epoch": from_epoch(1),
        "single": single(),
        "sampler": resumed(4, folder, ("engine", "sampler")),
        "loader": resumed(4, folder, **loader),
        "deterministic": resumed(4, folder, ("engine",), kind=DeterministicEngine),
        "done": resumed_by_done([4], 2),
    }
    report(found)
    idist.finalize()
