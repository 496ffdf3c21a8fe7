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
pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")


def size_id(size):
    return f"N={size[0]:.0e} C={size[1]}".replace("e+0", "e")


@pytest.mark.parametrize("what", ["limit", "fixed", "counter", "torch.multinomial", "multinomial"])
@pytest.mark.parametrize("size", SIZES, ids=size_id)
def test_build(measure, benchmark, size, what):
    n, c = size
    benchmark.group = f"build, {size_id(size)}, B={BATCH}, T={BATCHES}"
    indices = BATCH * BATCHES

    def name(of):
        return f"test_build[{size_id(size)}-{of}]"

    if what == "limit":
        data, at = (
            torch.arange(n, device=DEVICE),
            torch.empty(indices, dtype=torch.int64, device=DEVICE),
        )
        out = torch.empty_like(at)

        def limit():
            torch.randint(0, n, (indices,), out=at)
            torch.index_select(data, 0, at, out=out)

        measure("torch.randint + torch.index_select", limit, indices=indices)
        return
    kind = {"kind": "fixed"} if what == "fixed" else {"kind": "random"}
    draw = {"class_draw": "counter"} if what == "counter" else {}
    sampler = SamplerFactory().get(
        shuffled_index(n, c), BATCH, BATCHES, 0.5, device=DEVICE, **kind, **draw
    )
    if what == "torch.multinomial":
        shares = sampler._shares
        measure(
            "torch.multinomial alone, its classes",
            lambda: torch.multinomial(shares, 1 << 20, replacement=True),
            indices=1 << 20, rounds=7,
        )  # fmt: skip
        return
    check(sampler, n)
    out = sampler.build()
    state = {"epoch": 0}

    def build():  # each epoch anew: the multinomial's draws are kept within a block
        state["epoch"] += 1
        sampler.set_epoch(state["epoch"])
        sampler.build(out=out)

    rival = ("torch.multinomial", 1.3) if what == "multinomial" else ("limit", None)
    target = rival[1] or TARGETS[what][SIZES.index(size)]
    measure(
        f"gpusampler {what}", build, indices=indices, rival=rival[0], against=name(rival[0]),
        target=f"<= {target}" if DEVICE.type == "cpu" else "", rounds=7 if rival[1] else 15,
    )  # fmt: skip


def check(sampler, n):
    """The result before its speed: in range, the counts due, the same batch alone."""
    built = sampler.batches(5, 3)
    assert int(built.min()) >= 0 and int(built.max()) < n
    assert torch.equal(built[1], sampler.batch(6))
    if DEVICE.type == "cuda" and getattr(sampler, "class_draw", "") != "multinomial":
        twin = SamplerFactory().get(
            sampler.index, BATCH, BATCHES, 0.5,
            kind="random" if hasattr(sampler, "class_draw") else "fixed", device="cpu",
            **({"class_draw": "counter"} if hasattr(sampler, "class_draw") else {}),
        )  # fmt: skip
        assert torch.equal(twin.batches(5, 3), built.cpu())
