"""Total-variation continuity of a policy: proven upper and measured lower bounds of its modulus γ.

    γ_TVC(δ) = sup { TV(π(o), π(o')) : ‖o − o'‖ ≤ δ }

*Upper bound*, for a smoothed policy: the distance of the noised observations (`noised_distance`).

*Lower bound*, for any policy: a classifier that separates samples at o from samples at o' (`two_sample_test`).

With a tolerance ε, samples at distances up to ε count as equal, and TV_ε replaces TV (`relaxed`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data import Isotropic, MinMax
from ..errors import DataError, ShapeError
from ..policy import EmpiricalDeconvolution, Planner, Plans, Smoothed
from ..types import Observation, PrimitiveControllers
from .noised_distance import noise_of, pinsker
from .two_sample_test import FEWEST_DRAWS, LEVEL, pooled, two_sample

ROWS_PER_CALL = 4096
"""Number of windows in one call of the policy."""

Samples = Plans | Callable[[Tensor], Tensor]
"""A planner of composite actions, or a function of observation windows `[b, o, d]` that returns one sample each."""


@dataclass(frozen=True)
class Modulus:
    """Modulus of continuity of a policy about a set of observations, at several distances.

    Attributes:
        distances: ‖o − o'‖, in normalised coordinates if a scale is known.
        upper: Upper bound of γ for all observations; `None` if there is none.
        pinsker: Pinsker's weaker bound; `None` unless the noise is Gaussian.
        lower: Lower bound of the mean distance over these pairs, with confidence `level` at each distance.
        largest: Lower bound of the largest distance of a pair, and so of γ (Bonferroni over the pairs).
        estimate: Mean over the pairs of 2 · accuracy − 1 of a classifier; at most their mean distance in expectation.
        constant: Whether all pairs have one value at each observation, as for a deterministic policy.
        epsilon: Distance up to which samples count as equal: 0 for TVC, positive for ε-RTVC.
        level: Confidence level of the lower bounds.
        pairs: Number of pairs at each distance.
        draws: Number of samples at each observation.
    """

    distances: Float[Tensor, " k"]
    upper: Float[Tensor, " k"] | None
    pinsker: Float[Tensor, " k"] | None
    lower: Float[Tensor, " k"]
    largest: Float[Tensor, " k"]
    estimate: Float[Tensor, " k"]
    constant: Bool[Tensor, " k"]
    epsilon: float
    level: float
    pairs: int
    draws: int

    @property
    def contradicted(self) -> Bool[Tensor, " k"]:
        """Where a lower bound exceeds the upper one: by chance, with probability 1 − `level` each, or by a defect."""
        if self.upper is None:
            return torch.zeros_like(self.constant)
        return torch.maximum(self.lower, self.largest) > self.upper


@torch.no_grad()
def modulus(
    policy: Samples,
    windows: Float[Tensor, "pairs o d"],
    distances: Sequence[float],
    *,
    rng: torch.Generator,
    draws: int = 400,
    scale: MinMax | None = None,
    features: Callable[[PrimitiveControllers], Tensor] | None = None,
    epsilon: float = 0.0,
    level: float = LEVEL,
) -> Modulus:
    """Bound the modulus of continuity from both sides.

    At every observation `draws` samples are drawn, and as many at each distance from it, in one random direction per
    observation. The results at different distances are not independent: they share the samples at the observation.

    Args:
        policy: Planner of composite actions, or a function of windows `[b, o, d]` to one sample `[b, …]` each.
        windows: Observations, one pair each.
        distances: ‖o − o'‖ of the stacked windows, positive.
        rng: Random generator for directions, samples of the policy and splits.
        draws: Samples at each observation; 400 resolve a TV to about ±0.05 per pair.
        scale: Observation ↔ [-1, 1], in which distances are measured. Default: a planner's scale, and raw coordinates
            for a function. Constant coordinates are not perturbed.
        features: Features of a composite action to compare. Default: all its numbers. Every choice gives valid lower
            bounds.
        epsilon: Distance up to which samples count as equal, in the units of the features.
        level: Confidence level of the lower bounds.

    Raises:
        DataError: There are no windows or distances, a distance is not positive, or there are fewer than 40 draws.
    """
    _check(windows, distances, draws)
    noise = noise_of(policy)
    units = _scale_of(policy, windows.shape[-1]) if scale is None else scale
    steps = _directions(windows, units, rng)
    sample = _Sampler(policy, features or _numbers, draws, rng)
    here = sample(windows)
    found = list[tuple[float, float, float, bool]]()
    for distance in distances:
        there = sample(windows + distance * steps)
        tests = [
            two_sample(one, other, rng=rng, epsilon=epsilon, level=level)
            for one, other in zip(here, there, strict=True)
        ]
        whole = pooled(tests)
        largest = max(test.lower_at(1 - (1 - level) / len(tests)) for test in tests)
        found.append((whole.estimate, whole.lower, largest, whole.constant))
    at = torch.tensor(distances, dtype=torch.float64)
    columns = [torch.tensor(column) for column in zip(*found, strict=True)]
    return Modulus(
        distances=at,
        upper=None if noise is None or units is not noise.scale else noise.modulus(at, numbers=windows[0].numel()),
        pinsker=pinsker(at, noise.sigma) if noise and noise.law == Isotropic() and units is noise.scale else None,
        estimate=columns[0].double(),
        lower=columns[1].double(),
        largest=columns[2].double(),
        constant=columns[3],
        epsilon=epsilon,
        level=level,
        pairs=len(windows),
        draws=draws,
    )


@dataclass(frozen=True)
class _Sampler:
    """Samples of a policy at observation windows, in batches."""

    policy: Samples
    features: Callable[[PrimitiveControllers], Tensor]
    draws: int
    rng: torch.Generator

    def __call__(self, windows: Float[Tensor, "pairs o d"]) -> Float[Tensor, "pairs n f"]:
        """`n` samples at each window, as rows of numbers."""
        rows = windows.repeat_interleave(self.draws, 0)
        parts = [self._once(rows[begin : begin + ROWS_PER_CALL]) for begin in range(0, len(rows), ROWS_PER_CALL)]
        return torch.cat(parts).double().view(len(windows), self.draws, -1)

    def _once(self, rows: Tensor) -> Tensor:
        if isinstance(self.policy, Plans):
            drawn = self.features(self.policy.plan(Observation(state=rows), rng=self.rng))
        else:
            drawn = self.policy(rows)
        if len(drawn) != len(rows):
            raise ShapeError(f"expected one sample for each of {len(rows)} windows, got {len(drawn)}.")
        return drawn.flatten(1).cpu() if drawn.ndim > 1 else drawn[:, None].cpu()


def _numbers(chunk: PrimitiveControllers) -> Tensor:
    return torch.cat([chunk.actions.flatten(1), chunk.states.flatten(1), chunk.gains.flatten(1)], 1)


def _scale_of(policy: Samples, width: int) -> MinMax:
    """Scale of a policy; the identity if it has none."""
    match policy:
        case Smoothed():
            return policy.planner.observation_range
        case Planner():
            return policy.observation_range
        case EmpiricalDeconvolution():
            return policy.scale
        case _:
            return MinMax(low=-torch.ones(width).double(), high=torch.ones(width).double())


def _directions(windows: Tensor, scale: MinMax, rng: torch.Generator) -> Tensor:
    """A direction for each window: of length 1 in the scale's coordinates, in the units of the windows."""
    drawn = torch.randn(windows.shape, generator=rng, dtype=torch.float64, device=rng.device).cpu()
    drawn = drawn.masked_fill(scale.constant.cpu(), 0.0)
    length = drawn.flatten(1).square().sum(1).sqrt()[:, None, None]
    return (drawn / length * scale.half.cpu()).to(windows)


def _check(windows: Tensor, distances: Sequence[float], draws: int) -> None:
    if not len(windows) or not distances or min(distances) <= 0:
        raise DataError(
            f"expected at least one observation window and distances above 0, got {len(windows)} windows and "
            f"{list(distances)}."
        )
    if draws < FEWEST_DRAWS:
        raise DataError(f"{draws} draws at each observation are too few. Draw at least {FEWEST_DRAWS}.")
