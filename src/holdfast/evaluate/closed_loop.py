"""A trained policy in the environment that its data came from."""

from collections.abc import Callable
from dataclasses import dataclass

from ..control import SYSTEMS, MpcExpert, system
from ..errors import UnknownNameError
from ..policy import Policy
from ..seeding import stream
from ..types import Trajectory
from ..world import rollout
from ..world.envs.pusht import PUSHT_FIRST_TEST_SEED, PUSHT_STEPS, push_t
from .intervals import Estimate, bootstrap, rate
from .score import Comparison, compare, summary

__all__ = ["ENVIRONMENTS", "Evaluation", "episode_steps", "evaluate"]

ENVIRONMENTS = (*SYSTEMS, "pusht")


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        environment: Where the policy was run.
        estimates: Named numbers with intervals; `score` is always among them.
        flights: The policy's and the expert's trajectories, where there is an expert.
        comparison: The two side by side.
    """

    environment: str
    estimates: dict[str, Estimate]
    flights: tuple[Trajectory, Trajectory] | None = None
    comparison: Comparison | None = None


def episode_steps(environment: str) -> int:
    """Control steps of an episode.

    Raises:
        UnknownNameError: No such environment.
    """
    if environment == "pusht":
        return PUSHT_STEPS
    if environment not in SYSTEMS:
        raise UnknownNameError("environment", environment, ENVIRONMENTS)
    return system(environment).steps


def evaluate(
    policy: Policy,
    environment: str,
    *,
    episodes: int,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Evaluation:
    """Run a policy closed loop.

    On a built-in system the policy and the expert fly from the same fresh initial states; on Push-T the score is the
    published one on the published test seeds.

    Args:
        policy: What to run.
        environment: One of `ENVIRONMENTS`.
        episodes: How many.
        seed: Of the initial states (built-in systems) and of the policy's randomness.
        on_step: Called with the number of control steps done.

    Raises:
        UnknownNameError: No such environment.
    """
    if environment == "pusht":
        result = push_t(policy, episodes=episodes, first_seed=PUSHT_FIRST_TEST_SEED, seed=seed, on_step=on_step)
        estimates = {"score": bootstrap(result.coverage, seed=seed), "success": rate(result.solved)}
        return Evaluation(environment, estimates)
    steps = episode_steps(environment)
    task = system(environment)
    policy.executor.difference = task.difference
    starts = task.initial_states(episodes, rng=stream(seed, "evaluate", environment))
    expert = MpcExpert(task).rollout(starts, steps, progress=on_step)
    flights = rollout(task, policy, starts, steps=steps, seed=seed)
    comparison = compare(task, flights.trajectory, expert, lost=flights.lost)
    return Evaluation(environment, summary(comparison, seed=seed), (flights.trajectory, expert), comparison)
