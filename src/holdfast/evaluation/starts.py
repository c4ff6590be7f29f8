"""Evaluation from fixed starts: whatever policy is evaluated, it begins in the same places.

The starts and the expert's trajectories from them do not depend on the policy and are computed once; the expert's are
kept on disk (`kept_flights`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..control import Task
from ..envs import (
    FIRST_TEST_SEED,
    Actor,
    Environment,
    Rollout,
    SystemEnvironment,
    as_actor,
    as_environment,
    cameras_of,
    check_fit,
    make_environment,
    rollout,
    sees_pictures,
)
from ..errors import RecipeError
from ..types import Episodes, Trajectory
from .intervals import Estimate
from .kept_flights import expert_flights
from .score import Comparison, compare, summary
from .task_score import filter_counts, scores_of, summarize


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of running one policy from fixed starts.

    Attributes:
        environment: Where it was run.
        rollout: The policy's episodes.
        scores: The task's own score of each episode.
        expert: The expert's trajectories from the same starts, if there is an expert.
        comparison: Comparison of policy and expert, if there is an expert.
        simulator_state: The simulator's states at the end, if it reports them.
        first_seed: Seed of the first episode, if episodes begin from seeds.
        seed: Random seed of the policy.
    """

    environment: Environment
    rollout: Rollout
    scores: Float[Tensor, " b"]
    expert: Trajectory | None = None
    comparison: Comparison | None = None
    simulator_state: Float[Tensor, "b s"] | None = None
    first_seed: int | None = None
    seed: int = 0

    @property
    def episodes(self) -> Episodes:
        """The policy's episodes as a data set."""
        return self.rollout.episodes

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Named numbers with 95 % intervals; `score` is always among them."""
        if self.comparison is not None:
            return summary(self.comparison) | filter_counts(self.rollout)
        return summarize(self.rollout, self.environment, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class FixedStarts:
    """An environment and the starts from which every policy is evaluated in it.

    Attributes:
        environment: Where policies are run; the caller closes it.
        starts: Seeds of the episodes, or initial states.
        expert: The expert's trajectories from the same starts, if there is an expert.
        steps: Time limit in control steps, in place of the environment's own.
    """

    environment: Environment
    starts: range | Tensor
    expert: Trajectory | None = None
    steps: int | None = None

    @property
    def count(self) -> int:
        """Number of episodes per policy."""
        return len(self.starts)

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.environment.name

    @property
    def task(self) -> Task:
        """The built-in task that the expert's trajectories belong to."""
        assert isinstance(self.environment, SystemEnvironment)
        return self.environment.task

    def actor(self, policy: Actor | Any) -> Actor:
        """A policy of any kind as an `Actor` that can be run from the starts several times.

        Raises:
            RecipeError: It is of no known kind, or its episodes share a memory.
        """
        return as_actor(policy, self.environment, self.environment.reset(self.starts))

    def evaluate(
        self,
        policy: Actor | Any,
        *,
        seed: int = 0,
        images: bool = False,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> Evaluation:
        """Run a policy from the starts."""
        found = rollout(
            policy, self.environment, starts=self.starts, seed=seed, steps=self.steps, images=images, on_step=on_step
        )
        state = self.environment.get_state() if self.environment.restorable else None
        if self.expert is None:
            scores, comparison = scores_of(found, self.environment), None
        else:
            compared = compare(self.task, found.trajectory, self.expert, lost=found.lost)
            # the lowest score, however much was earned until the episode was lost
            comparison = replace(compared, score=compared.score.masked_fill(found.escaped, 0.0))
            scores = comparison.score
        return Evaluation(
            environment=self.environment,
            rollout=found,
            scores=scores,
            expert=self.expert,
            comparison=comparison,
            simulator_state=state,
            first_seed=self.starts[0] if isinstance(self.starts, range) else None,
            seed=seed,
        )


def fixed_starts(
    environment: str | Environment | Any,
    count: int,
    *,
    seed: int = 0,
    first_seed: int | None = None,
    steps: int | None = None,
    fits: Actor | Any | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> FixedStarts:
    """Starts in an environment: initial states and the expert's trajectories in a built-in task, seeds elsewhere.

    Args:
        environment: One of `ENVIRONMENTS`, an environment of your own with `count` episodes, or a gymnasium environment
            or what makes one (`envs.as_environment`).
        count: Number of episodes.
        seed: Random seed of a built-in task's initial states.
        first_seed: Seed of the first episode elsewhere. Default: 100 000, the first for testing.
        steps: Time limit in control steps. Default: the environment's own.
        fits: A policy that must fit the environment, checked before the expert is run.
        on_step: Called with the number of control steps that the expert has done.

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: The environment's package is not installed.
        ShapeError: The policy does not fit.
        RecipeError: No episodes, no steps, or `first_seed` in a built-in task.
    """
    if count < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 episode and 1 step, got {count} and {steps}.")
    if isinstance(environment, str):
        made = make_environment(environment, count, images=sees_pictures(fits), cameras=cameras_of(fits))
    else:
        made = as_environment(environment, count)
    if not isinstance(made, SystemEnvironment) or not isinstance(made.system, Task):
        first = FIRST_TEST_SEED if first_seed is None else first_seed
        return FixedStarts(environment=made, starts=range(first, first + count), steps=steps)
    if first_seed is not None:
        raise RecipeError(f"the initial states of {made.name} are drawn by seed. Give seed, not first_seed.")
    if steps is not None:
        made = SystemEnvironment(made.system, steps=steps, limit=made.limit)
    initial = made.initial_states(count, seed=seed)
    if fits is not None:
        first = made.reset(initial)
        check_fit(as_actor(fits, made, first), made, first)
    expert = expert_flights(made.expert, initial, made.steps, progress=on_step)
    return FixedStarts(environment=made, starts=initial, expert=expert, steps=steps)


def check_start(policy: Actor | Any, environment: Environment) -> None:
    """Refuse a policy that does not fit an environment of one episode, before any work that this would be lost for.

    Raises:
        RecipeError: The policy is of no known kind.
        ShapeError: Observations, feedback states or actions have other sizes than in training.
        InterfaceError: They have other names or units than in training.
    """
    if isinstance(environment, SystemEnvironment) and isinstance(environment.system, Task):
        first = environment.reset(environment.initial_states(1, seed=0))
    else:
        first = environment.reset(range(FIRST_TEST_SEED, FIRST_TEST_SEED + 1))
    check_fit(as_actor(policy, environment, first), environment, first)


def evaluate(
    policy: Actor | Any,
    environment: str | Environment | Any,
    *,
    episodes: int,
    seed: int = 0,
    first_seed: int | None = None,
    images: bool = False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Evaluation:
    """Run a policy closed loop.

    In a built-in task, policy and expert start from the same fresh initial states. Elsewhere one episode is run for
    each of the seeds `first_seed`, `first_seed + 1`, …; on Push-T those from 100 000 are the published test seeds.
    `task_score` documents the score of each kind of task.

    Args:
        policy: Policy to evaluate: a Holdfast policy, any object with `reset` and `act`, or a policy of another library
            (`envs.foreign_kinds`).
        environment: One of `ENVIRONMENTS`, an environment of your own with `episodes` episodes, which is not closed, or
            a gymnasium environment, of which every episode gets a copy, or what makes one.
        episodes: Number of episodes.
        seed: Random seed of the policy and of a built-in task's initial states.
        first_seed: Seed of the first episode elsewhere. Default: 100 000, the first for testing.
        images: Keep camera images.
        on_step: Called with the number of control steps done.

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: The environment's package is not installed.
        ShapeError: The policy was trained for other observations, states or actions.
        RecipeError: No episodes, `first_seed` in a built-in task, or a policy whose episodes share a memory.
    """
    fixed = fixed_starts(environment, episodes, seed=seed, first_seed=first_seed, fits=policy, on_step=on_step)
    try:
        # the expert takes nearly all of the time
        quiet = fixed.expert is not None
        return fixed.evaluate(policy, seed=seed, images=images, on_step=(lambda step: None) if quiet else on_step)
    finally:
        if fixed.environment is not environment and not hasattr(environment, "single_action_space"):
            fixed.environment.close()
