"""Ignite: an engine's epochs are those of our stream, and it resumes within them."""

import pytest
from items import shares, stream

pytest.importorskip("ignite")
pytest.importorskip("torchdata.stateful_dataloader")

import ranks_ignite as ignite
from ignite.engine import DeterministicEngine, Engine
from torchdata.stateful_dataloader import StatefulDataLoader

ALL = stream(0, 18)
WAYS = {
    "sampler": {"saved": ("engine", "sampler")},
    "loader": {
        "saved": ("engine", "loader"),
        "loader": StatefulDataLoader,
        "workers": 2,
    },
    "deterministic": {"saved": ("engine",), "kind": DeterministicEngine},
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [Engine, DeterministicEngine])
def test_epochs_are_those_of_the_stream(kind, workers):
    assert ignite.epochs(kind, workers) == ALL


def test_set_epoch_takes_the_sampler_where_the_engine_begins():
    assert ignite.from_epoch(1) == ALL[6:]


@pytest.mark.parametrize("length", [4, 8, 12])
def test_epochs_of_another_length_go_on_through_the_stream_where_set_epoch_is_left_out(length):
    assert ignite.epochs_of(length) == stream(0, 3 * length)


@pytest.mark.filterwarnings("ignore:this iteration yields no batch")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("done", [6, 8])
def test_a_checkpoint_resumes_after_the_batches_done(way, done, tmp_path):
    found = ignite.resumed(done, str(tmp_path), **WAYS[way])
    assert found == [ALL[:done], ALL[done:]]


def test_done_counts_from_where_the_engine_began_in_the_epoch():
    assert ignite.resumed_by_done([8, 10, 15], 2) == [ALL[:8], ALL[8:10], ALL[10:15], ALL[15:]]


def test_a_deterministic_engine_and_a_sampler_that_both_skip_are_refused():
    run, again = (ignite.Run(DeterministicEngine) for _ in range(2))
    run.go(stop=8)
    again.engine.load_state_dict(run.engine.state_dict())
    again.sampler.load_state_dict(run.sampler.state_dict(done=2))
    with pytest.raises(RuntimeError, match="leaves out the 2 batches that are done by itself"):
        again.go()


def test_whole_batches_in_the_place_of_single_indices_are_refused(ranks):
    for said in (ignite.single(), *(rank["single"] for rank in ranks)):
        assert said.startswith("this sampler gives whole batches, and torch's BatchSampler puts")


@pytest.mark.parametrize(
    "how", ["epochs", "epochs, workers", "epochs, deterministic", "epochs, auto_dataloader"]
)
def test_two_processes_share_the_stream(ranks, how):
    assert [rank[how] for rank in ranks] == shares(ALL)


def test_two_processes_begin_at_the_epoch_that_is_set(ranks):
    assert [rank["from epoch"] for rank in ranks] == shares(ALL[6:])


@pytest.mark.parametrize("how", ["sampler", "loader", "deterministic", "done"])
def test_two_processes_resume_after_the_batches_done(ranks, how):
    for i, batches in enumerate([ALL[:8], ALL[8:]]):
        assert [rank[how][i] for rank in ranks] == shares(batches)
