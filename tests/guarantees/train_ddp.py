"""One rank of training runs on real records, as torchrun starts it for test_ranks.py.

Takes a file of the records' training rows, a folder, and world sizes: for each, so many of the
ranks meet and train, one world after the other, so that torch is imported once for all.
Writes <world size>-<rank>.pt: the batches that this rank trained on, the state behind them, its
model at the end; among four ranks, also what the check of agreement says of ranks that differ, and
what a part of the ranks takes.
"""

import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from gpusampler import ClassIndex, SamplerFactory, StarvedClassWarning
from gpusampler.demo import Classifier

BATCH_SIZE, N_BATCHES, ALPHA, SEED = 64, 12, 0.7, 3
LEFT = 2  # batches of the second epoch on each rank, when it stops


class Rows(Dataset):
    """Training rows, each with its number."""

    def __init__(self, path):
        self.codes, self.numbers, self.labels = torch.load(path)

    def __getitems__(self, rows):
        at = torch.tensor(rows)
        return rows, self.codes[at], self.numbers[at], self.labels[at]


def sampler_of(labels, shard="auto", alpha=ALPHA, seed=SEED, n_batches=N_BATCHES):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StarvedClassWarning)
        return SamplerFactory().get(
            ClassIndex.from_labels(labels), BATCH_SIZE, n_batches, alpha,
            device="cpu", seed=seed, shard=shard,
        )  # fmt: skip


def train(rows, width):
    """One epoch and LEFT batches of the next. Gives row numbers, state, and the model's end."""
    sampler = sampler_of(rows.labels)
    sampler.check_agreement()
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=lambda batch: batch)
    torch.manual_seed(dist.get_rank())  # DDP starts all from rank 0's weights
    model = DistributedDataParallel(Classifier(width, rows.numbers.shape[1], 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trained = []
    for steps in (len(loader), LEFT):
        for done, (indices, codes, numbers, labels) in enumerate(loader, 1):
            nn.functional.cross_entropy(model(codes, numbers), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            trained.append(indices)
            if done == steps:
                break
    sampler.check_agreement()
    return trained, sampler.state_dict(done=LEFT), [p.detach() for p in model.parameters()]


def refusals(labels):
    """What check_agreement says on this rank where some rank differs."""
    rank = dist.get_rank()
    other_labels = labels.clone()
    other_labels[rank == 1] ^= 1  # on rank 1 alone, all rows; else none
    ahead, changed = sampler_of(labels), sampler_of(labels)
    if rank == 2:
        next(iter(ahead))
    if rank != 0:
        changed.set_alpha(0.1)
    cases = {
        "seed": sampler_of(labels, seed=SEED + (rank == 2)),
        "labels": sampler_of(other_labels),
        "alpha": sampler_of(labels, alpha=ALPHA + 0.2 * (rank == 3)),
        "n_batches": sampler_of(labels, n_batches=N_BATCHES + 4 * (rank in (1, 3))),
        "batch": ahead,
        "changed mix": changed,
        "share": sampler_of(labels, shard=(rank % 2, 4)),
        "world size": sampler_of(labels, shard=(0, 3) if rank == 3 else (rank, 4)),
    }
    return {name: said(sampler) for name, sampler in cases.items()}


def said(sampler, group=None):
    try:
        sampler.check_agreement(group)
    except RuntimeError as error:
        return str(error)
    return ""


def parts(labels):
    """Four ranks as 2 x 2, with the data split over the first dimension alone."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    group = mesh["dp"].get_group()
    of_mesh, of_group = sampler_of(labels, mesh["dp"]), sampler_of(labels, group)
    return {
        "place": mesh.get_coordinate()[0],
        "of mesh": list(of_mesh),
        "of group": list(of_group),
        "said in the group": said(of_group, group),
        "said in the world": said(of_group),
    }


def trained_in_a_world(rows, out, rank, size):
    dist.init_process_group(
        "gloo", f"file://{out}/{size}", timedelta(seconds=600), world_size=size, rank=rank
    )
    trained, state, parameters = train(rows, int(rows.codes.max()) + 1)
    found = {"trained": trained, "state": state, "parameters": parameters}
    if dist.get_world_size() == 4:
        found |= {"refusals": refusals(rows.labels), "parts": parts(rows.labels)}
    torch.save(found, Path(out) / f"{size}-{rank}.pt")
    dist.destroy_process_group()


def main(data, out, *sizes):
    rows, rank = Rows(Path(data)), int(os.environ["RANK"])
    for size in map(int, sizes):
        if rank < size:
            trained_in_a_world(rows, out, rank, size)
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an interpreter that shuts down


if __name__ == "__main__":
    main(*sys.argv[1:])
