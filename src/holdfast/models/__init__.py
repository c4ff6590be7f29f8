"""Generative models of chunks: each learns the law of a composite action given recent observations.

Every family offers the same verbs: `draw` its randomness, `loss` of a batch, `sample` a chunk.
"""

from .base import ChunkModel
from .diffusion import Diffusion, DiffusionDraws, DiffusionModel
from .sampler import Sampler, sample
from .schedule import NoiseSchedule, cosine_schedule

__all__ = [
    "ChunkModel",
    "Diffusion",
    "DiffusionDraws",
    "DiffusionModel",
    "NoiseSchedule",
    "Sampler",
    "cosine_schedule",
    "sample",
]
