"""Policies that sample a chunk in one step, as baselines: a Gaussian about a regression, and a mixture of Gaussians.

    a ~ N(f_θ(o), σ² I)          regression; σ is `sampling_std`, and does not learn
    a ~ Σ_k π_k N(μ_k, σ_k²)     mixture; every σ_k is at least `sampling_std`

The process has one step, K' = 1, from nothing to the chunk. (The Gaussian and the mixture of DPPO's comparison: Ren et
al. 2024, arXiv 2409.00588, section 5.3, which fixes all σ at 0.1.)
"""

import copy
import math
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...models import ChunkModel, MixtureModel, RegressionModel
from ...models.mixture_law import DiagonalMixture, pick
from ...seeding import drawn
from ...types import Chunks, Window
from .options import FineTuning
from .process import Process

M = TypeVar("M", bound=ChunkModel)


class AtOnce(Process, Generic[M]):
    """A process of one step, from nothing.

    Args:
        pretrained: Pre-trained model, which is copied.
        options: Options of the fine-tuning.
        counted: Numbers of a chunk that count in the densities.
    """

    steps = 1

    def __init__(self, pretrained: M, options: FineTuning, counted: Bool[Tensor, "h w"]) -> None:
        super().__init__(options, counted)
        self.tuned = copy.deepcopy(pretrained).requires_grad_(True)

    @property
    def model(self) -> M:
        return self.tuned

    def start(self, window: Window, *, rng: torch.Generator) -> Chunks:
        return window.new_zeros(len(window), *self.counted.shape)


class GaussianStep(AtOnce[RegressionModel]):
    """A Gaussian of fixed standard deviation about the chunk of a regression."""

    def following(self, window: Window, before: Chunks, index: int, *, rng: torch.Generator) -> Chunks:
        mean = self.tuned.predict(window)
        return mean + self.options.sampling_std * self.noise(mean, rng=rng)

    def log_densities(
        self, window: Window, before: Chunks, after: Chunks, index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n"]:
        std = max(self.options.sampling_std, self.options.density_std)
        error = (after - self.tuned.predict(window)) / std
        return (-0.5 * error**2 - math.log(std) - 0.5 * math.log(2 * math.pi))[:, self.counted]


class MixtureStep(AtOnce[MixtureModel]):
    """A mixture of Gaussians over the chunk, or one for each of its steps; steps that are not executed do not count."""

    def following(self, window: Window, before: Chunks, index: int, *, rng: torch.Generator) -> Chunks:
        law = self._law(window, self.options.sampling_std)
        logits = law.log_weights
        uniform = drawn("uniform", logits.shape[:-1], rng=rng, dtype=logits.dtype).to(logits.device)
        mean, std = law.component(pick(logits, uniform))
        return (mean + std * self.noise(mean, rng=rng)).view(before.shape)

    def log_densities(
        self, window: Window, before: Chunks, after: Chunks, index: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n"]:
        law = self._law(window, max(self.options.sampling_std, self.options.density_std))
        inside = self.counted.expand(after.shape)
        whole = self.tuned.options.scope == "chunk"
        if whole:
            return law.log_density(after.flatten(1), inside.flatten(1))[:, None] / self.counted.sum()
        rows = self.counted.any(dim=1)
        return law.log_density(after, inside)[:, rows] / self.counted.sum(dim=1)[rows]

    def _law(self, window: Window, floor: float) -> DiagonalMixture:
        law = self.tuned.law(window)
        return replace(law, stds=law.stds.clamp(min=floor))
