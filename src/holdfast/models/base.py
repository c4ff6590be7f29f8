"""What every generative family offers.

A model sees normalised tensors only: observation windows `[b, o, d]`, chunks of codes `[b, h, w]`. Its randomness is an
argument (`draw` makes it, `loss` takes it), so that a training step is a function of parameters, batch and noise.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..types import Batch, Prefix

__all__ = ["ChunkModel"]


class ChunkModel(nn.Module, ABC):
    """The law of a chunk given an observation window."""

    @abstractmethod
    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> Any:
        """The randomness that `loss` needs for chunks of this shape `[b, h, w]`."""

    @abstractmethod
    def loss(self, batch: Batch, draws: Any) -> Float[Tensor, ""]:
        """The training objective, averaged over the batch's chunk steps inside their episodes."""

    def forward(self, batch: Batch, draws: Any) -> Float[Tensor, ""]:
        """The loss, so that `torch.func.functional_call` can evaluate it at any parameters."""
        return self.loss(batch, draws)

    @abstractmethod
    def sample(
        self, observation: Float[Tensor, "b o d"], *, rng: torch.Generator, prefix: Prefix | None = None
    ) -> Float[Tensor, "b h w"]:
        """One chunk for each observation window, given what is already known of it."""
