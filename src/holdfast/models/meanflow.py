"""MeanFlow: the average velocity of a flow, learned from an identity that it satisfies.

    (e − s) u(x_s, s, e) = ∫_s^e v dτ   ⇒   u = v + (e − s) du/ds,     du/ds = v ∂u/∂x + ∂u/∂s
    min_θ E ‖u_θ(x_s, s, e) − stop(a − ε + (e − s) du_θ/ds)‖²,     x_s = (1 − s) ε + s a

The total derivative, along (v, 1, 0) with v = a − ε, is one forward-mode product through the network. Geng et al. 2025
(arXiv 2505.13447), eq. 6–11; their time is reversed, which gives a minus sign.

The network must support forward-mode derivatives. They are computed in the batch's precision: lower ones are too coarse
for a derivative, and PyTorch's convolutions have none under autocast.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError, at_least, positive
from ..nn import Network, ResidualMlp
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .average_velocity import AverageVelocitySampler, integrate_average
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes, masked_mean
from .flow import TIME_SCALE


@dataclass(frozen=True)
class MeanFlow(FamilyOptions):
    """Options of a MeanFlow model.

    Attributes:
        network: Network that predicts the average velocity between two times.
        share: Share of a batch whose two times differ; for the others the objective is flow matching.
        times: Distribution of the two times: "uniform", or "logit-normal", where 1 − s has the logit N(−0.4, 1), as
            published.
        power: Exponent p of the weight 1 / (mean squared error + offset)^p of each chunk; 1 as published, 0 for none.
        offset: Offset in that weight, a squared error in normalised units. Published: 0.001 on the sum over an image.
        sampler: Options of sampling.
    """

    stackable = True

    network: Network = field(default_factory=ResidualMlp)
    share: float = 0.25
    times: Literal["uniform", "logit-normal"] = "logit-normal"
    power: float = 1.0
    offset: float = 1e-3
    sampler: AverageVelocitySampler = field(default_factory=AverageVelocitySampler)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise RecipeError(f"expected a share between 0 and 1, got {self.share}.")
        at_least(0, power=self.power)
        positive(offset=self.offset)

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "MeanFlowModel":
        return MeanFlowModel(self, sizes)


@dataclass(frozen=True)
class MeanFlowDraws:
    """The randomness of one loss: for each chunk two times, start ≤ end, and noise."""

    start: Float[Tensor, " b"]
    end: Float[Tensor, " b"]
    noise: Chunks


def average_and_target(
    average: Callable[[Tensor, Tensor], Tensor],
    noisy: Chunks,
    start: Float[Tensor, " b"],
    end: Float[Tensor, " b"],
    velocity: Chunks,
) -> tuple[Chunks, Chunks]:
    """The two sides of the identity, u and v + (e − s) du/ds; the second without a gradient."""
    tangents = (velocity, torch.ones_like(start))
    value, slope = cast("tuple[Tensor, Tensor]", torch.func.jvp(average, (noisy, start), tangents))
    return value, (velocity + (end - start)[:, None, None] * slope).detach()


class MeanFlowModel(ChunkModel):
    """A model of the average velocity of chunks given observation windows."""

    can_be_guided = True

    def __init__(self, options: MeanFlow, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.network = options.network.build(sizes.ports(n_times=2, any_range=True))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> MeanFlowDraws:
        """Two times, equal for most chunks, and noise for each chunk."""
        times = self._times(shape[0], rng=rng)
        start, end = times.amin(dim=-1), times.amax(dim=-1)
        differ = torch.rand(shape[0], generator=rng, device=rng.device) < self.options.share
        noise = torch.randn(shape, generator=rng, device=rng.device)
        return MeanFlowDraws(start=start, end=torch.where(differ, end, start), noise=noise)

    def loss(self, batch: Batch, draws: MeanFlowDraws) -> Float[Tensor, ""]:
        """Mean squared error over chunk steps and coordinates, with the gradient of the weighted loss.

        With the published weights the weighted loss is almost 1 throughout a training. The value returned is the
        unweighted error, which shows the progress.
        """
        start, end = draws.start.to(batch.chunk), draws.end.to(batch.chunk)
        noisy = torch.lerp(draws.noise.to(batch.chunk), batch.chunk, start[:, None, None])
        with torch.autocast(noisy.device.type, enabled=False):
            memory = self.network.encode(batch.observation.vector)
            value, target = average_and_target(
                lambda chunk, time: self.predict(chunk, time, end, memory), noisy, start, end, batch.chunk - draws.noise
            )
        error = (value - target) ** 2
        inside = batch.mask.to(error)
        of_chunk = (error.mean(-1) * inside).sum(-1) / inside.sum(-1)
        weighted = (of_chunk / (of_chunk.detach() + self.options.offset) ** self.options.power).mean()
        return masked_mean(error.detach(), batch.mask) + (weighted - weighted.detach())

    def predict(
        self, noisy: Chunks, start: Float[Tensor, " b"], end: Float[Tensor, " b"], memory: Float[Tensor, "b ..."]
    ) -> Chunks:
        """Average velocity; the network's inputs are the start and the length of the interval."""
        times = TIME_SCALE * torch.stack([start, end - start], dim=-1)
        return cast(Tensor, self.network(noisy, times.to(noisy), memory))

    @property
    def conditioning(self) -> Conditioning:
        return "guidance"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        memory, count = self.network.encode(observation), observation.shape[0]

        def average(noisy: Tensor, start: float, end: float) -> Tensor:
            return self.predict(noisy, noisy.new_full((count,), start), noisy.new_full((count,), end), memory)

        noise = self.starting_noise(observation, rng=rng)
        return integrate_average(average, noise, options=self.options.sampler, prefix=prefix)

    def _times(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count 2"]:
        match self.options.times:
            case "uniform":
                return torch.rand(count, 2, generator=rng, device=rng.device)
            case "logit-normal":
                return torch.sigmoid(0.4 + torch.randn(count, 2, generator=rng, device=rng.device))
            case _:
                assert_never(self.options.times)
