"""What a sampler does over time: changes of mix, schedules, several iterations, copies, threads."""

import base64
import copy
import itertools
import json
import pickle
import threading
import time
import warnings
import zlib
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler

from gpusampler import ClassIndex, SamplerFactory, UnevenShareWarning
from gpusampler.stream import batches
from gpusampler.stream.sampler import StreamBatchSampler

SIZES, BATCH, EPOCH = (90, 30, 10), 8, 6
KINDS = {
    "fixed": {"alpha": 0.5, "kind": "fixed"},
    "stratified": {"alpha": 0.3, "kind": "stratified"},
    "counter": {"alpha": 0.5, "kind": "random", "class_draw": "counter"},
    "multinomial": {"alpha": 0.5, "kind": "random"},
}
ALL_KINDS = {**KINDS, "pk": {"kind": "pk", "classes_per_batch": 2, "members_per_class": 4}}
INDEX = ClassIndex.from_labels(
    np.random.default_rng(1).permutation(np.repeat(np.arange(3), SIZES)), device="cpu"
)
TABLE = [0.0, 1.0, 1.0, 0.5, 0.25, 0.0]

pytestmark = pytest.mark.filterwarnings("ignore::gpusampler.UnevenShareWarning")


def make(name="fixed", n_batches=EPOCH, **options):
    more = {**ALL_KINDS[name], "device": "cpu", "seed": 3, **options}
    return SamplerFactory().get(INDEX, BATCH, n_batches, **more)


def follow(epoch):
    return TABLE[epoch]


def by_epoch(name):
    """Each epoch's batches, reached in order."""
    sampler = make(name, alpha=follow)
    return [list(sampler) for _ in TABLE]


# ------------------------------------------------------------------------------- read-only


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize(
    "attribute",
    sorted(batches.READ_ONLY),
)
def test_what_batches_hang_on_cannot_be_set(name, attribute):
    sampler = make(name)
    before, value = sampler.build(), getattr(sampler, attribute, None)
    with pytest.raises(AttributeError, match=f"{attribute} of a sampler cannot be set"):
        setattr(sampler, attribute, 3)
    assert getattr(sampler, attribute, None) == value
    assert torch.equal(sampler.build(), before)


# ------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", KINDS)
def test_under_a_schedule_a_batch_is_the_same_however_it_is_reached(name):
    expected = by_epoch(name)
    whole = list(itertools.chain(*expected))
    assert make(name, alpha=follow).batches(0, len(whole)).tolist() == whole
    sampler = make(name, alpha=follow)
    for g in (35, 0, 29, 17, 6, 5):
        assert sampler.batch(g).tolist() == whole[g]
    assert sampler.batches(0, len(whole)).tolist() == whole
    for epoch in (4, 1, 5, 0):
        sampler.set_epoch(epoch)
        assert sampler.build().tolist() == expected[epoch]
        assert [batch.tolist() for batch in sampler.on_device()] == expected[epoch]


def test_windows_over_epochs_follow_the_schedule_of_a_new_sampler():
    index = ClassIndex.from_labels(np.repeat([0, 1, 2], [900, 90, 10]))
    made = [
        SamplerFactory().get(
            index, 32, 10, alpha=lambda e: 0.0 if e == 0 else 1.0, kind="fixed", device="cpu"
        )
        for _ in range(2)
    ]
    made[1].batch(29)
    found = [sampler.batches(0, 30) for sampler in made]
    assert torch.equal(*found)
    ends = torch.tensor([900, 990])
    counts = [torch.bincount(torch.bucketize(b, ends, right=True), minlength=3) for b in found[0]]
    assert counts[0].tolist() == [29, 3, 0]
    assert counts[10].tolist() == counts[29].tolist() == [11, 11, 10]


@pytest.mark.parametrize("name", KINDS)
def test_threads_that_share_a_schedule_get_the_same_batches(name):
    whole, wrong = list(itertools.chain(*by_epoch(name))), []
    for _ in range(5):
        sampler = make(name, alpha=follow)
        start = threading.Barrier(4)

        def ask(sampler, start, order):
            start.wait()
            for g in order:
                if sampler.batch(g).tolist() != whole[g]:
                    wrong.append(g)
                sampler.state_dict(), sampler.describe()

        orders = [np.random.default_rng(t).permutation(len(whole)).tolist() for t in range(4)]
        threads = [threading.Thread(target=ask, args=(sampler, start, o)) for o in orders]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sampler.batches(0, len(whole)).tolist() == whole
    assert wrong == []


def test_two_threads_never_begin_the_same_epoch():
    sampler = make(n_batches=1)
    found = []

    def iterate():
        found.extend(tuple(batch) for _ in range(200) for batch in sampler)

    threads = [threading.Thread(target=iterate) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(found) == sorted(map(tuple, make().batches(0, 800).tolist()))


@pytest.mark.parametrize("name", KINDS)
def test_a_schedule_is_not_asked_for_an_epoch_that_is_not_due(name):
    sampler = make(name, alpha=follow)
    for _ in TABLE:
        list(sampler)
    state = sampler.state_dict()
    assert (state["epoch"], state["batch"]) == (len(TABLE), 0)
    other = make(name, alpha=follow)
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(IndexError):
        next(iter(other))


@pytest.mark.parametrize("name", KINDS)
def test_a_state_is_the_same_where_a_rank_has_looked_ahead(name):
    near, far = make(name, alpha=follow), make(name, alpha=follow)
    far.batches(0, len(TABLE) * EPOCH)
    for _ in range(3):
        assert near.state_dict() == far.state_dict()
        ends = [next(iter(sampler)) for sampler in (near, far)]
        assert ends[0] == ends[1] and near.state_dict() == far.state_dict()


@pytest.mark.parametrize("name", ["fixed", "stratified", "multinomial"])
def test_a_schedule_is_followed_to_a_bound(name):
    sampler = make(name, alpha=lambda epoch: (epoch % 2) / 2)
    with pytest.raises(ValueError, match="at most 10000 changes of mix in one call, and epoch"):
        sampler.batch(200_000)
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r"at most 1048576 epochs in one call"):
        sampler.batch(10**12)
    sampler.set_epoch(10**6)
    assert time.perf_counter() - begun < 5
    sampler.batch(10_000 * EPOCH)  # what was reached before is kept
    assert torch.equal(sampler.batch(20_000 * EPOCH), sampler.batch(20_000 * EPOCH))


def test_the_counter_needs_no_past_under_a_schedule():
    sampler = make("counter", alpha=lambda epoch: (epoch % 2) / 2)
    for epoch in (10**11, 10**11 + 1):
        plain = make("counter", alpha=(epoch % 2) / 2)
        assert sampler.batch(epoch * EPOCH).tolist() == plain.batch(epoch * EPOCH).tolist()
        sampler.set_epoch(epoch)
        other = make("counter", alpha=lambda epoch: (epoch % 2) / 2)
        other.load_state_dict(sampler.state_dict())
        assert next(iter(other)) == plain.batch(epoch * EPOCH).tolist()


def test_a_schedule_over_many_epochs_is_right_wherever_it_is_asked():
    alpha = np.random.default_rng(0).random(300).round(2).tolist()
    forward, back = (make("stratified", alpha=lambda e: alpha[e]) for _ in range(2))
    whole = forward.batches(0, 300 * EPOCH)
    for epoch in [299, *np.random.default_rng(1).permutation(300).tolist()]:
        found = back.batches(epoch * EPOCH, EPOCH)
        assert torch.equal(found, whole[epoch * EPOCH : (epoch + 1) * EPOCH])
    assert len(back._history.reached) <= 64


def test_a_schedules_bad_value_names_its_epoch():
    sampler = make(alpha=lambda epoch: 0.5 if epoch < 2 else 2.0)
    sampler.batches(0, 2 * EPOCH)
    with pytest.raises(ValueError, match=r"alpha of epoch 2 must be in \[0, 1\], not 2"):
        sampler.batch(2 * EPOCH)


def test_a_state_without_a_schedule_is_not_for_a_sampler_with_one():
    state = make(alpha=0.0).state_dict()
    with pytest.raises(ValueError, match="there alpha is a number, here a function"):
        make(alpha=follow).load_state_dict(state)
    by_hand = make(alpha=follow)
    list(by_hand)
    by_hand.set_alpha(0.3)  # ends it
    other = make(alpha=follow)
    other.load_state_dict(by_hand.state_dict())
    assert [list(other) for _ in range(2)] == [list(by_hand) for _ in range(2)]


# ------------------------------------------------------------------------------- a begun epoch


@pytest.mark.parametrize("way", ["set_epoch", "plain"])
@pytest.mark.parametrize("name", KINDS)
def test_an_epoch_that_was_begun_keeps_its_mix(name, way):
    sampler, plain = make(name), make(name)
    iterator = iter(sampler)
    trained = [next(iterator)]
    if way == "set_epoch":  # as Lightning does, whose workers have asked for a batch
        sampler.set_epoch(0)
    sampler.set_alpha(1.0)
    trained += list(iterator)
    assert trained == list(plain)
    plain.set_alpha(1.0)
    assert list(sampler) == list(plain)
    assert sampler.state_dict() == plain.state_dict()


def test_no_member_is_lost_where_the_mix_changes_behind_a_worker():
    index = ClassIndex.from_labels(np.repeat([0, 1], [600, 300]))
    sampler = SamplerFactory().get(index, 30, 30, alpha=0.0, kind="fixed", device="cpu")
    iterator = iter(sampler)
    drawn = Counter(next(iterator))
    sampler.set_epoch(0)
    sampler.set_alpha(1.0)
    for batch in iterator:
        drawn.update(batch)
    assert set(drawn.values()) == {1} and len(drawn) == 900


@pytest.mark.parametrize("name", ALL_KINDS)
def test_an_iteration_goes_on_where_a_state_is_loaded_behind_it(name):
    sampler = make(name)
    expected = list(make(name))
    iterator = iter(sampler)
    trained = [next(iterator), next(iterator)]
    other = make(name)
    other.set_epoch(4)
    state = other.state_dict()
    sampler.load_state_dict(state)
    trained += list(iterator)
    assert trained == expected
    assert sampler.state_dict() == state
    assert list(sampler) == list(other)


# ------------------------------------------------------------------------------- what is kept


def changed_often(name, times):
    sampler = make(name, n_batches=2)
    rng = np.random.default_rng(0)
    for _ in range(times):
        sampler.set_weights(rng.integers(1, 9, 3))
        list(sampler)
    return sampler


@pytest.mark.parametrize("name", KINDS)
def test_a_state_and_what_is_kept_do_not_grow_with_changes(name):
    few, many = changed_often(name, 3), changed_often(name, 300)
    size = [len(json.dumps(sampler.state_dict())) for sampler in (few, many)]
    assert size[1] <= size[0] + 40  # digits of counts and epochs
    assert len(many._history.marks) <= 2 and len(many._history.reached) == 1
    assert abs(len(pickle.dumps(many)) - len(pickle.dumps(few))) < 2000
    other = make(name, n_batches=2)
    other.load_state_dict(many.state_dict())
    assert [list(other) for _ in range(3)] == [list(many) for _ in range(3)]


def test_epochs_before_the_last_change_but_one_are_refused_by_number():
    sampler = make()
    list(sampler)
    sampler.set_alpha(0.9)  # from epoch 1
    list(sampler), list(sampler)
    sampler.batch(0)  # the mix before the change is kept
    sampler.set_alpha(0.1)  # from epoch 3
    sampler.batch(EPOCH)
    for ask in (
        lambda: sampler.batch(EPOCH - 1),
        lambda: sampler.batches(0, 30),
        lambda: sampler.set_epoch(0),
        lambda: sampler.class_counts_in(0),
    ):
        with pytest.raises(ValueError, match="epoch 0 lies before epoch 1, the first whose class"):
            ask()


def test_a_change_to_the_mix_in_force_is_none():
    sampler, plain = make("stratified"), make("stratified")
    list(sampler), list(plain)
    sampler.set_alpha(0.3)
    sampler.set_weights(sampler.class_counts.numpy())
    assert sampler.state_dict()["next_epoch"] == 0
    sampler.set_alpha(0.3)
    assert list(sampler) == list(plain)


@pytest.mark.parametrize("name", KINDS)
def test_a_mix_that_was_to_come_in_one_state_is_in_force_in_the_next(name):
    sampler = make(name)
    iterator = iter(sampler)
    next(iterator)
    sampler.set_alpha(0.25)
    states = [sampler.state_dict()]
    list(iterator)
    states += [sampler.state_dict()]
    for state in states:
        other = make(name)
        other.load_state_dict(state)
        rest = list(other) + list(other)
        assert rest[-EPOCH:] == sampler.batches((2 - (state["batch"] > 0)) * EPOCH, EPOCH).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_the_schedule_that_there_is_is_no_change(name):
    sampler = make(name, alpha=follow)
    before = sampler.state_dict()
    sampler.set_alpha(follow)
    assert sampler.state_dict() == before


def test_a_change_that_was_to_come_is_replaced():
    sampler, plain = make("stratified"), make("stratified")
    iterators = iter(sampler), iter(plain)
    [next(iterator) for iterator in iterators]
    sampler.set_alpha(0.1)
    for one in (sampler, plain):
        one.set_alpha(0.8)
    assert sampler.state_dict() == plain.state_dict()
    assert [list(sampler) for _ in range(2)] == [list(plain) for _ in range(2)]


# ------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_a_copy_goes_its_own_way(name, copied):
    sampler = make(name)
    list(sampler)
    iterator = iter(sampler)
    next(iterator)
    other = copied(sampler)
    state = sampler.state_dict()
    assert other.state_dict() == state
    next(iterator)
    assert other.state_dict() == state != sampler.state_dict()
    mine = sampler.state_dict()
    assert list(other) == make(name).batches(2 * EPOCH, EPOCH).tolist()
    if name != "pk":
        other.set_alpha(1.0)
    assert sampler.state_dict() == mine
    assert list(sampler) == make(name).batches(2 * EPOCH, EPOCH).tolist()


def test_a_copy_takes_along_nothing_that_lightning_noted():
    sampler = make()
    vars(sampler)["__pl_attrs_record"] = [threading.Lock()]  # of every attribute that was set
    for other in (copy.copy(sampler), copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert "__pl_attrs_record" not in vars(other)


def test_a_sampler_is_copied_where_lightning_left_its_notes_switched_on():
    replaced = pytest.importorskip("lightning.fabric.utilities.data")
    with replaced._replace_dunder_methods(BatchSampler):  # which an exception inside leaves on
        sampler = make()
        sampler.set_epoch(2)
        for other in (
            copy.copy(sampler),
            copy.deepcopy(sampler),
            pickle.loads(pickle.dumps(sampler)),
        ):
            assert "__pl_attrs_record" not in vars(other)
            assert list(other) == make().batches(2 * EPOCH, EPOCH).tolist()


# ------------------------------------------------------------------------------- ranks, ends


def test_what_no_rank_gets_after_a_resume_is_said():
    state = {**make(n_batches=12).state_dict(), "batch": 4}
    for rank in range(3):
        sampler = make(n_batches=12).shard(rank, 3)
        sampler.load_state_dict(state)
        with pytest.warns(UserWarning, match="no rank gets batches 10 to 11 of epoch 0"):
            assert len(list(sampler)) == 2
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no rank")
        for size in (1, 2, 4):  # divide the 8 that are left
            sampler = make(n_batches=12).shard(0, size)
            sampler.load_state_dict(state)
            assert len(list(sampler)) == 8 // size


def test_an_iteration_without_a_batch_is_said_and_its_repair_is_right():
    sampler = make()
    for _ in sampler:
        state = sampler.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"needs set_epoch\(1\) after loading"):
        assert list(resumed) == []
    resumed.load_state_dict(state)
    resumed.set_epoch(1)
    assert list(resumed) == make().batches(EPOCH, EPOCH).tolist()


def test_the_epoch_of_counts_is_said_and_can_be_asked_for():
    sampler = make(alpha=follow)
    for epoch in range(3):
        assert f"epoch {epoch}\n" in sampler.describe()
        assert sampler.class_counts.tolist() == sampler.class_counts_in(epoch).tolist()
        list(sampler)
    assert sampler.class_counts_in(0).tolist() == make(alpha=0.0).class_counts.tolist()
    assert sampler.describe(0).splitlines()[1:] == make(alpha=0.0).describe().splitlines()[1:]


# ------------------------------------------------------------------------------- unbroken


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize("cut", [1, 4, 5, EPOCH, 20])
def test_unbroken_iterations_follow_each_other(name, cut):
    sampler = make(name, unbroken=True)
    found = []
    for epoch in range(9):
        sampler.set_epoch(epoch)  # as trainers do, and here without effect
        assert len(sampler) == EPOCH
        found += list(itertools.islice(sampler, cut))
    assert len(found) == 9 * min(cut, EPOCH)
    assert found == make(name).batches(0, len(found)).tolist()
    state = sampler.state_dict()
    assert state["epoch"] * EPOCH + state["batch"] == len(found)
    for other in (make(name, unbroken=True), copy.deepcopy(sampler)):
        other.load_state_dict(state)
        assert list(other) == make(name).batches(len(found), EPOCH).tolist()


def test_unbroken_iterations_of_ranks_and_what_was_done():
    ranks = [make(n_batches=8, unbroken=True).shard(rank, 2) for rank in range(2)]
    found = []
    for _ in range(5):
        parts = [list(itertools.islice(rank, 3)) for rank in ranks]
        found += [batch for step in zip(*parts, strict=True) for batch in step]
        assert ranks[0].state_dict() == ranks[1].state_dict()
    assert found == make(n_batches=8).batches(0, 30).tolist()
    list(ranks[0])  # batches 30 to 37
    places = [ranks[0].state_dict(done=done) for done in range(5)]
    assert [8 * p["epoch"] + p["batch"] for p in places] == [30, 32, 34, 36, 38]


@pytest.mark.parametrize("name", KINDS)
def test_an_unbroken_iteration_takes_a_new_mix_where_its_epoch_begins(name):
    sampler = make(name, unbroken=True)
    trained = list(itertools.islice(sampler, 4))
    iterator = iter(sampler)
    trained += [next(iterator)]
    sampler.set_alpha(1.0)
    trained += list(iterator)
    plain = make(name)
    expected = list(plain)
    plain.set_alpha(1.0)
    expected += list(plain)
    assert trained == expected[:10]
    assert trained == sampler.batches(0, 10).tolist()


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
        with pytest.warns(UnevenShareWarning) as told:
            change(make())
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
