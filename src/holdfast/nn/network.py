"""The interface of networks, and of the options that build them.

    memory = encode(observation window)            once per plan
    output = forward(chunk, times, memory)         once per network call

Input and output are chunks of `n_in` and `n_out` numbers per step. The input of a denoiser is the noisy chunk, that of
regression is zeros, that of a latent decoder is the same latent at every step. `encode` computes everything that
depends on the observation alone, so that a sampler of many steps computes it once.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError

InputChunks = Float[Tensor, "b h n_in"]
OutputChunks = Float[Tensor, "b h n_out"]
Times = Float[Tensor, "b n_times"]
"""Generative times of a network call."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Sizes and range of the inputs and outputs of a network.

    Attributes:
        horizon: Steps of a chunk.
        n_in: Size of a step of the input chunk.
        n_out: Size of a step of the output chunk.
        n_times: Number of generative times: none, a noise level, the start and end of an interval, or one for each
            step of the chunk. Their values lie between 0 and about 100.
        n_obs_steps: Observations in a window.
        n_observed: Size of an observation.
        any_range: The outputs are not confined to [-1, 1]; a network that would end with tanh omits it.
    """

    horizon: int
    n_in: int
    n_out: int
    n_times: int = 0
    n_obs_steps: int = 1
    n_observed: int
    any_range: bool = False


class ChunkNetwork(nn.Module, ABC):
    """(chunk, generative times, observation window) → chunk."""

    def __init__(self, ports: Ports) -> None:
        super().__init__()
        self.ports = ports

    @abstractmethod
    def encode(self, observation: Float[Tensor, "b o d"]) -> Tensor:
        """Encoding of an observation window, `[b, …]`: computed once, used by every call."""

    @abstractmethod
    def forward(self, chunk: InputChunks, times: Times, memory: Float[Tensor, "b ..."]) -> OutputChunks:
        """The network's output for chunks at generative times."""

    def blank(self, memory: Float[Tensor, "b ..."]) -> InputChunks:
        """A chunk of zeros, for families without an input chunk."""
        return memory.new_zeros(memory.shape[0], self.ports.horizon, self.ports.n_in)


class NetworkOptions(ABC):
    """Options of a network: a frozen dataclass that builds the network it describes."""

    @abstractmethod
    def build(self, ports: Ports) -> ChunkNetwork:
        """An untrained network; its initial weights come from PyTorch's global generator."""


def sinusoidal(times: Float[Tensor, "b times"], size: int) -> Float[Tensor, "b embedded"]:
    """Sines and cosines of generative times at geometric frequencies, concatenated (Vaswani et al. 2017, 3.5)."""
    half = size // 2
    index = torch.arange(half, device=times.device, dtype=times.dtype)
    frequencies = torch.exp(-math.log(10_000.0) * index / (half - 1))
    angles = times[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def check_embedding(size: int) -> None:
    """Raise a `RecipeError` unless the size of a sinusoidal embedding is even and at least 4."""
    if size < 4 or size % 2:
        raise RecipeError(f"expected an even embedding of at least 4, got {size}.")
