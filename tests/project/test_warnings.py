"""Warnings: each names the line of the user that it is about, however deep its reason is found."""

import warnings

import pytest
from torch.utils.data import BatchSampler, DataLoader

from gpusampler import ClassIndex, SamplerFactory, UnevenShareWarning, WeightedFixedBatchSampler

UNEVEN = [range(100), range(100, 103)]
FACTORY = SamplerFactory()


def scheduled():
    """Even in epoch 0 and uneven from then on, which nobody was told yet."""
    sampler = FACTORY.get(UNEVEN, 10, 6, lambda epoch: 1.0 if epoch == 0 else 0.3)
    sampler.set_epoch(1)
    return sampler


def within():
    """At the end of epoch 0, so that an iteration yields nothing."""
    sampler = FACTORY.get(UNEVEN, 10, 6, 1.0)
    sampler.load_state_dict(sampler.state_dict() | {"batch": 6})
    return sampler


ASKED = {
    "get": lambda: FACTORY.get(UNEVEN, 10, 6, 0.3),
    "fixed": lambda: FACTORY.fixed(UNEVEN, 10, 6, 0.3),
    "set_alpha": lambda: FACTORY.get(UNEVEN, 10, 6, 1.0).set_alpha(0.3),
    "iter": lambda: next(iter(scheduled())),
    "on_device": lambda: next(scheduled().on_device()),
    "build": lambda: scheduled().build(),
    "batch": lambda: scheduled().batch(7),
    "batches": lambda: scheduled().batches(7, 2),
    "describe": lambda: scheduled().describe(),
    "DataLoader": lambda: list(DataLoader(range(103), batch_sampler=scheduled())),
    "resumed": lambda: list(within()),
    "resumed, DataLoader": lambda: list(DataLoader(range(103), batch_sampler=within())),
    "shard()": lambda: FACTORY.get(UNEVEN, 10, 6, 1.0).shard(0, 4),
    "get(shard=)": lambda: FACTORY.get(UNEVEN, 10, 6, 1.0, shard=(0, 4)),
    "pk(shard=)": lambda: FACTORY.pk(UNEVEN, 2, 3, 6, shard=(0, 4)),
    "class": lambda: WeightedFixedBatchSampler([5, 5], UNEVEN, 6, shard=(0, 4)),
    "rows": lambda: ClassIndex.from_class_idxs([[0, 1, 2]] * 40),
    "rows, get": lambda: FACTORY.get([[0, 1, 2]] * 40, 40, 6, 1.0),
}


@pytest.mark.parametrize("noted", [False, True], ids=["", "Lightning notes constructors"])
@pytest.mark.parametrize("asked", ASKED)
def test_a_warning_names_the_line_that_asked(asked, noted):
    if noted:
        utilities = pytest.importorskip("lightning.fabric.utilities.data")
        with utilities._replace_dunder_methods(BatchSampler):
            return test_a_warning_names_the_line_that_asked(asked, False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ASKED[asked]()
    assert [(warning.filename, warning.lineno) for warning in told] == [
        (__file__, ASKED[asked].__code__.co_firstlineno)
    ]


def test_what_is_uneven_can_be_silenced_by_its_category():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnevenShareWarning)
        scheduled().build()
