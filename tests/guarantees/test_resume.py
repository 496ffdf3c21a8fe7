"""Guarantee 6: a state resumes at any batch, anywhere, and belongs to one sampler only."""

import io
import json
import os
import pickle
import random
import signal
import time
from collections import Counter

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.utils.data import DataLoader, TensorDataset

from gpusampler import ClassIndex, SamplerFactory

SIZES, BATCH, EPOCH = (50, 20, 7), 8, 6
KINDS = {
    "fixed": {"alpha": 0.5, "kind": "fixed"},
    "stratified": {"alpha": 0.3, "kind": "stratified"},
    "counter": {"alpha": 0.5, "kind": "random", "class_draw": "counter"},
    "multinomial": {"alpha": 0.5, "kind": "random"},
    "pk": {"kind": "pk", "classes_per_batch": 2, "members_per_class": 4},
}


def groups(sizes=SIZES):
    order = np.random.default_rng(1).permutation(sum(sizes))
    return [part.tolist() for part in np.split(order, np.cumsum(sizes)[:-1])]


def make(name="fixed", sizes=SIZES, n_batches=EPOCH, batch_size=BATCH, **options):
    more = {**KINDS[name], "device": "cpu", "seed": 3, **options}
    return SamplerFactory().get(groups(sizes), batch_size, n_batches, **more)


def by_torch(state):
    held = io.BytesIO()
    torch.save(state, held)
    held.seek(0)
    return torch.load(held, weights_only=True)


def stream(name, epochs, **options):
    return make(name, **options).batches(0, epochs * EPOCH).tolist()


@pytest.mark.filterwarnings("ignore:this iteration yields no batch")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "carry",
    [by_torch, lambda s: json.loads(json.dumps(s)), lambda s: pickle.loads(pickle.dumps(s))],
)
def test_resume_at_every_batch_equals_an_unbroken_run(name, carry):
    expected = stream(name, 3)
    for stop in range(2 * EPOCH + 1):
        sampler, trained = make(name), []
        while len(trained) < stop:
            for batch in sampler:
                trained.append(batch)
                if len(trained) == stop:
                    break
        other = make(name)
        other.load_state_dict(carry(sampler.state_dict()))
        while len(trained) < 3 * EPOCH:
            trained += list(other)
        assert trained == expected


@pytest.mark.filterwarnings("ignore:no rank gets batches 10 to 11 of epoch 0")
@pytest.mark.parametrize("name", KINDS)
def test_resume_across_world_sizes_trains_on_each_batch_once(name):
    expected, trained, state = stream(name, 2, n_batches=12), [], None
    for world_size, steps in ((2, 2), (3, 2), (1, 2)):
        ranks = [make(name, n_batches=12).shard(r, world_size) for r in range(world_size)]
        for sampler in ranks:
            if state is not None:
                sampler.load_state_dict(state)
        iterators = [iter(sampler) for sampler in ranks]
        for _ in range(steps):
            trained += [next(iterator) for iterator in iterators]
        states = [sampler.state_dict() for sampler in ranks]
        assert all(other == states[0] for other in states)
        state = states[0]
    assert trained == expected[:12]


def test_a_distributed_checkpoint_holds_it(tmp_path):
    sampler = make("stratified")
    sampler.set_alpha(0.9)
    iterator = iter(sampler)
    next(iterator)
    other = make("stratified")
    with pytest.warns(UserWarning):  # that there is no process group
        dcp.save({"sampler": sampler}, checkpoint_id=tmp_path)
        dcp.load({"sampler": other}, checkpoint_id=tmp_path)
    assert list(other) == list(iterator)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_loader_that_runs_ahead_is_told_what_was_done():
    sampler = make()
    data = TensorDataset(torch.arange(sum(SIZES)))
    loader = DataLoader(data, batch_sampler=sampler, num_workers=2, prefetch_factor=2)
    trained = []
    for step, (batch,) in enumerate(loader, 1):
        trained.append(batch.tolist())
        if step == 2:
            state = sampler.state_dict(done=2)
            assert sampler.state_dict()["batch"] > 2
            break
    other = make()
    other.load_state_dict(state)
    assert trained + list(other) == stream("fixed", 1)


def test_done_counts_batches_of_a_begun_epoch():
    sampler = make()
    with pytest.raises(ValueError, match="none was; iterate first"):
        sampler.state_dict(done=1)
    list(sampler)
    with pytest.raises(ValueError, match=r"done must be in \[0, 6\], not 7"):
        sampler.state_dict(done=7)


def test_set_epoch_keeps_the_batch_of_its_own_epoch_alone():
    state = {**make().state_dict(), "epoch": 2, "batch": 4}
    sampler = make()
    sampler.load_state_dict(state)
    sampler.set_epoch(2)
    sampler.set_epoch(2)
    assert list(sampler) == stream("fixed", 3)[2 * EPOCH + 4 :]
    sampler.load_state_dict(state)
    sampler.set_epoch(1)
    assert sampler.state_dict() == {**state, "epoch": 1, "batch": 0}
    assert len(list(sampler)) == EPOCH


@pytest.mark.filterwarnings("ignore:this iteration yields no batch")
def test_the_end_of_an_epoch_is_its_end_and_then_the_next_ones_begin():
    sampler = make()
    iterator = iter(sampler)
    for _ in range(EPOCH):
        next(iterator)
    state = sampler.state_dict()
    assert (state["epoch"], state["batch"]) == (0, EPOCH)
    assert next(iterator, None) is None
    after = sampler.state_dict()
    assert (after["epoch"], after["batch"]) == (1, 0)
    for given in (state, after):
        other = make()
        other.load_state_dict(given)
        found = list(other) + (list(other) if given is state else [])
        assert found == stream("fixed", 2)[EPOCH:]


def test_an_abandoned_iteration_leaves_its_place_until_the_next_begins():
    sampler = make()
    first = iter(sampler)
    next(first)
    assert sampler.state_dict()["batch"] == 1
    second = iter(sampler)
    assert sampler.state_dict()["epoch"] == 0  # nothing was asked of it yet
    next(second)
    next(first)
    state = sampler.state_dict()
    assert (state["epoch"], state["batch"]) == (1, 1)


@pytest.mark.parametrize("name", KINDS)
def test_a_state_is_small_and_of_plain_values_under_fixed_names(name):
    sampler = make(name, n_batches=1000)
    fresh = sampler.state_dict()
    next(iter(sampler))
    later = sampler.state_dict()
    assert fresh.keys() == later.keys()
    assert {type(value) for value in later.values()} <= {int, str}
    assert len(pickle.dumps(later)) < 1024


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"batch_size": 16}, "batch_size: 8 there, 16 here"),
        ({"n_batches": 7}, "n_batches: 6 there, 7 here"),
        ({"sizes": (20, 50, 7)}, "the class index"),
        ({"alpha": 0.9}, "the class mix"),
        ({"name": "counter"}, "kind: 'fixed' there, 'random' here"),
    ],
)
def test_the_state_of_another_sampler_is_refused_by_name(other, named):
    state = make("fixed").state_dict()
    sampler = make(**{"name": "fixed", **other})
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=named):
        sampler.load_state_dict(state)
    assert sampler.state_dict() == before


def test_multinomial_and_counter_are_told_apart():
    with pytest.raises(ValueError, match="where classes are drawn"):
        make("counter").load_state_dict(make("multinomial").state_dict())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format": 1}, ValueError, "must be of format 2, not 1"),
        ({"format": 3}, ValueError, "must be of format 2, not 3"),
        ({"format": "2"}, ValueError, "must be of format 2, not '2'"),
        ({"epoch": -1}, ValueError, "epoch of a state must be in"),
        ({"batch": EPOCH + 1}, ValueError, "batch of a state must be in"),
        ({"batch": 1.0}, TypeError, "batch of a state must be an int"),
        ({"mix": "[]"}, ValueError, "mix of a state must be as"),
        ({"mix": 3}, TypeError, "mix of a state must be text"),
    ],
)
def test_a_state_that_is_none_is_refused(change, error, message):
    sampler = make()
    with pytest.raises(error, match=message):
        sampler.load_state_dict({**sampler.state_dict(), **change})


def test_a_part_of_a_state_or_none_at_all_is_refused():
    sampler = make()
    state = sampler.state_dict()
    for name in state:
        part = {key: value for key, value in state.items() if key != name}
        with pytest.raises(ValueError, match=r"format|must hold"):
            sampler.load_state_dict(part)
    with pytest.raises(TypeError, match=r"dict that state_dict\(\)"):
        sampler.load_state_dict([state])


# ------------------------------------------------------------------------------- segments


def changing(name):
    """A run of 8 epochs with changes of mix: what happens before each epoch."""
    sampler = make(name)

    def before(epoch, sampler=sampler):
        if epoch == 2:
            sampler.set_alpha(0.9)
        elif epoch == 5:
            sampler.set_weights([1, 1, 6])

    return sampler, before


@pytest.mark.parametrize("name", ["fixed", "stratified", "counter", "multinomial"])
@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
@pytest.mark.filterwarnings("ignore:this iteration yields no batch")
def test_changes_of_mix_are_resumed_exactly(name):
    sampler, before = changing(name)
    unbroken, states = [], []
    for epoch in range(8):
        before(epoch)
        for batch in sampler:
            states.append(sampler.state_dict())
            unbroken.append(batch)
    for stop in (3, 2 * EPOCH - 1, 2 * EPOCH, 2 * EPOCH + 1, 5 * EPOCH, 7 * EPOCH):
        other = make(name)
        other.load_state_dict(by_torch(states[stop - 1]))
        trained = unbroken[:stop]
        while len(trained) < 8 * EPOCH:
            if other.state_dict()["batch"] in (0, EPOCH):
                before(other.epoch + (other.state_dict()["batch"] == EPOCH), other)
            trained += list(other)
        assert trained == unbroken


@pytest.mark.parametrize("name", ["fixed", "stratified"])
@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
def test_no_member_loses_its_turn_when_the_mix_changes(name):
    sampler, before = changing(name)
    drawn = Counter()
    for epoch in range(8):
        before(epoch)
        for batch in sampler:
            drawn.update(batch)
            for members in groups():
                counts = [drawn[m] for m in members]
                assert max(counts) - min(counts) <= 1


@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
def test_a_change_waits_for_the_epoch_to_end():
    sampler, plain = make(), make()
    iterator, unchanged = iter(sampler), list(plain)
    trained = [next(iterator)]
    sampler.set_weights([0, 0, 1])
    trained += list(iterator)
    assert trained == unchanged
    assert all(set(batch) <= set(groups()[2]) for batch in sampler)
    resumed = make()
    resumed.load_state_dict({**resumed.state_dict(), "batch": 2})
    resumed.set_weights([0, 0, 1])
    assert list(resumed) == unchanged[2:]
    assert all(set(batch) <= set(groups()[2]) for batch in resumed)


def alpha_of(epoch):
    return min(1.0, epoch / 4)


@pytest.mark.filterwarnings("ignore::gpusampler.StarvedClassWarning")
def test_a_schedule_is_followed_and_its_past_is_in_the_state():
    sampler = make(alpha=alpha_of)
    trained = [batch for _ in range(6) for batch in sampler]
    counts = [make(alpha=alpha_of(e)).class_counts.tolist() for e in range(6)]
    for e in range(6):
        sampler.set_epoch(e)
        assert sampler.class_counts.tolist() == counts[e]
    sampler.set_epoch(3)
    state = sampler.state_dict()
    other = make(alpha=lambda epoch: 0.0 if epoch == 0 else alpha_of(epoch))
    other.load_state_dict(state)
    assert [batch for _ in range(3) for batch in other] == trained[3 * EPOCH :]


# ------------------------------------------------------------------------------- kill -9


def save_by_torch(sampler, folder):
    torch.save(sampler.state_dict(), folder / "new")
    os.replace(folder / "new", folder / "state")


def load_by_torch(sampler, folder):
    if (folder / "state").exists():
        sampler.load_state_dict(torch.load(folder / "state", weights_only=True))


def save_by_dcp(sampler, folder):
    """Into a new folder, which then takes the place of the old one by a link."""
    number = sampler.state_dict()["epoch"] * 1000 + sampler.state_dict()["batch"]
    dcp.save({"sampler": sampler}, checkpoint_id=folder / f"state-{number}")
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to(folder / f"state-{number}")
    os.replace(folder / "link", folder / "state")


def load_by_dcp(sampler, folder):
    if (folder / "state").exists():
        dcp.load({"sampler": sampler}, checkpoint_id=folder / "state")


def train(folder, save, load, epochs):
    """One life: resume, train, log what is trained on, save now and then."""
    sampler = make("stratified", n_batches=40)
    load(sampler, folder)
    with open(folder / "log", "a") as log:
        while sampler.epoch < epochs:
            for step, batch in enumerate(sampler, 1):
                place = sampler.state_dict()
                log.write(json.dumps([place["epoch"], place["batch"], batch]) + "\n")
                log.flush()
                if step % 3 == 0:
                    save(sampler, folder)
                time.sleep(0.002)
    (folder / "finished").touch()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("save", "load"), [(save_by_torch, load_by_torch), (save_by_dcp, load_by_dcp)]
)
def test_a_run_killed_ten_times_trains_as_an_unbroken_one(save, load, tmp_path):
    rnd, kills, epochs = random.Random(7), 0, 5
    make("stratified", n_batches=40).build()  # compiled before the first fork
    while not (tmp_path / "finished").exists():
        child = os.fork()
        if child == 0:
            try:
                train(tmp_path, save, load, epochs)
            finally:
                os._exit(0)
        if kills < 10:
            seen = len((tmp_path / "log").read_bytes()) if (tmp_path / "log").exists() else 0
            wait_for_progress(tmp_path / "log", seen, rnd.randrange(4, 16))
            os.kill(child, signal.SIGKILL)
            kills += 1
        os.waitpid(child, 0)
    assert kills == 10
    trained = {}  # what a life trained on past its last save is trained on again, and is the same
    for line in (tmp_path / "log").read_text().splitlines():
        try:
            epoch, batch, indices = json.loads(line)
        except ValueError:
            continue  # cut off by a kill
        place = epoch * 40 + batch
        assert trained.setdefault(place, indices) == indices
    expected = make("stratified", n_batches=40).batches(0, epochs * 40).tolist()
    assert [trained[i + 1] for i in range(epochs * 40)] == expected


def wait_for_progress(log, seen, batches):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if log.exists() and log.read_bytes()[seen:].count(b"\n") >= batches:
            return
        time.sleep(0.001)
    raise TimeoutError("no batch was trained on in 20 seconds")


def test_the_state_of_an_index_from_labels_and_from_lists_is_the_same():
    labels = np.empty(sum(SIZES), int)
    for c, members in enumerate(groups()):
        labels[members] = c
    index = ClassIndex.from_labels(labels)
    other = SamplerFactory().get(index, BATCH, EPOCH, 0.5, "fixed", device="cpu", seed=3)
    assert other.state_dict() == make().state_dict()
