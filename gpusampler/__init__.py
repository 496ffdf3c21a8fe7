"""Class-balanced batches of dataset indices for PyTorch, built on the device."""

from gpusampler import cache as cache  # before all others: it looks at what is imported
from gpusampler import forks as forks
from gpusampler.class_index import ClassIndex
from gpusampler.factory import SamplerFactory
from gpusampler.plan import StarvedClassWarning, UnevenShareWarning
from gpusampler.sampler import WeightedFixedBatchSampler, WeightedRandomBatchSampler
from gpusampler.sampler_pk import PKBatchSampler
from gpusampler.sampler_stratified import StratifiedBatchSampler
from gpusampler.warming import warmup

__all__ = [
    "ClassIndex",
    "PKBatchSampler",
    "SamplerFactory",
    "StarvedClassWarning",
    "StratifiedBatchSampler",
    "UnevenShareWarning",
    "WeightedFixedBatchSampler",
    "WeightedRandomBatchSampler",
    "warmup",
]
