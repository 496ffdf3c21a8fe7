"""Distributed: which rank this process is, and whether all ranks hold the same.

Takes a process group, a device mesh, or numbers. Gives (rank, world size), and who differs.
Knows nothing of samplers. torch.distributed is only asked, never initialised.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

from gpusampler import checks, frames

AUTO = "auto"
SHARE = "share"  # the rank whose batches are taken
OWN = "pass the group of its own data-parallel ranks"


def rank_and_size(shard: Any) -> tuple[int, int]:
    """This process's rank among how many.

    shard   "auto": the default process group, where torch.distributed is initialised, else alone;
            a ProcessGroup; a one-dimensional DeviceMesh, as mesh["dp"]; (rank, world_size).
    Raises  ValueError, TypeError; RuntimeError: "auto" under a launcher, before
            init_process_group, when every process would take itself for the only one.
    """
    if isinstance(shard, str):
        checks.choice("shard", shard, (AUTO,))
        return _rank_and_size_of_world()
    if isinstance(shard, (tuple, list)):
        if len(shard) != 2:
            raise ValueError(
                f"shard must be (rank, world_size), not {len(shard)} values; pass two integers"
            )
        size = checks.integer("world_size", shard[1], 1, 1 << 31)
        return checks.integer("rank", shard[0], 0, size - 1), size
    if _is_mesh(shard):
        _check_mesh("shard", shard)
        return shard.get_local_rank(), shard.size()
    if _is_group(shard):
        _check_group("shard", shard)
        return dist.get_rank(shard), dist.get_world_size(shard)
    raise TypeError(
        f"shard must be 'auto', a ProcessGroup, a DeviceMesh of one dimension or "
        f"(rank, world_size), not {shard!r} ({type(shard).__name__}); pass one of them"
    )


def group_of(group: Any) -> Any:
    """The process group that is meant by one, by a DeviceMesh of one dimension as mesh["dp"], or
    by None or "auto": the default one, as None.

    Raises  ValueError, TypeError.
    """
    if isinstance(group, str):
        checks.choice("group", group, (AUTO,))
        return None
    if _is_mesh(group):
        _check_mesh("group", group)
        return group.get_group()
    if _is_group(group):
        _check_group("group", group)
    elif group is not None:
        raise TypeError(
            f"group must be None, a ProcessGroup or a DeviceMesh of one dimension, not {group!r} "
            f"({type(group).__name__}); pass the group of the ranks to compare, as mesh['dp']"
        )
    return group


def _is_mesh(value: Any) -> bool:
    return hasattr(value, "get_local_rank") and hasattr(value, "mesh")


def _check_mesh(name: str, mesh: Any) -> None:
    if mesh.ndim != 1:
        raise ValueError(
            f"{name} must be a mesh of one dimension, not of {mesh.ndim} "
            f"({mesh.mesh_dim_names}); pass the data-parallel one, as mesh['dp']"
        )
    if mesh.get_coordinate() is None:
        raise ValueError(f"{name} must be a mesh that this process is in, and it is not; {OWN}")


def _is_group(value: Any) -> bool:
    """A group, or what new_group() gives to a process that is not in it."""
    if not dist.is_available():
        return False
    outside = dist.GroupMember.NON_GROUP_MEMBER
    return isinstance(value, dist.ProcessGroup) or (type(value) is int and value == outside)


def _check_group(name: str, group: Any) -> None:
    if not isinstance(group, dist.ProcessGroup) or dist.get_rank(group) < 0:
        raise ValueError(
            f"{name} must be a process group that this process is in, and it is not; {OWN}"
        )


def world_size() -> int:
    """How many processes the default group has; 1 where there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank_and_size_of_world() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if _launched():
        raise RuntimeError(
            f"shard='auto' needs torch.distributed to be initialised, and a launcher has set "
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}; call torch.distributed.init_process_group "
            f"first, or pass shard=(rank, world_size)"
        )
    return 0, 1


def _launched() -> bool:
    """Whether a launcher started several processes."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def check_share(n_batches: int, world_size: int) -> None:
    """Refuse more ranks than batches; warn where some of each epoch go unused."""
    if world_size > n_batches:
        raise ValueError(
            f"n_batches must be at least world_size, and {n_batches} batches an epoch leave some "
            f"of {world_size} ranks without one; raise n_batches"
        )
    unused = n_batches % world_size
    if unused:
        frames.warn(
            f"{n_batches} batches an epoch over {world_size} ranks leave {unused} of each epoch "
            f"unused; make n_batches a multiple of {world_size}"
        )


def check_same(
    facts: Mapping[str, int], own: tuple[int, int], share: str, group: Any, device: torch.device
) -> None:
    """Raise on every rank, naming those that differ from most, unless all have these facts.

    facts   names and integers of 64 bits, the names the same on all ranks.
    own     this rank's share, (rank, world_size): all have the same world_size.
    share   "distinct": no two have the same rank; "same": all have.
    group   as group_of() takes it.
    device  where the tensor is made, if the group's backend needs it there.
    One all_reduce of one integer a fact and rank. Alone, without a launcher, there is no other to
    differ from.
    """
    checks.choice("share", share, ("distinct", "same"))
    group = group_of(group)
    facts = {**facts, "world size": own[1], SHARE: own[0] if share == "same" else 0}
    place = own[0] if share == "distinct" else -1
    if group is None and not (dist.is_available() and dist.is_initialized()):
        if _launched():
            raise RuntimeError(
                f"check_agreement() compares processes by torch.distributed, which is not "
                f"initialised, and a launcher has set WORLD_SIZE={os.environ['WORLD_SIZE']}; call "
                f"torch.distributed.init_process_group first"
            )
        return
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    where = device if "nccl" in str(dist.get_backend(group)) else torch.device("cpu")
    table = torch.zeros((size, len(facts) + 1), dtype=torch.int64, device=where)
    table[rank] = torch.tensor([_signed(value) for value in (*facts.values(), place)])
    dist.all_reduce(table, group=group)
    _refuse_other_samplers(list(facts), [tuple(row[:-1]) for row in table.tolist()])
    taken = [int(found) for found in table[:, -1] if found >= 0]
    twice = sorted(found for found, times in Counter(taken).items() if times > 1)
    if twice and own[1] == 1:
        raise RuntimeError(
            f"each of {size} ranks must take a share of its own, but all take every batch; pass "
            f"shard='auto', or this group or mesh, or where all are to take the same, as "
            f"tensor-parallel peers, or as Accelerate and HF Trainer share out by themselves, "
            f"check with share='same'"
        )
    if twice:
        raise RuntimeError(
            f"each of {size} ranks must take a share of its own, but several take that of rank "
            f"{', '.join(map(str, twice[:10]))}; shard by this group's ranks, shard(group), or "
            f"check those that are to take the same, as tensor-parallel peers, with share='same'"
        )


def _refuse_other_samplers(names: list[str], rows: list[tuple[int, ...]]) -> None:
    """Raise unless all rows, one a rank, are alike."""
    usual, _ = Counter(rows).most_common(1)[0]
    odd = [
        f"rank {r} differs in {', '.join(_differing(names, row, usual))}"
        for r, row in enumerate(rows)
        if row != usual
    ]
    if not odd:
        return
    shown = "; ".join(odd[:10]) + (f"; and {len(odd) - 10} more" if len(odd) > 10 else "")
    repair = "give every rank the same labels, options, seed and state"
    if all(_differing(names, row, usual) == [SHARE] for row in rows if row != usual):
        repair = "shard by the data-parallel rank, which peers have in common, as shard=mesh['dp']"
    raise RuntimeError(f"all {len(rows)} ranks must hold the same sampler, but {shown}; {repair}")


def _differing(names: list[str], row: tuple[int, ...], usual: tuple[int, ...]) -> list[str]:
    return [name for name, own, other in zip(names, row, usual, strict=True) if own != other]


def _signed(value: int) -> int:
    value %= 1 << 64
    return value - (1 << 64) if value >> 63 else value
