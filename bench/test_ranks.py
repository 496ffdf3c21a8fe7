"""What does a rank's share cost, against as many batches of one rank alone?"""

import pytest
from conftest import DEVICE, shuffled_index

from gpusampler import SamplerFactory

EACH = 100  # batches
CASES = [  # kind, samples, classes, batch size: 64 ranks have 156, 16 and 2 samples of a class each
    ("fixed", 10**6, 100, 1024),
    ("fixed", 10**6, 1000, 4096),
    ("fixed", 10**5, 1000, 4096),
    ("counter", 10**6, 100, 1024),
    ("multinomial", 10**6, 100, 1024),
]
KINDS = {
    "fixed": {"kind": "fixed"},
    "counter": {"kind": "random", "class_draw": "counter"},
    "multinomial": {"kind": "random"},
}
TARGETS = {"fixed": "<= 1.05", "counter": "<= 1.05", "multinomial": ""}


def sampler_of(case, world_size):
    kind, samples, classes, batch = case
    index = shuffled_index(samples, classes)
    batches = EACH * world_size
    sampler = SamplerFactory().get(index, batch, batches, 0.5, device=DEVICE, **KINDS[kind])
    return sampler.shard(world_size // 2, world_size)


def shape(case):
    return f"N=1e{len(str(case[1])) - 1} C={case[2]}, B={case[3]}"


@pytest.mark.parametrize("world_size", [1, 2, 8, 64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {shape(case)}")
@pytest.mark.parametrize("way", ["lists", "build"])
def test_rank(measure, benchmark, way, case, world_size):
    kind, batch = case[0], case[3]
    benchmark.group = f"one rank's batches, {kind}, {way}, {shape(case)}, {EACH} batches"
    alone, share = sampler_of(case, 1), sampler_of(case, world_size)
    first = [share.batch(share.rank + i * world_size).tolist() for i in range(3)]
    assert share.batches(share.rank, 1).tolist() == first[:1] and list(share)[:3] == first

    def run(sampler):
        sampler.set_epoch(sampler.epoch + 1)  # no draw block is met twice
        return sampler.build() if way == "build" else sum(len(batch) for batch in sampler)

    info = {}
    if world_size > 1:
        info = {"beside": lambda: run(alone), "rival": "1 rank", "target": TARGETS[kind]}
    rounds = 5 if kind == "multinomial" and world_size > 2 else 25
    measure(f"rank of {world_size}", lambda: run(share), rounds, indices=batch * EACH, **info)
