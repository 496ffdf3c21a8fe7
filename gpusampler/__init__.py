"""Class-balanced batches of dataset indices for PyTorch, built on the device."""

from gpusampler.class_index import ClassIndex
from gpusampler.factory import SamplerFactory
from gpusampler.plan import StarvedClassWarning, UnevenShareWarning
from gpusampler.sampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler
from gpusampler.sampler_pk import PKBatchSampler
from gpusampler.sampler_stratified import StratifiedBatchSampler

__all__ = [
    "ClassIndex",
    "PKBatchSampler",
    "SamplerFactory",
    "StarvedClassWarning",
    "StratifiedBatchSampler",
    "UnevenShareWarning",
    "WeightedFixedBatchSampler",
    "WeightedRandomBatchSampler",
]
