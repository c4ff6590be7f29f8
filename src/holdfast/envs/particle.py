"""IBC's particle: to one place, then to another (Florence et al. 2021, arXiv 2109.00137), all episodes in one tensor.

A point mass in N dimensions follows a set-point through a spring and a damper. Position and velocity are
`observation.state`, both goals `observation.environment_state`; the action is the set-point. The expert's set-point is
the first goal until it is reached, and then the second: a discontinuous function of the observation, in the smallest
space in which policies can be compared on one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError
from ..seeding import stream
from ..types import Episodes, Observation, Trajectory
from .batched import BatchedEnvironment, Episode

PARTICLE_STEPS = 50
"""Control steps of an episode."""
PHYSICS_STEP, PHYSICS_STEPS = 0.005, 10
"""Seconds per physics step [s], and physics steps per control step."""
K_P, K_V = 10.0, 5.0
"""Gains of the servo [1/s², 1/s]."""
NEAR = 0.05
"""Distance within which a goal is reached."""
EXPERT_NEAR = 0.01
"""Distance to the first goal at which the expert switches to the second."""


@dataclass
class _Visit(Episode):
    """Episodes with the smallest distance of each to its first goal so far."""

    closest: Float[Tensor, " b"]


class ParticleEnvironment(BatchedEnvironment[_Visit]):
    """`count` episodes of the particle task in `dims` dimensions. Simulator state: position, velocity, both goals.

    All episodes last 50 steps. One is solved, in its last step, if the particle was within 0.05 of the first goal
    after some step and is within 0.05 of the second one after the last, as in IBC; the reward is 1 then and 0
    otherwise (IBC's own reward does not require that it stays). An action that is not finite ends its episode.

    Extra: `first`, the smallest distance to the first goal so far, and `second`, the current distance to the second.
    """

    dt = PHYSICS_STEP * PHYSICS_STEPS
    steps = PARTICLE_STEPS

    def __init__(self, count: int, *, dims: int = 2) -> None:
        super().__init__(count)
        if dims < 1:
            raise RecipeError(f"expected dims >= 1, got {dims}.")
        self.name, self.n_actions, self.names = particle_name(dims), dims, _names(dims)
        # the set-point lies in the unit cube, as all goals and starts do
        self.action_bounds = torch.zeros(dims, dtype=torch.float64), torch.ones(dims, dtype=torch.float64)

    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b n"]:
        """At rest; start and goals are uniform in the unit cube."""
        draws = [_places(1, self.n_actions, stream(seed, "particle", "start")) for seed in seeds]
        start, first, second = torch.cat(draws).unbind(dim=1)
        return torch.cat([_at_rest(start), first, second], dim=-1)

    def _begin(self, states: Float[Tensor, "b n"]) -> _Visit:
        return _Visit(**vars(Episode.at(states)), closest=torch.full_like(states[:, 0], math.inf))

    def _advance(self, before: _Visit, actions: Float[Tensor, "b m"], moves: Bool[Tensor, " b"]) -> _Visit:
        mass, goals = before.state.chunk(2, dim=-1)
        mass = torch.where(moves[:, None], _pulled(mass, actions), mass)
        to_first, to_second = (_distance(mass, goal) for goal in goals.chunk(2, dim=-1))
        closest = torch.where(moves, before.closest.minimum(to_first), before.closest)
        last = before.steps + 1 >= self.steps
        solved = moves & last & (closest < NEAR) & (to_second < NEAR)
        return replace(
            before, state=torch.cat([mass, goals], dim=-1), terminated=solved, success=solved, closest=closest
        )

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observation and feedback state after an action; the goals stay."""
        after = _pulled(state, action.to(state))
        goals = observation.vector[:, after.shape[1] :].to(after)
        return Observation(state=after, environment_state=goals), after

    def _observe(self, now: _Visit) -> tuple[Observation, Float[Tensor, "b n"]]:
        mass, goals = now.state.chunk(2, dim=-1)
        return Observation(state=mass, environment_state=goals), mass

    def _measure(self, now: _Visit) -> Mapping[str, Float[Tensor, " b"]]:
        mass, goals = now.state.chunk(2, dim=-1)
        return {"first": now.closest, "second": _distance(mass, goals.chunk(2, dim=-1)[1])}


def particle_name(dims: int) -> str:
    """The environment's name: "particle" in the plane, with the number of dimensions elsewhere.

    >>> particle_name(2), particle_name(16)
    ('particle', 'particle:16')
    """
    return "particle" if dims == 2 else f"particle:{dims}"


def particle_demonstrations(count: int, *, rng: torch.Generator, dims: int = 2) -> Episodes:
    """Episodes of IBC's expert: the set-point is the first goal until it is within 0.01 after a step, then the second.

    Unsolved episodes are recorded too, as published; `meta["solved"]` is the number of solved ones.

    >>> from holdfast.seeding import stream
    >>> episodes = particle_demonstrations(3, rng=stream(0, "demonstrate", "particle"))
    >>> episodes.lengths.tolist(), episodes.actions.shape, episodes.observed.vector.shape
    ([50, 50, 50], torch.Size([150, 2]), torch.Size([150, 8]))
    """
    if count < 1 or dims < 1:
        raise RecipeError(f"expected at least 1 demonstration and 1 dimension, got {count} and {dims}.")
    start, first, second = _places(count, dims, rng).unbind(dim=1)
    states, actions = [_at_rest(start)], list[Tensor]()
    reached = torch.zeros(count, dtype=torch.bool)
    for _ in range(PARTICLE_STEPS):
        reached = reached | (_distance(states[-1], first) < EXPERT_NEAR)
        actions.append(torch.where(reached[:, None], second, first))
        states.append(_pulled(states[-1], actions[-1]))
    found = Trajectory(actions=torch.stack(actions, dim=1), states=torch.stack(states, dim=1))
    return _episodes(found, torch.cat([first, second], dim=-1))


def _episodes(found: Trajectory, goals: Float[Tensor, "b goals"]) -> Episodes:
    first, second = goals.chunk(2, dim=-1)
    passed = _distance(found.states[:, 1:], first[:, None]).amin(dim=1) < NEAR
    solved = passed & (_distance(found.states[:, -1], second) < NEAR)
    dims = found.actions.shape[-1]
    episodes = Episodes.of(found, dt=PHYSICS_STEP * PHYSICS_STEPS, system=particle_name(dims))
    around = goals.repeat_interleave(PARTICLE_STEPS, dim=0)
    return replace(
        episodes,
        observations=Observation(state=episodes.states, environment_state=around),
        names=_names(dims),
        meta={"expert": "scripted: set-point at one goal, then at the other", "solved": int(solved.sum())},
    )


def _places(count: int, dims: int, rng: torch.Generator) -> Float[Tensor, "count 3 dims"]:
    """Start, first and second goal."""
    return torch.rand(count, 3, dims, dtype=torch.float64, generator=rng)


def _at_rest(position: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
    return torch.cat([position, torch.zeros_like(position)], dim=-1)


def _pulled(state: Float[Tensor, "b n"], target: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
    """One control step: explicit Euler steps of x'' = K_p (u − x) − K_v x'."""
    position, velocity = state.chunk(2, dim=-1)
    for _ in range(PHYSICS_STEPS):
        push = K_P * (target - position) - K_V * velocity
        position, velocity = position + PHYSICS_STEP * velocity, velocity + PHYSICS_STEP * push
    return torch.cat([position, velocity], dim=-1)


def _distance(state: Float[Tensor, "*b n"], goal: Float[Tensor, "*c m"]) -> Float[Tensor, "*b"]:
    return (state[..., : goal.shape[-1]] - goal).square().sum(dim=-1).sqrt()


def _names(dims: int) -> Mapping[str, tuple[str, ...]]:
    def each(quantity: str) -> tuple[str, ...]:
        return tuple(f"{quantity}_{axis}" for axis in range(dims))

    state = each("position") + each("velocity")
    goals = each("first_goal") + each("second_goal")
    return {
        "action": each("target"),
        "state": state,
        "observation.state": state,
        "observation.environment_state": goals,
    }
