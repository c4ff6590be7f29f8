"""One sampler with two numbers, `steps` and `eta`, that contains DDPM and DDIM.

From level k to the next lower level j (ᾱ_j > ᾱ_k; below the lowest, ᾱ = 1):

    x̂₀ = denoise(x_k, k)            clipped to the data's range
    ε̂  = (x_k − √ᾱ_k x̂₀) / √(1 − ᾱ_k)
    σ  = η √((1 − ᾱ_j) / (1 − ᾱ_k)) √(1 − ᾱ_k / ᾱ_j)
    x_j = √ᾱ_j x̂₀ + √(1 − ᾱ_j − σ²) ε̂ + σ z,     z ~ N(0, I)

η = 1 over all levels is DDPM's ancestral sampling with its smaller variance (Ho et al. 2020, eq. 6–7); η = 0 is
DDIM's deterministic map (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16), at any number of steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Prefix
from .base import standard_normal
from .prefix import guide
from .schedule import NoiseSchedule

__all__ = ["Denoise", "Sampler", "sample"]

Denoise = Callable[[Tensor, int], Tensor]
"""(noisy chunk, level) → estimate of the clean chunk x̂₀."""


@dataclass(frozen=True)
class Sampler:
    """How a trained denoiser is turned into samples.

    Few steps cost little where the law is narrow or only its modes matter, but they draw too narrow a law: with an
    exact denoiser and η = 0, a standard deviation of 0.2 comes out as 0.50, 0.73, 0.86 and 0.97 of itself after 5, 10,
    20 and 100 of 100 levels.

    Attributes:
        steps: Network calls a sample, at most the schedule's number of levels.
        eta: 0 = DDIM (deterministic given the first noise), 1 = DDPM (fresh noise at every step).
        clip: Bound of |x̂₀|, for data normalised to [-1, 1]; `None` leaves it free.
        guidance: Largest weight of the guidance by a prefix.

    """

    steps: int = 10
    eta: float = 0.0
    clip: float | None = 1.0
    guidance: float = 5.0


def visited_levels(levels: int, steps: int) -> list[int]:
    """The levels that are visited, from noise to data: evenly spaced, both ends included.

    >>> visited_levels(100, 4)
    [99, 66, 33, 0]
    """
    if not 1 <= steps <= levels:
        raise RecipeError(
            f"expected 1 to {levels} sampling steps (the model's noise levels), got {steps}. "
            "Lower the number of steps, or train with more levels."
        )
    spacing = (levels - 1) / max(steps - 1, 1)
    return [round(levels - 1 - index * spacing) for index in range(steps)]


def guided(denoise: Denoise, prefix: Prefix, signal: float, largest: float) -> Denoise:
    """The denoiser guided by a prefix (`models.prefix.guide`): λ = 1/√ᾱ, at most `largest`."""
    weight = min(largest, signal**-0.5)

    def denoise_guided(noisy: Tensor, level: int) -> Tensor:
        return guide(lambda chunk: denoise(chunk, level), noisy, prefix, weight)

    return denoise_guided


def sample(
    denoise: Denoise,
    schedule: NoiseSchedule,
    noise: Float[Tensor, "b h w"],
    *,
    options: Sampler,
    rng: torch.Generator,
    prefix: Prefix | None = None,
) -> Float[Tensor, "b h w"]:
    """Chunks from noise.

    Args:
        denoise: Estimates the clean chunk.
        schedule: The noise levels that the denoiser knows.
        noise: Standard normal numbers: where the path starts.
        options: Steps, η, clipping and guidance.
        rng: Source of the noise within the path; unused for η = 0.
        prefix: What is already known of the chunk.

    Raises:
        RecipeError: More steps than levels.

    """
    path = visited_levels(schedule.levels, options.steps)
    noisy = noise
    for index, level in enumerate(path):
        signal = float(schedule.signal[level])
        target = float(schedule.signal[path[index + 1]]) if index + 1 < len(path) else 1.0
        estimate = denoise if prefix is None else guided(denoise, prefix, signal, options.guidance)
        clean = estimate(noisy, level)
        if options.clip is not None:
            clean = clean.clamp(-options.clip, options.clip)
        # recomputed from the clipped estimate, so that the two stay a pair on the line through x_k
        residual = (noisy - signal**0.5 * clean) / (1 - signal) ** 0.5
        spread = options.eta * ((1 - target) / (1 - signal) * (1 - signal / target)) ** 0.5
        noisy = target**0.5 * clean + max(1 - target - spread**2, 0.0) ** 0.5 * residual
        if spread > 0:
            noisy = noisy + spread * standard_normal(noisy.shape, noisy, rng=rng)
    return noisy
