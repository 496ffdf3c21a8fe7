"""mmengine: a Runner's epochs are those of our stream, and it resumes at one, or within it."""

import multiprocessing
import re
import warnings
from importlib import import_module

import pytest
from items import shares, stream

pytest.importorskip("mmengine")
try:
    import_module("cv2")
except ImportError as missing:
    pytest.skip(
        f"mmengine needs OpenCV: {missing}; pip install --force-reinstall --no-deps "
        f"opencv-python-headless, which needs no library of a display",
        allow_module_level=True,
    )

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what mmengine imports
    import ranks_mmengine as mmengine

ALL = stream(0, 18)


@pytest.fixture(autouse=True)
def start_method():
    """mmengine sets it for the process."""
    before = multiprocessing.get_start_method(allow_none=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_are_those_of_the_stream(workers, tmp_path):
    assert mmengine.trained(str(tmp_path), workers=workers) == ALL


def test_epochs_of_a_config_are_those_of_the_stream(tmp_path):
    assert mmengine.trained(str(tmp_path), loader=mmengine.from_config()) == ALL


def test_a_checkpoint_of_an_epoch_resumes_at_the_next(tmp_path):
    assert mmengine.trained(str(tmp_path), save=(1, True)) == ALL
    assert mmengine.trained(str(tmp_path), "epoch_2") == ALL[12:]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_checkpoint_within_an_epoch_resumes_there_with_a_hook(workers, tmp_path):
    options = {"folder": str(tmp_path), "place": True, "workers": workers}
    assert mmengine.trained(save=(8, False), **options) == ALL
    assert mmengine.trained(resume="iter_8", **options) == ALL[8:]


def test_a_checkpoint_within_an_epoch_begins_it_anew_without_a_hook(tmp_path):
    assert mmengine.trained(str(tmp_path), save=(8, False)) == ALL
    assert mmengine.trained(str(tmp_path), "iter_8") == ALL[6:]


def test_a_loop_of_iterations_goes_on_through_the_stream_and_resumes(tmp_path):
    options = {"folder": str(tmp_path), "train": {"by_epoch": False, "max_iters": 9}}
    assert mmengine.trained(save=(8, False), **options) == ALL[:9]
    assert mmengine.trained(resume="iter_8", **options) == ALL[8:9]


SKIPS = r"IterBasedTrainLoop leaves out the {} batches .* begins at batch .* without a hook that"


@pytest.mark.parametrize("set_epoch", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [2, 6, 8])
def test_a_loop_of_iterations_and_a_hook_never_leave_out_batches_twice(
    done, workers, set_epoch, tmp_path, monkeypatch
):
    """Both go on behind the batches done, so the hook is refused where it would."""
    monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda _: None)
    loop = {"by_epoch": False, "max_iters": 15}
    options = {"folder": str(tmp_path), "train": loop, "workers": workers, "set_epoch": set_epoch}
    assert mmengine.trained(save=(done, False), place=True, **options) == ALL[:15]
    try:
        found = mmengine.trained(resume=f"iter_{done}", place=True, **options)
    except RuntimeError as error:
        assert re.search(SKIPS.format(done), str(error))
    else:
        assert found == ALL[done:15]
        assert workers or (set_epoch and done > 2)
    assert mmengine.trained(resume=f"iter_{done}", **options) == ALL[done:15]


@pytest.mark.parametrize("how", ["epochs", "epochs, workers", "epochs, config"])
def test_two_processes_share_the_stream(ranks, how):
    assert [rank[how] for rank in ranks] == shares(ALL)


@pytest.mark.parametrize("how, done", [("epoch_2", 12), ("iter_4", 8), ("iter_4, workers", 8)])
def test_two_processes_resume_after_the_batches_done(ranks, how, done):
    assert [rank[how] for rank in ranks] == shares(ALL[done:])
