"""Noise levels in training: independent for each token, with shares of sequences like those of sampling."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

HISTORY = 10
"""Levels of tokens like history are of the lowest K / HISTORY, 0 included."""


@dataclass(frozen=True)
class ForcingDraws:
    """The randomness of one loss: a noise level for each token, and noise.

    Attributes:
        level: Levels of the frames' actions and readings.
        noise: Noise of the frames.
        window_level: Level of the readings of each observation in the window.
        window_noise: Noise of these readings.
    """

    level: Int[Tensor, "b h 2"]
    noise: Float[Tensor, "b h f"]
    window_level: Int[Tensor, "b o"]
    window_noise: Float[Tensor, "b o r"]


@dataclass(frozen=True)
class Shares:
    """Shares of the kinds of sequences in training; see `Forcing`."""

    constant: float
    held: float
    shown: float


def frame_levels(shape: tuple[int, int], *, levels: int, shares: Shares, rng: torch.Generator) -> Int[Tensor, "b h 2"]:
    """Levels of the tokens of `b` sequences of `h` frames: independent U{0 … K}, except in the shares.

    Constant sequences have one level U{1 … K}; the first frames of held ones have levels like history.
    """
    count, horizon = shape
    device = rng.device
    level = torch.randint(0, levels + 1, (count, horizon, 2), generator=rng, device=device)
    single = torch.randint(1, levels + 1, (count, 1, 1), generator=rng, device=device)
    low = _like_history((count, horizon, 2), levels=levels, rng=rng)
    kind = torch.rand(count, 1, 1, generator=rng, device=device)
    level = torch.where(kind < shares.constant, single, level)
    if horizon == 1:
        return level
    known = torch.randint(1, horizon, (count, 1), generator=rng, device=device)
    first: Bool[Tensor, "b h 1"] = (torch.arange(horizon, device=device) < known)[..., None]
    return torch.where(first & (kind >= 1 - shares.held), low, level)


def window_levels(shape: tuple[int, int], *, levels: int, shares: Shares, rng: torch.Generator) -> Int[Tensor, "b o"]:
    """Levels of the observations of `b` windows: independent U{0 … K}, or like history in a share of them."""
    level = torch.randint(0, levels + 1, shape, generator=rng, device=rng.device)
    low = _like_history(shape, levels=levels, rng=rng)
    return torch.where(torch.rand(shape[0], 1, generator=rng, device=rng.device) < shares.shown, low, level)


def min_snr(signal: Float[Tensor, "*b"], gamma: float) -> Float[Tensor, "*b"]:
    """Weight min(ᾱ/(1 − ᾱ), γ)/γ of the squared error of clean values (Hang et al. 2023, arXiv 2303.09556).

    >>> min_snr(torch.tensor([0.0, 0.5, 0.9, 1.0]), 5.0)
    tensor([0.0000, 0.2000, 1.0000, 1.0000])
    """
    # ᾱ ≥ γ/(1 + γ) where the ratio exceeds its bound, also where it is infinite
    ratio = signal / (1 - signal).clamp(min=1 / (1 + gamma))
    return ratio.clamp(max=gamma) / gamma


def _like_history(shape: tuple[int, ...], *, levels: int, rng: torch.Generator) -> Int[Tensor, "..."]:
    return torch.randint(0, levels // HISTORY + 1, shape, generator=rng, device=rng.device)
