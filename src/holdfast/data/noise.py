"""Observation noise of HINT: one law, used for augmentation in training and by the policy at deployment.

    z' = z + σ ε,    ε ~ law

    Isotropic()             N(0, I): the law of the paper, and the default
    PerCoordinate(scales)   N(0, diag(s²))
    Covariance(rows)        N(0, C)
    UniformAsPublished()    U[0, 1) per coordinate, as in the paper's published code
    MeanShift()             ½, the mean of that uniform noise without its spread

`z` is a normalised observation, so σ is in units of a coordinate's half range: σ = 0.1 is a twentieth of the range that
the training episodes cover. Every observation of a window gets independent noise. A policy trained on noised
observations and given noised observations, fresh at each plan, is the *replica* policy: it samples demonstrations that
could have been recorded near the current state. With noise in training alone it is the *deconvolution* policy. (Block
et al. 2023, arXiv 2307.14619, definitions 3.5 and 3.6.)

The last two laws serve to read published figures. The code behind the paper's Figure 6 draws `ε ~ U[0, 1)`, whose mean
shifts every observation by σ/2 in training *and* for the replica, but not for the deconvolution policy.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..seeding import drawn

# PyTorch does not type its linear algebra
_linalg = cast(Any, torch.linalg)

SYMMETRIC = 1e-9
"""Largest asymmetry and negative eigenvalue of a covariance, relative to its largest entry, that count as rounding."""


@dataclass(frozen=True)
class Isotropic:
    """Standard normal noise, ε ~ N(0, I)."""

    def sample(self, shape: torch.Size, dtype: torch.dtype, *, rng: torch.Generator) -> Float[Tensor, "*b d"]:
        """Noise of unit scale, drawn on the generator's device."""
        return drawn("normal", shape, rng=rng, dtype=dtype)


@dataclass(frozen=True)
class PerCoordinate:
    """Independent normal noise with its own scale for each coordinate, ε ~ N(0, diag(s²)).

    Attributes:
        scales: Standard deviation s of each coordinate of the observation, relative to σ.
    """

    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scales or not all(0 <= scale < float("inf") for scale in self.scales):
            raise RecipeError(f"expected scales of 0 or above, one for each coordinate, got {self.scales}.")

    def sample(self, shape: torch.Size, dtype: torch.dtype, *, rng: torch.Generator) -> Float[Tensor, "*b d"]:
        """Noise of unit scale, drawn on the generator's device."""
        return Isotropic().sample(shape, dtype, rng=rng) * torch.tensor(self.scales, dtype=dtype, device=rng.device)

    def whitened(self, difference: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Differences of observations in standard deviations; infinite along coordinates without noise."""
        ratio = difference / torch.tensor(self.scales, dtype=difference.dtype, device=difference.device)
        return torch.where(difference == 0, 0.0, ratio)

    @property
    def smallest(self) -> float:
        """Smallest standard deviation along any direction."""
        return min(self.scales)


@dataclass(frozen=True)
class Covariance:
    """Correlated normal noise, ε ~ N(0, C).

    Attributes:
        rows: Rows of C, symmetric and positive semi-definite, over the coordinates of the observation.

    >>> Covariance(((1.0, 0.5), (0.5, 1.0))).factor
    tensor([[1.0000, 0.0000],
            [0.5000, 0.8660]], dtype=torch.float64)
    """

    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        sizes = sorted({len(row) for row in self.rows})
        if sizes != [len(self.rows)]:
            raise RecipeError(f"expected a square covariance, got {len(self.rows)} rows of {sizes} numbers.")
        if not bool(self.matrix.isfinite().all()):
            raise RecipeError("expected a covariance of finite numbers, got NaN or infinity.")
        rounding = SYMMETRIC * float(self.matrix.abs().max())
        asymmetry = float((self.matrix - self.matrix.mT).abs().max())
        lowest = float(self._eigen[0][0])
        if asymmetry > rounding or lowest < -rounding:
            raise RecipeError(
                "expected a symmetric positive semi-definite covariance, got entries that differ from their mirror "
                f"image by up to {asymmetry:g} and a smallest eigenvalue of {lowest:g}. Give A Aᵀ for some matrix A."
            )

    @cached_property
    def matrix(self) -> Float[Tensor, "d d"]:
        """C, in double precision."""
        return torch.tensor(self.rows, dtype=torch.float64)

    @cached_property
    def factor(self) -> Float[Tensor, "d d"]:
        """Cholesky factor L of C = L Lᵀ; directions without noise have columns of zeros."""
        lower = torch.zeros_like(self.matrix)
        for j in range(len(self.rows)):
            rest = self.matrix[j:, j] - lower[j:] @ lower[j]
            if float(rest[0]) > SYMMETRIC * float(self.matrix[j, j]):
                lower[j:, j] = rest / rest[0].sqrt()
        return lower

    def sample(self, shape: torch.Size, dtype: torch.dtype, *, rng: torch.Generator) -> Float[Tensor, "*b d"]:
        """Noise of unit scale, drawn on the generator's device."""
        white = Isotropic().sample(shape, dtype, rng=rng)
        return white @ self.factor.mT.to(white)

    def whitened(self, difference: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Differences of observations in standard deviations; infinite along directions without noise."""
        values, vectors = (part.to(difference) for part in self._eigen)
        along = difference @ vectors
        negligible = along.abs() <= SYMMETRIC * difference.abs().amax(-1, keepdim=True)
        return torch.where(negligible, 0.0, along / values.clamp(min=0).sqrt())

    @property
    def smallest(self) -> float:
        """Smallest standard deviation along any direction."""
        return max(float(self._eigen[0][0]), 0.0) ** 0.5

    @cached_property
    def _eigen(self) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        values, vectors = _linalg.eigh(self.matrix)
        return torch.where(values.abs() <= SYMMETRIC * values.abs().max(), 0.0, values), vectors


@dataclass(frozen=True)
class UniformAsPublished:
    """Uniform noise on [0, 1), as in the published code behind Figure 6 of Block et al. 2023."""

    def sample(self, shape: torch.Size, dtype: torch.dtype, *, rng: torch.Generator) -> Float[Tensor, "*b d"]:
        """Noise of unit scale, drawn on the generator's device."""
        return drawn("uniform", shape, rng=rng, dtype=dtype)


@dataclass(frozen=True)
class MeanShift:
    """Constant shift by ½, the mean of `UniformAsPublished`."""

    def sample(self, shape: torch.Size, dtype: torch.dtype, *, rng: torch.Generator) -> Float[Tensor, "*b d"]:
        """The shift; no random number is drawn."""
        return torch.full(shape, 0.5, dtype=dtype, device=rng.device)


NoiseLaw = Isotropic | PerCoordinate | Covariance | UniformAsPublished | MeanShift


def check_noise_size(law: NoiseLaw, n_observed: int) -> None:
    """Refuse a law that was written for observations of another size.

    Raises:
        RecipeError: The number of scales, or of rows of the covariance, differs from the observation's.
    """
    match law:
        case PerCoordinate(scales):
            size = len(scales)
        case Covariance(rows):
            size = len(rows)
        case _:
            return
    if size != n_observed:
        raise RecipeError(
            f"expected observation noise for {n_observed} coordinates, got {type(law).__name__} for {size}. Give one "
            "entry for each coordinate of the observation, state before environment state, or use Isotropic()."
        )


def noised(
    z: Float[Tensor, "*b o d"], sigma: float, *, rng: torch.Generator, law: NoiseLaw | None = None
) -> Float[Tensor, "*b o d"]:
    """A normalised observation window with noise of scale σ.

    With σ = 0 it is `z` itself, and nothing is drawn from `rng`. Noise is drawn on the generator's device, so that it
    does not depend on the device of the model.

    Args:
        z: Normalised observations.
        sigma: Scale of the noise.
        rng: Random generator of the noise.
        law: Law of ε. Default: `Isotropic()`.

    Raises:
        RecipeError: σ is negative or not finite, or the law is for another number of coordinates.

    >>> window = torch.zeros(2, 3)
    >>> noised(window, 0.0, rng=torch.Generator()) is window
    True
    >>> noised(window, 0.1, rng=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    if not 0 <= sigma < float("inf"):
        raise RecipeError(f"sigma is the scale of observation noise, 0 or above; got {sigma}.")
    if sigma == 0:
        return z
    law = law or Isotropic()
    check_noise_size(law, z.shape[-1])
    return z + sigma * law.sample(z.shape, z.dtype, rng=rng).to(z.device)
