"""Models around others: they turn what an observation shows into numbers, from which the inner model makes chunks."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from ..tokens import Tokenizer
from ..types import Chunks, Observation, Prefix, Window
from .base import ChunkModel, Conditioning, Contrast


class Wrapping(ChunkModel):
    """A model whose chunks are those of an inner model.

    Attributes:
        inner: The inner model, which may be of any family, or another wrapping one.
    """

    inner: ChunkModel

    @property
    def conditioning(self) -> Conditioning:
        return self.inner.conditioning

    @property
    def takes_clean_prefix(self) -> bool:
        return self.inner.takes_clean_prefix

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.inner.tokenizer

    @abstractmethod
    def seen(self, observation: Observation) -> Observation:
        """Windows of numbers, as the innermost model sees them; such windows stay as they are."""

    @torch.no_grad()
    def sample(
        self,
        observation: Observation,
        *,
        rng: torch.Generator,
        prefix: Prefix | None = None,
        contrast: Contrast | None = None,
    ) -> Chunks:
        return self.inner.sample(self.seen(observation), rng=rng, prefix=prefix, contrast=contrast)

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        return self.inner.generate(observation, rng=rng, prefix=prefix)

    def log_likelihood(self, observation: Observation, chunk: Chunks) -> Float[Tensor, " b"]:
        return self.inner.log_likelihood(self.seen(observation), chunk)


def generator_of(model: ChunkModel) -> ChunkModel:
    """The model that generates chunks from windows of numbers, without those around it."""
    return generator_of(model.inner) if isinstance(model, Wrapping) else model
