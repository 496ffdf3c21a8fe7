"""Cost as work grows: ns an index against N, C, B and T, one PNG. Flat lines are the goal."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from conftest import class_sizes
from matplotlib.figure import Figure

from gpusampler import ClassIndex, SamplerFactory

BASE = {"N": 10**6, "C": 100, "B": 1024, "T": 1000}
AXES = {
    "N": [10**4, 10**5, 10**6, 10**7, 10**8],
    "C": [10, 100, 1000, 10**4, 10**5, 10**6],
    "B": [32, 128, 512, 1024, 4096, 16384, 65536],
    "T": [1, 10, 100, 1000, 10_000],
}
TITLES = {"N": "N, samples", "C": "C, classes", "B": "B, batch size", "T": "T, batches built"}
KINDS = {
    "fixed": {"kind": "fixed"},
    "random, counter": {"kind": "random", "class_draw": "counter"},
}
COLOURS = {"fixed": "#0072B2", "random, counter": "#E69F00", "limit": "#666666"}


def median_ns(call, indices: int, seconds: float = 0.7) -> float:
    call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) / indices * 1e9


def cost(size: dict[str, int]) -> dict[str, float]:
    n, c, b, t = size["N"], size["C"], size["B"], size["T"]
    offsets = np.concatenate([[0], np.cumsum(class_sizes(n, c))])
    members = torch.from_numpy(np.random.default_rng(0).integers(0, n, n, dtype=np.int32))
    index = ClassIndex(members, offsets, n, "cpu")
    found = {}
    for name, options in KINDS.items():
        sampler = SamplerFactory().get(index, b, t, 0.5, device="cpu", **options)
        out = sampler.build(max_bytes=1 << 40)
        found[name] = median_ns(lambda s=sampler, o=out: s.build(out=o), b * t)
    data, at = torch.arange(n), torch.empty(b * t, dtype=torch.int64)
    out = torch.empty_like(at)

    def limit() -> None:
        torch.randint(0, n, (b * t,), out=at)
        torch.index_select(data, 0, at, out=out)

    return {**found, "limit": median_ns(limit, b * t)}


def main(path: Path) -> None:
    warnings.simplefilter("ignore")
    figure = Figure(figsize=(14, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).ravel()
    for panel, (axis, values) in zip(panels, AXES.items(), strict=True):
        sizes = [{**BASE, axis: value} for value in values]
        if axis == "B":  # as many indices in each
            sizes = [{**size, "T": max(1, (1 << 20) // size["B"])} for size in sizes]
        if axis == "C":
            sizes = [{**size, "N": 10**7} for size in sizes]
        costs = [cost(size) for size in sizes]
        for name, colour in COLOURS.items():
            style = "--" if name == "limit" else "o-"
            line = [found[name] for found in costs]
            panel.plot(values, line, style, color=colour, label=name)
            print(axis, name, [f"{x:.3g}" for x in line])
        panel.set(xscale="log", yscale="log", xlabel=TITLES[axis], ylabel="ns an index")
        panel.grid(alpha=0.3)
    panels[0].legend()
    fixed = f"elsewhere N={BASE['N']:.0e}, C={BASE['C']}, B={BASE['B']}, T={BASE['T']}; C at N=1e7"
    figure.suptitle(f"Cost of build() on {torch.get_num_threads()} CPU threads ({fixed})")
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "cost.png")
