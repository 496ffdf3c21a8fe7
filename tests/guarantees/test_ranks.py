"""Guarantee 5: ranks take whole batches of one stream, all alike, with no word between them."""

import copy
import os
import subprocess
import sys
import types
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.distributed as dist
import train_ddp
from test_guarantees import SAMPLERS, make
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from gpusampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler, demo
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


# What trainers do.


def test_the_sampler_that_lightning_injects_gives_rank_and_world_size():
    for rank in range(3):
        injected = DistributedSampler(range(75), num_replicas=3, rank=rank)
        for shard in (None, (rank, 3)):
            sampler, _ = make(sampler=injected, shard=shard)
            assert list(sampler) == sampler.batches(0, 12)[rank::3].tolist()


def test_a_sequential_sampler_says_nothing_of_ranks():
    injected = SequentialSampler(range(75))
    assert make(sampler=injected)[0].world_size == 1
    sampler, _ = make(sampler=injected, shard=(1, 2))
    assert (sampler.rank, sampler.world_size) == (1, 2)


@pytest.mark.parametrize("wrong", [RandomSampler(range(9)), [0, 1], "auto"])
def test_another_sampler_than_lightnings_is_refused(wrong):
    told = rf"sampler must be a DistributedSampler, .*, not {type(wrong).__name__}; leave it out"
    with pytest.raises(TypeError, match=told):
        make(sampler=wrong)


def test_a_share_that_contradicts_the_trainers_is_refused():
    injected = DistributedSampler(range(75), num_replicas=4, rank=1)
    told = "shard says rank 0 of 2, and .* rank 1 of 4; leave shard to the trainer, or pass"
    with pytest.raises(ValueError, match=told):
        make(sampler=injected, shard=(0, 2))


@pytest.mark.parametrize("cls", [WeightedFixedBatchSampler, WeightedRandomBatchSampler])
def test_making_a_sampler_anew_from_one_of_single_indices_is_refused(cls):
    injected = DistributedSampler(range(75), num_replicas=4, rank=1)
    told = r"must not be made anew .*Lightning.*; make it inside train_dataloader\(\).*shard\(rank"
    with pytest.raises(TypeError, match=told):
        cls(injected, batch_size=8, drop_last=False)


RAN_AHEAD = """
def _set_sampler_epoch(sampler, epoch):
    sampler.sampler.set_epoch(epoch)

class Loop:
    is_resuming = True

    def on_advance_start(self, dl, sampler, epoch):
        _set_sampler_epoch(sampler, epoch)

class _FabricDataLoader:
    def __init__(self, sampler):
        self.sampler, self.iterated = sampler, 0

    def __iter__(self):
        _set_sampler_epoch(self.sampler, self.iterated)
        self.iterated += 1
        return iter(self.sampler)

def _reinstantiate_wrapped_cls(orig_object, *args, **kwargs):
    return type(orig_object)(*args, **kwargs)
"""


def module_of(name, text):
    """A module of this name, as a trainer's."""
    fake = types.ModuleType(name)
    exec(text, fake.__dict__)
    return fake


@pytest.mark.parametrize("package", ["lightning.fabric", "lightning_fabric"])
def test_the_sampler_that_lightning_made_anew_raises_where_it_is_still_used(package):
    sampler = WeightedFixedBatchSampler([4, 4], LISTS, 12)
    lightning = module_of(f"{package}.utilities.data", RAN_AHEAD)
    injected = DistributedSampler(range(5), num_replicas=4, rank=1)
    new = lightning._reinstantiate_wrapped_cls(sampler, [4, 4], LISTS, 12, sampler=injected)
    state = new.state_dict()
    assert list(new) == new.batches(0, 12)[1::4].tolist()
    uses = [sampler.state_dict, lambda: sampler.load_state_dict(state), lambda: next(iter(sampler))]
    uses += [lambda: sampler.set_epoch(0), lambda: sampler.set_alpha(1), lambda: sampler.epoch]
    for use in uses:
        with pytest.raises(RuntimeError, match=r"made this sampler anew .*; use that, trainer"):
            use()
    copy.deepcopy(sampler)


@pytest.mark.parametrize("package", ["lightning.fabric", "lightning_fabric"])
def test_how_often_fabric_iterated_its_loader_is_no_epoch(package):
    sampler, _ = make()
    sampler.load_state_dict({**sampler.state_dict(), "epoch": 5, "batch": 10})
    loader = module_of(f"{package}.wrappers", RAN_AHEAD)._FabricDataLoader(sampler)
    assert list(loader) == sampler.batches(70, 2).tolist()
    assert list(loader) == sampler.batches(72, 12).tolist()


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_workers_that_lightning_gave_batches_of_another_epoch_raise(package):
    sampler, _ = make()
    loop = module_of(f"{package}.loops.fit_loop", RAN_AHEAD).Loop()
    loaders = [types.SimpleNamespace(num_workers=workers) for workers in (0, 2)]
    for loader in loaders:
        loop.on_advance_start(loader, sampler, 2)
    begun = iter(sampler)
    next(begun)
    for loader in loaders:
        loop.on_advance_start(loader, sampler, 2)
    loop.on_advance_start(loaders[0], sampler, 3)
    told = (
        "resumes epoch 3, and its workers were given batches of epoch 2 .*processed.*num_workers=0"
    )
    with pytest.raises(RuntimeError, match=told):
        loop.on_advance_start(loaders[1], sampler, 3)
    loop.is_resuming = False
    loop.on_advance_start(loaders[1], sampler, 3)


def test_set_epoch_of_the_epoch_that_is_iterated_lets_it_go_on():
    sampler, _ = make()
    begun = iter(sampler)
    next(begun), sampler.set_epoch(0)
    assert (sampler.epoch, sampler.state_dict()["batch"]) == (0, 0)
    next(begun)
    assert (sampler.epoch, sampler.state_dict()["batch"]) == (1, 2)
    assert [list(begun), list(sampler)] == [
        sampler.batches(first, count).tolist() for first, count in ((2, 10), (12, 12))
    ]


SHARES_OUT = """
class BatchSamplerShard:
    def __init__(self, batch_sampler, num_processes, process_index):
        self.batch_sampler, self.num_processes = batch_sampler, num_processes
        self.process_index = process_index

    def __iter__(self):
        for number, batch in enumerate(self.batch_sampler):
            if number % self.num_processes == self.process_index:
                yield batch

class State:
    pass

class DataLoaderDispatcher:
    def __init__(self, num_processes):
        self.state = State()
        self.state.num_processes = num_processes

    def set_epoch(self, batch_sampler, epoch):
        batch_sampler.sampler.set_epoch(epoch)
"""


def shares_out(module, sampler, num_processes):
    """Iterating inside a module of this name, as Accelerate does."""
    return list(module_of(module, SHARES_OUT).BatchSamplerShard(sampler, num_processes, 1))


def test_accelerate_may_share_out_a_sampler_that_is_whole_and_not_one_that_is_a_rank():
    sampler, _ = make()
    assert shares_out("accelerate.data_loader", sampler, 2) == sampler.batches(0, 12)[1::2].tolist()
    told = "over 2 processes by itself, .* is one rank of 3 .*; give accelerator.prepare.. the"
    with pytest.raises(RuntimeError, match=told):
        shares_out("accelerate.data_loader", sampler.shard(0, 3), 2)
    assert len(shares_out("another.data_loader", sampler.shard(0, 3), 2)) == 2
    assert len(list(sampler.shard(0, 3))) == 4
    assert shares_out("accelerate.data_loader", sampler.shard(0, 3), 1) == []  # its only process


@pytest.mark.parametrize("processes", [1, 2])
def test_accelerate_may_not_dispatch_a_sampler_that_is_one_rank(processes):
    sampler, _ = make()
    dispatcher = module_of("accelerate.data_loader", SHARES_OUT).DataLoaderDispatcher(processes)
    dispatcher.set_epoch(sampler, 1)
    assert sampler.epoch == 1
    if processes == 1:
        return dispatcher.set_epoch(sampler.shard(0, 3), 1)
    with pytest.raises(RuntimeError, match=r"over 2 processes by itself, .* is one rank of 3"):
        dispatcher.set_epoch(sampler.shard(0, 3), 1)


SKIPS = """
class SkipBatchSampler:
    def __init__(self, batch_sampler, skip_batches=1):
        self.batch_sampler, self.skip_batches = batch_sampler, skip_batches

    def __iter__(self):
        yield from self.batch_sampler

class DataLoaderShard:
    def __init__(self, batch_sampler, iteration):
        self.batch_sampler, self.iteration = batch_sampler, iteration

    def __iter__(self):
        yield from self.batch_sampler

class ReproducibleBatchSampler:
    def __init__(self, batch_sampler, start_iteration):
        self.batch_sampler, self.start_iteration = batch_sampler, start_iteration

    def __iter__(self):
        yield from list(self.batch_sampler)[self.start_iteration :]
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_that_accelerate_hid_from_the_sampler_is_not_taken_for_another(processes):
    accelerate = module_of("accelerate.data_loader", SHARES_OUT + SKIPS)
    another = module_of("another.loop", SKIPS)
    sampler, _ = make()
    within = sampler
    if processes > 1:
        within = accelerate.BatchSamplerShard(sampler, processes, 0)
    skipping = accelerate.SkipBatchSampler(within)
    told = r"in epoch 3, and this sampler in epoch 0, .*; call .*, or set_epoch\(3\) of the loader"
    with pytest.raises(RuntimeError, match=told):
        list(accelerate.DataLoaderShard(skipping, 3))
    whole = sampler.batches(0, 60)[::processes].tolist()
    each = 12 // processes
    assert list(accelerate.DataLoaderShard(skipping, 0)) == whole[:each]
    assert list(accelerate.DataLoaderShard(within, 5)) == whole[each : 2 * each]
    assert list(another.DataLoaderShard(skipping, 5)) == whole[2 * each : 3 * each]
    sampler.set_epoch(4)
    assert list(accelerate.DataLoaderShard(skipping, 4)) == whole[4 * each :]


def test_ignite_and_the_sampler_may_not_both_leave_out_the_batches_done():
    sampler, _ = make()
    ignite, another = (
        module_of(f"{package}.engine.deterministic", SKIPS) for package in ("ignite", "another")
    )
    whole = sampler.batches(0, 36).tolist()
    assert list(ignite.ReproducibleBatchSampler(sampler, 2)) == whole[2:12]
    told = "leaves out the 2 batches .* begins at batch 4 already, .*; load the engine's state"
    with pytest.raises(RuntimeError, match=told):
        list(ignite.ReproducibleBatchSampler(at(sampler, 1, 4), 2))
    for module, start in ((ignite, None), (ignite, 0), (another, 2)):
        left = list(module.ReproducibleBatchSampler(at(sampler, 1, 4), start))
        assert left == whole[16 + (start or 0) : 24]


# Real processes.


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
