"""Where a policy is judged again and again from the same starts: beside an expert, or in an environment.

An instrument that asks "what if" flies many variants of one policy. What does not change with the policy, the starts
and the expert's flights from them, is made once and kept here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..analysis.perturbation import padded
from ..control import SYSTEMS, MpcExpert, Task, system
from ..envs import Acts, Environment, Run, rollout, run
from ..envs.registry import FIRST_TEST_SEED, make_environment
from ..errors import RecipeError
from ..seeding import stream
from ..types import Trajectory
from .score import compare
from .task_score import scores_of

__all__ = ["Arena", "BesideExpert", "Flown", "InEnvironment", "make_arena"]


@dataclass(frozen=True, kw_only=True)
class Flown:
    """Flights of one policy from an arena's starts.

    Attributes:
        score: The task's own score of each flight.
        trajectory: States and actions; an episode that is over or lost stands still.
        lost: Steps at which a flight was no longer followed: it left the limits, or gave no number.
        over: Steps at which an episode had ended by itself before.
        observed: What the policy saw at each step.
        distance: Time-averaged distance to the expert, where there is one.
        success: Flights that solved the task, where the environment says what solved means.
        extra: What else the environment measures.
    """

    score: Float[Tensor, " b"]
    trajectory: Trajectory
    lost: Bool[Tensor, "b t"]
    over: Bool[Tensor, "b t"]
    observed: Float[Tensor, "b t d"]
    distance: Float[Tensor, " b"] | None = None
    success: Bool[Tensor, " b"] | None = None
    extra: Mapping[str, Float[Tensor, " b"]] = field(default_factory=lambda: dict[str, Tensor]())


@runtime_checkable
class Arena(Protocol):
    """Starts that stay the same from policy to policy."""

    @property
    def name(self) -> str:
        """Of the system or environment."""
        ...

    @property
    def starts(self) -> int:
        """How many flights a policy makes."""
        ...

    @property
    def steps(self) -> int:
        """Control steps of a flight at the most."""
        ...

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        ...

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states."""
        ...

    def fly(self, policy: Acts, *, seed: int = 0) -> Flown:
        """A policy's flights; `seed` is of its own randomness."""
        ...


@dataclass(frozen=True)
class BesideExpert:
    """A built-in system, whose expert flies from the same starts.

    Attributes:
        task: The system.
        expert: The expert's flights; where they start, policies do.
    """

    task: Task
    expert: Trajectory

    @property
    def name(self) -> str:
        """Of the system."""
        return self.task.name

    @property
    def starts(self) -> int:
        """How many flights a policy makes."""
        return len(self.expert.states)

    @property
    def steps(self) -> int:
        """Control steps of a flight."""
        return self.expert.steps

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        return self.task.dt

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states."""
        return self.task.difference(x, y)

    def fly(self, policy: Acts, *, seed: int = 0) -> Flown:
        """A policy's flights, compared with the expert's."""
        flights = rollout(self.task, policy, self.expert.states[:, 0], steps=self.steps, seed=seed)
        found = compare(self.task, flights.trajectory, self.expert, lost=flights.lost)
        return Flown(
            score=found.score,
            distance=found.distance,
            trajectory=flights.trajectory,
            lost=flights.lost,
            over=torch.zeros_like(flights.lost),
            observed=flights.trajectory.states[:, :-1],
        )


@dataclass(frozen=True)
class InEnvironment:
    """An environment, one episode a seed.

    Attributes:
        environment: As many episodes as there are seeds; it is left open.
        seeds: Of the episodes.
        length: Control steps at the most; the environment's own limit if nothing is said.
    """

    environment: Environment
    seeds: range
    length: int | None = None

    @property
    def name(self) -> str:
        """Of the environment."""
        return self.environment.name

    @property
    def starts(self) -> int:
        """How many flights a policy makes."""
        return len(self.seeds)

    @property
    def steps(self) -> int:
        """Control steps of a flight at the most."""
        return self.environment.steps if self.length is None else self.length

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        return self.environment.dt

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states."""
        return self.environment.difference(x, y)

    def fly(self, policy: Acts, *, seed: int = 0) -> Flown:
        """A policy's episodes."""
        found = run(self.environment, policy, seeds=self.seeds, seed=seed, steps=self.steps)
        return _flown(found, scores_of(found, self.environment))


def make_arena(
    name: str,
    *,
    starts: int,
    seed: int = 0,
    first_seed: int = FIRST_TEST_SEED,
    steps: int | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Arena:
    """The arena of a system or an environment.

    Args:
        name: One of `ENVIRONMENTS`.
        starts: How many flights a policy makes.
        seed: Of the initial states of a built-in system; they are those of `evaluate`.
        first_seed: Of the first episode in an environment; 100 000 is the first for testing.
        steps: Control steps, in place of the task's own number.
        on_step: Called with the control steps that the expert has flown.

    Raises:
        UnknownNameError: No such environment.
        RecipeError: No starts, or no steps.
    """
    if starts < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 start and 1 step, got {starts} and {steps}.")
    if name not in SYSTEMS:
        return InEnvironment(make_environment(name, starts), range(first_seed, first_seed + starts), steps)
    task = system(name)
    initial = task.initial_states(starts, rng=stream(seed, "evaluate", task.name))
    return BesideExpert(task, MpcExpert(task).rollout(initial, steps or task.steps, progress=on_step))


def _flown(found: Run, score: Float[Tensor, " b"]) -> Flown:
    """Episodes side by side; what a policy saw last is repeated where its episode is over."""
    trajectory, over = padded(found.episodes)
    last = (found.episodes.lengths - 1)[:, None]
    rows = found.episodes.starts[:, None] + torch.arange(trajectory.steps).minimum(last)
    lost = found.extra["lost"].bool()[:, None]
    return Flown(
        score=score,
        trajectory=trajectory,
        lost=over & lost,
        over=over & ~lost,
        observed=found.episodes.observed.vector[rows],
        success=found.success,
        extra={name: values for name, values in found.extra.items() if name not in ("lost", "clipped")},
    )
