"""Generative models of chunks: the distribution of a composite action given recent observations.

Every family has the same three methods: `draw` the randomness of a loss, `loss` of a batch, `sample` a chunk.
"""

from .autoregressive import AutoregressiveTokens
from .average_velocity import AverageVelocitySampler
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes
from .consistency import Consistency, ConsistencyModel
from .diffusion import Diffusion, DiffusionDraws, DiffusionModel
from .energy import Energy, EnergyModel
from .energy_search import DerivativeFree, Langevin
from .families import FAMILIES, FAMILY_NAMES, Family, family_named, tokenizer_options, with_tokenizer
from .flow import Flow, FlowDraws, FlowModel, FlowSampler
from .forcing import Forcing, ForcingModel, ForcingSampler, Goal, Reward, imagined, schedule_matrix
from .instructed import Instructed
from .latent import Cvae, CvaeModel, act
from .meanflow import MeanFlow, MeanFlowModel
from .mip import Mip
from .mixture import Mixture, MixtureModel, lstm_gmm
from .offsets import Offsets
from .pictured import Pictured, instructed_in
from .regression import Regression, RegressionModel
from .sampler import Sampler, sample
from .schedule import cosine_schedule
from .shortcut import Shortcut, ShortcutModel
from .stacked import stacked_model
from .streaming import Streaming, StreamingBuffer, StreamingModel, StreamingSampler
from .token_law import TokenFamily
from .tokens import IndependentTokens, bet, vq_bet
from .tuned import Tuned, TunedModel
from .wrapping import Wrapping, generator_of

__all__ = [
    "FAMILIES",
    "FAMILY_NAMES",
    "AutoregressiveTokens",
    "AverageVelocitySampler",
    "ChunkModel",
    "Conditioning",
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
    "FamilyOptions",
    "Flow",
    "FlowDraws",
    "FlowModel",
    "FlowSampler",
    "Forcing",
    "ForcingModel",
    "ForcingSampler",
    "Goal",
    "IndependentTokens",
    "Instructed",
    "Langevin",
    "MeanFlow",
    "MeanFlowModel",
    "Mip",
    "Mixture",
    "MixtureModel",
    "Offsets",
    "Pictured",
    "Regression",
    "RegressionModel",
    "Reward",
    "Sampler",
    "Shortcut",
    "ShortcutModel",
    "Sizes",
    "Streaming",
    "StreamingBuffer",
    "StreamingModel",
    "StreamingSampler",
    "TokenFamily",
    "Tuned",
    "TunedModel",
    "Wrapping",
    "act",
    "bet",
    "cosine_schedule",
    "family_named",
    "generator_of",
    "imagined",
    "instructed_in",
    "lstm_gmm",
    "sample",
    "schedule_matrix",
    "stacked_model",
    "tokenizer_options",
    "vq_bet",
    "with_tokenizer",
]
