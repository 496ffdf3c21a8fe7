"""Accelerate: prepare() shares out our stream, its epochs are ours, and it resumes."""

import pytest
from items import lists, sampler, shares, stream

pytest.importorskip("accelerate")
pytest.importorskip("torchdata.stateful_dataloader")

import ranks_accelerate as accelerate

EPOCHS = [stream(0, 6), stream(6, 12), stream(42, 48)]


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_are_those_of_the_stream(workers):
    assert accelerate.epochs(workers=workers) == EPOCHS


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_first_batches_goes_on_within_the_epoch_that_was_set(workers):
    assert accelerate.skipped(2, workers) == [stream(20, 24), stream(24, 30)]


@pytest.mark.parametrize("workers", [0, 2])
def test_load_state_goes_on_after_the_batches_done(workers, tmp_path):
    found = accelerate.saved_and_resumed(2, workers, str(tmp_path))
    assert found == [stream(12, 14), stream(14, 18), stream(18, 24)]


def test_after_load_state_the_next_epoch_is_right_only_where_the_loop_sets_it(tmp_path):
    """Accelerate counts epochs by itself, and from 0 again."""
    accelerate.saved_and_resumed(2, 0, str(tmp_path))
    accelerator, loader = accelerate.prepared(sampler(), use_stateful_dataloader=True)
    accelerator.load_state(str(tmp_path))
    assert [lists(loader), lists(loader)] == [stream(14, 18), stream(6, 12)]


@pytest.mark.parametrize("how", ["epochs", "epochs, workers", "epochs, dispatched"])
def test_two_processes_share_each_epoch_of_the_stream(ranks, how):
    for epoch, batches in enumerate(EPOCHS):
        assert [rank[how][epoch] for rank in ranks] == shares(batches)


def test_split_batches_gives_each_process_a_half_of_every_batch(ranks):
    for epoch, batches in enumerate(EPOCHS):
        halves = [rank["epochs, split"][epoch] for rank in ranks]
        assert [left + right for left, right in zip(*halves, strict=True)] == batches


@pytest.mark.parametrize("how", ["skipped", "skipped, workers"])
def test_two_processes_skip_batches_of_their_own(ranks, how):
    for i, batches in enumerate([stream(20, 24), stream(24, 30)]):
        assert [rank[how][i] for rank in ranks] == shares(batches)


@pytest.mark.parametrize("how", ["resumed", "resumed, workers"])
def test_two_processes_resume_by_load_state(ranks, how):
    for i, batches in enumerate([stream(12, 14), stream(14, 18), stream(18, 24)]):
        assert [rank[how][i] for rank in ranks] == shares(batches)


def test_a_sampler_that_was_loaded_is_not_skipped_in_as_well(ranks, tmp_path):
    told = "Accelerate's skip_first_batches leaves out 1 batches, and this sampler begins at batch"
    for said in (accelerate.skipped_twice(str(tmp_path)), *(r["skipped twice"] for r in ranks)):
        assert said.startswith(told)
        assert said.endswith("where you skip, but call set_epoch(3) of the loader before it")


SINGLE = "this sampler gives whole batches, and torch's BatchSampler puts batch_size of them into"


@pytest.mark.parametrize("options", [{}, {"use_stateful_dataloader": True}])
def test_whole_batches_in_the_place_of_single_indices_are_refused(options):
    assert accelerate.single(**options).startswith(SINGLE)


@pytest.mark.parametrize("how", ["single", "single, stateful"])
def test_two_processes_refuse_whole_batches_in_the_place_of_single_indices(ranks, how):
    for rank in ranks:
        assert rank[how].startswith(SINGLE)


@pytest.mark.parametrize("how", ["", ", workers", ", split", ", dispatched"])
def test_a_share_is_refused_and_not_shared_out_again(ranks, how):
    for rank in ranks:
        told = rank[f"refusal{how}"]
        assert told.startswith("Accelerate shares out batches over 2 processes by itself")
        assert told.endswith("give accelerator.prepare() the sampler that was not sharded")
