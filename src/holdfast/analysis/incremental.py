"""Does the claimed envelope of incremental stability hold on the true system? Counted over perturbed rollouts.

A pair of rollouts runs the same primitive controllers, one as they are, one with perturbed inputs, from two starts near
the trajectory's own, under the same disturbances: the shared-noise coupling of P-IISS (Cao and Xie 2026, "Understanding
Behavior Cloning with Action Quantization"). What is found holds for the perturbations that were drawn: an empirical
region, no proof, and not the supremum over all policies that the definitions ask for.
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

__all__ = ["EnvelopeCheck", "StabilityRegion", "check_envelope", "perturbed_rollout", "stability_region"]

# Rounding of float64 rollouts, relative to the envelope, for systems on which it is attained exactly.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class EnvelopeCheck:
    """How many pairs of rollouts stayed under an envelope.

    Attributes:
        held: Share of pairs under it at every step, with the exact binomial interval: an estimate of P-IISS's
            probability for perturbations drawn as these were.
        inside: Which pairs.
        ratio: The largest distance over envelope of each pair; at most 1 where it held, NaN where a state was none.
        lost: Pairs whose states were no numbers in the end; they count as not held.
        start_radius: Half-width of the ball of starts.
        input_radius: Largest perturbation of an input.
    """

    held: Estimate
    inside: Bool[Tensor, " pairs"]
    ratio: Float[Tensor, " pairs"]
    lost: int
    start_radius: float
    input_radius: float


@dataclass(frozen=True)
class StabilityRegion:
    """The largest perturbations tried under which the envelope held in all samples.

    Attributes:
        c_xi: Radius of starts around the trajectory's own; 0 where the envelope failed at the smallest radius.
        c_gamma: Radius of inputs' perturbations, in the same proportion.
        whole: Whether the largest radii asked for held, so that the region may be larger.
        samples: Pairs at each radius.
        tried: Each scale that was tried and the share that held there.
    """

    c_xi: float
    c_gamma: float
    whole: bool
    samples: int
    tried: tuple[tuple[float, float], ...]


@torch.no_grad()
def perturbed_rollout(
    system: System,
    controllers: PrimitiveControllers,
    starts: Float[Tensor, "b n"],
    inputs: Float[Tensor, "b t m"],
    disturbance: Float[Tensor, "b t n"] | None = None,
) -> Float[Tensor, "b t+1 n"]:
    """States of many rollouts under one `u_t = κ_t(x_t) + δu_t`, `x_{t+1} = f(x_t, u_t) + w_t`.

    Controllers are those of one trajectory, `[t]`.
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
    """Perturb starts and inputs, roll out the true system, and count who stays under the envelope.

    Starts are uniform in the ball of `start_radius` about the trajectory's own, perturbations of inputs have one
    direction and the full size throughout in half of the pairs, and a fresh direction every step in the others.

    Args:
        system: The true dynamics.
        controllers: Of one trajectory, `[t]`.
        trajectory: The one they hold on to.
        stability: The claim; of this trajectory, or the `worst` of several.
        start_radius: `|ξ − ξ₀|, |ξ' − ξ₀|` at most, in the Euclidean norm.
        input_radius: `|δu_t|`.
        samples: How many pairs.
        rng: Of the perturbations.
        disturbance: Noise of each pair, the same for both of its rollouts; none if nothing is said.

    Raises:
        RecipeError: No samples, or a radius below 0.
        ShapeError: More than one trajectory, or an envelope for fewer steps than it has.
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
    """The region, by bisection of a common scale of both radii on a logarithmic axis: c_ξ and its share of inputs.

    A constant from a linearisation is the smallest there is, so that any curvature breaks it in the worst direction:
    give `stability.widened(0.1)`, say. That the region is a ball is assumed, not checked: between scales that were
    tried the envelope may fail.

    Args:
        system: The true dynamics.
        controllers: Of one trajectory, `[t]`.
        trajectory: The one they hold on to.
        stability: The claim.
        start_radius: The largest radius of starts to try.
        input_radius: The largest radius of inputs to try.
        samples: Pairs at each scale.
        halvings: Steps of the bisection, between scales 1e-4 and 1.
        seed: Of the perturbations, which are the same at all scales but for their size.
    """
    tried = list[tuple[float, float]]()

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
        tried.append((scale, found.held.mean))
        return found.held.mean == 1

    scale = 1.0 if holds(1.0) else _bisected(holds, halvings)
    return StabilityRegion(scale * start_radius, scale * input_radius, scale == 1.0, samples, tuple(tried))


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
    # where nothing was perturbed, nothing may differ
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
            f"{list(stability.c_beta.shape)}. Choose one of the batch, or take the envelope's worst()."
        )
    if stability.steps < trajectory.steps:
        raise ShapeError(
            f"the envelope promises {stability.steps} steps, the trajectory has {trajectory.steps}. Find it on all."
        )
    if disturbance is not None and disturbance.shape[:2] != (samples, trajectory.steps):
        raise ShapeError(
            f"expected disturbances [{samples}, {trajectory.steps}, n], one a pair and step, "
            f"got {list(disturbance.shape)}."
        )


def _in_ball(count: int, size: int, rng: torch.Generator) -> Float[Tensor, "count size"]:
    ray = torch.randn(count, size, dtype=torch.float64, generator=rng)
    radius = torch.rand(count, 1, dtype=torch.float64, generator=rng) ** (1 / size)
    return radius * ray / ray.square().sum(-1, keepdim=True).sqrt()


def _directions(count: int, steps: int, size: int, rng: torch.Generator) -> Float[Tensor, "count steps size"]:
    """Unit vectors: one direction throughout for the first half, a fresh one every step for the others."""
    ray = torch.randn(count, steps, size, dtype=torch.float64, generator=rng)
    ray[: count // 2] = ray[: count // 2, :1]
    return ray / ray.square().sum(-1, keepdim=True).sqrt()
