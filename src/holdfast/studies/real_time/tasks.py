"""Tasks of study real-time: demonstrations, flights from common starts in gusts, and the dynamics without them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...control import MpcExpert, Quadrotor2D, Task
from ...data import read, select, write
from ...envs import FIRST_UNTOUCHED_SEED, Actor, Rollout, SystemEnvironment, make_environment, rollout
from ...envs.fork import fork_demonstrations
from ...evaluation import scores_of
from ...policy import Policy
from ...policy.realtime import Rolls
from ...seeding import stream
from ...types import Episodes, Trajectory
from ..families.plan import demonstrations_of as people_showed
from .disrupted import Disrupted

TaskName: TypeAlias = Literal["fork", "quadrotor2d", "pusht", "pusht-noise", "avoid"]
SCORED: tuple[TaskName, ...] = ("pusht", "pusht-noise")
"""Tasks with a score; the others are solved or not."""

DEMONSTRATIONS = {"fork": 200, "quadrotor2d": 30}
"""Number of recorded demonstrations."""
FIRST_SEED = FIRST_UNTOUCHED_SEED
"""Seed of the first start, from which no choice was made."""
GUST = 0.02
"""Std of the gusts on the quadrotor per step on each rate [m/s, m/s, rad/s]."""
NEAR = 0.5
"""Distance to the goal within which an episode of the quadrotor must end [SI]."""


def environment_of(task: TaskName) -> str:
    """Name of the environment of a task."""
    return "pusht" if task in SCORED else task


def dynamics_of(task: TaskName) -> Rolls | None:
    """The task's known dynamics without gusts, for the way forward; `None` where they are not known."""
    made = make_environment(environment_of(task), 1)
    return made if isinstance(made, Rolls) else None


def record(task: TaskName, folder: Path, count: int | None = None, *, otherwise: str = "") -> None:
    """Record the demonstrations of a built-in task in the study's folder, if they are not there.

    Args:
        task: Task.
        folder: The study's folder.
        count: Number of demonstrations. Default: the study's own.
        otherwise: What else can be done where demonstrations of people are missing. Default: leave the task out.

    Raises:
        DataError: The task has demonstrations of people, and they are not in the folder of data sets.
    """
    path = _place(task, folder, otherwise)
    if path.exists():
        return
    count = count or DEMONSTRATIONS[task]
    path.parent.mkdir(parents=True, exist_ok=True)
    if task == "fork":
        write(fork_demonstrations(count, rng=stream(0, "study", "fork")), path)
        return
    system = Quadrotor2D()
    starts = system.initial_states(count, rng=stream(0, "study real-time", "demonstrations"))
    shown = MpcExpert(system).rollout(starts, system.steps)
    write(Episodes.of(shown, dt=system.dt, system=system.name), path)


@cache
def demonstrations_of(task: TaskName, folder: Path) -> Episodes:
    """The demonstrations, read once per process."""
    return read(_place(task, folder))


def _place(task: TaskName, folder: Path, otherwise: str = "") -> Path:
    if task in ("pusht", "pusht-noise", "avoid"):
        return people_showed(environment_of(task), folder, otherwise=otherwise)
    return folder / "data" / f"{task}.npz"


def of_one_side(episodes: Episodes) -> Episodes:
    """The demonstrations that pass the fork on the left."""
    return select(episodes, [number for number, side in enumerate(episodes.meta["modes"]) if side == 0])


def answered_late(episodes: Episodes, lag: int) -> Episodes:
    """Demonstrations in which the action at each step answers the observation of `lag` steps ago."""
    shown = [episodes.trajectory(index) for index in range(len(episodes))]
    actions = torch.stack([one.actions[lag:] for one in shown])
    states = torch.stack([one.states[: one.states.shape[0] - lag] for one in shown])
    late = Episodes.of(Trajectory(actions=actions, states=states), dt=episodes.dt, system=episodes.system)
    return replace(late, names=episodes.names)


@dataclass(frozen=True)
class Flight:
    """Flights of a policy, with what each start brought: whether the episode was solved, and the task's own score."""

    rollout: Rollout
    solved: Bool[Tensor, " b"]
    score: Float[Tensor, " b"]


def flown(
    task: TaskName,
    policy: Actor,
    *,
    count: int,
    seed: int,
    action_delay: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Flight:
    """Flights from the starts of the study, the same for every policy, in the same gusts.

    An episode of the quadrotor is solved if it ends within 0.5 of the goal; the other tasks say it themselves.
    """
    options: dict[str, Any] = {"seed": seed, "action_delay": action_delay, "on_step": on_step}
    if task == "quadrotor2d":
        return _in_gusts(policy, count, options)
    environment = make_environment(environment_of(task), count)
    if task == "pusht-noise":
        assert isinstance(policy, Policy)
        policy = Disrupted(policy)
    try:
        found = rollout(policy, environment, starts=range(FIRST_SEED, FIRST_SEED + count), **options)
        assert found.success is not None
        return Flight(found, found.success, scores_of(found, environment))
    finally:
        environment.close()


def _in_gusts(policy: Actor, count: int, options: dict[str, Any]) -> Flight:
    system = Quadrotor2D()
    places = system.initial_states(count, rng=stream(0, "study real-time", "untouched starts"))
    found = rollout(policy, SystemEnvironment(system), starts=places, disturbance=_gusts(system, count), **options)
    goal = system.equilibrium()[0]
    solved = ((found.trajectory.states[:, -1] - goal).square().sum(-1).sqrt() < NEAR) & ~found.escaped
    return Flight(found, solved, solved.double())


def _gusts(task: Task, count: int) -> Float[Tensor, "b t n"]:
    noise = torch.randn(
        count, task.steps, task.n_states, dtype=torch.float64, generator=stream(0, "study real-time", "untouched gusts")
    )
    return noise * torch.tensor([0.0] * 3 + [GUST] * 3, dtype=torch.float64)
