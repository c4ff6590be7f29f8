"""A trained policy in the environment that its data came from."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..control import SYSTEMS, MpcExpert, Task, system
from ..envs import Acts, Environment, Rollout, rollout, run
from ..envs.pusht import PushT
from ..envs.registry import FIRST_TEST_SEED, make_environment
from ..errors import RecipeError, ShapeError
from ..policy import Policy
from ..seeding import stream
from ..types import Episodes, Trajectory
from .intervals import Estimate
from .score import Comparison, compare, summary
from .task_score import scores_of, summarize

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        environment: Where the policy was run.
        estimates: Named numbers with intervals; `score` is always among them.
        episodes: The policy's episodes, each until it was over.
        flights: The policy's and the expert's trajectories, where there is an expert.
        comparison: The two side by side.
        first_seed: Of the first episode, in an environment.
        scores: Score of each episode, where there is no expert to compare with.
        tables: On Push-T, where everything lay in the end: agent x, y, block x, y [px] and angle [rad].
    """

    environment: str
    estimates: dict[str, Estimate]
    episodes: Episodes
    flights: tuple[Trajectory, Trajectory] | None = None
    comparison: Comparison | None = None
    first_seed: int | None = None
    scores: Float[Tensor, " b"] | None = None
    tables: Float[Tensor, "b 5"] | None = None


def evaluate(
    policy: Policy | Acts,
    environment: str | Environment,
    *,
    episodes: int,
    seed: int = 0,
    first_seed: int | None = None,
    pictures: bool = False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Evaluation:
    """Run a policy closed loop.

    On a built-in system the policy and the expert fly from the same fresh initial states. In an environment one
    episode is flown for each of the seeds `first_seed`, `first_seed + 1`, …; on Push-T those from 100 000 are the
    published test seeds, and the score is the published one. What the score is elsewhere is said in `task_score`.

    Args:
        policy: What to run.
        environment: One of `ENVIRONMENTS`, or an environment of your own with as many episodes; it is left open.
        episodes: How many.
        seed: Of the policy's randomness, and on a built-in system of the initial states.
        first_seed: Of the first episode, in an environment; 100 000, the first for testing, if nothing is said.
        pictures: Keep what the cameras saw in the episodes.
        on_step: Called with the number of control steps done.

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: The environment's package is not installed.
        ShapeError: The policy was made for other observations, states or actions.
        RecipeError: No episodes, or `first_seed` on a built-in system.
    """
    if episodes < 1:
        raise RecipeError(f"expected at least 1 episode, got {episodes}.")
    if isinstance(environment, str) and environment in SYSTEMS:
        if first_seed is not None:
            raise RecipeError(f"the initial states of {environment} are drawn by seed. Give seed, not first_seed.")
        return _beside_expert(policy, system(environment), episodes=episodes, seed=seed, on_step=on_step)
    made = make_environment(environment, episodes) if isinstance(environment, str) else environment
    try:
        begin = FIRST_TEST_SEED if first_seed is None else first_seed
        return _in_environment(
            policy, made, seeds=range(begin, begin + episodes), seed=seed, pictures=pictures, on_step=on_step
        )
    finally:
        if isinstance(environment, str):
            made.close()


def _in_environment(
    policy: Policy | Acts,
    environment: Environment,
    *,
    seeds: range,
    seed: int,
    pictures: bool,
    on_step: Callable[[int], None],
) -> Evaluation:
    if isinstance(policy, Policy):
        policy.executor.difference = environment.difference
    flown = run(environment, policy, seeds=seeds, seed=seed, pictures=pictures, on_step=on_step)
    return Evaluation(
        environment.name,
        summarize(flown, environment, seed=seed),
        flown.episodes,
        first_seed=seeds[0],
        scores=scores_of(flown, environment),
        tables=environment.states if isinstance(environment, PushT) else None,
    )


def _beside_expert(
    policy: Policy | Acts, task: Task, *, episodes: int, seed: int, on_step: Callable[[int], None]
) -> Evaluation:
    if isinstance(policy, Policy):
        _check_fit(policy, task)
        policy.executor.difference = task.difference
    starts = task.initial_states(episodes, rng=stream(seed, "evaluate", task.name))
    expert = MpcExpert(task).rollout(starts, task.steps, progress=on_step)
    flights = rollout(task, policy, starts, steps=task.steps, seed=seed)
    comparison = compare(task, flights.trajectory, expert, lost=flights.lost)
    return Evaluation(
        task.name,
        summary(comparison, seed=seed),
        _followed(flights, task),
        flights=(flights.trajectory, expert),
        comparison=comparison,
    )


def _check_fit(policy: Policy, task: Task) -> None:
    """Refuse a policy of another task before the expert flies, which takes minutes."""
    spec, names = policy.spec, ", ".join(task.state_names)
    for quantity, learned, here in (
        ("observations", spec.n_observed, task.n_states),
        ("states for feedback", spec.n_states, task.n_states),
        ("actions", spec.n_actions, task.n_actions),
    ):
        if learned != here:
            raise ShapeError(
                f"{task.name} (states {names}; actions {', '.join(task.action_names)}) has {quantity} of {here} "
                f"numbers, but the policy was trained on {learned}. Run it in the environment that its data came from, "
                "or train on data of this one."
            )


def _followed(flights: Rollout, task: Task) -> Episodes:
    """The flights as episodes, each until it was lost."""
    followed = ~flights.lost
    followed[:, 0] = True  # an episode has one step at least
    lengths, trajectory = followed.sum(dim=1), flights.trajectory
    return Episodes(
        actions=trajectory.actions[followed],
        states=trajectory.states[:, :-1][followed],
        lengths=lengths,
        final_states=trajectory.states[torch.arange(len(lengths)), lengths],
        dt=task.dt,
        system=task.name,
    )
