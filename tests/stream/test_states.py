"""States that no run gave are refused, and what else was found by others."""

import base64
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from streams import EPOCH, KINDS, make

from gpusampler import UnevenShareWarning
from gpusampler.stream.sampler import StreamBatchSampler

pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.UnevenShareWarning")


# ------------------------------------------------------------------------------- states of no run


def packed(data):
    return base64.b64encode(zlib.compress(data)).decode()


START = packed(np.array([12 * 8, 0, 0], "<i8").tobytes())
NO_RUN = [
    {"epoch": float("nan")},
    {"epoch": 1.5},
    {"epoch": 1e22},
    {"epoch": True},
    {"epoch": 10**22},
    {"batch": -1},
    {"schedule": 2},
    {"changed": True},
    {"changed": 1},
    {"mix_epoch": 1},
    {"mix_number": 1 << 24},
    {"next_epoch": 3},
    {"mix": "[" * 100_000},
    {"mix": packed(b"[" * 100_000)},
    {"mix": packed(b"1,2,3;\0\1\2")},  # changed by nobody
    {"changed": 1, "mix": packed(b"1,2,3;\0\1\2")},  # without a start
    {"changed": 1, "mix": packed(b"1,2;\0\1\2"), "start": START},
    {"changed": 1, "mix": packed(b"2,4;\0\1\1"), "start": START},
    {"changed": 1, "mix": packed(b"2,1;\0\1\1"), "start": START},
    {"changed": 1, "mix": packed(b"-1,2,3;\0\1\2"), "start": START},
    {"changed": 1, "mix": packed(b"1,2,3;\0\1"), "start": START},
    {"changed": 1, "mix": packed(b"9" * 100_000 + b",2,3;\0\1\2"), "start": START},
    {"changed": 1, "mix": packed(b"0" * (1 << 24)), "start": START},
    {"changed": 1, "epoch": 2, "mix_epoch": 2, "mix": packed(b"1,2,3;\0\1\2"), "start": START[:9]},
    {"changed": 1, "epoch": 2, "mix_epoch": 2, "mix": packed(b"1,2,3;\0\1\2"), "start": "é"},
    {"changed": 1, "epoch": 2, "mix_epoch": 1, "mix": packed(b"1,2,3;\0\1\2"), "start": START},
    {"changed": 1, "epoch": 1, "mix_epoch": 2, "mix": packed(b"1,2,3;\0\1\2"), "start": START},
    {
        "changed": 1, "epoch": 2, "mix_epoch": 2, "mix": packed(b"1,2,3;\0\1\2"), "start": START,
        "next_epoch": 2, "next_mix": packed(b"1,2,3;\0\1\2"),
    },
    {
        "changed": 1, "epoch": 2, "mix_epoch": 2, "mix": packed(b"1,2,3;\0\1\2"), "start": START,
        "next_epoch": 3, "next_mix": "",
    },
]  # fmt: skip


@pytest.mark.parametrize("name", ["fixed", "stratified"])
@pytest.mark.parametrize("change", NO_RUN, ids=range(len(NO_RUN)))
def test_a_state_that_no_run_gave_is_refused_by_name_and_at_once(name, change):
    sampler = make(name)
    before, begun = sampler.state_dict(), time.perf_counter()
    with pytest.raises((ValueError, TypeError), match=r"of a state must|there"):
        sampler.load_state_dict({**before, **change})
    assert time.perf_counter() - begun < 2
    assert sampler.state_dict() == before


def test_the_state_that_those_are_near_to_is_read():
    change = {"changed": 1, "epoch": 2, "mix_epoch": 2, "mix_number": 1}
    change |= {"mix": packed(b"1,2,3;\0\1\2"), "start": START}
    sampler = make()
    sampler.load_state_dict({**sampler.state_dict(), **change})
    assert len(list(sampler)) == EPOCH


def test_an_unbroken_iteration_knows_the_mixes_that_were_set_before_another_began():
    sampler = make("stratified", unbroken=True)
    first = iter(sampler)
    next(first)
    second = iter(sampler)
    [next(second) for _ in range(EPOCH - 1)]  # up to the epoch's end
    sampler.set_weights([1, 1, 6])
    third = iter(sampler)
    next(third)
    assert next(second) == sampler.batch(EPOCH).tolist()
    before = sampler.batches(EPOCH, EPOCH).tolist()
    sampler.load_state_dict(make("stratified", unbroken=True).state_dict())
    assert list(third) == before[1:]


# ------------------------------------------------------------------------------- found by others


@pytest.mark.parametrize("name", KINDS)
def test_a_schedule_that_raises_uses_up_no_epoch(name):
    table = [0.5, 0.6]
    sampler = make(name, alpha=lambda epoch: table[epoch])
    list(sampler), list(sampler)
    for _ in range(2):
        with pytest.raises(IndexError):
            list(sampler)
    table.append(0.7)
    assert list(sampler) == sampler.batches(2 * EPOCH, EPOCH).tolist()


def test_a_state_is_of_one_moment_though_another_thread_trains_on():
    sampler = make("stratified")
    list(sampler)

    layout = StreamBatchSampler._layout.fget

    def busy(self):
        if threading.current_thread() is not other and not busy.done:
            busy.done = True
            other.start()
            other.join(0.2)
        return layout(self)

    def train_on():
        sampler.set_alpha(1.0)
        next(iter(sampler))

    busy.done, other = False, threading.Thread(target=train_on)
    mixed = type("Mixed", (type(sampler),), {"_layout": property(busy)})
    object.__setattr__(sampler, "__class__", mixed)
    state = sampler.state_dict()
    other.join()
    fresh = make("stratified")
    fresh.load_state_dict(state)
    place = state["epoch"] * EPOCH + state["batch"]
    if state["batch"]:  # after the change
        assert next(iter(fresh)) == sampler.batch(place).tolist()
    else:
        assert (
            state["changed"] == 0 and next(iter(fresh)) == make("stratified").batch(EPOCH).tolist()
        )


def test_a_warning_of_a_changed_mix_names_the_line_and_a_schedule_warns_once():
    pairs = ((lambda s: s.set_alpha(1.0)), (lambda s: s.set_shares([5, 4, 4])))
    for change in (*pairs, lambda s: s.set_rates([1, 1, 9])):
        sampler = make()
        with pytest.warns(UnevenShareWarning) as told:
            change(sampler)
        assert {warning.filename for warning in told} == {__file__}
    sampler = make(alpha=lambda epoch: min(1.0, epoch / 50))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(60):
            list(sampler)
    assert len(told) == 1


@pytest.mark.parametrize("name", KINDS)
def test_shares_and_rates_may_be_changed_by_name(name):
    samplers = [make(name) for _ in range(3)]
    samplers[0].set_shares([1, 2, 3])
    samplers[1].set_rates([1 / 90, 2 / 30, 3 / 10])
    samplers[2].set_weights([1, 2, 3])
    counts = [sampler.class_counts.round().tolist() for sampler in samplers]
    assert counts[0] == counts[1] == counts[2] in ([8, 16, 24], [6, 18, 24])  # whole: fixed
