"""Empirical test of the incremental-stability envelope on the true system, by perturbed rollouts.

Both rollouts of a pair run the same primitive controllers under the same disturbances, one of them with perturbed
inputs, from two initial states near the trajectory's own: the shared-noise coupling of P-IISS (Cao and Xie 2026,
"Understanding Behavior Cloning with Action Quantization"). The result holds for the sampled perturbations: it is an
empirical region, not a proof, and not the supremum over all policies in the definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control import System
from ..control.incremental import IncrementalStability
from ..errors import RecipeError, ShapeError
from ..evaluation.intervals import Estimate, rate
from ..types import PrimitiveControllers, Trajectory

# Rounding errors of float64 rollouts relative to the envelope, for systems that attain it exactly.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class EnvelopeCheck:
    """Result of testing pairs of rollouts against an envelope.

    Attributes:
        held: Share of pairs inside the envelope at every step, with the exact binomial interval: an estimate of
            P-IISS's probability for perturbations of this distribution.
        inside: Whether each pair was inside.
        ratio: Largest ratio of distance to envelope of each pair; NaN if a state was not finite.
        lost: Number of pairs with states that are not finite; they count as outside.
        start_radius: Radius of the ball of initial states.
        input_radius: Norm of the input perturbations.
    """

    held: Estimate
    inside: Bool[Tensor, " pairs"]
    ratio: Float[Tensor, " pairs"]
    lost: int
    start_radius: float
    input_radius: float


@dataclass(frozen=True)
class StabilityRegion:
    """The largest perturbations for which the envelope held in all samples.

    Attributes:
        c_xi: Radius of initial states around the trajectory's own; 0 if the envelope failed at the smallest radius.
        c_gamma: Radius of input perturbations, in the same proportion.
        at_limit: Whether the largest given radii held, so that the region may be larger.
        samples: Number of pairs at each radius.
        evaluated: Each evaluated scale and the share of pairs inside.
    """

    c_xi: float
    c_gamma: float
    at_limit: bool
    samples: int
    evaluated: tuple[tuple[float, float], ...]


@torch.no_grad()
def perturbed_rollout(
    system: System,
    controllers: PrimitiveControllers,
    starts: Float[Tensor, "b n"],
    inputs: Float[Tensor, "b t m"],
    disturbance: Float[Tensor, "b t n"] | None = None,
) -> Float[Tensor, "b t+1 n"]:
    """States of rollouts under the controllers `[t]` of one trajectory.

    u_t = κ_t(x_t) + δu_t,    x_{t+1} = f(x_t, u_t) + w_t
    """
    states, count = [starts], len(starts)
    laws = PrimitiveControllers(
        actions=controllers.actions.expand(count, -1, -1),
        states=controllers.states.expand(count, -1, -1),
        gains=controllers.gains.expand(count, -1, -1, -1),
    )
    for step in range(inputs.shape[1]):
        action = laws.at(step)(states[-1]) + inputs[:, step]
        following = system.step(states[-1], action)
        states.append(following if disturbance is None else following + disturbance[:, step])
    return torch.stack(states, 1)


def check_envelope(
    system: System,
    controllers: PrimitiveControllers,
    trajectory: Trajectory,
    stability: IncrementalStability,
    *,
    start_radius: float,
    input_radius: float,
    samples: int,
    rng: torch.Generator,
    disturbance: Float[Tensor, "b t n"] | None = None,
) -> EnvelopeCheck:
    """Perturb initial states and inputs, roll out the true system, and count the pairs inside the envelope.

    Initial states are uniform in the ball of `start_radius` about the trajectory's own. Input perturbations have full
    size; their direction is constant in half of the pairs, and drawn at every step in the others.

    Args:
        system: True dynamics.
        controllers: Controllers of one trajectory, `[t]`.
        trajectory: Reference trajectory of the controllers.
        stability: Envelope of this trajectory, or the `worst` of several.
        start_radius: Upper bound of `|ξ − ξ₀|, |ξ' − ξ₀|`, in the Euclidean norm.
        input_radius: `|δu_t|`.
        samples: Number of pairs.
        rng: Random generator for the perturbations.
        disturbance: Disturbance of each pair, shared by both of its rollouts. Default: none.

    Raises:
        RecipeError: There are no samples, or a radius is negative.
        ShapeError: There is more than one trajectory, or the envelope has fewer steps than the trajectory.
    """
    if samples < 1 or start_radius < 0 or input_radius < 0:
        raise RecipeError(f"expected samples >= 1 and radii >= 0, got {samples}, {start_radius}, {input_radius}.")
    _check_single(trajectory, stability, disturbance, samples)
    center = trajectory.states[0].double()
    starts, others = (center + start_radius * _in_ball(samples, len(center), rng) for _ in range(2))
    inputs = input_radius * _directions(samples, trajectory.steps, trajectory.actions.shape[-1], rng)
    laws = PrimitiveControllers(
        actions=controllers.actions.double(), states=controllers.states.double(), gains=controllers.gains.double()
    )
    calm = perturbed_rollout(system, laws, starts, torch.zeros_like(inputs), disturbance)
    moved = perturbed_rollout(system, laws, others, inputs, disturbance)
    return _compared(system, stability, calm, moved, inputs, start_radius, input_radius)


def stability_region(
    system: System,
    controllers: PrimitiveControllers,
    trajectory: Trajectory,
    stability: IncrementalStability,
    *,
    start_radius: float,
    input_radius: float,
    samples: int = 100,
    halvings: int = 8,
    seed: int = 0,
) -> StabilityRegion:
    """Empirical stability region, by bisection of a common scale of both radii on a logarithmic axis.

    Constants of a linearisation are the smallest possible, so that any curvature violates them in the worst direction:
    pass for example `stability.widened(0.1)`. The region is assumed to be a ball: between the evaluated scales the
    envelope may fail.

    Args:
        system: True dynamics.
        controllers: Controllers of one trajectory, `[t]`.
        trajectory: Reference trajectory of the controllers.
        stability: Envelope.
        start_radius: Largest radius of initial states.
        input_radius: Largest radius of input perturbations.
        samples: Number of pairs at each scale.
        halvings: Number of bisection steps between the scales 1e-4 and 1.
        seed: Random seed of the perturbations, which differ only in size between scales.
    """
    evaluated = list[tuple[float, float]]()

    def holds(scale: float) -> bool:
        found = check_envelope(
            system,
            controllers,
            trajectory,
            stability,
            start_radius=scale * start_radius,
            input_radius=scale * input_radius,
            samples=samples,
            rng=torch.Generator().manual_seed(seed),
        )
        evaluated.append((scale, found.held.mean))
        return found.held.mean == 1

    scale = 1.0 if holds(1.0) else _bisected(holds, halvings)
    return StabilityRegion(scale * start_radius, scale * input_radius, scale == 1.0, samples, tuple(evaluated))


def _bisected(holds: Callable[[float], bool], halvings: int) -> float:
    low, high = -4.0, 0.0
    if not holds(10**low):
        return 0.0
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(10**middle) else (low, middle)
    return 10**low


def _compared(
    system: System,
    stability: IncrementalStability,
    calm: Tensor,
    moved: Tensor,
    inputs: Tensor,
    start_radius: float,
    input_radius: float,
) -> EnvelopeCheck:
    gap = moved - calm
    distance = gap.square().sum(-1).sqrt() if stability.metric is None else stability.metric.norm(gap)
    size = inputs.square().sum(-1).sqrt().amax(-1)
    claimed = stability.envelope(distance[:, 0], size)[:, : distance.shape[1]]
    # without a perturbation the distance must be 0
    ratio = torch.where((claimed == 0) & (distance == 0), 0, distance / claimed).amax(-1)
    inside = ratio <= 1 + _ROUNDING
    lost = int((~moved.isfinite().flatten(1).all(1) | ~calm.isfinite().flatten(1).all(1)).sum())
    return EnvelopeCheck(rate(inside), inside, ratio, lost, start_radius, input_radius)


def _check_single(
    trajectory: Trajectory, stability: IncrementalStability, disturbance: Tensor | None, samples: int
) -> None:
    if trajectory.actions.dim() != 2 or stability.c_beta.dim():
        raise ShapeError(
            f"expected one trajectory and one envelope, got {list(trajectory.actions.shape)} and "
            f"{list(stability.c_beta.shape)}. Select one of the batch, or use the envelope's worst()."
        )
    if stability.steps < trajectory.steps:
        raise ShapeError(
            f"the envelope holds for {stability.steps} steps, but the trajectory has {trajectory.steps}. "
            "Compute it for all."
        )
    if disturbance is not None and disturbance.shape[:2] != (samples, trajectory.steps):
        raise ShapeError(
            f"expected disturbances [{samples}, {trajectory.steps}, n], one per pair and step, "
            f"got {list(disturbance.shape)}."
        )


def _in_ball(count: int, size: int, rng: torch.Generator) -> Float[Tensor, "count size"]:
    ray = torch.randn(count, size, dtype=torch.float64, generator=rng)
    radius = torch.rand(count, 1, dtype=torch.float64, generator=rng) ** (1 / size)
    return radius * ray / ray.square().sum(-1, keepdim=True).sqrt()


def _directions(count: int, steps: int, size: int, rng: torch.Generator) -> Float[Tensor, "count steps size"]:
    """Unit vectors: one direction for all steps in the first half, a new one at every step in the others."""
    ray = torch.randn(count, steps, size, dtype=torch.float64, generator=rng)
    ray[: count // 2] = ray[: count // 2, :1]
    return ray / ray.square().sum(-1, keepdim=True).sqrt()
