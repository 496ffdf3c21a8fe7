"""check_agreement() in two or four processes: whom it compares, and what it says."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from items import N_BATCHES, sampler
from processes import report, said
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh


def agrees(ours: Any, *group: Any, **share: str) -> str:
    return said(lambda: ours.check_agreement(*group, **share))


def ahead(rank: int, kind: str, look: str) -> Any:
    """A sampler with a schedule, of which rank 1 looked far ahead."""
    ours = sampler(alpha=lambda epoch: 1 / (epoch + 1), kind=kind, shard="auto")
    next(iter(ours))
    if rank == 1 and look == "batch":
        ours.batch(40 * N_BATCHES)
    if rank == 1 and look == "batches":
        ours.batches(3 * N_BATCHES - 2, 9 * N_BATCHES)
    if rank == 1 and look == "shard":
        ours.shard(0, 1).batch(11 * N_BATCHES)
    if rank == 1 and look == "iterated":
        ours.shard(0, 1).set_epoch(9)
        list(ours.shard(0, 1))
    return ours


def of_all(rank: int, size: int) -> dict[str, str]:
    flat = init_device_mesh("cpu", (size,), mesh_dim_names=("dp",))
    shared = sampler(shard="auto")
    outside = dist.new_group([0])
    found = {
        "default": agrees(shared),
        "auto": agrees(shared, "auto"),
        "world": agrees(shared, dist.group.WORLD),
        "flat mesh": agrees(shared, flat),
        "dimension": agrees(shared, flat["dp"]),
        "whole": agrees(sampler()),
        "whole, same": agrees(sampler(), share="same"),
        "shares, same": agrees(shared, share="same"),
        "one share": agrees(sampler(shard=(1, size))),
        "one share, same": agrees(sampler(shard=(1, size)), share="same"),
        "share and mix, same": agrees(
            sampler(shard="auto", kind="random", alpha=0.5 + 0.5 * (rank == 1)), share="same"
        ),
        "word": agrees(shared, share="both"),
        "mesh by name": agrees(shared, "dp"),
        "pair": agrees(shared, (rank, size)),
        "number": agrees(shared, 2),
        "outside": "" if rank == 0 else agrees(shared, outside),
        "sharded by a group outside": "" if rank == 0 else said(lambda: sampler(shard=outside)),
        "mesh outside": "" if rank == 0 else agrees(shared, DeviceMesh("cpu", [0])),
    }
    if rank == 0:  # makes the mesh on every rank
        DeviceMesh("cpu", [0])
    for kind in ("fixed", "stratified", "random"):
        for look in ("batch", "batches", "shard", "iterated"):
            found[f"ahead, {kind}, {look}"] = agrees(ahead(rank, kind, look))
    return found


def of_parts() -> dict[str, Any]:
    """Four ranks as 2 x 2: data over the first dimension, tensors over the second."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    ours, wrong = sampler(shard=mesh["dp"]), sampler(shard="auto")
    return {
        "peers": agrees(ours, mesh["tp"], share="same"),
        "data": agrees(ours, mesh["dp"]),
        "peers, group": agrees(ours, mesh["tp"].get_group(), share="same"),
        "peers that differ": agrees(wrong, mesh["tp"], share="same"),
        "peers as data": agrees(ours, mesh["tp"]),
        "whole mesh": agrees(ours, mesh),
        "sharded by the whole mesh": said(lambda: sampler(shard=mesh)),
    }


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    report(of_all(rank, size) | (of_parts() if size == 4 else {}))
    dist.destroy_process_group()
