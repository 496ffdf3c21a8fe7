"""Which classes meet in a batch: pairs of classes against chance: a section of bench/RESULTS.md.

In kind stratified classes meet by their extras; pairs are held against the maximum-entropy design
(conditional Poisson: the same rates, as many extras in each batch, else by chance) and against
independence. In kind pk against any P of C alike. All batches of one long run are counted.
Runs for less than a minute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from conftest import write_section

from gpusampler import ClassIndex, PKBatchSampler, SamplerFactory
from gpusampler.stream.sampler import StreamBatchSampler

BLOCK = 1024  # batches
LOOKED_AT = 20  # blocks
OFTEN = 10  # times that a pair was due, to be one that should have met


@dataclass
class Mix:
    """What is measured, in a run of so many blocks.

    base, rates  [C] draws that a class has in every batch, and how often it has one more
    """

    name: str
    sizes: np.ndarray
    batch_size: int
    blocks: int
    per_batch: int | None = None  # P of kind pk

    def __post_init__(self) -> None:
        classes, total = len(self.sizes), int(self.sizes.sum())
        if self.per_batch:
            self.base = np.zeros(classes, np.int64)
            self.rates = np.full(classes, self.per_batch / classes)
        else:  # alpha 0.5: w_c = M + C * n_c of 2 * C * M
            due = [self.batch_size * (total + classes * n) for n in self.sizes.tolist()]
            self.base = np.array([x // (2 * classes * total) for x in due])
            self.rates = np.array([x % (2 * classes * total) / (2 * classes * total) for x in due])
        self.labels = np.repeat(np.arange(classes), self.sizes)

    def sampler(self) -> StreamBatchSampler:
        index = ClassIndex.from_labels(self.labels, device="cpu")
        if self.per_batch:
            each = self.batch_size // self.per_batch
            return PKBatchSampler(index, self.per_batch, each, 1, device="cpu", seed=20)
        return SamplerFactory().get(
            index, self.batch_size, 1, 0.5, "stratified", device="cpu", seed=20
        )

    def present(self, batches: np.ndarray) -> np.ndarray:
        """[n, C] float32: 1 where a class has its extra, or is there at all (pk)."""
        n, classes = len(batches), len(self.sizes)
        cells = self.labels[batches] + np.arange(n)[:, None] * classes
        counts = np.bincount(cells.ravel(), minlength=n * classes).reshape(n, classes)
        return (counts > self.base).astype(np.float32)


def working_rates(rates: np.ndarray, times: np.ndarray, rounds: int = 200) -> np.ndarray:
    """Rates of independent trials that, given how many succeed, succeed at `rates`.

    times: how many classes have each rate. Found by iteration (Chen, Dempster and Liu 1994).
    """
    total = round(float(rates @ times))
    points = min(int(times.sum()), 4 * total + 200) | 1
    z = np.exp(2j * np.pi * np.arange(points) / points)
    odds, p = np.log(rates / (1 - rates)), rates.copy()
    for _ in range(rounds):
        one = 1 - p[:, None] + p[:, None] * z
        # log of the others' transform: no underflow, whatever their number
        of_all = times @ np.log(one)
        all_of = (np.exp(of_all) * z**-total).sum().real
        others = (np.exp(of_all - np.log(one)) * z ** -(total - 1)).sum(axis=1).real
        found = p * others / all_of
        if abs(found - rates).max() < 1e-13:
            break
        p = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + odds - np.log(found / (1 - found)))))
    return p


def by_chance(rates: np.ndarray) -> np.ndarray:
    """[C, C] how often both of a pair come, in the maximum-entropy design."""
    distinct, which, times = np.unique(np.round(rates, 14), return_inverse=True, return_counts=True)
    total = round(float(rates.sum()))
    if len(distinct) == 1:
        n = len(rates)
        both = np.full((1, 1), total * (total - 1) / (n * (n - 1)))
    else:
        p = working_rates(distinct, times)
        w = p / (1 - p)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = (distinct[:, None] * w - distinct * w[:, None]) / (w - w[:, None])
        np.fill_diagonal(both, 0)
        own = (total - 1) * distinct - both @ times
        np.fill_diagonal(both, own / np.maximum(times - 1, 1))
    return both[np.ix_(which, which)]


def long_run(mix: Mix) -> tuple[np.ndarray, float, float]:
    """How often each pair met; and on average of a block: how many sets of classes its batches
    have, and the share of pairs that met in it."""
    sampler, pairs = mix.sampler(), np.triu_indices(len(mix.sizes), 1)
    met, sets, ever = np.zeros(0), [], []
    for j in range(mix.blocks):
        there = mix.present(sampler.batches(j * BLOCK, BLOCK).numpy())
        both = there.T @ there
        met = both.astype(np.float64) if j == 0 else met + both
        if j < LOOKED_AT:
            sets.append(len(np.unique(np.packbits(there > 0, axis=1), axis=0)))
            ever.append((both[pairs] > 0).mean())
    return met[pairs], float(np.mean(sets)), float(np.mean(ever))


def row(mix: Mix, met: np.ndarray, both: np.ndarray) -> str:
    """both: how often a pair comes in a batch by chance."""
    n, independent = mix.blocks * BLOCK, np.outer(mix.rates, mix.rates)
    independent = n * independent[np.triu_indices(len(mix.rates), 1)]
    due = n * both
    ratio, chance = met / due, np.sqrt(((1 - both) / due).mean())
    often = due >= OFTEN
    never = f"{(met[often] == 0).mean():.3f}" if often.any() else "-"
    return (
        f"| {mix.name} | {n:,} | {due.mean():.3g} | {ratio.mean():.4f} | {ratio.min():.3f} "
        f"| {ratio.max():.3f} | {ratio.std():.3f} | {chance:.3f} "
        f"| {(met / independent).mean():.4f} | {never} |"
    )


def zipf(classes: int) -> np.ndarray:
    return 20 * classes // np.arange(1, classes + 1)


def alike(classes: int) -> np.ndarray:
    return np.full(classes, 3)


MIXES = [
    Mix("stratified, Zipf, C=10 B=16", zipf(10), 16, 200),
    Mix("stratified, Zipf, C=100 B=32", zipf(100), 32, 200),
    Mix("stratified, Zipf, C=1000 B=32", zipf(1000), 32, 200),
    Mix("stratified, alike, C=64 B=8", alike(64), 8, 200),
    Mix("stratified, alike, C=1000 B=32", alike(1000), 32, 200),
    Mix("pk, P=10 of 100, K=4", zipf(100), 40, 100, per_batch=10),
    Mix("pk, P=32 of 1000, K=4", zipf(1000), 128, 50, per_batch=32),
]


def main() -> None:
    pairs = [
        "| mix, at alpha 0.5 | batches | due a pair | mean of ratios to chance | least | most "
        "| deviation | by chance | mean, to independence | never met, of pairs due 10 times |",
        "| --- " * 10 + "|",
    ]
    of_blocks = [
        "| a block of 1024 batches | sets of classes | pairs that met | by chance |",
        "| --- " * 4 + "|",
    ]
    for mix in MIXES:
        both = by_chance(mix.rates)[np.triu_indices(len(mix.rates), 1)]
        met, sets, ever = long_run(mix)
        pairs.append(row(mix, met, both))
        fair = (1 - (1 - both) ** BLOCK).mean()
        of_blocks.append(f"| {mix.name} | {sets:.0f} | {ever:.3f} | {fair:.3f} |")
    head = [
        "## Who meets whom",
        "",
        "How often two classes are in a batch by their extras (`bench/cooccurrence.py`), against",
        "chance: the maximum-entropy design of the same rates. In kind stratified classes that",
        "together have at most one extra a batch may be in one group, and never meet; a few pairs",
        "of nearly the same share keep step, and meet more often. Where all are alike, groups are",
        "formed anew after 256 batches or more, and all meet as by chance.",
        "",
    ]
    write_section("\n".join([*head, *pairs, "", *of_blocks]))


if __name__ == "__main__":
    main()
