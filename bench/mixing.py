"""Mixing corpora for pre-training: kind stratified beside greedy blending, as Megatron does it.

Corpora whose sizes fall as the frequencies of English words (wordfreq) are mixed at a temperature;
10^8 samples. How long until the first batch, and until all; and how far the mix is from its target,
max |count - expected| over corpora, at the end of every batch and, for greedy, after every sample.
Writes a section of bench/RESULTS.md. Takes about five minutes.
"""

from __future__ import annotations

import time
from itertools import accumulate, pairwise

import numpy as np
import wordfreq
from conftest import machine, write_section
from numba import njit

from gpusampler import ClassIndex, SamplerFactory
from gpusampler.stream.sampler import StreamBatchSampler

SAMPLES = 100_000_000
BATCH = 1024
BATCHES = -(-SAMPLES // BATCH)
DOCUMENTS = 100_000_000
ALPHA = 0.7  # shares as size^0.3
CORPORA = (100, 1000)


@njit(nogil=True, cache=True)
def greedy(dataset, sample, weights):
    """For each sample the dataset that is furthest behind its weight, and which of its samples.

    After build_blending_indices of Megatron-LM (megatron/core/datasets/helpers.cpp), written anew.
    """
    taken = np.zeros(len(weights), np.int64)
    for i in range(len(dataset)):
        so_far = max(float(i), 1.0)
        behind, most = 0, weights[0] * so_far - taken[0]
        for d in range(1, len(weights)):
            error = weights[d] * so_far - taken[d]
            if error > most:
                behind, most = d, error
        dataset[i], sample[i] = behind, taken[behind]
        taken[behind] += 1


@njit(nogil=True, cache=True)
def follow(corpus, first, weights, counts, worst):
    """Count samples first, first + 1, ... ; worst: after any sample so far, after any batch."""
    for i in range(len(corpus)):
        n, c = first + i, corpus[i]
        worst[0] = max(worst[0], weights[c] * n - counts[c])
        counts[c] += 1
        worst[0] = max(worst[0], counts[c] - weights[c] * (n + 1))
        if (n + 1) % BATCH == 0:
            for d in range(len(weights)):
                worst[1] = max(worst[1], abs(counts[d] - weights[d] * (n + 1)))


def sizes_of(corpora: int) -> np.ndarray:
    """Documents of each corpus, in proportion to the frequency of a word."""
    words = wordfreq.top_n_list("en", corpora)
    share = np.array([wordfreq.word_frequency(word, "en") for word in words])
    return np.maximum(1, share / share.sum() * DOCUMENTS).astype(np.int64)


def sampler_of(sizes: np.ndarray) -> StreamBatchSampler:
    ends = accumulate(sizes.tolist(), initial=0)
    index = ClassIndex.from_class_idxs([range(a, b) for a, b in pairwise(ends)], device="cpu")
    return SamplerFactory().get(index, BATCH, BATCHES, ALPHA, "stratified", weighting="power")


def blended(weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds that greedy takes, and (worst after any sample, worst after any batch)."""
    dataset, sample = np.empty(BATCHES * BATCH, np.int16), np.empty(BATCHES * BATCH, np.int64)
    begin = time.perf_counter()
    greedy(dataset, sample, weights)
    took, worst = time.perf_counter() - begin, np.zeros(2)
    follow(dataset, 0, weights, np.zeros(len(weights)), worst)
    return took, worst


def streamed(sizes: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Seconds until the first batch and until all; how far off after any batch."""
    begin = time.perf_counter()
    sampler = sampler_of(sizes)
    sampler.batch(0)
    first, total = time.perf_counter() - begin, 0.0
    weights = sampler.class_counts.numpy() / sampler.class_counts.sum().item()
    corpus, counts = np.repeat(np.arange(len(sizes)), sizes), np.zeros(len(sizes))
    worst, each = np.zeros(2), 2000
    for g in range(0, BATCHES, each):
        begin = time.perf_counter()
        batches = sampler.batches(g, min(each, BATCHES - g))
        total += time.perf_counter() - begin
        follow(corpus[batches.numpy().ravel()], g * BATCH, weights, counts, worst)
    assert worst[1] <= sampler.count_bounds.max()
    return first, first + total, worst


def cost_is_datasets_times_samples() -> float:
    """Seconds for 8 times as many datasets over those for as many samples: about 8, if so."""
    took = []
    for corpora in (250, 2000):
        weights = np.full(corpora, 1 / corpora)
        dataset, sample = np.empty(100_000, np.int16), np.empty(100_000, np.int64)
        begin = time.perf_counter()
        greedy(dataset, sample, weights)
        took.append(time.perf_counter() - begin)
        assert np.bincount(dataset).tolist() == [100_000 // corpora] * corpora
    return took[1] / took[0]


def main() -> None:
    greedy(np.empty(4, np.int16), np.empty(4, np.int64), np.full(2, 0.5))  # both are compiled
    sampler_of(np.array([5, 3, 2])).batch(0)
    times = cost_is_datasets_times_samples()
    lines = [
        f"## Mixing corpora, {machine()}",
        "",
        f"{SAMPLES:.0e} samples in batches of {BATCH}, from corpora of {DOCUMENTS:.0e} documents,",
        "sizes as word frequencies, shares as size^0.3 (`bench/mixing.py`). Off: the most that a",
        "count is from its due, over corpora, at the end of any batch (greedy also after any",
        "sample). Greedy gives the number of a sample in its corpus; stratified the sample itself,",
        "shuffled.",
        f"Of 8 times the corpora, greedy took {times:.1f} times as long.",
        "",
        "| corpora | what | first batch | all | off | of greedy's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for corpora in CORPORA:
        sizes = sizes_of(corpora)
        counts = sampler_of(sizes).class_counts.numpy()
        took, by_greedy = blended(counts / counts.sum())
        first, total, off = streamed(sizes)
        lines += [
            f"| {corpora} | greedy | {took:.1f} s | {took:.1f} s "
            f"| {by_greedy[1]:.2f} ({by_greedy[0]:.2f}) | |",
            f"| {corpora} | gpusampler stratified | {first * 1e3:.0f} ms | {total:.1f} s "
            f"| {off[1]:.2f} | {off[1] / by_greedy[1]:.2f} (asked: <= 2) |",
        ]
    write_section("\n".join(lines))


if __name__ == "__main__":
    main()
