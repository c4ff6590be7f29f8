"""A diffusion or flow model whose last sampling steps have weights of their own, as fine-tuning leaves it.

    x_{i+1} ~ p_θ₀(x_{i+1} | x_i, o)   in the first K − K' of K sampling steps: pre-trained weights, which stay
    x_{i+1} ~ p_θ(x_{i+1} | x_i, o)    in the last K' steps: fine-tuned weights

Ren et al. 2024 (DPPO, arXiv 2409.00588), section 4.3.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, Conditioning, FamilyOptions, Sizes
from .diffusion import Diffusion, DiffusionDraws, DiffusionModel
from .flow import Flow, FlowDraws, FlowModel, integrate
from .sampler import sample, visited_levels


@dataclass(frozen=True)
class Tuned(FamilyOptions):
    """Options of a model with fine-tuned last sampling steps.

    Attributes:
        base: The pre-trained family, and how it samples.
        steps: Number K' of last sampling steps with fine-tuned weights, below the number K of all.
    """

    base: Diffusion | Flow
    steps: int

    def __post_init__(self) -> None:
        all_steps = self.base.sampler.steps
        if not 1 <= self.steps < all_steps:
            raise RecipeError(
                f"expected from 1 to {all_steps - 1} fine-tuned of {all_steps} sampling steps, got {self.steps}. A "
                "model of which all steps are fine-tuned is one of its base family."
            )
        if self.base.clean_prefix:
            raise RecipeError("a model with clean first steps (clean_prefix) cannot have fine-tuned sampling steps.")

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "TunedModel":
        return TunedModel(self, sizes)


class TunedModel(ChunkModel):
    """Two models of one family: `pretrained` makes the first sampling steps, `tuned` the last ones."""

    can_be_guided = True

    def __init__(self, options: Tuned, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.pretrained = options.base.build(sizes)
        self.tuned = options.base.build(sizes)

    @property
    def conditioning(self) -> Conditioning:
        return "guidance"

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> DiffusionDraws | FlowDraws:
        """The randomness of the base family's loss."""
        return self.tuned.draw(shape, rng=rng)

    def loss(self, batch: Batch, draws: DiffusionDraws | FlowDraws) -> Float[Tensor, ""]:
        """The base family's loss, each noise level with the weights that sampling uses there."""
        last = self._is_last(draws)
        total, count = batch.chunk.new_zeros(()), 0.0
        for model, rows in ((self.pretrained, ~last), (self.tuned, last)):
            part = batch.mask[rows] if self._masks_padding else torch.ones_like(batch.mask[rows])
            if (weight := float(part.sum())) == 0:
                continue
            part_draws: Any = _drawn_rows(draws, rows)
            total = total + weight * model.loss(_rows(batch, rows), part_draws)
            count += weight
        return total / count

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        noise = self.starting_noise(observation, rng=rng)
        before, after, first = self.pretrained, self.tuned, self._first
        if isinstance(before, DiffusionModel) and isinstance(after, DiffusionModel):
            early, late = before.denoiser(observation), after.denoiser(observation)
            return sample(
                lambda noisy, level: (late if level <= first else early)(noisy, level),
                before.schedule,
                noise,
                options=before.options.sampler,
                rng=rng,
                prefix=prefix,
            )
        assert isinstance(before, FlowModel)
        assert isinstance(after, FlowModel)
        slow, fast = before.velocity(observation), after.velocity(observation)
        return integrate(
            lambda noisy, time: (fast if time > first else slow)(noisy, time),
            noise,
            options=before.options.sampler,
            rng=rng,
            prefix=prefix,
        )

    @property
    def _first(self) -> float:
        """Level of the first fine-tuned step; for flow, a time just before that of the first fine-tuned step."""
        base, steps = self.options.base, self.options.steps
        kept = base.sampler.steps - steps
        if isinstance(base, Diffusion):
            return float(visited_levels(base.levels, base.sampler.steps, base.sampler.spacing)[kept])
        # between two steps, so that rounding decides nothing
        return (kept - 0.5) / base.sampler.steps

    @property
    def _masks_padding(self) -> bool:
        base = self.options.base
        return base.mask_padding if isinstance(base, Diffusion) else True

    def _is_last(self, draws: DiffusionDraws | FlowDraws) -> Bool[Tensor, " b"]:
        return draws.level <= self._first if isinstance(draws, DiffusionDraws) else draws.time > self._first


def _rows(batch: Batch, rows: Bool[Tensor, " b"]) -> Batch:
    return replace(
        batch,
        observation=batch.observation.map(lambda values: values[rows]),
        chunk=batch.chunk[rows],
        mask=batch.mask[rows],
        known=None if batch.known is None else batch.known[rows],
        following=None if batch.following is None else batch.following[rows],
        followed=None if batch.followed is None else batch.followed[rows],
    )


def _drawn_rows(draws: DiffusionDraws | FlowDraws, rows: Bool[Tensor, " b"]) -> DiffusionDraws | FlowDraws:
    if isinstance(draws, DiffusionDraws):
        return DiffusionDraws(level=draws.level[rows], noise=draws.noise[rows])
    return FlowDraws(time=draws.time[rows], noise=draws.noise[rows])
