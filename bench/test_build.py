"""How long is an epoch's build, against the least that memory allows? One group a size.

limit: as many int64 indices drawn by torch.randint and gathered by torch.index_select.
"""

import pytest
import torch
from conftest import DEVICE, shuffled_index

from gpusampler import SamplerFactory

BATCH, BATCHES = 1024, 1000 if DEVICE.type == "cpu" else 32_000
SIZES = [(10**6, 100), (10**6, 1000), (10**8, 100)]
TARGETS = {  # per size: times the limit
    "fixed": (1.0, 1.3, 1.0),
    "counter": (0.6, 0.6, 0.6),
}
INDICES = BATCH * BATCHES
pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")


def size_id(size):
    return f"N={size[0]:.0e} C={size[1]}".replace("e+0", "e")


def limit_of(n):
    data = torch.arange(n, device=DEVICE)
    at = torch.empty(INDICES, dtype=torch.int64, device=DEVICE)
    out = torch.empty_like(at)

    def limit():
        torch.randint(0, n, (INDICES,), out=at)
        torch.index_select(data, 0, at, out=out)

    return limit


def multinomial_of(sampler):
    shares = sampler.segment_of(sampler._first)._shares
    return lambda: torch.multinomial(shares, 1 << 20, replacement=True)


OPTIONS = {
    "fixed": {"alpha": 0.5, "kind": "fixed"},
    "counter": {"alpha": 0.5, "kind": "random", "class_draw": "counter"},
    "multinomial": {"alpha": 0.5, "kind": "random"},
    "stratified": {"alpha": 0.5, "kind": "stratified"},
    "pk": {"kind": "pk", "classes_per_batch": 64, "members_per_class": BATCH // 64},
}


def sampler_of(n, c, what):
    what = "multinomial" if what == "torch.multinomial" else what
    index = shuffled_index(n, c)
    return SamplerFactory().get(index, BATCH, BATCHES, device=DEVICE, **OPTIONS[what])


WHATS = ("limit", "fixed", "stratified", "pk", "counter", "torch.multinomial", "multinomial")


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("size", SIZES, ids=size_id)
def test_build(measure, benchmark, size, what):
    n, c = size
    benchmark.group = f"build, {size_id(size)}, B={BATCH}, T={BATCHES}"
    if what == "limit":
        measure("torch.randint + torch.index_select", limit_of(n), indices=INDICES)
        return
    sampler = sampler_of(n, c, what)
    if what == "torch.multinomial":
        call = multinomial_of(sampler)
        measure("torch.multinomial, one draw block", call, indices=1 << 20, rounds=7)
        return
    check(sampler, n)
    out = sampler.build()

    def build():  # each epoch anew: the multinomial's draws are kept within a block
        sampler.set_epoch(sampler.epoch + 1)
        sampler.build(out=out)

    if what == "multinomial":
        info = {"rival": "torch.multinomial", "beside": multinomial_of(sampler), "rounds": 9}
        target = 1.3
    else:
        info = {"rival": "limit", "beside": limit_of(n)}
        target = TARGETS[what][SIZES.index(size)] if what in TARGETS else None
    if DEVICE.type == "cpu" and target:
        info["target"] = f"<= {target}"
    elif what == "multinomial":
        del info["beside"]  # an epoch is many draw blocks there
    measure(f"gpusampler {what}", build, indices=INDICES, **info)


@pytest.mark.skipif(DEVICE.type != "cpu", reason="threads build on a CPU only")
@pytest.mark.parametrize("what", ["fixed", "counter"])
def test_one_thread_takes_as_much_longer_as_it_is_fewer(measure, benchmark, what):
    benchmark.group = (
        f"one thread of {torch.get_num_threads()}, N=1e6 C=100, B={BATCH}, T={BATCHES}"
    )
    sampler = sampler_of(10**6, 100, what)
    out, threads = sampler.build(), torch.get_num_threads()
    expected = out.clone()

    def alone():
        torch.set_num_threads(1)
        sampler.build(out=out)
        torch.set_num_threads(threads)

    alone()
    assert torch.equal(out, expected)
    measure(
        f"gpusampler {what}, one thread", alone, indices=INDICES,
        rival=f"{threads} threads", beside=lambda: sampler.build(out=out),
    )  # fmt: skip


def check(sampler, n):
    """The result before its speed: in range, the counts due, the same batch alone."""
    built = sampler.batches(5, 3)
    assert int(built.min()) >= 0 and int(built.max()) < n
    assert torch.equal(built[1], sampler.batch(6))
    what = getattr(sampler, "class_draw", sampler.kind)
    if DEVICE.type == "cuda" and what != "multinomial":
        twin = SamplerFactory().get(sampler.index, BATCH, BATCHES, device="cpu", **OPTIONS[what])
        assert torch.equal(twin.batches(5, 3), built.cpu())
