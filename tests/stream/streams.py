"""Samplers that the tests of streams begin with."""

import numpy as np

from gpusampler import ClassIndex, SamplerFactory

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


def make(name="fixed", n_batches=EPOCH, **options):
    more = {**ALL_KINDS[name], "device": "cpu", "seed": 3, **options}
    return SamplerFactory().get(INDEX, BATCH, n_batches, **more)


def follow(epoch):
    return TABLE[epoch]


def by_epoch(name):
    """Each epoch's batches, reached in order."""
    sampler = make(name, alpha=follow)
    return [list(sampler) for _ in TABLE]
