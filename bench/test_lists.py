"""How fast do lists of indices come, as a DataLoader takes them, beside other libraries?

Each rival gives 100 batches of 1024 from 1e6 samples in 100 classes, as balanced as it can.
"""

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
from conftest import DEVICE, class_sizes
from torch.utils.data import BatchSampler, TensorDataset, WeightedRandomSampler

from gpusampler import ClassIndex, SamplerFactory

N, C, BATCH, BATCHES = 10**6, 100, 1024, 100
pytestmark = [
    pytest.mark.skipif(DEVICE.type != "cpu", reason="lists are made on the host"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def labels():
    found = np.repeat(np.arange(C), class_sizes(N, C))
    np.random.default_rng(0).shuffle(found)
    return found


def sample_weights(labels):
    return torch.from_numpy(1.0 / np.bincount(labels)[labels])


def make(what, labels):
    index = ClassIndex.from_labels(labels)
    if what in ("fixed", "counter"):
        kind = {"kind": "fixed"} if what == "fixed" else {"kind": "random", "class_draw": "counter"}
        return SamplerFactory().get(index, BATCH, BATCHES, 1.0, device="cpu", **kind)
    if what == "torch":
        rows = WeightedRandomSampler(sample_weights(labels), BATCH * BATCHES)
        return BatchSampler(rows, BATCH, True)
    if what == "torchsampler":
        if importlib.util.find_spec("torchvision") is None:  # it only asks what a dataset is
            sys.modules["torchvision"] = types.ModuleType("torchvision")
        module = pytest.importorskip("torchsampler")
        data = TensorDataset(torch.zeros(N, 1), torch.from_numpy(labels))
        rows = module.ImbalancedDatasetSampler(
            data, labels=labels.tolist(), num_samples=BATCH * BATCHES
        )
        return BatchSampler(rows, BATCH, True)
    if what == "m-per-class":
        module = pytest.importorskip("pytorch_metric_learning.samplers")
        rows = module.MPerClassSampler(labels, 16, BATCH, BATCH * BATCHES)
        return BatchSampler(rows, BATCH, True)
    module = pytest.importorskip("pytorch_balanced_sampler")
    groups = [np.flatnonzero(labels == c).tolist() for c in range(C)]
    return module.SamplerFactory().get(groups, BATCH, BATCHES, 1.0, what.split()[1])


RIVALS = {
    "torch": "torch WeightedRandomSampler + BatchSampler",
    "torchsampler": "torchsampler ImbalancedDatasetSampler",
    "m-per-class": "pytorch-metric-learning MPerClassSampler",
    "original fixed": "PyTorch Balanced Sampler, fixed",
    "original random": "PyTorch Balanced Sampler, random",
    "fixed": "gpusampler fixed",
    "counter": "gpusampler random, counter",
}


@pytest.mark.parametrize("what", RIVALS)
def test_lists(measure, benchmark, labels, what):
    benchmark.group = f"lists, N={N:.0e}, C={C}, B={BATCH}, {BATCHES} batches"
    few = 3 if what == "original random" else BATCHES
    sampler = make(what, labels)
    if few < BATCHES:
        sampler.n_batches = few  # it takes seconds a batch
    batches = list(sampler)
    assert len(batches) == few and all(len(batch) == BATCH for batch in batches)
    ours = {"target": "<= 0.25", "rival": "torch", "against": "test_lists[torch]"}
    own = what in ("fixed", "counter")
    measure(
        RIVALS[what], lambda: sum(1 for _ in sampler), indices=few * BATCH,
        rounds=15 if own else 3, **(ours if own else {}),
    )  # fmt: skip
