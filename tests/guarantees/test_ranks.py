"""Guarantee 5: ranks take whole batches of one stream, all alike, with no word between them."""

import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_guarantees import SAMPLERS, make
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.data import DataLoader

from gpusampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler
from gpusampler.samplers import random as random_kind
from gpusampler.stream import sampler as stream

LISTS = [[0, 1, 2], [3, 4]]
WINDOW_BYTES = (1, 8 * 8 * 4, 8 * 8 * 10, 1 << 28)  # of one batch, two and five at once, all


def ranks_of(sampler, world_size):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*unused")
        return [sampler.shard(rank, world_size) for rank in range(world_size)]


def interleaved(shares):
    """Batches of ranks [W][n] in the order of the stream; all ranks have as many."""
    return [batch for turn in zip(*shares, strict=True) for batch in turn]


def at(sampler, epoch, batch):
    """The sampler, where a run of any world size may have come to."""
    sampler.load_state_dict({**sampler.state_dict(), "epoch": epoch, "batch": batch})
    return sampler


# Guarantee 5, in one process.


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("name", SAMPLERS)
def test_ranks_interleaved_are_the_one_rank_stream(name, world_size, monkeypatch):
    monkeypatch.setattr(random_kind, "DRAW_BLOCK_SLOTS", 8 * 7)  # several draw blocks an epoch
    sampler, _ = make(name, seed=9)
    ranks = ranks_of(sampler, world_size)
    each = 12 // world_size
    for epoch in range(2):
        whole = sampler.batches(epoch * 12, each * world_size).tolist()
        assert [len(rank) for rank in ranks] == [each] * world_size
        assert interleaved([rank.build().tolist() for rank in ranks]) == whole
        assert interleaved([list(rank) for rank in ranks]) == whole
    assert {rank.epoch for rank in ranks} == {2}


@pytest.mark.filterwarnings("ignore:no rank gets batches")
@pytest.mark.filterwarnings("ignore:this iteration yields no batch")
@pytest.mark.parametrize("window_bytes", WINDOW_BYTES)
@pytest.mark.parametrize(("world_size", "first"), [(2, 3), (3, 4), (4, 7), (5, 1), (4, 9), (3, 12)])
@pytest.mark.parametrize("name", SAMPLERS)
def test_ranks_share_what_is_left_from_any_batch_on(
    name, world_size, first, window_bytes, monkeypatch
):
    monkeypatch.setattr(stream, "LIST_WINDOW_BYTES", window_bytes)
    sampler, _ = make(name, seed=9, window_bytes=window_bytes)
    each = (12 - first) // world_size
    whole = sampler.batches(5 * 12 + first, 12)[: each * world_size].tolist()
    for way in (list, lambda rank: [row.tolist() for row in rank.on_device()]):
        ranks = [at(rank, 5, first) for rank in ranks_of(sampler, world_size)]
        assert interleaved([way(rank) for rank in ranks]) == whole
        following = sampler.batches(6 * 12, 12 // world_size * world_size).tolist()
        assert interleaved([way(rank) for rank in ranks]) == following


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_batch_has_its_number_on_every_rank(name):
    sampler, _ = make(name)
    for rank in ranks_of(sampler, 4):
        assert torch.equal(rank.batches(7, 9), sampler.batches(7, 9))
        assert torch.equal(rank.class_counts, sampler.class_counts)


def test_each_batch_of_each_rank_has_the_full_class_counts():
    sampler, labels = make("fixed")
    per_batch = (sampler.class_counts / 12).tolist()
    for rank in ranks_of(sampler, 4):
        for batch in rank:
            assert np.bincount(labels[batch], minlength=3).tolist() == per_batch


def test_a_sharded_sampler_goes_on_by_itself():
    sampler, _ = make()
    begun = iter(sampler)
    next(begun)
    share = sampler.shard(0, 2)
    before = share.state_dict()
    assert (before["epoch"], before["batch"]) == (1, 0)
    list(begun), sampler.set_alpha(1), sampler.set_epoch(8)
    assert share.state_dict() == before
    share.sampler.set_epoch(4)
    assert (share.epoch, sampler.epoch) == (4, 8)


def test_a_data_loader_on_each_rank_gets_its_share():
    sampler, _ = make()
    loaders = [
        DataLoader(range(75), batch_sampler=rank, collate_fn=list) for rank in ranks_of(sampler, 4)
    ]
    assert [len(loader) for loader in loaders] == [3] * 4
    assert interleaved([list(loader) for loader in loaders]) == sampler.build().tolist()


@pytest.mark.parametrize(("world_size", "unused"), [(5, 2), (7, 5), (8, 4), (11, 1)])
def test_a_warning_says_how_many_batches_go_unused(world_size, unused):
    sampler, _ = make()
    told = f"12 batches an epoch over {world_size} ranks leave {unused} of each epoch unused; make"
    with pytest.warns(UserWarning, match=told) as caught:
        sampler.shard(0, world_size)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match=told):
        make(shard=(world_size - 1, world_size))


# How a rank is named.

TRIPLE = pytest.mark.parametrize(
    "make_share",
    [
        lambda rank, size: make(shard=(rank, size))[0],
        lambda rank, size: make(shard=[np.int64(rank), np.int32(size)])[0],
        lambda rank, size: make()[0].shard(rank, size),
        lambda rank, size: make()[0].shard((rank, size)),
        lambda rank, size: WeightedFixedBatchSampler([4, 4], LISTS, 12, shard=(rank, size)),
        lambda rank, size: WeightedRandomBatchSampler([4, 4], LISTS, 8, 12, shard=(rank, size)),
    ],
)


@TRIPLE
def test_a_share_is_named_by_rank_and_world_size(make_share):
    sampler = make_share(2, 3)
    assert (sampler.rank, sampler.world_size, len(sampler)) == (2, 3, 4)
    assert type(sampler.rank) is type(sampler.world_size) is int
    assert list(sampler) == sampler.batches(0, 12)[2::3].tolist()


@pytest.mark.parametrize("world_size", [None, "", "1"])
def test_auto_without_a_launcher_is_alone(world_size, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world_size is not None:
        monkeypatch.setenv("WORLD_SIZE", world_size)
    for sampler in (make(shard="auto")[0], make()[0].shard("auto")):
        assert (sampler.rank, sampler.world_size, len(sampler)) == (0, 1, 12)
        sampler.check_agreement()


def test_auto_under_a_launcher_before_the_group_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    told = (
        r"needs torch.distributed to be initialised, .*WORLD_SIZE=4; call .*init_process_group.*"
        r" or pass shard=\(rank, world_size\)"
    )
    with pytest.raises(RuntimeError, match=told):
        make(shard="auto")
    told = r"check_agreement\(\) compares .*WORLD_SIZE=4; call .*init_process_group first$"
    for sampler in (make()[0], make(shard=(1, 4))[0]):  # where shard= helps with nothing
        with pytest.raises(RuntimeError, match=told):
            sampler.check_agreement()


@pytest.fixture
def four_ranks():
    """This process as rank 2 of four, of which the others do not exist."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=2, world_size=4, store=FakeStore())
    yield
    dist.destroy_process_group()


def test_auto_and_groups_ask_torch_distributed(four_ranks, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "7")  # the group has the say, once there is one
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    flat = init_device_mesh("cpu", (4,))
    shares = {"auto": (2, 4), dist.group.WORLD: (2, 4), flat: (2, 4), mesh["dp"]: (1, 2)}
    shares |= {mesh["tp"]: (0, 2), mesh["dp"].get_group(): (1, 2)}
    for shard, (rank, world_size) in shares.items():
        for sampler in (make(shard=shard)[0], make()[0].shard(shard)):
            assert (sampler.rank, sampler.world_size) == (rank, world_size)
            assert list(sampler) == sampler.batches(0, 12)[rank::world_size].tolist()


def test_a_mesh_of_two_dimensions_is_refused(four_ranks):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    told = r"mesh of one dimension, not of 2 \(\('dp', 'tp'\)\); pass .*mesh\['dp'\]"
    with pytest.raises(ValueError, match=told):
        make(shard=mesh)


PAIR = "shard must be 'auto', a ProcessGroup, a DeviceMesh .* or .rank, world_size., not"
REFUSED = [
    ("all", ValueError, "shard must be 'auto', not 'all'; pass one of them"),
    ((0, 2, 1), ValueError, r"shard must be \(rank, world_size\), not 3 values; pass two integers"),
    ((), ValueError, r"shard must be \(rank, world_size\), not 0 values; pass two integers"),
    ((2, 2), ValueError, r"rank must be in \[0, 1\], not 2; pass one in that range"),
    ((-1, 2), ValueError, r"rank must be in \[0, 1\], not -1; pass one in that range"),
    ((0, 0), ValueError, r"world_size must be in \[1, .*\], not 0; pass one in that range"),
    ((0, -3), ValueError, r"world_size must be in \[1, .*\], not -3; pass one in that range"),
    ((0.0, 2), TypeError, r"rank must be an integer, not 0.0 \(float\); pass an int"),
    ((True, 2), TypeError, r"rank must be an integer, not True \(bool\); pass an int"),
    ((0, "2"), TypeError, r"world_size must be an integer, not '2' \(str\); pass an int"),
    ((0, None), TypeError, r"world_size must be an integer, not None \(NoneType\); pass an int"),
    (3, TypeError, rf"{PAIR} 3 \(int\); pass one of them"),
    (torch.tensor([0, 2]), TypeError, rf"{PAIR} tensor.* \(Tensor\); pass one of them"),
    ({0: 2}, TypeError, rf"{PAIR} .*\(dict\); pass one of them"),
    ((0, 13), ValueError, "at least world_size, and 12 batches .* 13 ranks .*; raise n_batches"),
]


@pytest.mark.parametrize(("shard", "error", "told"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_a_wrong_share_is_refused_with_rule_value_and_repair(shard, error, told):
    for ask in (lambda: make(shard=shard), lambda: make()[0].shard(shard)):
        with pytest.raises(error, match=told) as caught:
            ask()
        assert type(caught.value) is error


def test_none_is_no_rank():
    with pytest.raises(TypeError, match=rf"{PAIR} None \(NoneType\); pass one of them"):
        make()[0].shard(None)


def test_a_part_of_a_part_is_refused():
    share, _ = make(shard=(1, 2))
    for again in (lambda: share.shard(0, 2), lambda: share.shard((1, 3))):
        with pytest.raises(ValueError, match=r"is rank 1 of 2 already, .*; shard the one that was"):
            again()
    assert (share.rank, share.world_size) == (1, 2)
