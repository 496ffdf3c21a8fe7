"""A sampler that the workers of a DataLoader iterate themselves: each gives the same batches."""

import warnings

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from gpusampler import SamplerFactory

GROUPS = [list(range(30)), list(range(30, 40))]


def made():
    return SamplerFactory().get(GROUPS, 4, 12, 1.0, "fixed", device="cpu")


class Batches(IterableDataset):
    """Of a sampler that lies within the dataset. Gives each batch, and what its worker said."""

    def __init__(self, share_out):
        self.sampler, self.share_out = made(), share_out

    def __iter__(self):
        info = get_worker_info()
        ours = self.sampler.shard(info.id, info.num_workers) if self.share_out else self.sampler
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(2):
                for batch in ours:
                    yield batch, [str(warning.message) for warning in told]


def read(workers, share_out):
    torch.set_num_threads(1)  # no threads in forks
    rows = list(DataLoader(Batches(share_out), batch_size=None, num_workers=workers))
    return [batch for batch, _ in rows], {text for _, texts in rows for text in texts}, rows


def test_workers_that_iterate_one_sampler_warn_once_with_the_repair():
    batches, told, rows = read(2, False)
    assert len(batches) == 2 * 24 and batches[0] == batches[1]  # the same from both
    (text,) = told
    assert text.startswith("each of 2 workers of a DataLoader iterates this sampler")
    assert "batch_sampler=sampler" in text and "sampler.shard(info.id, info.num_workers)" in text
    assert max(len(texts) for _, texts in rows) == 1
    assert sum(len(texts) > 0 for _, texts in rows) == 24  # of one worker alone


def test_the_repair_shares_the_batches_out_and_is_silent():
    batches, told, _ = read(2, True)
    assert not told
    expected = [*made().batches(0, 24).tolist()]
    assert sorted(batches) == sorted(expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sampler_of_a_loader_is_iterated_in_the_main_process(workers):
    loader = DataLoader(list(range(40)), batch_sampler=made(), num_workers=workers)
    assert [batch.tolist() for batch in loader] == made().build().tolist()


def test_one_worker_is_silent():
    assert read(1, False)[1] == set()
