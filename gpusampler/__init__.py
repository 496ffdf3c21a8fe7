"""Class-balanced batches of dataset indices for PyTorch, built on the device."""

from gpusampler.factory import SamplerFactory
from gpusampler.index.class_index import ClassIndex
from gpusampler.plans.uneven import StarvedClassWarning, UnevenShareWarning
from gpusampler.samplers.fixed import WeightedFixedBatchSampler
from gpusampler.samplers.pk import PKBatchSampler
from gpusampler.samplers.random import WeightedRandomBatchSampler
from gpusampler.samplers.stratified import StratifiedBatchSampler
from gpusampler.stream.sampler import StreamBatchSampler
from gpusampler.warming import warmup

__version__ = "0.1.0"  # pyproject.toml reads it here

__all__ = [
    "ClassIndex",
    "PKBatchSampler",
    "SamplerFactory",
    "StarvedClassWarning",
    "StratifiedBatchSampler",
    "StreamBatchSampler",
    "UnevenShareWarning",
    "WeightedFixedBatchSampler",
    "WeightedRandomBatchSampler",
    "warmup",
]
