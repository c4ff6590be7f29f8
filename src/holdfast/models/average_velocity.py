"""Jumps along a flow: from one generative time straight to a later one, with the average velocity between them.

    x_e = x_s + (e − s) u(x_s, s, e),     u(x_s, s, e) = 1/(e − s) ∫_s^e v(x_τ, τ) dτ,     s = 0 noise, s = 1 data

With e → s the average is the flow's velocity, and jumps are Euler's method. What learns u needs one to four calls.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..types import Prefix
from .prefix import guide

__all__ = ["AverageVelocity", "JumpSampler", "jump"]

AverageVelocity = Callable[[Tensor, float, float], Tensor]
"""(chunk on its path, generative time, later time) → average velocity between the two."""


@dataclass(frozen=True)
class JumpSampler:
    """How average velocities are turned into samples.

    Attributes:
        steps: Jumps of equal length from noise to data, one network call each.
        guidance: Largest weight of the guidance by a prefix.
        clip: Bound of what comes out, for data normalised to [-1, 1]; `None` leaves it free.
    """

    steps: int = 1
    guidance: float = 5.0
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RecipeError(f"expected at least 1 sampling step, got {self.steps}.")


def jump(
    average: AverageVelocity, noise: Float[Tensor, "b h w"], *, options: JumpSampler, prefix: Prefix | None = None
) -> Float[Tensor, "b h w"]:
    """Chunks from noise in jumps of equal length, guided by a prefix where there is one."""
    moved = noise
    for index in range(options.steps):
        start, end = index / options.steps, (index + 1) / options.steps
        moved = moved + (end - start) * guided(average, moved, start, end, prefix, options.guidance)
    return moved if options.clip is None else moved.clamp(-options.clip, options.clip)


def guided(
    average: AverageVelocity, noisy: Tensor, start: float, end: float, prefix: Prefix | None, largest: float
) -> Tensor:
    """The average velocity, guided by a prefix through the chunk x̂ = x + (1 − s) u that it points to.

    Where independent steps have unit variance, ∂x̂/∂x = 1 + (1 − s) (r_e / r_s − 1) / (e − s) with r_s² = s² + (1 − s)²;
    one over it is the weight that puts held steps in exactly, and for e → s that of a flow. A chunk that one jump sets
    into another mode than the prefix's is not brought back by it: such laws want more steps.
    """
    if prefix is None:
        return average(noisy, start, end)
    left = 1 - start
    growth = (_spread(end) / _spread(start) - 1) / (end - start)
    weight = min(largest * left, 1 / (1 + left * growth))
    clean = guide(lambda chunk: chunk + left * average(chunk, start, end), noisy, prefix, weight)
    return (clean - noisy) / left


def _spread(time: float) -> float:
    return (time**2 + (1 - time) ** 2) ** 0.5
