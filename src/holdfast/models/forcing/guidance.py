"""Guidance of frames by a reward, or by a goal on future readings.

The law p(x₀) exp(J(x₀)) has the score ∇ log p(x_k) + ∇ log E[exp J(x₀) | x_k]. With J at the estimate x̂ in place of the
expectation, Tweedie's formula moves the estimate by

    x̂' = x̂ + (1 − ᾱ)/√ᾱ · ∂J(x̂(x_k))/∂x_k,

where ᾱ belongs to each token. For Gaussian data this is exact for a linear reward, and for a goal whose variance
includes that of the estimate. Dhariwal and Nichol 2021 (arXiv 2105.05233), section 4; Janner et al. 2022 (arXiv
2205.09991), section 3; Pokle et al. 2023 (arXiv 2310.04432) for goals. In a causal model a reward of late frames guides
the early ones through the estimates (Monte Carlo guidance with one sample: Chen et al. 2024, arXiv 2407.01392, 3.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import RecipeError, ShapeError, at_least, positive
from ...types import Prefix
from .frames import Frames

_LEAST = 1e-6


@runtime_checkable
class Guidance(Protocol):
    """A logarithmic weight of sequences, by which sampling is guided."""

    def log_weight(self, clean: Frames, signal: Float[Tensor, "*b h f"]) -> Float[Tensor, " b"]:
        """J of the estimated clean frames; `signal` is the power ᾱ of each number's level."""
        ...

    def check(self, *, horizon: int, readings: int) -> None:
        """Refuse guidance by something that is not modelled.

        Raises:
            RecipeError: A frame or a coordinate that the model does not have.
        """
        ...


@dataclass(frozen=True)
class Reward:
    """Guidance by a differentiable reward.

    J(x₀) = scale · reward(x₀)

    Attributes:
        of: Reward of each sequence `[b]`, of frames in normalised units.
        scale: Factor; the law is p(x₀) exp(scale · reward(x₀)).
    """

    of: Callable[[Frames], Tensor]
    scale: float = 1.0

    def __post_init__(self) -> None:
        at_least(0, scale=self.scale)

    def log_weight(self, clean: Frames, signal: Float[Tensor, "*b h f"]) -> Float[Tensor, " b"]:
        """The scaled reward.

        Raises:
            ShapeError: The reward is not one number for each sequence.
            RecipeError: It does not depend on the frames.
        """
        found = self.of(clean)
        if found.shape != clean.values.shape[:1]:
            raise ShapeError(
                f"expected one reward for each of {len(clean.values)} sequences, got numbers of shape "
                f"{list(found.shape)}. Sum over frames and coordinates."
            )
        if not found.requires_grad:
            raise RecipeError(
                "the reward does not depend on the frames, so that it cannot guide: it uses something that is not "
                f"modelled. Modelled are frames.actions ({clean.width} numbers for each step) and frames.readings "
                f"({clean.values.shape[-1] - clean.width} numbers)."
            )
        return self.scale * found

    def check(self, *, horizon: int, readings: int) -> None:
        """Nothing to refuse before the reward is computed."""


@dataclass(frozen=True)
class Goal:
    """Guidance toward values of future readings, as a measurement of them.

    J(x₀) = −½ Σ (y − x_c)² / (std² + r²),      r² = v (1 − ᾱ)/(ᾱ v + 1 − ᾱ)

    r² is the variance of a reading given its noised value, for Gaussian readings of variance v.

    Attributes:
        coordinates: Readings, by their position.
        target: Value y of each of them, normalised.
        std: Standard deviation of the measurement, in normalised units.
        frames: Frames in which the goal holds, by their position; frame j holds the readings j + 1 steps ahead.
            Default: the last one.
        variance: Variance v of the readings in the data, in normalised units.
    """

    coordinates: tuple[int, ...]
    target: tuple[float, ...]
    std: float = 0.1
    frames: tuple[int, ...] | None = None
    variance: float = 0.25

    def __post_init__(self) -> None:
        positive(std=self.std, variance=self.variance)
        if not self.coordinates or len(self.coordinates) != len(self.target):
            raise RecipeError(
                f"expected one target for each coordinate of a goal, and at least one, got {len(self.coordinates)} "
                f"coordinates and {len(self.target)} targets."
            )
        if self.frames == ():
            raise RecipeError(
                "expected at least one frame in which the goal holds, got none. Omit frames for the last."
            )

    def log_weight(self, clean: Frames, signal: Float[Tensor, "*b h f"]) -> Float[Tensor, " b"]:
        """Logarithm of the goal's likelihood, without its constant."""
        columns, frames = list(self.coordinates), [-1] if self.frames is None else list(self.frames)
        power = signal[..., clean.width :][..., frames, :][..., columns]
        estimate = clean.readings[:, frames][..., columns]
        noise = 1 - power
        left = self.variance * noise / (power * self.variance + noise)
        error = (estimate - estimate.new_tensor(self.target)) ** 2
        return -0.5 * (error / (self.std**2 + left)).sum((-2, -1))

    def check(self, *, horizon: int, readings: int) -> None:
        """Refuse coordinates that the model does not have, and frames beyond its horizon."""
        if not readings:
            raise RecipeError(
                "a goal on readings cannot guide this model: it sees pictures alone, and models actions alone. Train "
                "with readings."
            )
        if odd := [one for one in self.coordinates if not 0 <= one < readings]:
            raise RecipeError(
                f"the goal is on reading {odd[0]}, which is not modelled. Modelled are the readings 0 to "
                f"{readings - 1}."
            )
        if odd := [one for one in self.frames or () if not -horizon <= one < horizon]:
            raise RecipeError(
                f"the goal is {odd[0] + 1} steps ahead, but a sequence has {horizon} frames. Give frames from 0 to "
                f"{horizon - 1}, or train with a longer horizon."
            )


@dataclass(frozen=True)
class SoftPrefix:
    """Guidance toward known actions whose weights are below 1; see `models.prefix`.

    J(x₀) = −½ Σ w ‖Y − a‖² / (1 − ᾱ)

    Attributes:
        prefix: Known actions, with weights.
    """

    prefix: Prefix

    def log_weight(self, clean: Frames, signal: Float[Tensor, "*b h f"]) -> Float[Tensor, " b"]:
        """Weighted mismatch of the actions."""
        noise = (1 - signal[..., : clean.width]).clamp(min=_LEAST)
        error = self.prefix.by_number * (self.prefix.chunk - clean.actions) ** 2
        return -0.5 * (error / noise).sum((-2, -1))

    def check(self, *, horizon: int, readings: int) -> None:
        """A prefix was checked before."""


@dataclass(frozen=True)
class Together:
    """Guidance by the sum of several logarithmic weights."""

    parts: tuple[Guidance, ...]

    def log_weight(self, clean: Frames, signal: Float[Tensor, "*b h f"]) -> Float[Tensor, " b"]:
        """The sum."""
        return torch.stack([part.log_weight(clean, signal) for part in self.parts]).sum(0)

    def check(self, *, horizon: int, readings: int) -> None:
        """Check every part."""
        for part in self.parts:
            part.check(horizon=horizon, readings=readings)


def guided(
    denoise: Callable[[Tensor, Tensor], Tensor],
    noisy: Float[Tensor, "b h f"],
    levels: Tensor,
    signal: Float[Tensor, "*b h f"],
    guidance: Guidance,
    *,
    width: int,
    largest: float,
) -> Float[Tensor, "b h f"]:
    """The estimate of the clean frames, guided: x̂ + (1 − ᾱ) λ ∂J/∂x_k, with λ = 1/√ᾱ, at most `largest`.

    Clean tokens, with ᾱ = 1, are not moved. For a prefix without the Jacobian of the denoiser, ∂J/∂x̂ takes the place
    of ∂J/∂x_k, also where it guides together with others.
    """
    parts = guidance.parts if isinstance(guidance, Together) else (guidance,)
    direct = tuple(part for part in parts if _is_direct(part))
    through = tuple(part for part in parts if not _is_direct(part))
    gradients = list[Tensor]()
    if through:
        with torch.enable_grad():
            leaf = noisy.detach().requires_grad_(True)
            clean = denoise(leaf, levels)
            gradients.append(_gradient(Together(through), clean, leaf, signal, width))
    else:
        clean = denoise(noisy, levels)
    if direct:
        with torch.enable_grad():
            leaf = clean.detach().requires_grad_(True)
            gradients.append(_gradient(Together(direct), leaf, leaf, signal, width))
    factor = (1 - signal) * signal.rsqrt().clamp(max=largest)
    return clean.detach() + factor * torch.stack(gradients).sum(0)


def _is_direct(part: Guidance) -> bool:
    """Whether the Jacobian of the denoiser is taken for the identity."""
    return isinstance(part, SoftPrefix) and not part.prefix.jacobian


def _gradient(guidance: Guidance, clean: Tensor, leaf: Tensor, signal: Tensor, width: int) -> Tensor:
    weight = guidance.log_weight(Frames(clean, width), signal)
    (gradient,) = torch.autograd.grad(weight.sum(), leaf)
    return gradient
