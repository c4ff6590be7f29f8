"""Sampling of a flow by its average velocity between two generative times.

    x_e = x_s + (e − s) u(x_s, s, e),     u(x_s, s, e) = 1/(e − s) ∫_s^e v(x_τ, τ) dτ,     s = 0 noise, s = 1 data

For e → s the average is the flow's velocity, and this is Euler's method. A model of u needs one to four calls.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..types import Chunks, Prefix
from .prefix import guide
from .sampler import check_denoising

AverageVelocity = Callable[[Tensor, float, float], Tensor]
"""(chunk on its path, generative time, later time) → average velocity between the two."""


@dataclass(frozen=True)
class AverageVelocitySampler:
    """Options of sampling with average velocities.

    Attributes:
        steps: Number of equal steps from noise to data, one network call each.
        guidance: Largest weight of the guidance by a prefix.
        clip: Bound of the samples, for data normalised to [-1, 1]; `None` for none.
    """

    steps: int = 1
    guidance: float = 5.0
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        check_denoising(self.steps, 0.0, self.clip, self.guidance)


def integrate_average(
    average: AverageVelocity, noise: Chunks, *, options: AverageVelocitySampler, prefix: Prefix | None = None
) -> Chunks:
    """Chunks from noise in equal steps, guided by the prefix if there is one."""
    moved = noise
    for index in range(options.steps):
        start, end = index / options.steps, (index + 1) / options.steps
        moved = moved + (end - start) * guided(average, moved, start, end, prefix, options.guidance)
    return moved if options.clip is None else moved.clamp(-options.clip, options.clip)


def guided(
    average: AverageVelocity, noisy: Tensor, start: float, end: float, prefix: Prefix | None, largest: float
) -> Tensor:
    """The average velocity, guided by a prefix through the predicted clean chunk x̂ = x + (1 − s) u.

    For independent steps of unit variance, ∂x̂/∂x = 1 + (1 − s) (r_e / r_s − 1) / (e − s) with r_s² = s² + (1 − s)². Its
    inverse is the weight with which known steps are met exactly; for e → s it is the weight of a flow. Guidance does
    not move a chunk to the prefix's mode if a single step led to another: multimodal distributions need more steps.
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
