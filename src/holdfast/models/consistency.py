"""Consistency training: a map from every point of a path between noise and data to the path's end.

    f_θ(x, σ) = c_skip(σ) x + c_out(σ) net_θ(c_in(σ) x, σ, o),     x_σ = a + σ ε,     f(x, σ_min) = x
    min_θ E (√(‖f_θ(a + σ_{i+1} ε, σ_{i+1}) − stop f_θ(a + σ_i ε, σ_i)‖² + c²) − c) / (σ_{i+1} − σ_i)

Neighbouring points of a path must have equal ends, and at the data the map is the identity; no teacher is needed.
Song and Dhariwal 2023 (arXiv 2310.14189), with their c = 0.00054 √(size of a chunk) and their distribution of i;
scalings and the noise levels σ_i of Karras et al. 2022 (arXiv 2206.00364), eq. 5; as a policy: Prasad et al. 2024
(arXiv 2405.07503). The published number of levels grows from 10 to 1280 during training. Here the loss does not depend
on the update, so the number is fixed, and the distance of the levels is a small bias.
"""

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import RecipeError, positive
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, FamilyOptions, Sizes, standard_normal
from .flow import TIME_SCALE
from .prefix import project

CURVE = 7.0
"""ρ of the noise levels: the larger, the denser near the data."""


@dataclass(frozen=True)
class Consistency(FamilyOptions):
    """Options of a consistency model.

    Attributes:
        network: Network inside the scalings.
        levels: Number of noise levels.
        smallest: σ_min, the noise at the data's end.
        largest: σ_max, the noise that hides the data. The published value for images is 80. Chunks are smaller, and the
            highest levels are rarely trained on: on a distribution with two modes, 10 % of the samples of one call
            were near a mode with 80, 75 % with 20 and 86 % with 10, after 400 updates.
        data_spread: Standard deviation of the data, in normalised units.
        steps: Network calls per sample: the first from pure noise, each further one from the last chunk with less
            noise.
        clip: Bound of an estimated chunk, for data normalised to [-1, 1]; `None` for none.
    """

    stackable = True

    network: Network = field(default_factory=ResidualMlp)
    levels: int = 40
    smallest: float = 0.02
    largest: float = 20.0
    data_spread: float = 0.5
    steps: int = 1
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest:
            raise RecipeError(
                f"expected 0 < smallest < largest noise, got smallest={self.smallest} and largest={self.largest}."
            )
        positive(data_spread=self.data_spread, largest=self.largest)
        if self.clip is not None:
            positive(clip=self.clip)
        if self.levels < 2 or not 1 <= self.steps < self.levels:
            raise RecipeError(
                f"expected at least 2 levels and 1 to levels − 1 sampling steps, got {self.levels} and {self.steps}."
            )

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "ConsistencyModel":
        return ConsistencyModel(self, sizes)


@dataclass(frozen=True)
class ConsistencyDraws:
    """The randomness of one loss: the index of the lower of two neighbouring levels, and noise, for each chunk."""

    rung: Int[Tensor, " b"]
    noise: Chunks


def ladder(options: Consistency) -> Float[Tensor, " levels"]:
    """σ_i = (σ_min^{1/ρ} + i/(N − 1) (σ_max^{1/ρ} − σ_min^{1/ρ}))^ρ, rising.

    >>> [round(float(sigma), 2) for sigma in ladder(Consistency(levels=4))]
    [0.02, 0.45, 3.87, 20.0]
    """
    low, high = options.smallest ** (1 / CURVE), options.largest ** (1 / CURVE)
    return torch.linspace(low, high, options.levels, dtype=torch.float64) ** CURVE


class ConsistencyModel(ChunkModel):
    """A consistency model of chunks given observation windows."""

    def __init__(self, options: Consistency, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.ladder = ladder(options)
        self.sigmas = tuple(float(sigma) for sigma in self.ladder)
        # a buffer on the model's device for the loss; samplers compute with numbers of the host
        self.rungs: Tensor
        self.register_buffer("rungs", self.ladder, persistent=False)
        self.network = options.network.build(sizes.ports(n_times=1, any_range=True))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> ConsistencyDraws:
        """A level and noise for each chunk; ln σ ~ N(−1.1, 2²), truncated to the levels."""
        below = torch.erf((self.rungs.double().log() + 1.1) / (2 * math.sqrt(2)))
        law = below.diff().to(rng.device)
        rung = torch.multinomial(law, shape[0], replacement=True, generator=rng)
        return ConsistencyDraws(rung=rung, noise=torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, draws: ConsistencyDraws) -> Float[Tensor, ""]:
        """Pseudo-Huber distance of the ends of two neighbouring points, divided by the distance of their levels."""
        rungs, memory = self.rungs.to(batch.chunk), self.network.encode(batch.observation.vector)
        low, high = rungs[draws.rung], rungs[draws.rung + 1]
        with torch.no_grad():
            target = self.end(batch.chunk + low[:, None, None] * draws.noise, low, memory)
        ends = self.end(batch.chunk + high[:, None, None] * draws.noise, high, memory)
        square = ((ends - target) ** 2 * batch.mask[:, :, None]).sum((-2, -1))
        soft = 0.00054 * (self.sizes.horizon * self.sizes.width) ** 0.5
        return (((square + soft**2).sqrt() - soft) / (high - low)).mean()

    def end(self, noisy: Chunks, sigma: Float[Tensor, " b"], memory: Float[Tensor, "b ..."]) -> Chunks:
        """f(x, σ): the end of the path through x.

        c_skip = s² / ((σ − σ_min)² + s²), c_out = s (σ − σ_min) / √(σ² + s²), c_in = 1 / √(σ² + s²), s = data_spread.
        """
        scale, low = self.options.data_spread, self.options.smallest
        level = sigma[:, None, None]
        size = (level**2 + scale**2).sqrt()
        height = (sigma / low).log() / math.log(self.options.largest / low)
        output = cast(Tensor, self.network(noisy / size, TIME_SCALE * height[:, None], memory))
        skip = scale**2 / ((level - low) ** 2 + scale**2)
        return skip * noisy + scale * (level - low) / size * output

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        """The end of a path from noise, repeatedly noised to lower levels and mapped to the end again.

        Known steps replace their predictions after each call and so inform the next one (Song et al. 2023, arXiv
        2303.01469, algorithm 4); with a single call they do not inform the other steps.
        """
        memory, low = self.network.encode(observation), self.options.smallest
        shape = (observation.shape[0], self.sizes.horizon, self.sizes.width)
        chunk = observation.new_zeros(shape)
        for index, sigma in enumerate(self.visited()):
            spread = sigma if index == 0 else (sigma**2 - low**2) ** 0.5
            noisy = chunk + spread * standard_normal(shape, observation, rng=rng)
            chunk = self.end(noisy, noisy.new_full(shape[:1], sigma), memory)
            if self.options.clip is not None:
                chunk = chunk.clamp(-self.options.clip, self.options.clip)
            chunk = project(chunk, prefix)
        return chunk

    def visited(self) -> list[float]:
        """The decreasing noise levels of a sample's calls, at equal distances of their indices.

        The published code of Consistency Policy uses levels 27 and 54, which increase.
        """
        top = self.options.levels - 1
        return [self.sigmas[round(top * (1 - step / self.options.steps))] for step in range(self.options.steps)]
