"""Benchmarks: what they share, and the table they leave in bench/RESULTS.md.

Each benchmark says in extra_info: indices (per call), rival with ratio, or with against (the test
whose median its own is divided by), and target (the ratio asked for) where there is one.
"""

from __future__ import annotations

import os
import platform
import re
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from gpusampler import ClassIndex

RESULTS = Path(__file__).parent / "RESULTS.md"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def class_sizes(n: int, c: int) -> np.ndarray:
    """Sizes that fall as 1/sqrt(rank), n in all."""
    share = 1 / np.sqrt(np.arange(1, c + 1))
    sizes = np.maximum(1, (share / share.sum() * n).astype(np.int64))
    sizes[0] += n - sizes.sum()
    return sizes


@lru_cache(maxsize=1)
def shuffled_index(n: int, c: int) -> ClassIndex:
    """A dataset of n samples in random order."""
    labels = np.repeat(np.arange(c, dtype=np.int32), class_sizes(n, c))
    np.random.default_rng(0).shuffle(labels)
    return ClassIndex.from_labels(labels, device=DEVICE)


def machine() -> str:
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    return f"{os.cpu_count()} cores of {model}"


def rows(benchmarks) -> list[str]:
    median = {b.name: b.stats.median / b.extra_info["repeat"] for b in benchmarks}
    lines = []
    for group in dict.fromkeys(b.group for b in benchmarks):
        lines += ["", f"### {group}", "", "| what | median | ns an index | ratio | asked |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for b in (b for b in benchmarks if b.group == group):
            info = b.extra_info
            took = median[b.name]
            each = f"{took / info['indices'] * 1e9:.3g}" if "indices" in info else ""
            ratio = info.get("ratio")
            if ratio is None and info.get("against") in median:
                ratio = took / median[info["against"]]
            ratio = "" if ratio is None else f"{ratio:.2f} of {info['rival']}"
            cells = [info["what"], f"{took * 1e3:.4g} ms", each, ratio, info.get("target", "")]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def pytest_sessionfinish(session) -> None:
    found = getattr(session.config, "_benchmarksession", None)
    done = [b for b in found.benchmarks if not b.has_error] if found else []
    done = [b for b in done if "what" in b.extra_info]
    if not done or not session.config.getoption("--write-results"):
        return
    title = f"## {machine()}"
    versions = f"torch {torch.__version__}"
    where = f"{versions}, Python {platform.python_version()}; {torch.get_num_threads()} threads."
    text = "\n".join([title, "", where, *rows(done)])
    write_section(text)


def write_section(text: str) -> None:
    """Put a section, or put it in place of the one with its title, and print it."""
    title = text.splitlines()[0]
    old = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    parts = [part.rstrip() for part in re.split(r"(?m)^(?=## )", old)]
    kept = [part for part in parts if part.splitlines()[0] != title]
    RESULTS.write_text("\n\n".join([*kept, text]) + "\n")
    print("\n" + text)


def pytest_addoption(parser) -> None:
    parser.addoption("--write-results", action="store_true", help="write bench/RESULTS.md")


@pytest.fixture
def measure(benchmark):
    """measure(what, call, indices=..., rival=..., beside=..., target=...): time it, median.

    beside is the rival's call: the two are then run in turn, and the median of the ratios pair by
    pair is kept, which holds where the machine's speed drifts. On CUDA ten calls are under way at
    once, as in a loop that does not wait for each.
    """
    repeat = 10 if DEVICE.type == "cuda" else 1

    def timed(call) -> float:
        begin = time.perf_counter()
        for _ in range(repeat):
            call()
        wait()
        return time.perf_counter() - begin

    def run(what, call, rounds=15, beside=None, **info):
        benchmark.extra_info.update(what=what, repeat=repeat, **info)
        benchmark.pedantic(lambda: timed(call), rounds=rounds, warmup_rounds=2)
        if beside is not None:
            timed(beside)
            ratios = [timed(call) / timed(beside) for _ in range(rounds)]
            benchmark.extra_info["ratio"] = float(np.median(ratios))

    return run
