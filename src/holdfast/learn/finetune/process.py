"""Denoising as a Markov process whose steps have densities, so that policy gradients apply to each of them.

One plan of a policy is a path x_0 → x_1 → … → x_K' of chunks: x_0 is what the pre-trained steps leave (or nothing, for
a policy that samples at once), x_K' the chunk that is executed. The fine-tuned steps have densities

    log p_θ(x_{i+1} | x_i, o),      i = 0 … K' − 1

of which only the numbers that matter count: those of executed steps and of coordinates that are not constant.
(Ren et al. 2024, DPPO, arXiv 2409.00588, section 4.1: the two-layer Markov decision process.)
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...models import ChunkModel
from ...models.base import standard_normal
from ...types import Chunks, Window
from .options import FineTuning

Path = Float[Tensor, "b k h w"]
"""Chunks of a denoising path, from the state before the first fine-tuned step to the executed chunk: k = K' + 1."""


class Process(nn.Module, ABC):
    """Denoising process of a policy, a model of which is fine-tuned.

    Attributes:
        steps: Number K' of fine-tuned steps.
        counted: Numbers of a chunk that count in the densities `[h, w]`.
        options: Options of the fine-tuning.
    """

    steps: int
    counted: Tensor

    def __init__(self, options: FineTuning, counted: Bool[Tensor, "h w"]) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("counted", counted, persistent=False)

    @property
    @abstractmethod
    def model(self) -> ChunkModel:
        """The model whose parameters are fine-tuned; all others are frozen."""

    @abstractmethod
    def start(self, window: Window, *, rng: torch.Generator) -> Chunks:
        """The state before the first fine-tuned step."""

    @abstractmethod
    def following(self, window: Window, before: Chunks, index: int, *, rng: torch.Generator) -> Chunks:
        """A sample of x_{i+1} given x_i, for one index i."""

    @abstractmethod
    def log_densities(
        self, window: Window, before: Chunks, after: Chunks, index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n"]:
        """Log densities of x_{i+1} given x_i, per number that counts: one for each, or one mean of all."""

    def executed(self, chunk: Chunks) -> Chunks:
        """The codes that are executed of a path's last chunk."""
        return chunk

    @torch.no_grad()
    def path(self, window: Window, *, rng: torch.Generator) -> Path:
        """One denoising path for each observation window."""
        chunks = [self.start(window, rng=rng)]
        for index in range(self.steps):
            chunks.append(self.following(window, chunks[-1], index, rng=rng))
        return torch.stack(chunks, dim=1)

    def noise(self, like: Tensor, *, rng: torch.Generator) -> Tensor:
        """Standard normal noise of a sampling step, clipped as the options say."""
        drawn = standard_normal(like.shape, like, rng=rng)
        bound = self.options.noise_clip
        return drawn if bound is None else drawn.clamp(-bound, bound)


def clipped_mean(log_densities: Float[Tensor, "b n"], options: FineTuning) -> Float[Tensor, " b"]:
    """Mean over the numbers of their log densities, each within its bounds; outside, the gradient is zero.

    >>> clipped_mean(torch.tensor([[1.0, -9.0]]), FineTuning())
    tensor([-2.])
    """
    return log_densities.clamp(options.log_density_low, options.log_density_high).mean(dim=-1)
