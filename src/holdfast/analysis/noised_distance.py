"""How far apart a smoothed policy's laws are at most, from the noise alone.

    TV(π̂_σ(o), π̂_σ(o')) ≤ TV(N(o, σ²I), N(o', σ²I)) = 2 Φ(‖o − o'‖ / 2σ) − 1 = erf(‖o − o'‖ / √8 σ) ≤ ‖o − o'‖ / 2σ

A plan is made from the noised observation, so that two plans' laws are no farther apart than the noised observations
are (data processing). The last step is Pinsker's; the exact value is 0.80 of it for small distances and never exceeds
1. Every observation of a window is noised independently, so ‖o − o'‖ is that of the stacked windows. Clipping before
the noise can only bring them together. (Block et al. 2023, arXiv 2307.14619, Def. 3.5.)
"""

import math
from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Covariance, Isotropic, MeanShift, MinMax, NoiseLaw, PerCoordinate, UniformAsPublished
from ..errors import RecipeError
from ..policy import EmpiricalDeconvolution, Smoothed

__all__ = ["Noise", "noise_of", "noised_tv", "pinsker", "smoothed_tv"]


@dataclass(frozen=True)
class Noise:
    """What a policy adds to what it sees.

    Attributes:
        sigma: Scale of the noise.
        law: Of the noise.
        clip: Bound of normalised observations before it.
        scale: Observation ↔ [-1, 1], in whose units it is.
    """

    sigma: float
    law: NoiseLaw
    clip: float | None
    scale: MinMax

    def clipped(self, z: Float[Tensor, "*b o d"]) -> Float[Tensor, "*b o d"]:
        """Within the bound."""
        return z if self.clip is None else z.clamp(-self.clip, self.clip)

    def tv(self, apart: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Of noised windows that differ by `apart`."""
        norm = apart.square().sum(1).sqrt()
        match self.law:
            case Isotropic():
                return noised_tv(norm, self.sigma)
            case PerCoordinate() | Covariance():
                steps = apart.view(len(apart), -1, len(self.scale.low))
                return noised_tv(self.law.whitened(steps).flatten(1).square().sum(1).sqrt(), self.sigma)
            case UniformAsPublished() if self.sigma > 0:
                return 1 - (1 - apart.abs() / self.sigma).clamp(min=0.0).prod(1)
            case UniformAsPublished() | MeanShift():
                return (norm != 0).to(norm)
            case _:
                assert_never(self.law)

    def modulus(self, distances: Float[Tensor, " k"], *, numbers: int) -> Float[Tensor, " k"]:
        """The largest over all directions of windows of so many numbers; for uniform noise a union bound on it."""
        match self.law:
            case Isotropic():
                return noised_tv(distances, self.sigma)
            case PerCoordinate() | Covariance():
                return noised_tv(distances / self.law.smallest, self.sigma)
            case UniformAsPublished() if self.sigma > 0:
                # Σ |z_i| ≤ √d ‖z‖, and 1 − Π (1 − a_i) ≤ Σ a_i
                return (numbers**0.5 * distances / self.sigma).clamp(max=1.0)
            case UniformAsPublished() | MeanShift():
                return (distances != 0).to(distances)
            case _:
                assert_never(self.law)


def noise_of(policy: object) -> Noise | None:
    """What a policy adds to what it sees; `None` where nothing is known of it."""
    match policy:
        case Smoothed():
            return Noise(policy.sigma, policy.law, policy.clip, policy.planner.observation_scale)
        case EmpiricalDeconvolution():
            return Noise(policy.sigma, Isotropic(), policy.clip, policy.scale)
        case _:
            return None


def noised_tv(distance: Float[Tensor, "*b"], sigma: float) -> Float[Tensor, "*b"]:
    """Total variation of two Gaussians N(·, σ²I) so far apart: erf(distance / √8 σ).

    With σ = 0 it is 1 wherever the distance is not 0.

    >>> noised_tv(torch.tensor([0.0, 0.2, 9.0]), 0.1)
    tensor([0.0000, 0.6827, 1.0000])
    """
    _check_sigma(sigma)
    if sigma == 0:
        return (distance != 0).to(distance)
    return torch.erf(distance / (math.sqrt(8) * sigma))


def pinsker(distance: Float[Tensor, "*b"], sigma: float) -> Float[Tensor, "*b"]:
    """The same from above by Pinsker's inequality, as the slides have it: min(1, distance / 2σ)."""
    _check_sigma(sigma)
    return (distance / (2 * sigma)).clamp(max=1.0) if sigma > 0 else (distance != 0).to(distance)


def smoothed_tv(
    policy: Smoothed | EmpiricalDeconvolution, first: Float[Tensor, "b o d"], second: Float[Tensor, "b o d"]
) -> Float[Tensor, " b"]:
    """Upper bound of TV(π̂_σ(o), π̂_σ(o')) for pairs of observation windows, after scaling and clipping.

    Exact for the noised windows: erf(‖z − z'‖ / √8 σ) for Gaussian noise, 1 − Π (1 − |z_i − z'_i| / σ)₊ for uniform
    noise, and 1 for a mere shift.

    Args:
        policy: A policy that noises what it sees.
        first: Observation windows.
        second: Others, one for each.
    """
    noise = noise_of(policy)
    assert noise is not None  # by the type
    one, other = (noise.clipped(noise.scale.normalize(window)) for window in (first, second))
    return noise.tv((one - other).flatten(1))


def _check_sigma(sigma: float) -> None:
    if not 0 <= sigma < math.inf:
        raise RecipeError(f"sigma is the scale of observation noise, 0 or above; got {sigma}.")
