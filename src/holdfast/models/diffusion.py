"""Denoising diffusion over chunks.

    min_θ E ‖target − net_θ(x_k, k, o)‖²,     x_k = √ᾱ_k a + √(1 − ᾱ_k) ε,   k ~ U{0 … K − 1}

The target is the clean chunk a ("sample"), the noise ε ("epsilon") or v = √ᾱ ε − √(1 − ᾱ) a ("velocity"; Salimans
and Ho 2022, arXiv 2202.00512). Ho et al. 2020 (arXiv 2006.11239), eq. 14; as a policy: Chi et al. 2023 (arXiv
2303.04137).
"""

from dataclasses import dataclass, field
from typing import Literal, assert_never, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import RecipeError
from ..nn import FilmMlp, Network
from ..tokens import Tokenizer
from ..types import Batch, Chunks, Prefix, Window
from .base import ChunkModel, Conditioning, Contrast, FamilyOptions, Sizes, masked_mean
from .clean_steps import CleanSteps, clean_in, divided, mean_where
from .sampler import Denoise, Sampler, sample
from .schedule import cosine_schedule, diffused

Prediction = Literal["sample", "epsilon", "velocity"]

CLEAN = -1
"""Level of steps without noise, one below the lowest noise level."""


@dataclass(frozen=True)
class Diffusion(FamilyOptions):
    """Options of a diffusion model.

    Attributes:
        network: Denoising network.
        levels: Noise levels `K`.
        prediction: Training target of the network.
        sampler: Options of sampling.
        mask_padding: Exclude the chunk steps beyond an episode's end from the loss.
        clean_prefix: Known first steps are given to the network without noise, at the level -1, and each step has its
            own level (`models.clean_steps`). Needs a training with `prefix_delays`.
    """

    stackable = True
    first_order = True

    network: Network = field(default_factory=FilmMlp)
    levels: int = 100
    prediction: Prediction = "sample"
    sampler: Sampler = field(default_factory=Sampler)
    mask_padding: bool = True
    clean_prefix: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.sampler.steps <= self.levels:
            raise RecipeError(
                f"expected 1 to {self.levels} sampling steps (the model's noise levels), got {self.sampler.steps}. "
                "Lower the number of steps, or train with more levels."
            )

    def build(self, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> "DiffusionModel":
        return DiffusionModel(self, sizes)


@dataclass(frozen=True)
class DiffusionDraws:
    """The randomness of one loss: a noise level and Gaussian noise for each chunk."""

    level: Int[Tensor, " b"]
    noise: Chunks


def target_of(prediction: Prediction, clean: Tensor, noise: Tensor, signal: Float[Tensor, "b steps 1"]) -> Chunks:
    """Training target for a clean chunk and its noise."""
    match prediction:
        case "sample":
            return clean
        case "epsilon":
            return noise
        case "velocity":
            return signal.sqrt() * noise - (1 - signal).sqrt() * clean
        case _:
            assert_never(prediction)


def clean_from(prediction: Prediction, output: Tensor, noisy: Tensor, signal: float | Tensor) -> Tensor:
    """Clean chunk implied by a network output: the inverse of `target_of`; one signal power, or one that broadcasts."""
    match prediction:
        case "sample":
            return output
        case "epsilon":
            return (noisy - (1 - signal) ** 0.5 * output) / signal**0.5
        case "velocity":
            return signal**0.5 * noisy - (1 - signal) ** 0.5 * output
        case _:
            assert_never(prediction)


class DiffusionModel(ChunkModel):
    """A denoising diffusion model of chunks given observation windows."""

    can_be_guided = True
    can_be_contrasted = True

    def __init__(self, options: Diffusion, sizes: Sizes) -> None:
        super().__init__()
        self.options = options
        self.sizes = sizes
        self.schedule = cosine_schedule(options.levels)
        # a buffer on the model's device for the loss; samplers read single numbers from the schedule on the host
        self.signal: Tensor
        self.register_buffer("signal", self.schedule.signal, persistent=False)
        n_times = sizes.horizon if options.clean_prefix else 1
        self.network = options.network.build(sizes.ports(n_times=n_times, any_range=options.prediction != "sample"))

    def draw(self, shape: torch.Size, *, rng: torch.Generator) -> DiffusionDraws:
        """A level and noise for each chunk."""
        level = torch.randint(self.options.levels, (shape[0],), generator=rng, device=rng.device)
        return DiffusionDraws(level=level, noise=torch.randn(shape, generator=rng, device=rng.device))

    def loss(self, batch: Batch, draws: DiffusionDraws) -> Float[Tensor, ""]:
        """Mean squared error of the prediction over coordinates and chunk steps, except those that are known."""
        if self.options.clean_prefix:
            return self._loss_given(clean_in(batch), batch, draws)
        signal = self.signal.to(batch.chunk)[draws.level][:, None, None]
        noisy = diffused(batch.chunk, draws.noise, signal)
        target = target_of(self.options.prediction, batch.chunk, draws.noise, signal)
        output = self.predict(noisy, draws.level, self.network.encode(batch.observation.vector))
        error = (output - target) ** 2
        return masked_mean(error, batch.mask) if self.options.mask_padding else error.mean()

    def _loss_given(self, clean: Bool[Tensor, "b h"], batch: Batch, draws: DiffusionDraws) -> Float[Tensor, ""]:
        """The loss of the other steps, given clean ones."""
        level = torch.where(clean, CLEAN, draws.level[:, None])
        signal = torch.where(clean, 1.0, self.signal.to(batch.chunk)[draws.level][:, None])[:, :, None]
        noisy = diffused(batch.chunk, draws.noise, signal)
        target = target_of(self.options.prediction, batch.chunk, draws.noise, signal)
        output = self.predict(noisy, level, self.network.encode(batch.observation.vector))
        counted = batch.mask & ~clean if self.options.mask_padding else ~clean
        return mean_where((output - target) ** 2, counted)

    def predict(self, noisy: Chunks, level: Int[Tensor, "b *h"], memory: Float[Tensor, "b ..."]) -> Chunks:
        """The network's output in the model's own parametrisation, for a level of each chunk or of each step."""
        levels = level[:, None] if level.dim() == 1 else level
        return cast(Tensor, self.network(noisy, levels.to(noisy), memory))

    def denoiser(self, observation: Window, known: CleanSteps | None = None) -> Denoise:
        """(noisy chunk, level) → estimate of the clean chunk, for fixed observations and known steps."""
        memory = self.network.encode(observation)
        shape = (self.sizes.horizon,) if self.options.clean_prefix else ()

        def denoise(noisy: Tensor, level: int) -> Tensor:
            levels = torch.full((noisy.shape[0], *shape), level, device=noisy.device)
            if known is not None:
                noisy, levels = known.put(noisy), known.times(levels, CLEAN)
            output = self.predict(noisy, levels, memory)
            return clean_from(self.options.prediction, output, noisy, self.schedule.numbers[level])

        return denoise

    @property
    def takes_clean_prefix(self) -> bool:
        return self.options.clean_prefix

    @property
    def conditioning(self) -> Conditioning:
        # what was learned, for as many first steps as in training; without, no known steps were ever seen
        return "exact" if self.options.clean_prefix else "guidance"

    def generate(self, observation: Window, *, rng: torch.Generator, prefix: Prefix | None) -> Chunks:
        return self._sampled(observation, None, rng=rng, prefix=prefix)

    def generate_contrasted(
        self, observation: Window, contrast: Contrast, *, rng: torch.Generator, prefix: Prefix | None
    ) -> Chunks:
        return self._sampled(observation, contrast, rng=rng, prefix=prefix)

    def _sampled(
        self, observation: Window, contrast: Contrast | None, *, rng: torch.Generator, prefix: Prefix | None
    ) -> Chunks:
        noise = self.starting_noise(observation, rng=rng)
        known, soft = divided(prefix) if self.options.clean_prefix else (None, prefix)
        denoise = self._contrasted(observation, known, contrast)
        chunk = sample(denoise, self.schedule, noise, options=self.options.sampler, rng=rng, prefix=soft)
        return chunk if known is None else known.put(chunk)

    def _contrasted(self, observation: Window, known: CleanSteps | None, contrast: Contrast | None) -> Denoise:
        conditional = self.denoiser(observation, known)
        if contrast is None:
            return conditional
        unconditional = self.denoiser(contrast.window, known)
        return lambda noisy, level: contrast.of(conditional(noisy, level), unconditional(noisy, level))
