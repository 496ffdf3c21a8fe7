"""Class-balanced batches of dataset indices for PyTorch, built on the device."""

from gpusampler.factory import SamplerFactory
from gpusampler.index.class_index import ClassIndex
from gpusampler.plans.fixed import StarvedClassWarning, UnevenShareWarning
from gpusampler.samplers.mixed import WeightedFixedBatchSampler, WeightedRandomBatchSampler
from gpusampler.samplers.pk import PKBatchSampler
from gpusampler.samplers.stratified import StratifiedBatchSampler
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
