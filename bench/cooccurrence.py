"""Which classes meet in a batch: pairs of classes against chance, as Markdown tables.

In kind stratified classes meet by their extras; pairs are held against the maximum-entropy design
(conditional Poisson: the same rates, as many extras in each batch, else by chance) and against
independence. In kind pk against any P of C alike. Batches are taken one a block of 1024 of 20
seeds, or all of one long run. Of more than 1000 classes the first 500 and the last 500 are watched.
Runs for about a minute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpusampler import ClassIndex, PKBatchSampler, SamplerFactory
from gpusampler.stream import StreamBatchSampler

BLOCK = 1024
SEEDS = 20
WATCHED = 1000  # classes whose pairs are counted


@dataclass
class Mix:
    """What is measured: so many blocks with one batch each, and a run of so many whole blocks.

    base, rates  [C] draws that a class has in every batch, and how often it has one more
    watched      the classes whose pairs are counted
    """

    name: str
    sizes: np.ndarray
    batch_size: int
    blocks: int
    run: int
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
        half = WATCHED // 2
        few = np.r_[:half, classes - half : classes]
        self.watched = np.arange(classes) if classes <= WATCHED else few
        self.index = ClassIndex.from_labels(np.repeat(np.arange(classes), self.sizes), device="cpu")
        self.labels = np.repeat(np.arange(classes), self.sizes)

    def sampler(self, seed: int, n_batches: int) -> StreamBatchSampler:
        if self.per_batch:
            each = self.batch_size // self.per_batch
            return PKBatchSampler(
                self.index, self.per_batch, each, n_batches, device="cpu", seed=seed
            )
        return SamplerFactory().get(
            self.index, self.batch_size, n_batches, 0.5, "stratified", device="cpu", seed=seed
        )

    def present(self, batches: np.ndarray) -> np.ndarray:
        """[n, watched] float32: 1 where a class has its extra, or is there at all (pk)."""
        n, classes = len(batches), len(self.sizes)
        column = np.full(classes, len(self.watched))
        column[self.watched] = np.arange(len(self.watched))
        width = len(self.watched) + 1
        cells = column[self.labels[batches]] + np.arange(n)[:, None] * width
        counts = np.bincount(cells.ravel(), minlength=n * width).reshape(n, width)[:, :-1]
        return (counts > self.base[self.watched]).astype(np.float32)


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


def by_chance(rates: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """[watched, watched] how often both of a pair come, in the maximum-entropy design."""
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
    at = which[watched]
    return both[np.ix_(at, at)]


def one_a_block(mix: Mix) -> tuple[np.ndarray, int]:
    """How often each pair met, and in how many batches."""
    met, each = 0, mix.blocks // SEEDS
    for seed in range(SEEDS):
        sampler = mix.sampler(seed, each * BLOCK)
        there = mix.present(sampler.shard(seed, BLOCK).build().numpy())
        met = met + there.T @ there
    return met, each * SEEDS


def long_run(mix: Mix) -> tuple[np.ndarray, int, float, float]:
    """The same of whole blocks; and on average of a block: how many sets of classes its batches
    have, and the share of pairs that met in it."""
    met, sets, ever = 0, [], []
    sampler, pairs = mix.sampler(SEEDS, 1), np.triu_indices(len(mix.watched), 1)
    for j in range(mix.run):
        there = mix.present(sampler.batches(j * BLOCK, BLOCK).numpy())
        both = there.T @ there
        met = met + both
        if j < SEEDS:
            sets.append(len(np.unique(np.packbits(there > 0, axis=1), axis=0)))
            ever.append((both[pairs] > 0).mean())
    return met, mix.run * BLOCK, float(np.mean(sets)), float(np.mean(ever))


def row(mix: Mix, what: str, met: np.ndarray, n: int, due: np.ndarray) -> str:
    pairs = np.triu_indices(len(met), 1)
    ratio = met[pairs] / (n * due[pairs])
    chance = np.sqrt(((1 - due[pairs]) / (n * due[pairs])).mean())
    rates = mix.rates[mix.watched]
    apart = (met[pairs] / (n * np.outer(rates, rates)[pairs])).mean()
    return (
        f"| {mix.name} | {what} | {n:,} | {n * due[pairs].mean():.3g} | {ratio.mean():.4f} "
        f"| {ratio.min():.3f} | {ratio.max():.3f} | {ratio.std():.3f} | {chance:.3f} "
        f"| {apart:.4f} |"
    )


def zipf(classes: int) -> np.ndarray:
    return 20 * classes // np.arange(1, classes + 1)


MIXES = [
    Mix("stratified, C=10 B=16", zipf(10), 16, 40_000, 400),
    Mix("stratified, C=100 B=32", zipf(100), 32, 40_000, 400),
    Mix("stratified, C=1000 B=32", zipf(1000), 32, 20_000, 300),
    Mix("stratified, C=30,000 B=256", zipf(30_000), 256, 3000, 40),
    Mix("pk, P=10 of 100, K=4", zipf(100), 40, 40_000, 100, per_batch=10),
    Mix("pk, P=32 of 1000, K=4", zipf(1000), 128, 20_000, 100, per_batch=32),
]


def main() -> None:
    print("| mix, Zipf at alpha 0.5 | batches | how many | due a pair | mean of ratios to chance "
          "| least | most | deviation | by chance | mean, to independence |")  # fmt: skip
    print("| --- " * 10 + "|")
    of_blocks = []
    for mix in MIXES:
        due = by_chance(mix.rates, mix.watched)
        print(row(mix, "one a block, 20 seeds", *one_a_block(mix), due), flush=True)
        met, n, sets, ever = long_run(mix)
        print(row(mix, "a long run", met, n, due), flush=True)
        fair = (1 - (1 - due) ** BLOCK)[np.triu_indices(len(due), 1)].mean()
        of_blocks.append(f"| {mix.name} | {sets:.0f} | {ever:.3f} | {fair:.3f} |")
    print("\n| a block of 1024 batches | sets of classes | pairs that met | by chance |")
    print("| --- " * 4 + "|", *of_blocks, sep="\n")


if __name__ == "__main__":
    main()
