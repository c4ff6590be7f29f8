"""Sampling of frames along a schedule matrix."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import at_least, positive
from ..sampler import check_denoising
from ..schedule import diffused
from ..streaming_sampler import stepped
from .frames import KnownFrames, by_number
from .guidance import Guidance, guided
from .matrix import ScheduleName, lag_of

DenoiseFrames = Callable[[Tensor, Tensor], Tensor]
"""(noisy frames, level of each token) → estimate of the clean frames."""


@dataclass(frozen=True)
class ForcingSampler:
    """Options of sampling sequences of frames.

    Attributes:
        steps: Network calls from noise to data for one frame, `S`. A sequence takes S + ⌊u (h − 1)⌋, where u is 0 for
            the schedule "full", `uncertainty` for "pyramid" and S for "autoregressive".
        eta: 0 = DDIM, 1 = DDPM, as in `Sampler`.
        clip: Bound of |x̂₀|, for data normalised to [-1, 1]; `None` for none.
        guidance: Largest factor 1/√ᾱ of guidance.
        schedule: Schedule matrix; see `models.forcing.matrix`.
        uncertainty: Sampling steps `u` by which a frame of the pyramid lags the one before it.
        history: Noise level of the window's readings, and of tokens that are given or finished while others are not.
            0 holds them clean. Level k is replica noising with σ_k = √((1 − ᾱ_k)/ᾱ_k) (`ForcingModel.sigma_of`).
    """

    steps: int = 20
    eta: float = 1.0
    clip: float | None = 1.0
    guidance: float = 5.0
    schedule: ScheduleName = "full"
    uncertainty: float = 1.0
    history: int = 0

    def __post_init__(self) -> None:
        check_denoising(self.steps, self.eta, self.clip, self.guidance)
        positive(uncertainty=self.uncertainty)
        at_least(0, history=self.history)
        lag_of(self.schedule, steps=self.steps, uncertainty=self.uncertainty)


def denoise_frames(
    denoise: DenoiseFrames,
    signal: Float[Tensor, " levels"],
    token: Int[Tensor, " f"],
    noisy: Float[Tensor, "b h f"],
    path: Int[Tensor, "rows *b h 2"],
    *,
    width: int,
    options: ForcingSampler,
    rng: torch.Generator,
    guidance: Guidance | None = None,
) -> Float[Tensor, "b h f"]:
    """Frames denoised from the levels in the first row of a path to those in the last: one network call per row.

    Args:
        denoise: Function that estimates the clean frames.
        signal: Signal power ᾱ of each level.
        token: The token that each number of a frame belongs to.
        noisy: Frames at the levels of the first row.
        path: Levels of each token at each call, falling.
        width: Size of an action's code.
        options: Options of sampling.
        rng: Random generator for fresh noise; unused for η = 0.
        guidance: What the estimates are guided by.
    """
    for row, following in itertools.pairwise(path.to(noisy.device)):
        levels = by_number(row, token)
        power = signal.to(noisy)[levels]
        if guidance is None:
            clean = denoise(noisy, row)
        else:
            clean = guided(denoise, noisy, row, power, guidance, width=width, largest=options.guidance)
        if options.clip is not None:
            clean = clean.clamp(-options.clip, options.clip)
        noisy = stepped(noisy, clean, signal, levels, by_number(following, token), eta=options.eta, rng=rng)
    return noisy


def with_known(
    known: KnownFrames | None,
    noisy: Float[Tensor, "b h f"],
    path: Int[Tensor, "rows h 2"],
    token: Int[Tensor, " f"],
) -> tuple[Float[Tensor, "b h f"], Int[Tensor, "rows *b h 2"]]:
    """Noisy frames and their levels, with the known tokens clean."""
    if known is None:
        return noisy, path
    firm = known.firm.to(path.device)
    # one row of levels per network call, equal for all sequences or one row per sequence
    levels = torch.where(firm, 0, path if firm.dim() == 2 else path[:, None])
    return torch.where(by_number(known.firm, token), known.values.to(noisy), noisy), levels


def held_at(
    denoise: DenoiseFrames,
    level: int,
    *,
    signal: Float[Tensor, " levels"],
    token: Int[Tensor, " f"],
    noise: Float[Tensor, "b h f"],
) -> DenoiseFrames:
    """A denoiser to which clean tokens are shown at a small noise level, and said to have it.

    x ↦ √ᾱ_k x + √(1 − ᾱ_k) w = √ᾱ_k (x + σ_k w),      w drawn once for a sequence
    """

    def shown(noisy: Tensor, levels: Tensor) -> Tensor:
        finished: Bool[Tensor, "*b h 2"] = levels == 0
        blurred = diffused(noisy, noise, signal.to(noisy)[level])
        seen = torch.where(by_number(finished, token), blurred, noisy)
        return denoise(seen, torch.where(finished, level, levels))

    return shown
