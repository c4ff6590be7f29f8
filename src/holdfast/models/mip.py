"""Minimal iterative policy (MIP): regression, and a second step that learns to correct the first.

    loss = E ‖f(o, 0, 0) − a‖² / t*² + E ‖f(o, a + (1 − t*) ε, t*) − a‖² / (1 − t*)²,       t* = 0.9
    a₀ = f(o, 0, 0),     a = f(o, a₀, t*)

Two network calls and no sampling: the point estimate of a two-step flow. Pan et al. 2025 (arXiv 2512.01809, "Much Ado
About Noising"), who find it as good as flows on benchmarks whose demonstrations are almost unimodal.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, at_least
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, FamilyOptions, Sizes, masked_mean
from .flow import TIME_SCALE
from .prefix import project


@dataclass(frozen=True)
class Mip(FamilyOptions):
    """Options of a minimal iterative policy.

    Attributes:
        network: Network from observations, a chunk to correct and a time to chunks.
        time: Generative time t* of the second step.
        scale: Factor of the loss, as published; it matters with clipped gradients only.
    """

    stackable = True
    first_order = True

    network: Network = field(default_factory=ResidualMlp)
    time: float = 0.9
    scale: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.time < 1:
            raise RecipeError(f"expected a time between 0 and 1, got {self.time}.")
        at_least(0, scale=self.scale)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "MipModel":
        return MipModel(self, sizes)


class MipModel(ChunkModel):
    """A two-step regression from observation windows to chunks."""

    def __init__(self, options: Mip, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.network = options.network.build(sizes.ports(n_times=1))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> Chunks:
        """The noise that the second step learns to correct."""
        return torch.randn(shape, generator=rng, device=rng.device)

    def loss(self, batch: Batch, draws: Chunks) -> Float[Tensor, ""]:
        """The two weighted squared errors."""
        time, memory = self.options.time, self.network.encode(batch.observation.vector)
        first = self._call(self.network.blank(memory), 0.0, memory)
        corrected = self._call(batch.chunk + (1 - time) * draws, time, memory)
        error = (first - batch.chunk) ** 2 / time**2 + (corrected - batch.chunk) ** 2 / (1 - time) ** 2
        return self.options.scale * masked_mean(error, batch.mask)

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """A prediction, corrected once; known steps replace both, and so inform the second call."""
        memory = self.network.encode(observation)
        first = project(self._call(self.network.blank(memory), 0.0, memory), prefix)
        return project(self._call(first, self.options.time, memory), prefix)

    def _call(self, chunk: Tensor, time: float, memory: Tensor) -> Tensor:
        times = chunk.new_full((chunk.shape[0], 1), TIME_SCALE * time)
        return cast(Tensor, self.network(chunk, times, memory))
