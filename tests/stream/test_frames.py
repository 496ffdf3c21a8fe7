"""Whose code asks is looked up without harm: nothing kept alive, nothing raised, nothing lost."""

import _thread
import functools
import time
import types
import weakref

import pytest
from torch.utils.data import DataLoader, DistributedSampler

from gpusampler import WeightedFixedBatchSampler

ARGUMENTS = ([3, 1], [[0, 1, 2], [3, 4]], 4)


def made(**options):
    return WeightedFixedBatchSampler(*ARGUMENTS, **options)


class Large:
    """Stands for what a caller holds."""


def test_nothing_that_the_caller_held_is_kept_alive_while_it_runs():
    large = Large()
    reference = weakref.ref(large)
    sampler = WeightedFixedBatchSampler(*ARGUMENTS)
    injected = DistributedSampler(range(5), num_replicas=2, rank=1)
    share = WeightedFixedBatchSampler(*ARGUMENTS, sampler=injected)
    loader = DataLoader(range(5), batch_sampler=sampler)
    first = next(iter(sampler)), next(sampler.on_device()), next(iter(loader))
    sampler.sampler.set_epoch(3)
    sampler.load_state_dict(share.state_dict())
    del large
    assert reference() is None, first


def test_nothing_that_a_generator_held_is_kept_alive():
    def caller():
        large = Large()
        reference = weakref.ref(large)
        sampler = WeightedFixedBatchSampler(*ARGUMENTS)
        first = next(iter(sampler))
        sampler.sampler.set_epoch(3)
        del large
        yield reference, first

    generator = caller()
    reference, first = next(generator)
    assert reference() is None
    assert first == made().batch(0).tolist()


class Globals(dict):
    """A dict for exec() that has no get()."""

    get = None


class Names:
    """A mapping for exec() without get()."""

    def __init__(self):
        self.names = {}

    def __getitem__(self, name):
        return self.names[name]

    def __setitem__(self, name, value):
        self.names[name] = value


CODE = """
sampler = made()
first = next(iter(sampler))
sampler.sampler.set_epoch(5)
sampler.load_state_dict(sampler.state_dict())
"""
MODULES = [
    None, 7, ["accelerate.data_loader"], "elsewhere", "accelerate.data_loader",
    "lightning.fabric.utilities.data", "ignite.engine.deterministic", "torchdata.nodes.adapters",
    "torch.utils.data.dataloader", "mmengine.runner.loops",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=repr)
@pytest.mark.parametrize("names", [dict, Names])
def test_code_run_by_exec_with_namespaces_of_any_kind_gets_its_batches(module, names):
    outer = Globals(made=made)
    if module is not None:
        outer["__name__"] = module
    inner = names()
    exec(CODE, outer, inner)
    assert inner["first"] == made().batch(0).tolist()
    assert inner["sampler"].epoch == 5


def test_a_function_whose_module_has_no_name_gets_its_batches():
    def asked():
        return next(iter(sampler)), sampler.sampler.set_epoch(2)

    sampler = made()
    nameless = types.FunctionType(asked.__code__, {}, "asked", (), asked.__closure__)
    assert nameless()[0] == made().batch(0).tolist()
    assert sampler.epoch == 2


FIRST_IN_A_THREAD = {
    "iterate": lambda sampler, found: (list.extend, (found, iter(sampler))),
    "on_device": lambda sampler, found: (list.extend, (found, sampler.on_device())),
    "set_epoch": lambda sampler, found: (sampler.sampler.set_epoch, (6,)),
    "load": lambda sampler, found: (
        sampler.load_state_dict, ({**sampler.state_dict(), "epoch": 6},)
    ),
    "make": lambda sampler, found: (
        type(sampler), ARGUMENTS, {"window_bytes": Told(found)}
    ),
}  # fmt: skip


class Told:
    """A number that tells when it is asked for, so that who asks is known to have come so far."""

    def __init__(self, found):
        self.found = found

    def __index__(self):
        self.found.append(1)
        return 1 << 20


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("what", FIRST_IN_A_THREAD)
def test_a_call_that_is_the_first_in_its_thread_does_what_it_does(what):
    """With no frame behind it, as a thread of C code has none."""
    sampler, found = made(), []
    list(sampler), list(sampler.on_device())
    sampler.set_epoch(0)
    _thread.start_new_thread(*FIRST_IN_A_THREAD[what](sampler, found))
    limit = time.monotonic() + 30
    while not (len(found) == 4 or sampler.epoch == 6 or found == [1]):
        assert time.monotonic() < limit
        time.sleep(0.01)
    if len(found) == 4:
        assert [list(map(int, batch)) for batch in found] == made().batches(0, 4).tolist()


def by_a_key(sampler):
    batches, found = iter(sampler), []
    sorted(range(4), key=lambda _: found.append(next(batches)) or 0)
    return found


THROUGH_C = {
    "map": lambda sampler: list(map(list, sampler)),
    "zip": lambda sampler: [batch for (batch,) in zip(sampler, strict=True)],
    "partial": lambda sampler: list(iter(functools.partial(next, iter(sampler), None), None)),
    "next": lambda sampler: list(iter(iter(sampler).__next__, None)),
    "sorted": by_a_key,
    "generator": lambda sampler: [*(batch for batch in sampler)],
}


@pytest.mark.parametrize("way", THROUGH_C)
def test_batches_asked_for_through_c_code_are_those_of_the_epoch(way):
    sampler = made()
    assert THROUGH_C[way](sampler) == made().batches(0, 4).tolist()
    assert list(map(functools.partial(type(sampler.sampler).set_epoch, sampler.sampler), [7])) == [
        None
    ]
    assert sampler.epoch == 7
