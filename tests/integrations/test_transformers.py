"""HF Trainer: prepare() shares out our stream, its epochs are ours, and it resumes in them."""

import pytest
from items import shares, stream

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import ranks_transformers as hf

ALL = stream(0, 18)
LOADERS = pytest.mark.parametrize(
    "kind, workers", [(hf.Prepared, 0), (hf.Prepared, 2), (hf.Plain, 0)]
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with checkpoints of all even steps."""
    folder = str(tmp_path_factory.mktemp("saved"))
    assert hf.trained(folder, save_steps=2) == ALL
    return folder


@LOADERS
def test_epochs_are_those_of_the_stream(kind, workers, tmp_path):
    assert hf.trained(str(tmp_path), kind, workers=workers, set_epoch=False) == ALL


@LOADERS
@pytest.mark.parametrize("done", [6, 8])
def test_a_checkpoint_resumes_after_the_batches_done(saved, kind, workers, done):
    assert hf.trained(saved, kind, resume=done, workers=workers) == ALL[done:]


def test_one_process_resumes_without_a_callback_too(saved):
    assert hf.trained(saved, resume=6, set_epoch=False) == ALL[6:]
    assert hf.trained(saved, resume=8, set_epoch=False) == ALL[8:]


def test_a_step_of_several_batches_resumes_after_them(tmp_path):
    options = {"folder": str(tmp_path), "gradient_accumulation_steps": 2}
    assert hf.trained(save_steps=4, **options) == ALL
    assert hf.trained(resume=4, **options) == ALL[8:]


def test_ignore_data_skip_begins_the_epoch_anew_and_leaves_out_as_many_at_the_end(saved):
    assert hf.trained(saved, resume=8, ignore_data_skip=True) == ALL[6:16]


@pytest.mark.parametrize("how", ["epochs", "epochs, workers", "epochs, plain"])
def test_two_processes_share_the_stream(ranks, how):
    assert [rank[how] for rank in ranks] == shares(ALL)


@pytest.mark.parametrize("how", ["resumed", "resumed, workers", "resumed, plain"])
@pytest.mark.parametrize("i, done", [(0, 8), (1, 12)])
def test_two_processes_resume_after_the_batches_done(ranks, how, i, done):
    assert [rank[how][i] for rank in ranks] == shares(ALL[done:])


@pytest.mark.parametrize("how", ["refusal", "refusal, workers"])
def test_a_share_is_refused_and_not_shared_out_again(ranks, how):
    for rank in ranks:
        assert rank[how].startswith("Accelerate shares out batches over 2 processes by itself")


def test_whole_batches_in_the_place_of_single_indices_are_refused(ranks, tmp_path):
    alone = hf.refusal(str(tmp_path), kind=hf.Single)
    for said in (alone, *(rank["single"] for rank in ranks)):
        assert said.startswith("this sampler gives whole batches, and torch's BatchSampler puts")


@pytest.mark.parametrize("how", ["lost", "lost, workers"])
def test_an_epoch_that_accelerate_did_not_tell_is_refused_and_not_another_one_trained_on(
    ranks, how
):
    for rank in ranks:
        told = "Accelerate is to go on in epoch 1, and this sampler in epoch 0"
        assert rank[how].startswith(told)
