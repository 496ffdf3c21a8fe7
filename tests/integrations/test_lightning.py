"""Lightning: Trainer and Fabric train on our stream, share it out once, and resume within it."""

import pytest
from items import stream

pytest.importorskip("lightning")
pytest.importorskip("torchdata.stateful_dataloader")

import ranks_lightning as lightning
from ranks_lightning import ALONE

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:this iteration yields no batch"),
]
EPOCHS = [stream(0, 6), stream(6, 12), stream(12, 18)]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def assert_shared(found, whole):
    """Each of two ranks was given its share of each of these runs of batches."""
    for rank, batches in enumerate(found):
        assert batches == [part[rank::2] for part in whole]


@pytest.mark.parametrize("how", [*lightning.TRAINED, *lightning.OUTSIDE])
def test_one_process_trains_on_the_stream(how):
    assert (lightning.TRAINED | lightning.OUTSIDE)[how](ALONE) == EPOCHS


@pytest.mark.parametrize("how", lightning.TRAINED)
def test_two_processes_share_each_epoch_of_the_stream(ranks, how):
    assert_shared([rank["trained"][how] for rank in ranks], EPOCHS)


@pytest.mark.parametrize("how", lightning.OUTSIDE)
def test_a_sampler_made_outside_is_refused_and_not_given_to_all_ranks_alike(ranks, how):
    for rank in ranks:
        told = rank["outside"][how]
        assert told.startswith("a class-balanced sampler must not be made anew")
        assert told.endswith(
            "or pass use_distributed_sampler=False and sampler.shard(rank, world_size)"
        )


@pytest.mark.parametrize("how", lightning.SINGLE)
def test_whole_batches_in_the_place_of_single_indices_are_refused(ranks, how):
    with pytest.raises(TypeError, match="gives whole batches, and torch's BatchSampler puts"):
        lightning.SINGLE[how](ALONE)
    for rank in ranks:
        assert rank["single"][how].startswith("this sampler gives whole batches, and torch's")


@pytest.mark.parametrize("how", lightning.CUT)
def test_epochs_cut_short_of_an_unbroken_sampler_leave_out_nothing(ranks, how):
    """Kind fixed goes through a class before any member comes again, so that as many draws of it
    as it has samples are each of its samples once."""
    assert lightning.CUT[how](ALONE) == [stream(0, 2), stream(2, 4), stream(4, 6)]
    found = [rank["cut short"][how] for rank in ranks]
    assert_shared(found, [stream(0, 4), stream(4, 8), stream(8, 12)])


def test_epochs_cut_short_draw_every_sample_once_in_as_many_draws_and_broken_ones_do_not():
    def drawn(**options):
        ours = lightning.sampler(alpha=0, kind="stratified", **options)
        module = lightning.Module(lambda: lightning.loader_of(ours))
        module.trained = [[] for _ in range(5)]
        return lightning.fit(ALONE, module=module, limit_train_batches=5, max_epochs=5)

    found = [i for epoch in drawn(unbroken=True) for batch in epoch for i in batch]
    assert sorted(found) == list(range(100))
    found = [i for epoch in drawn() for batch in epoch for i in batch]
    assert len(found) == 100
    assert len(set(found)) < 100


@pytest.mark.parametrize("how", lightning.CHANGED)
def test_a_mix_that_was_changed_in_the_hook_stays_changed(ranks, how):
    batches = lightning.changed().batches(0, 18).tolist()
    epochs = [batches[first : first + 6] for first in (0, 6, 12)]
    assert epochs != EPOCHS
    assert lightning.CHANGED[how](ALONE) == epochs
    assert_shared([rank["changed"][how] for rank in ranks], epochs)


def test_the_sampler_that_was_made_anew_says_where_the_new_one_is(ranks):
    for rank in ranks:
        assert len(rank["kept"]) == 5
        for told in rank["kept"]:
            assert told.startswith("Lightning made this sampler anew")
            assert "use that, trainer.train_dataloader.batch_sampler or, with Fabric" in told


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("first", "second"), [(2, 3), (5, 4), (11, 2)])
def test_runs_stopped_within_an_epoch_and_resumed_are_the_unbroken_run(first, second, workers):
    runs = lightning.resumed(ALONE, [first, second], workers)
    assert [sum(map(len, run)) for run in runs] == [first, second, 18 - first - second]
    for epoch, batches in enumerate(EPOCHS):
        assert [batch for run in runs for batch in run[epoch]] == batches


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_stopped_within_an_epoch_resume_there(ranks, workers):
    parts = [[stream(0, 2), [], []], [stream(2, 6), stream(6, 10), []]]
    parts += [[[], stream(10, 12), stream(12, 18)]]
    for rank, found in enumerate(rank["resumed"][workers // 2] for rank in ranks):
        assert found == [[batches[rank::2] for batches in run] for run in parts]


@pytest.mark.parametrize("cls", [lightning.DataLoader, lightning.StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_resumes_after_whole_epochs(workers, cls):
    lightning.fit(ALONE, module=lightning.resuming(workers, cls), max_epochs=1)
    resumed = lightning.fit(ALONE, module=lightning.resuming(workers, cls), path="whole.ckpt")
    assert resumed == [[], *EPOCHS[1:]]


AHEAD = r"resumes epoch 1, and its workers were given batches of epoch 0 .*set_epoch\(self.trainer"


def test_workers_that_were_given_batches_of_another_epoch_raise():
    def loader():
        return lightning.loader_of(lightning.sampler(), workers=2)

    lightning.hook(ALONE, loader, max_epochs=1)
    with pytest.raises(RuntimeError, match=AHEAD):
        lightning.hook(ALONE, loader, path="whole.ckpt")


def test_a_run_stopped_in_the_last_step_of_an_epoch_resumes_without_workers_alone():
    runs = lightning.resumed(ALONE, [6], workers=0)
    assert runs == [[EPOCHS[0], [], []], [[], *EPOCHS[1:]]]
    with pytest.raises(RuntimeError, match=f"{AHEAD}.* resume with num_workers=0"):
        lightning.resumed(ALONE, [6], workers=2)


def test_the_checkpoint_after_one_of_a_last_step_is_refused_where_its_epoch_would_begin_anew():
    for done in (2, 6):
        told = f"holds batch {done} of epoch 1, and Lightning does not load it, .* nor in a run"
        with pytest.raises(RuntimeError, match=told):
            lightning.resumed(ALONE, [6, done], workers=0)


@pytest.mark.parametrize("how", lightning.FABRIC_RESUMED)
def test_fabric_goes_on_from_a_saved_place(ranks, how):
    alone = lightning.FABRIC_RESUMED[how](ALONE)
    assert alone == [stream(0, 6), stream(6, 8), stream(8, 12), stream(12, 18)]
    whole = [stream(0, 6), stream(6, 10), stream(10, 12), stream(12, 18)]
    assert_shared([rank["fabric resumed"][how] for rank in ranks], whole)
