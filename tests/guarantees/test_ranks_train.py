"""Guarantee 5, of real processes that train."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
import train_ddp

from gpusampler import demo


def interleaved(shares):
    """Batches of ranks [W][n] in the order of the stream; all ranks have as many."""
    return [batch for turn in zip(*shares, strict=True) for batch in turn]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    if any(find_spec(name) is None for name in demo.EXTRA):
        pytest.skip('needs pip install "gpusampler[demo]"')
    found = demo.read_fars()
    rows, _ = demo.split(found.labels, seed=0)
    train = demo.Rows(found, rows, rows)
    path = tmp_path_factory.mktemp("fars") / "train.pt"
    torch.save((train.codes, train.numbers, train.labels), path)
    return path, train.labels


WORLDS = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def run_of(records, tmp_path_factory):
    """What torchrun's ranks wrote, by world size; all are run in one launch."""
    out = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    words = ["--standalone", "--nproc-per-node", str(max(WORLDS)), train_ddp.__file__]
    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, str(records[0]), str(out),
         *map(str, WORLDS)],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-5000:]
    runs = {n: [torch.load(out / f"{n}-{rank}.pt") for rank in range(n)] for n in WORLDS}
    return runs.__getitem__


@pytest.mark.parametrize("world_size", WORLDS)
def test_processes_train_on_the_one_rank_stream(world_size, run_of, records):
    ranks = run_of(world_size)
    alone = train_ddp.sampler_of(records[1], shard=None)
    n_batches, left = train_ddp.N_BATCHES, train_ddp.LEFT * world_size
    whole = alone.batches(0, n_batches + left).tolist()
    assert interleaved([rank["trained"] for rank in ranks]) == whole
    assert all(rank["state"] == ranks[0]["state"] for rank in ranks)
    for rank in ranks[1:]:
        assert all(map(torch.equal, rank["parameters"], ranks[0]["parameters"]))
    alone.load_state_dict(ranks[0]["state"])
    following = [batch for _ in range(2) for batch in alone]
    assert following == alone.batches(n_batches + left, 2 * n_batches - left).tolist()


DIFFERING = {
    "seed": "rank 2 differs in seed;",
    "labels": "rank 1 differs in class_index",
    "alpha": "rank 3 differs in class_mix;",
    "n_batches": "rank 1 differs in n_batches; rank 3 differs in n_batches;",
    "batch": "rank 2 differs in .*batch",
    "changed mix": "rank 0 differs in .*mix",
    "world size": "rank 3 differs in world size;",
}


def test_every_rank_raises_and_names_the_rank_that_differs_and_what(run_of):
    for rank in run_of(4):
        for name, told in DIFFERING.items():
            said = rank["refusals"][name]
            assert said.startswith(f"all 4 ranks must hold the same sampler, but {told[:6]}")
            assert said.endswith("same labels, options, seed and state")
            assert_matches(told, said)


def test_ranks_that_take_the_same_share_raise(run_of):
    told = "each of 4 ranks must take a share .* take that of rank 0, 1; shard by this group's"
    for rank in run_of(4):
        assert_matches(told, rank["refusals"]["share"])


def test_four_processes_as_two_by_two_split_the_data_in_two(run_of, records):
    whole = train_ddp.sampler_of(records[1], shard=None).build().tolist()
    for rank in run_of(4):
        parts = rank["parts"]
        assert parts["of mesh"] == parts["of group"] == whole[parts["place"] :: 2]
        assert parts["said in the group"] == ""
        assert_matches("several take that of rank 0, 1;", parts["said in the world"])
    assert [rank["parts"]["place"] for rank in run_of(4)] == [0, 0, 1, 1]


def assert_matches(pattern, text):
    with pytest.raises(RuntimeError, match=pattern):
        raise RuntimeError(text)
