"""What every network of chunks offers, whatever it is built of.

    memory = encode(observation window)            once a plan
    output = forward(chunk, times, memory)         once a network call

The input and the output are chunks: `n_in` and `n_out` numbers a step. Denoisers put the noisy chunk in; regression
puts zeros in; a decoder of latents puts the same latent in at every step. What depends on the observation alone is
computed by `encode`, so that a sampler of many steps pays for it once.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import RecipeError

__all__ = ["ChunkNetwork", "NetworkOptions", "Ports", "check_embedding", "sinusoidal"]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What goes into a network and comes out of it.

    Attributes:
        horizon: Steps of a chunk.
        n_in: Numbers a step of the chunk that goes in.
        n_out: Numbers a step of the chunk that comes out.
        n_times: Generative times that the output depends on: none, a noise level, start and end of a jump, or one for
            each step of the chunk. They are numbers between 0 and about 100.
        n_obs_steps: Observations in a window.
        n_observed: Numbers of an observation.
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

    ports: Ports

    @abstractmethod
    def encode(self, observation: Float[Tensor, "b o d"]) -> Tensor:
        """What the network keeps of an observation window, `[b, …]`: computed once, used by every call."""

    @abstractmethod
    def forward(
        self, chunk: Float[Tensor, "b h n_in"], times: Float[Tensor, "b n_times"], memory: Float[Tensor, "b ..."]
    ) -> Float[Tensor, "b h n_out"]:
        """The network's output for chunks at generative times."""

    def blank(self, memory: Float[Tensor, "b ..."]) -> Float[Tensor, "b h n_in"]:
        """A chunk of zeros, for families that put nothing in."""
        return memory.new_zeros(memory.shape[0], self.ports.horizon, self.ports.n_in)


class NetworkOptions(ABC):
    """Options of a network: a frozen dataclass that builds the network it describes."""

    @abstractmethod
    def build(self, ports: Ports) -> ChunkNetwork:
        """An untrained network; its initial weights come from PyTorch's global generator."""


def sinusoidal(times: Float[Tensor, "b times"], size: int) -> Float[Tensor, "b embedded"]:
    """Sines and cosines of generative times at geometric frequencies, side by side (Vaswani et al. 2017, 3.5)."""
    half = size // 2
    index = torch.arange(half, device=times.device, dtype=times.dtype)
    frequencies = torch.exp(-math.log(10_000.0) * index / (half - 1))
    angles = times[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def check_embedding(size: int) -> None:
    """The size of a sinusoidal embedding is even and at least 4, or a `RecipeError` says so."""
    if size < 4 or size % 2:
        raise RecipeError(f"expected an even embedding of at least 4, got {size}.")
