"""Generative models of chunks: each learns the law of a composite action given recent observations.

Every family offers the same verbs: `draw` its randomness, `loss` of a batch, `sample` a chunk.
"""

from .autoregressive import AutoregressiveTokens, AutoregressiveTokensModel
from .average_velocity import JumpSampler
from .base import ChunkModel, Sizes
from .consistency import Consistency, ConsistencyModel
from .diffusion import Diffusion, DiffusionDraws, DiffusionModel
from .energy import Energy, EnergyModel
from .energy_search import DerivativeFree, Langevin
from .families import Family, build_family, tokenizer_options
from .flow import Flow, FlowDraws, FlowModel, FlowSampler
from .latent import Cvae, CvaeModel, act
from .meanflow import MeanFlow, MeanFlowModel
from .mip import Mip, MipModel
from .mixture import Mixture, MixtureModel, lstm_gmm
from .offsets import Offsets
from .regression import Regression, RegressionModel
from .sampler import Sampler, sample
from .schedule import NoiseSchedule, cosine_schedule
from .shortcut import Shortcut, ShortcutModel
from .stacked import models_side_by_side
from .streaming import Streaming, StreamingBuffer, StreamingModel, StreamingSampler
from .tokens import IndependentTokens, IndependentTokensModel, bet, vq_bet

__all__ = [
    "AutoregressiveTokens",
    "AutoregressiveTokensModel",
    "ChunkModel",
    "Consistency",
    "ConsistencyModel",
    "Cvae",
    "CvaeModel",
    "DerivativeFree",
    "Diffusion",
    "DiffusionDraws",
    "DiffusionModel",
    "Energy",
    "EnergyModel",
    "Family",
    "Flow",
    "FlowDraws",
    "FlowModel",
    "FlowSampler",
    "IndependentTokens",
    "IndependentTokensModel",
    "JumpSampler",
    "Langevin",
    "MeanFlow",
    "MeanFlowModel",
    "Mip",
    "MipModel",
    "Mixture",
    "MixtureModel",
    "NoiseSchedule",
    "Offsets",
    "Regression",
    "RegressionModel",
    "Sampler",
    "Shortcut",
    "ShortcutModel",
    "Sizes",
    "Streaming",
    "StreamingBuffer",
    "StreamingModel",
    "StreamingSampler",
    "act",
    "bet",
    "build_family",
    "cosine_schedule",
    "lstm_gmm",
    "models_side_by_side",
    "sample",
    "tokenizer_options",
    "vq_bet",
]
