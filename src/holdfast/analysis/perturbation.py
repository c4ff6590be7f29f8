"""What becomes of one push, and how episodes of unequal length become trajectories of equal length."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..envs import Rollout
from ..errors import DataError, RecipeError
from ..types import Episodes, Trajectory
from .error_growth import Growth, growth_of, rounding

__all__ = ["Flights", "padded", "perturbed_growth"]

Flights = Callable[[Tensor, Tensor], Rollout]
"""Flies a policy from initial states `[b, n]` with disturbances `[b, t, n]` of the states that follow each step."""


def perturbed_growth(
    flights: Flights,
    starts: Float[Tensor, "b n"],
    *,
    steps: int,
    size: float,
    difference: Callable[[Tensor, Tensor], Tensor],
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

        perturbed_growth(lambda x, w: rollout(task, policy, x, steps=T, disturbance=w, seed=0), starts, steps=T, …)

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


def padded(episodes: Episodes, *, steps: int | None = None) -> tuple[Trajectory, Bool[Tensor, "b t"]]:
    """Episodes as trajectories of equal length, and where each is over.

    After its end an episode stands still, with actions of 0. Without final states the last action of each episode is
    left out, because nothing is known of where it led.

    Args:
        episodes: The set.
        steps: Control steps of the trajectories; those of the longest episode if nothing is said.

    Raises:
        DataError: An episode of more steps than asked for, or no steps at all.

    >>> ragged = Episodes(
    ...     actions=torch.ones(3, 1), states=torch.tensor([[1.0], [2.0], [5.0]]), lengths=torch.tensor([2, 1]),
    ...     final_states=torch.tensor([[3.0], [6.0]]),
    ... )
    >>> trajectory, over = padded(ragged)
    >>> trajectory.states[..., 0].tolist(), over.tolist()
    ([[1.0, 2.0, 3.0], [5.0, 6.0, 6.0]], [[False, False], [False, True]])
    """
    lengths = episodes.lengths if episodes.final_states is not None else episodes.lengths - 1
    longest = int(lengths.max())
    total = longest if steps is None else steps
    if longest > total or total < 1:
        raise DataError(f"the longest episode has {longest} steps; {total} were asked for. Give at least as many.")
    rows = episodes.starts[:, None] + torch.arange(total + 1, device=lengths.device).clamp(max=longest)
    rows = torch.minimum(rows, (episodes.starts + episodes.lengths - 1)[:, None])
    states, actions = episodes.states[rows], episodes.actions[rows[:, :-1]]
    past = torch.arange(total + 1, device=lengths.device) >= lengths[:, None]
    if episodes.final_states is not None:
        states = torch.where(past[..., None], episodes.final_states[:, None], states)
    over = past[:, :-1]
    return Trajectory(actions=actions.masked_fill(over[..., None], 0.0), states=states), over


def _directions(starts: Tensor, direction: Tensor | None, rng: torch.Generator) -> Tensor:
    if direction is None:
        given = torch.randn(starts.shape, generator=rng, dtype=torch.float64, device=rng.device).to(starts)
    else:
        given = direction.to(starts).expand_as(starts)
    length = given.square().sum(-1, keepdim=True).sqrt()
    if not bool((length > 0).all()):
        raise RecipeError("a direction of length 0 pushes nowhere. Give another, or none.")
    return given / length
