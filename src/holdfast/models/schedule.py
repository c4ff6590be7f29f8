"""Noise schedules: the signal power of each noise level.

    x_k = √ᾱ_k x₀ + √(1 − ᾱ_k) ε,   ε ~ N(0, I),   k = 0 (almost clean) … K − 1 (almost noise)

The only constraint is that ᾱ decreases with k. Ho et al. 2020 (arXiv 2006.11239), eq. 4.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """Signal power ᾱ_k of each noise level, decreasing."""

    signal: Float[Tensor, " levels"]

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """ᾱ_k as numbers of the host, which samplers compute with."""
        return tuple(float(value) for value in self.signal)

    @property
    def levels(self) -> int:
        """Number of noise levels `K`."""
        return self.signal.shape[0]


def diffused(clean: Float[Tensor, "*d"], noise: Float[Tensor, "*d"], signal: Tensor) -> Float[Tensor, "*d"]:
    """√ᾱ x₀ + √(1 − ᾱ) ε, where ᾱ broadcasts against x₀.

    >>> diffused(torch.ones(2), torch.zeros(2), torch.tensor([0.25]))
    tensor([0.5000, 0.5000])
    """
    return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def cosine_schedule(levels: int, *, largest_step: float = 0.999) -> NoiseSchedule:
    """ᾱ_k = Π (1 − β_j) with β_j = min(1 − g(j+1)/g(j), 0.999), g(j) = cos²((j/K + 0.008) / 1.008 · π/2).

    Nichol and Dhariwal 2021 (arXiv 2102.09672), eq. 17.

    >>> schedule = cosine_schedule(100)
    >>> bool((schedule.signal.diff() < 0).all())
    True
    """
    # real numbers also where a model is built without memory, only to compare its sizes
    times = torch.arange(levels + 1, dtype=torch.float64, device="cpu") / levels
    power = torch.cos((times + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - power[1:] / power[:-1]).clamp(max=largest_step)
    return NoiseSchedule(signal=torch.cumprod(1 - betas, dim=0))
