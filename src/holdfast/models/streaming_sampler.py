"""Sampling with a denoiser of chunks whose steps have their own noise levels."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..types import Chunks, Prefix
from .base import standard_normal
from .sampler import check_denoising

DenoiseSteps = Callable[[Tensor, Tensor], Tensor]
"""(noisy chunks, level of each step) → estimate of the clean chunks."""


@dataclass(frozen=True)
class StreamingSampler:
    """Options of sampling with a denoiser of steps at different levels.

    Attributes:
        steps: Network calls from noise to data; a plan from a buffer takes steps / blocks of them.
        eta: 0 = DDIM, 1 = DDPM, as in `Sampler`.
        clip: Bound of |x̂₀|, for data normalised to [-1, 1]; `None` for none.
        guidance: Largest weight of the guidance by steps with weights below 1; steps of weight 1 need none.
    """

    steps: int = 20
    eta: float = 0.0
    clip: float | None = 1.0
    guidance: float = 5.0

    def __post_init__(self) -> None:
        check_denoising(self.steps, self.eta, self.clip, self.guidance)


def denoise_along(
    denoise: DenoiseSteps,
    signal: Float[Tensor, " levels"],
    noisy: Chunks,
    path: Int[Tensor, "rows *b h"],
    *,
    options: StreamingSampler,
    rng: torch.Generator,
) -> Chunks:
    """Chunks denoised from the levels in the first row of a path to those in the last: one network call per row.

    Each step follows the formula of `models.sampler` from its level to the next one; a step whose level stays is
    unchanged. With exact estimates and η = 0 the sampled distribution does not depend on the path.
    """
    return estimated_along(denoise, signal, noisy, path, options=options, rng=rng)[0]


def estimated_along(
    denoise: DenoiseSteps,
    signal: Float[Tensor, " levels"],
    noisy: Chunks,
    path: Int[Tensor, "rows *b h"],
    *,
    options: StreamingSampler,
    rng: torch.Generator,
) -> tuple[Chunks, Chunks]:
    """The chunks of `denoise_along`, and what the last network call took their clean steps for."""
    clean = noisy
    for row, following in itertools.pairwise(path.to(noisy.device)):
        clean = denoise(noisy, row)
        if options.clip is not None:
            clean = clean.clamp(-options.clip, options.clip)
        noisy = stepped(noisy, clean, signal, row[..., None], following[..., None], eta=options.eta, rng=rng)
    return noisy, torch.where(path[-1].to(noisy.device)[..., None] == 0, noisy, clean)


def stepped(
    noisy: Chunks,
    clean: Chunks,
    signal: Float[Tensor, " levels"],
    row: Int[Tensor, "*b h numbers"],
    following: Int[Tensor, "*b h numbers"],
    *,
    eta: float,
    rng: torch.Generator,
) -> Chunks:
    """Chunks moved from the levels of a row to the following ones, by the formula of `models.sampler`.

    Args:
        noisy: Chunks at the levels of the row.
        clean: Estimate of the clean chunks.
        signal: Signal power ᾱ of each level.
        row: Level of each step, or of each number of a step.
        following: Levels of the next row; where they are the same, the chunk is unchanged.
        eta: 0 = DDIM, 1 = DDPM.
        rng: Random generator for fresh noise; unused for η = 0.
    """
    now, then = (signal.to(noisy)[levels] for levels in (row, following))
    moving = row != following
    left = torch.where(moving, 1 - now, 1.0)
    spread = eta * ((1 - then) / left * (1 - now / then)).sqrt()
    residual = (noisy - now.sqrt() * clean) / left.sqrt()
    moved = then.sqrt() * clean + (1 - then - spread**2).clamp(min=0).sqrt() * residual
    if eta > 0:
        moved = moved + spread * standard_normal(noisy.shape, noisy, rng=rng)
    return torch.where(moving, moved, noisy)


def with_clean(prefix: Prefix, noisy: Chunks, path: Int[Tensor, "rows h"]) -> tuple[Chunks, Int[Tensor, "rows *b h"]]:
    """Noisy chunks and their levels, with the steps of weight 1 clean."""
    firm = prefix.weights == 1
    # one row of levels per network call, equal for all chunks or one row per chunk
    levels = torch.where(firm, 0, path if firm.dim() == 1 else path[:, None])
    return torch.where(firm[..., None], prefix.chunk, noisy), levels
