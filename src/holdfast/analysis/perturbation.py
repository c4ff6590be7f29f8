"""Growth of the error after a single perturbation of the state."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..envs import Rollout
from ..errors import DataError, RecipeError
from .error_growth import Growth, growth_of, rounding

RolloutFunction = Callable[[Tensor, Tensor], Rollout]
"""Rolls out a policy from initial states `[b, n]` with disturbances `[b, t, n]` of the states after each step."""


def perturbed_growth(
    run: RolloutFunction,
    starts: Float[Tensor, "b n"],
    *,
    steps: int,
    size: float,
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub,
    rng: torch.Generator,
    at: int = 0,
    direction: Float[Tensor, " n"] | None = None,
    ceiling: float = torch.inf,
    seed: int = 0,
    resamples: int = 200,
) -> Growth:
    """Response of a closed loop to one perturbation: growth of the distance between two rollouts, one perturbed once.

        e_t / size,    e_at = size

    Both rollouts must use the same random numbers, so that the perturbation is their only difference:

        perturbed_growth(lambda x, w: rollout(policy, environment, starts=x, disturbance=w), starts, steps=T, …)

    Args:
        run: Function that rolls out the policy, with the same seed in every call.
        starts: Initial states.
        steps: Control steps `T` of a rollout.
        size: Norm of the perturbation, in the units of the states.
        difference: Difference of two states.
        rng: Random generator for the directions.
        at: Step at which the state is perturbed; 0 is the initial state.
        direction: Direction of the perturbation. Default: a random one for each episode.
        ceiling: Ratio above which an episode counts as saturated.
        seed: Random seed for the resampling.
        resamples: Number of resampled sets of episodes.

    Returns:
        Growth of the ratio, which is 0 before the perturbation.

    Raises:
        RecipeError: The size is not positive, the step is outside the rollout, or the direction has length 0.
        DataError: The rollouts differ before the perturbation, or an error of `growth_of`.
    """
    if not 0 < size < torch.inf or not 0 <= at < steps:
        raise RecipeError(f"expected a size above 0 and a step from 0 to {steps - 1}, got {size} and {at}.")
    push = size * _directions(starts, direction, rng)
    quiet = starts.new_zeros(starts.shape[0], steps, starts.shape[1])
    pushed = quiet.clone()
    if at > 0:
        pushed[:, at - 1] = push
    plain = run(starts, quiet)
    moved = run(starts + push if at == 0 else starts, pushed)
    error = difference(moved.trajectory.states, plain.trajectory.states).square().sum(-1).sqrt()
    floor = rounding(plain.trajectory.states, moved.trajectory.states)
    lost = torch.cat([torch.zeros_like(plain.lost[:, :1]), plain.lost | moved.lost], 1)
    if bool((error[:, :at] > floor).any()):
        raise DataError(
            f"the rollouts differ by {float(error[:, :at].max()):.3g} before the perturbation. Reset policy and system "
            "with the same seed in both."
        )
    return growth_of(
        error / size, lost=lost, floor=floor / size, ceiling=ceiling, first=at, seed=seed, resamples=resamples
    )


def _directions(starts: Tensor, direction: Tensor | None, rng: torch.Generator) -> Tensor:
    if direction is None:
        given = torch.randn(starts.shape, generator=rng, dtype=torch.float64, device=rng.device).to(starts)
    else:
        given = direction.to(starts).expand_as(starts)
    length = given.square().sum(-1, keepdim=True).sqrt()
    if not bool((length > 0).all()):
        raise RecipeError("a direction of length 0 does not perturb the state. Give another, or None.")
    return given / length
