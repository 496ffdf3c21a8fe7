"""Class-balanced batches of dataset indices for PyTorch, built on the device."""

from gpusampler.class_index import ClassIndex
from gpusampler.factory import SamplerFactory
from gpusampler.plan import StarvedClassWarning
from gpusampler.sampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler

__all__ = [
    "ClassIndex",
    "SamplerFactory",
    "StarvedClassWarning",
    "WeightedFixedBatchSampler",
    "WeightedRandomBatchSampler",
]
