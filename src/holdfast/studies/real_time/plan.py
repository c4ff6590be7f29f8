"""Trainings of study real-time, and their flights with every way at every delay.

All policies plan chunks of H = 16 steps and execute s = 8 of them before the next plan is asked for. A training is
followed by flights from the same starts, in the same gusts, with every way that its family can do and every delay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import torch

from ...control import NoFeedback, Quadrotor2D, Tvlqr
from ...data import Actions, Affine
from ...errors import RecipeError
from ...learn import initial_state, planner_of, prepare, train
from ...models import Family, Flow, FlowSampler, Mixture, Regression, Streaming
from ...nn import FilmMlp, ResidualMlp
from ...policy import Execution, Planner, Policy, PolicySpec
from ...policy.realtime import WAYS, Delay, Means, RealTime, Way, way_named
from ...recipe import Recipe, Training
from ...types import Episodes
from ..engine.jobs import key_of
from .seams import Seams
from .tasks import DEMONSTRATIONS, GUST, TaskName, answered_late, demonstrations_of, dynamics_of, flown, solved

ArmName: TypeAlias = Literal["flow", "mixture", "streaming", "regression", "flow-gains", "one-step"]

H, S = 16, 8
"""Steps of a chunk, and steps between two plans."""
CHUNKS = "chunks"
"""Name, in the place of a way, of chunks without delay."""
LATE = "late"
"""Name, in the place of a way, of one-step policies that answer an old observation."""
LAGS = (4, 8)
"""Steps k of chunks that are compared with one-step policies that answer the observation of k steps ago."""


@dataclass(frozen=True)
class Cell:
    """Flights of one training in one way at one delay.

    Attributes:
        way: Name of the way, or `CHUNKS` or `LATE`.
        delay: Delay as on the command line; of `CHUNKS` and `LATE` the number of steps k.
        solved: Whether each episode was solved.
        seam: Mean jump of the action at a switch of plans in each episode, in mean steps of the demonstrations'
            actions; `None` for episodes without a switch.
        sides: Side on which each episode passed the fork (0 left, 1 right); `None` where it did not.
    """

    way: str
    delay: str
    solved: list[bool]
    seam: list[float | None]
    sides: list[float | None]


@dataclass(frozen=True)
class RealTimeJob:
    """One training and its flights.

    Attributes:
        delays: Delays at which every way is run.
        starts: Number of starts.
        lag: Age of the observation that a one-step policy answers.
    """

    task: TaskName
    arm: ArmName
    seed: int
    updates: int
    starts: int
    delays: tuple[str, ...]
    lag: int = 0

    def __post_init__(self) -> None:
        # before the demonstrations are flown and anything is trained
        for delay in self.delays:
            if (longest := Delay.parse(delay).largest) > min(S, H - S):
                raise RecipeError(
                    f"expected delays of at most {min(S, H - S)} steps, as {S} of {H} steps are executed between "
                    f"plans, got {longest}. Lower --delays."
                )

    @property
    def key(self) -> str:
        lag = f"-lag{self.lag}" if self.arm == "one-step" else ""
        label = f"{self.task}-{self.arm.replace(' ', '-')}{lag}-seed{self.seed}"
        return key_of(label, self, recipe_of(self), sorted(WAYS), GUST, DEMONSTRATIONS[self.task])


def recipe_of(job: RealTimeJob) -> Recipe:
    """Recipe of a training."""
    gains, once = job.arm == "flow-gains", job.arm == "one-step"
    size = 6 if job.task == "quadrotor2d" else 4
    execution = Execution(n_action_steps=1 if once else S, clip_observation=1.0 if gains else None)
    return Recipe(
        policy=PolicySpec(
            n_states=size,
            n_actions=2,
            n_observed=size,
            codec=Affine() if gains else Actions(),
            model=_family(job),
            n_obs_steps=1,
            horizon=1 if once else H,
            execution=execution,
        ),
        synthesis=_synthesis() if gains else NoFeedback(),
        training=Training(steps=job.updates, batch_size=128, warmup_steps=min(100, job.updates // 2), ema_decay=0.995),
        environment=job.task,
        seed=job.seed,
    )


def fly_job(folder: Path, jobs: Sequence[RealTimeJob]) -> Iterator[tuple[RealTimeJob, list[Cell]]]:
    """Train, and fly every way at every delay."""
    return ((job, list(_cells(job, folder))) for job in jobs)


def ways_of(planner: Planner, weaker: Planner, task: TaskName) -> dict[str, Way]:
    """Every way that the policy can do, by name."""
    means = Means(planner, planner.spec.execution, weaker=weaker, dynamics=dynamics_of(task))
    found = dict[str, Way]()
    for name in WAYS:
        try:
            way = way_named(name, means)
            way.check(planner.model, planner.spec)
        except RecipeError:
            continue  # a way that this family cannot do has no row
        found[name] = way
    return found


def _cells(job: RealTimeJob, folder: Path) -> Iterator[Cell]:
    episodes = demonstrations_of(job.task, folder)
    seams = Seams.of(episodes)
    if job.arm == "one-step":
        planner, _ = _trained(recipe_of(job), answered_late(episodes, job.lag))
        yield _flown(job, seams, Policy(planner), LATE, str(job.lag), action_delay=job.lag)
        return
    planner, weaker = _trained(recipe_of(job), episodes)
    for name, way in ways_of(planner, weaker, job.task).items():
        for delay in job.delays:
            policy = Policy(planner, realtime=RealTime(Delay.parse(delay), way))
            yield _flown(job, seams, policy, name, delay)
    if job.arm == "flow":
        for count in (1, *LAGS):
            execution = replace(planner.spec.execution, n_action_steps=count)
            yield _flown(job, seams, Policy(planner, execution=execution), CHUNKS, str(count))


def _trained(recipe: Recipe, episodes: Episodes) -> tuple[Planner, Planner]:
    """The policy, and a weaker one after a fifth of the updates."""
    data = prepare(recipe, episodes)
    first = last = initial_state(recipe, data)
    weaker = planner_of(recipe, data, first)
    for last in train(recipe, data, first):
        if last.step == recipe.training.steps // 5:
            weaker = planner_of(recipe, data, last)
    return planner_of(recipe, data, last), weaker


def _flown(job: RealTimeJob, seams: Seams, policy: Policy, way: str, delay: str, *, action_delay: int = 0) -> Cell:
    watch = seams.watch(policy)
    found = flown(job.task, policy, count=job.starts, seed=job.seed, action_delay=action_delay, on_step=watch.note)
    sides = [float(side) for side in found.extra.get("mode", torch.full((job.starts,), torch.nan))]
    return Cell(
        way=way,
        delay=delay,
        solved=[bool(one) for one in solved(job.task, found)],
        seam=watch.jumps(found),
        sides=[None if side != side else side for side in sides],
    )


def _family(job: RealTimeJob) -> Family:
    residual = ResidualMlp(width=128, blocks=2)
    match job.arm:
        case "mixture":
            return Mixture(residual, components=8)
        case "streaming":
            return Streaming(residual)
        case "regression":
            return Regression(residual)
        case "flow" | "flow-gains" | "one-step":
            if job.task == "fork":
                return Flow(residual, prediction="sample", sampler=FlowSampler(steps=10, eta=1.0))
            film = FilmMlp(widths=(256, 128, 128, 64), activation="mish", linear_skip=True, bounded=False)
            return Flow(film, prediction="sample", sampler=FlowSampler(steps=5))
        case _:
            assert_never(job.arm)


def _synthesis() -> Tvlqr:
    """Gains for the expert's cost."""
    state, action = (tuple(float(value) for value in weight.diagonal()) for weight in Quadrotor2D().weights())
    return Tvlqr(state_weight=state, action_weight=action)
