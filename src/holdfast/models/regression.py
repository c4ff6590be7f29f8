"""Regression: the mean or the median chunk for each observation, or between the two.

    min_θ E ℓ(f_θ(o) − a),     ℓ = square ("l2"), absolute value ("l1"), or Huber's

The baseline of every comparison: where demonstrations fork, it averages the two ways. Pomerleau 1989; with chunks: Zhao
et al. 2023 (arXiv 2304.13705).
"""

from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import huber_loss

from ..errors import positive
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, FamilyOptions, Sizes, masked_mean
from .prefix import project


@dataclass(frozen=True)
class Regression(FamilyOptions):
    """Options of a regression model.

    Attributes:
        network: Network from observations to chunks.
        penalty: Loss function: "l2", "l1" or "huber".
        delta: Error above which Huber's loss is linear, in normalised units.
    """

    stackable = True
    first_order = True

    network: Network = field(default_factory=ResidualMlp)
    penalty: Literal["l2", "l1", "huber"] = "l2"
    delta: float = 0.1

    def __post_init__(self) -> None:
        positive(delta=self.delta)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "RegressionModel":
        return RegressionModel(self, sizes)


class RegressionModel(ChunkModel):
    """A deterministic map from observation windows to chunks."""

    def __init__(self, options: Regression, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.network = options.network.build(sizes.ports())

    def loss(self, batch: Batch, draws: None) -> Float[Tensor, ""]:
        """The penalty over chunk steps and coordinates."""
        return masked_mean(self._penalty(self.predict(batch.observation.vector), batch.chunk), batch.mask)

    def predict(self, observation: Window) -> Chunks:
        """The chunk of each observation window."""
        memory = self.network.encode(observation)
        times = memory.new_zeros(memory.shape[0], 0)
        return cast(Tensor, self.network(self.network.blank(memory), times, memory))

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """The chunk of each window; known steps replace their predictions and do not inform the other steps."""
        return project(self.predict(observation), prefix)

    def _penalty(self, chunk: Tensor, target: Tensor) -> Tensor:
        match self.options.penalty:
            case "l2":
                return (chunk - target) ** 2
            case "l1":
                return (chunk - target).abs()
            case "huber":
                return huber_loss(chunk, target, reduction="none", delta=self.options.delta)
            case _:
                assert_never(self.options.penalty)
