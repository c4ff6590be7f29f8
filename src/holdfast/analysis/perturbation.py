"""Growth of the error after a single push."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..envs import Rollout
from ..errors import DataError, RecipeError
from .error_growth import Growth, growth_of, rounding

__all__ = ["Flights", "perturbed_growth"]

Flights = Callable[[Tensor, Tensor], Rollout]
"""Flies a policy from initial states `[b, n]` with disturbances `[b, t, n]` of the states that follow each step."""


def perturbed_growth(
    flights: Flights,
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
    """How a policy's own loop answers a push: two flights, one of which is pushed once.

        e_t / size,    e_at = size

    Both flights must repeat the same randomness, so that all that differs comes of the push:

        perturbed_growth(lambda x, w: rollout(policy, environment, starts=x, disturbance=w), starts, steps=T, …)

    Args:
        flights: Flies the policy; reset with the same seed each time.
        starts: Initial states.
        steps: Control steps `T` of a flight.
        size: Length of the push, in the states' own units.
        difference: Of states, the system's own.
        rng: Directions of the pushes.
        at: Step whose state is pushed; 0 is the initial state.
        direction: In which to push; one at random for each episode if nothing is said.
        ceiling: Ratio from which on an episode counts as saturated.
        seed: Of the resampling.
        resamples: Sets of episodes drawn.

    Returns:
        Growth of the ratio; steps before the push hold 0.

    Raises:
        RecipeError: A size that is not above 0, a step outside the flight, or a direction of no length.
        DataError: The flights differ before the push, or what `growth_of` refuses.
    """
    if not 0 < size < torch.inf or not 0 <= at < steps:
        raise RecipeError(f"expected a size above 0 and a step from 0 to {steps - 1}, got {size} and {at}.")
    push = size * _directions(starts, direction, rng)
    quiet = starts.new_zeros(starts.shape[0], steps, starts.shape[1])
    pushed = quiet.clone()
    if at > 0:
        pushed[:, at - 1] = push
    plain = flights(starts, quiet)
    moved = flights(starts + push if at == 0 else starts, pushed)
    error = difference(moved.trajectory.states, plain.trajectory.states).square().sum(-1).sqrt()
    floor = rounding(plain.trajectory.states, moved.trajectory.states)
    lost = torch.cat([torch.zeros_like(plain.lost[:, :1]), plain.lost | moved.lost], 1)
    if bool((error[:, :at] > floor).any()):
        raise DataError(
            f"the flights are {float(error[:, :at].max()):.3g} apart before the push. Reset policy and system with the "
            "same seed in both."
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
        raise RecipeError("a direction of length 0 pushes nowhere. Give another, or none.")
    return given / length
