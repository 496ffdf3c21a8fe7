"""The random stream, pinned: what each case gives, as a digest and its first indices.

`PYTHONPATH=tests python -m reference.golden` writes golden.json anew, for a change that
CHANGELOG.md has under "Random stream"; tests/guarantees/test_golden.py compares.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpusampler import ClassIndex, SamplerFactory

FILE = Path(__file__).with_name("golden.json")
BIG = 1 << 40  # a batch number past 32 bits

KINDS: dict[str, dict[str, Any]] = {
    "fixed": {"kind": "fixed", "alpha": 0.5},
    "stratified": {"kind": "stratified", "alpha": 0.3},
    "counter": {"kind": "random", "alpha": 0.5, "class_draw": "counter"},
    "multinomial": {"kind": "random", "alpha": 0.5},
    "pk": {"kind": "pk", "classes_per_batch": 3, "members_per_class": 5},
}
# one class or many; sizes around what is ranked (32), one batch, the grid's sides
SIZES = {
    "one": [7],
    "tiny": [1, 2, 3, 1],
    "ranked": [30, 31, 32, 33, 34],
    "some": [900, 90, 10],
    "powers": [255, 256, 257, 1023, 1024, 1025],
    "wide": [65536, 65537, 40, 1],
    "many": [1 + 7 * i % 45 for i in range(300)],
    "gaps": [0, 50, 0, 3, 0],
}
BATCHES = [1, 15, 32, 100, 1000]


def members(sizes: list[int]) -> list[list[int]]:
    """Disjoint classes over twice as many samples, in an order that numpy promises to keep."""
    order = np.random.Generator(np.random.PCG64(1)).permutation(2 * sum(sizes))[: sum(sizes)]
    return [np.sort(part).tolist() for part in np.split(order, np.cumsum(sizes)[:-1])]


def sorted_index(sizes: list[int]) -> ClassIndex:
    """A data set sorted by class, of any size: nothing is stored."""
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return ClassIndex(None, offsets, int(offsets[-1]), "cpu")


def make(name: str, classes: Any, batch_size: int, n_batches: int = 7, **options: Any) -> Any:
    more = {"device": "cpu", "seed": 3, **KINDS[name], **options}
    classes = ClassIndex.from_class_idxs(classes)
    filled = int(np.count_nonzero(classes.host_sizes))
    if name == "pk":
        more["classes_per_batch"] = min(3, filled)
        more["members_per_class"] = max(1, batch_size // more["classes_per_batch"])
        batch_size = more["classes_per_batch"] * more["members_per_class"]
    elif filled < classes.num_classes:
        more["drop_empty"] = True
    return SamplerFactory().get(classes, batch_size, n_batches, **more)


def epochs(sampler: Any, count: int) -> torch.Tensor:
    return torch.tensor([batch for _ in range(count) for batch in sampler])


def sized(name: str, sizes: str, batch_size: int) -> torch.Tensor:
    sampler = make(name, members(SIZES[sizes]), batch_size)
    return torch.cat([sampler.batches(0, 40), sampler.batches(1000, 5)])


def far(name: str) -> torch.Tensor:
    sampler = make(name, members(SIZES["some"]), 32)
    return torch.cat([sampler.batches(g, 3) for g in ((1 << 32) - 2, BIG, (1 << 41) + 1)])


def shared_out(name: str, world_size: int) -> torch.Tensor:
    sampler = make(name, members(SIZES["some"]), 32, 4 * world_size)
    parts = [sampler.shard(rank, world_size) for rank in range(world_size)]
    return torch.cat([epochs(part, 2) for part in parts])


def of_seed(name: str, seed: int) -> torch.Tensor:
    return make(name, members(SIZES["many"]), 64, seed=seed).batches(0, 20)


def in_order(name: str) -> torch.Tensor:
    sampler = make(name, sorted_index([(1 << 30) + 12345, 1 << 21, 5, 1000]), 64)
    return torch.cat([sampler.batches(0, 20), sampler.batches(BIG, 3)])


def of_int64(name: str) -> torch.Tensor:
    groups = [[x + (1 << 33) * (x % 2) for x in group] for group in members(SIZES["some"])]
    return make(name, groups, 32).batches(0, 20)


def changed(name: str) -> torch.Tensor:
    """A change in mid-epoch and one between epochs; and back to a mix that was."""
    sampler, found = make(name, members(SIZES["some"]), 32, 6), []
    iterator = iter(sampler)
    found += [next(iterator) for _ in range(2)]
    sampler.set_alpha(0.9)
    found += list(iterator) + list(sampler)
    sampler.set_weights([1, 5, 2.5])
    found += list(sampler) + list(sampler)
    sampler.set_alpha(0.9)
    found += list(sampler) + list(sampler)
    return torch.tensor(found)


def scheduled(name: str) -> torch.Tensor:
    alpha = [0.0, 0.25, 0.25, 0.5, 1.0, 0.5]
    sampler = make(name, members(SIZES["some"]), 32, 6, alpha=lambda epoch: alpha[epoch])
    return epochs(sampler, len(alpha))


def changed_schedule(name: str) -> torch.Tensor:
    sampler = make(name, members(SIZES["many"]), 64, 5)
    first = epochs(sampler, 2)
    sampler.set_alpha(lambda epoch: 1 / (epoch + 1))
    second = epochs(sampler, 2)
    part = sampler.shard(0, 1)
    sampler.set_weights(np.arange(1, 301))
    return torch.cat([first, second, epochs(sampler, 2), epochs(part, 2)])


def ordered(name: str) -> torch.Tensor:
    """Class by class, through a change of mix."""
    sampler = make(name, members(SIZES["some"]), 32, 6, order="class")
    first = torch.cat([sampler.batches(0, 20), sampler.batches(BIG, 3)])
    if name == "pk":
        return first
    sampler.set_epoch(3)
    sampler.set_alpha(0.9)
    return torch.cat([first, epochs(sampler, 3)])


def unique(name: str, sizes: str, batch_size: int) -> torch.Tensor:
    """No member twice in a batch, through changes of mix."""
    sampler = make(name, members(SIZES[sizes]), batch_size, 6, unique=True)
    found = [sampler.batches(0, 30), sampler.batches((1 << 40) + 1, 3)]
    sampler.set_epoch(3)
    for alpha in (0.9, 0.1):
        sampler.set_alpha(alpha)
        found.append(epochs(sampler, 2))
    return torch.cat(found)


def weighted(name: str, **mix: Any) -> torch.Tensor:
    return make(name, members(SIZES["some"]), 48, **{"alpha": None, **mix}).batches(0, 20)


MIXES: dict[str, dict[str, Any]] = {
    "integers": {"weights": [6, 3, 1]},
    "power": {"alpha": 0.5, "weighting": "power"},
    "effective": {"beta": 0.99, "weighting": "effective_number"},
    "repeat": {"threshold": 0.2, "weighting": "repeat_factor"},
    "uniform": {"alpha": 1.0},
    "natural": {"alpha": 0.0},
}
MIXED = [name for name in KINDS if name != "pk"]


def cases() -> Iterator[tuple[str, Callable[[], torch.Tensor]]]:
    for name in KINDS:
        for sizes in SIZES:
            for size in BATCHES:
                yield f"{name}, {sizes}, {size}", lambda n=name, s=sizes, b=size: sized(n, s, b)
        for world_size in (2, 3, 8):
            yield f"{name}, ranks {world_size}", lambda n=name, w=world_size: shared_out(n, w)
        for seed in (0, 1, -1, 1 << 63):
            yield f"{name}, seed {seed}", lambda n=name, s=seed: of_seed(n, s)
        yield f"{name}, far", lambda n=name: far(n)
        yield f"{name}, sorted", lambda n=name: in_order(n)
        yield f"{name}, int64", lambda n=name: of_int64(n)
    for name in KINDS:
        yield f"{name}, order class", lambda n=name: ordered(n)
    for name in ("fixed", "stratified"):
        for sizes in ("tiny", "ranked", "some", "many", "gaps"):
            yield f"{name}, unique {sizes}", lambda n=name, s=sizes: unique(n, s, 100)
        yield f"{name}, unique wide", lambda n=name: unique(n, "wide", 1000)
    for name in MIXED:
        for change in (changed, scheduled, changed_schedule):
            yield f"{name}, {change.__name__}", lambda n=name, f=change: f(n)
        for told, mix in MIXES.items():
            yield f"{name}, mix {told}", lambda n=name, m=mix: weighted(n, **m)


def told(batches: torch.Tensor) -> list[Any]:
    """A digest, and the first indices for whoever looks for what has changed."""
    data = np.ascontiguousarray(batches.numpy(), "<i8").tobytes()
    return [hashlib.blake2b(data, digest_size=8).hexdigest(), batches.reshape(-1)[:6].tolist()]


def compute() -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without a slot, of batches left over
        return {name: told(give()) for name, give in cases()}


if __name__ == "__main__":
    found = compute()
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in found.items())
    FILE.write_text(f'{{\n"torch": "{torch.__version__.partition("+")[0]}",\n{rows}\n}}\n')
    print(f"{len(found)} cases")
