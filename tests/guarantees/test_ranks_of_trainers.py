"""Guarantee 5 beside trainers, which shard, skip and make a sampler anew, or are told."""

import copy
import types

import pytest
from test_guarantees import make
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler

from gpusampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler

LISTS = [[0, 1, 2], [3, 4]]


def at(sampler, epoch, batch):
    """The sampler, where a run of any world size may have come to."""
    sampler.load_state_dict({**sampler.state_dict(), "epoch": epoch, "batch": batch})
    return sampler


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
