"""Does one batch cost the same wherever it is, and however large the dataset is?"""

from itertools import count

import numpy as np
import pytest
import torch
from conftest import DEVICE, class_sizes

from gpusampler import ClassIndex, SamplerFactory

CASES = {  # N, C, g, against, asked
    "N=1e4 C=10 g=0": (10**4, 10, 0, None, ""),
    "N=1e4 C=10 g=1e12": (10**4, 10, 10**12, "N=1e4 C=10 g=0", "<= 1.5"),
    "N=1e8 C=10 g=0": (10**8, 10, 0, "N=1e4 C=10 g=0", "<= 1.5"),
    "N=1e8 C=10 g=1e12": (10**8, 10, 10**12, "N=1e4 C=10 g=0", "<= 1.5"),
    "N=1e8 C=1e6 g=0": (10**8, 10**6, 0, "N=1e8 C=10 g=0", "<= 2"),
}


def caller(kind, name):
    """A call that builds the next batch, from this case's g on."""
    n, c, g, *_ = CASES[name]
    offsets = np.concatenate([[0], np.cumsum(class_sizes(n, c))])
    index = ClassIndex(torch.from_numpy(np.arange(n, dtype=np.int32)), offsets, n, DEVICE)
    more = {"kind": "random", "class_draw": "counter"} if kind == "counter" else {"kind": kind}
    sampler = SamplerFactory().get(index, 1024, 1000, 0.5, device=DEVICE, **more)
    assert torch.equal(sampler.batch(g), sampler.batches(g, 2)[0])
    numbers = count(g)
    return lambda: sampler.batch(next(numbers))


@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["fixed", "stratified", "counter"])
def test_batch(measure, benchmark, kind, name):
    benchmark.group = f"batch(g), {kind}, B=1024"
    _, c, _, rival, target = CASES[name]
    if kind == "stratified" and c == 10**6:
        target = ""  # O(log C) steps for each extra, through tables that no cache holds
    info = {"beside": caller(kind, rival), "rival": rival, "target": target} if rival else {}
    measure(name, caller(kind, name), rounds=500, indices=1024, **info)
