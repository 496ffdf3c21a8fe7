"""What does a rank's share cost, against as many batches of one rank alone?"""

import pytest
from conftest import DEVICE, shuffled_index

from gpusampler import SamplerFactory

BATCH, EACH = 1024, 100
KINDS = {
    "fixed": {"kind": "fixed"},
    "counter": {"kind": "random", "class_draw": "counter"},
    "multinomial": {"kind": "random"},
}
TARGETS = {"fixed": "<= 1.05", "counter": "<= 1.05", "multinomial": ""}


def sampler_of(kind, world_size):
    index = shuffled_index(10**6, 100)
    batches = EACH * world_size
    sampler = SamplerFactory().get(index, BATCH, batches, 0.5, device=DEVICE, **KINDS[kind])
    return sampler.shard(world_size // 2, world_size)


@pytest.mark.parametrize("world_size", [1, 2, 8, 64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["lists", "build"])
def test_rank(measure, benchmark, way, kind, world_size):
    benchmark.group = f"one rank's batches, {kind}, {way}, N=1e6 C=100, B={BATCH}, {EACH} batches"
    alone, share = sampler_of(kind, 1), sampler_of(kind, world_size)
    first = [share.batch(share.rank + i * world_size).tolist() for i in range(3)]
    assert share.batches(share.rank, 1).tolist() == first[:1] and list(share)[:3] == first

    def run(sampler):
        sampler.set_epoch(sampler.epoch + 1)  # no draw block is met twice
        return sampler.build() if way == "build" else sum(len(batch) for batch in sampler)

    info = {}
    if world_size > 1:
        info = {"beside": lambda: run(alone), "rival": "1 rank", "target": TARGETS[kind]}
    rounds = 5 if kind == "multinomial" and world_size > 2 else 25
    measure(f"rank of {world_size}", lambda: run(share), rounds, indices=BATCH * EACH, **info)
