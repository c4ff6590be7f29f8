"""Generative models of chunks: each learns the law of a composite action given recent observations.

Every family offers the same verbs: `draw` its randomness, `loss` of a batch, `sample` a chunk.
"""

from .base import ChunkModel, Sizes
from .diffusion import Diffusion, DiffusionDraws, DiffusionModel
from .families import Family, build_family
from .flow import Flow, FlowDraws, FlowModel, FlowSampler
from .mip import Mip, MipModel
from .regression import Regression, RegressionModel
from .sampler import Sampler, sample
from .schedule import NoiseSchedule, cosine_schedule

__all__ = [
    "ChunkModel",
    "Diffusion",
    "DiffusionDraws",
    "DiffusionModel",
    "Family",
    "Flow",
    "FlowDraws",
    "FlowModel",
    "FlowSampler",
    "Mip",
    "MipModel",
    "NoiseSchedule",
    "Regression",
    "RegressionModel",
    "Sampler",
    "Sizes",
    "build_family",
    "cosine_schedule",
    "sample",
]
