"""Shortcut models: a flow conditioned on the length of its step, for sampling in few steps.

    v_θ(x, s, d),  d = 2^-k:     x_{s+d} ≈ x_s + d v_θ(x_s, s, d)
    a share of a batch      ‖v_θ(x_s, s, d) − ½ (v_θ(x_s, s, d/2) + v_θ(x_{s+d/2}, s + d/2, d/2))‖²
    the others              ‖v_θ(x_s, s, 2^-K) − (a − ε)‖²

A step must equal two of half its length, down to the smallest, which is trained by flow matching. Frans et al. 2024
(arXiv 2410.12557), who compute the two half steps with an average of past parameters. Here the loss is a function of
parameters, batch and noise, and the current parameters are used, without a gradient.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, positive
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .average_velocity import AverageVelocitySampler, integrate_average
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, masked_mean
from .flow import TIME_SCALE

MOST_HALVINGS = 20
"""A million steps."""


@dataclass(frozen=True)
class Shortcut(FamilyOptions):
    """Options of a shortcut model.

    Attributes:
        network: Network that predicts the average velocity, given a time and the length of the step.
        halvings: Exponent K of the smallest step, 2^-K.
        share: Share of a batch whose target is two steps of half the length.
        bound: Largest absolute value of a half step and of the target of two; `None` for none.
        sampler: Options of sampling; its steps are 1, 2, 4 … 2^K.
    """

    stackable = True

    network: Network = field(default_factory=ResidualMlp)
    halvings: int = 7
    share: float = 0.125
    bound: float | None = 4.0
    sampler: AverageVelocitySampler = field(default_factory=AverageVelocitySampler)

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise RecipeError(f"expected a share of at least 0 and below 1, got {self.share}.")
        if not 1 <= self.halvings <= MOST_HALVINGS:
            raise RecipeError(f"expected 1 to {MOST_HALVINGS} halvings, got {self.halvings}.")
        if self.bound is not None:
            positive(bound=self.bound)
        known = [2**k for k in range(self.halvings + 1)]
        if self.sampler.steps not in known:
            raise RecipeError(
                f"a shortcut model with {self.halvings} halvings allows {', '.join(map(str, known))} sampling steps, "
                f"not {self.sampler.steps}. Use one of these, or train with more halvings."
            )

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "ShortcutModel":
        return ShortcutModel(self, sizes)


@dataclass(frozen=True)
class ShortcutDraws:
    """The randomness of one loss: times and lengths of the steps, noise, and how many chunks have two half steps."""

    time: Float[Tensor, " b"]
    size: Float[Tensor, " b"]
    noise: Chunks
    doubled: int


class ShortcutModel(ChunkModel):
    """A shortcut model of chunks given observation windows."""

    can_be_guided = True

    def __init__(self, options: Shortcut, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.network = options.network.build(sizes.ports(n_times=2, any_range=True))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> ShortcutDraws:
        """A step, a time that is a multiple of the step, and noise for each chunk."""
        count, doubled = shape[0], round(self.options.share * shape[0])
        halvings = torch.randint(self.options.halvings, (count,), generator=rng, device=rng.device)
        halvings[doubled:] = self.options.halvings
        size = 0.5**halvings
        time = (torch.rand(count, generator=rng, device=rng.device) / size).floor() * size
        noise = torch.randn(shape, generator=rng, device=rng.device)
        return ShortcutDraws(time=time, size=size, noise=noise, doubled=doubled)

    def loss(self, batch: Batch, draws: ShortcutDraws) -> Float[Tensor, ""]:
        """Mean squared error of the average velocity over chunk steps and coordinates."""
        along, n = draws.time[:, None, None], draws.doubled
        noisy = (1 - along) * draws.noise + along * batch.chunk
        memory, target = self.network.encode(batch.observation.vector), batch.chunk - draws.noise
        if n > 0:
            with torch.no_grad():
                learned = self.two_halves(noisy[:n], draws.time[:n], draws.size[:n], memory[:n])
            target = torch.cat([learned, target[n:]])
        return masked_mean((self.predict(noisy, draws.time, draws.size, memory) - target) ** 2, batch.mask)

    def two_halves(
        self, noisy: Chunks, time: Float[Tensor, " b"], size: Float[Tensor, " b"], memory: Float[Tensor, "b ..."]
    ) -> Chunks:
        """The average velocity of two steps of half the length, one after the other."""
        half = size / 2
        first = self.predict(noisy, time, half, memory)
        ahead = self._bounded(noisy + half[:, None, None] * first)
        second = self.predict(ahead, time + half, half, memory)
        return self._bounded((first + second) / 2)

    def predict(
        self, noisy: Chunks, time: Float[Tensor, " b"], size: Float[Tensor, " b"], memory: Float[Tensor, "b ..."]
    ) -> Chunks:
        """Average velocity over a step; the network's input is the logarithm of the step's length."""
        length = 1 + size.log2() / self.options.halvings
        times = TIME_SCALE * torch.stack([time, length], dim=-1)
        return cast(Tensor, self.network(noisy, times.to(noisy), memory))

    @property
    def conditioning(self) -> Conditioning:
        return "guidance"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        memory, count = self.network.encode(observation), observation.shape[0]

        def average(noisy: Tensor, start: float, end: float) -> Tensor:
            return self.predict(noisy, noisy.new_full((count,), start), noisy.new_full((count,), end - start), memory)

        noise = self.starting_noise(observation, rng=rng)
        return integrate_average(average, noise, options=self.options.sampler, prefix=prefix)

    def _bounded(self, values: Tensor) -> Tensor:
        bound = self.options.bound
        return values if bound is None else values.clamp(-bound, bound)
