"""Upper bound on the distance of a smoothed policy's distributions, from the noise alone.

    TV(π̂_σ(o), π̂_σ(o')) ≤ TV(N(o, σ²I), N(o', σ²I)) = 2 Φ(‖o − o'‖ / 2σ) − 1 = erf(‖o − o'‖ / √8 σ) ≤ ‖o − o'‖ / 2σ

A plan is a function of the noised observation, so the first inequality is data processing. The last one is Pinsker's;
the exact value is 0.80 of it for small distances and never exceeds 1. Every observation of a window has independent
noise, so ‖o − o'‖ is that of the stacked windows. Clipping before the noise can only reduce the distance. (Block et al.
2023, arXiv 2307.14619, Def. 3.5.)
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


@dataclass(frozen=True)
class Noise:
    """Noise that a policy adds to its observations.

    Attributes:
        sigma: Scale of the noise.
        law: Distribution of the noise.
        clip: Limit of normalised observations before the noise.
        scale: Observation ↔ [-1, 1], in whose units the noise is.
    """

    sigma: float
    law: NoiseLaw
    clip: float | None
    scale: MinMax

    def clipped(self, z: Float[Tensor, "*b o d"]) -> Float[Tensor, "*b o d"]:
        """Observations, clipped to the limit."""
        return z if self.clip is None else z.clamp(-self.clip, self.clip)

    def tv(self, difference: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Total variation between noised windows that differ by `difference`."""
        norm = difference.square().sum(1).sqrt()
        match self.law:
            case Isotropic():
                return noised_tv(norm, self.sigma)
            case PerCoordinate() | Covariance():
                steps = difference.view(len(difference), -1, len(self.scale.low))
                return noised_tv(self.law.whitened(steps).flatten(1).square().sum(1).sqrt(), self.sigma)
            case UniformAsPublished() if self.sigma > 0:
                return 1 - (1 - difference.abs() / self.sigma).clamp(min=0.0).prod(1)
            case UniformAsPublished() | MeanShift():
                return (norm != 0).to(norm)
            case _:
                assert_never(self.law)

    def modulus(self, distances: Float[Tensor, " k"], *, numbers: int) -> Float[Tensor, " k"]:
        """Largest total variation over all directions for windows of a given size; a union bound for uniform noise."""
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
    """Noise that a policy adds to its observations; `None` if unknown, or if it is on six numbers of rotations.

    Noise on six numbers is none on the coordinates of the observation, in which distances are measured.
    """
    match policy:
        case Smoothed() if policy.planner.spec.observed_rotations:
            return None
        case Smoothed():
            return Noise(policy.sigma, policy.law, policy.clip, policy.planner.observation_scale)
        case EmpiricalDeconvolution():
            return Noise(policy.sigma, Isotropic(), policy.clip, policy.scale)
        case _:
            return None


def noised_tv(distance: Float[Tensor, "*b"], sigma: float) -> Float[Tensor, "*b"]:
    """Total variation of two Gaussians N(·, σ²I) at a distance: erf(distance / √8 σ).

    With σ = 0 it is 1 for every distance except 0.

    >>> noised_tv(torch.tensor([0.0, 0.2, 9.0]), 0.1)
    tensor([0.0000, 0.6827, 1.0000])
    """
    _check_sigma(sigma)
    if sigma == 0:
        return (distance != 0).to(distance)
    return torch.erf(distance / (math.sqrt(8) * sigma))


def pinsker(distance: Float[Tensor, "*b"], sigma: float) -> Float[Tensor, "*b"]:
    """Pinsker's upper bound of `noised_tv`: min(1, distance / 2σ)."""
    _check_sigma(sigma)
    return (distance / (2 * sigma)).clamp(max=1.0) if sigma > 0 else (distance != 0).to(distance)


def smoothed_tv(
    policy: Smoothed | EmpiricalDeconvolution, first: Float[Tensor, "b o d"], second: Float[Tensor, "b o d"]
) -> Float[Tensor, " b"]:
    """Upper bound of TV(π̂_σ(o), π̂_σ(o')) for pairs of observation windows, after scaling and clipping.

    Exact for the noised windows: erf(‖z − z'‖ / √8 σ) for Gaussian noise, 1 − Π (1 − |z_i − z'_i| / σ)₊ for uniform
    noise, and 1 for a mean shift.

    Args:
        policy: Policy that adds noise to its observations.
        first: Observation windows.
        second: Other observation windows, one for each.
    """
    noise = noise_of(policy)
    assert noise is not None  # by the type
    one, other = (noise.clipped(noise.scale.normalize(window)) for window in (first, second))
    return noise.tv((one - other).flatten(1))


def _check_sigma(sigma: float) -> None:
    if not 0 <= sigma < math.inf:
        raise RecipeError(f"sigma is the scale of observation noise, 0 or above; got {sigma}.")
