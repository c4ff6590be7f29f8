"""Trainings of study servo and their rollouts: one servo of one task with one seed.

    demonstrations ──► targets of the servo ──► training ──► rollouts under the servo
         │                   │                      │
         same states         tracking error         validation loss on held-out demonstrations

Regression of chunks of targets is trained with the same network, batches and number of updates for every servo. Its
plans are executed in chunks and, without another training, with a new plan at every step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

from ...data import Actions, split
from ...envs import FIRST_UNTOUCHED_SEED, rollout
from ...errors import DivergedError
from ...learn import TrainingSet, prepare, train_variants_to_end
from ...models import Regression
from ...nn import FilmMlp
from ...policy import Execution, Planner, Policy, PolicySpec
from ...recipe import Recipe, Training
from ...seeding import stream
from ...types import Episodes
from ..engine.jobs import key_of
from .laws import Gains
from .measures import DISPLACEMENT, WITHIN, servo_measures, target_errors
from .named import task_named
from .tasks import ServoTask, TaskName

WIDTHS: dict[TaskName, int] = {"reach": 128, "quadrotor2d": 128, "pusht": 256}
"""Width of the three layers of the network."""
HELD_OUT = 0.2
"""Share of the demonstrations on which the validation loss is measured."""


@dataclass(frozen=True)
class ServoJob:
    """One training.

    Attributes:
        task: Name of the task.
        stiffness: Stiffness of the servo [1/s²].
        ratio: Its damping ratio.
        seed: Seed of the demonstrations and of the training.
        demos: Number of demonstrations; Push-T has its 206.
        updates: Number of updates.
        starts: Number of starts.
        data: Place of the demonstrations of Push-T; empty for other tasks.
    """

    task: TaskName
    stiffness: float
    ratio: float
    seed: int
    demos: int
    updates: int
    starts: int
    data: str = ""

    @property
    def gains(self) -> Gains:
        return Gains(self.stiffness, self.ratio)

    @property
    def key(self) -> str:
        # the place of the data is no setting; a study's folder belongs to one data set
        label = f"{self.task}-k{self.stiffness:g}-z{self.ratio:g}-seed{self.seed}"
        return key_of(label, replace(self, data=""), FIRST_UNTOUCHED_SEED, HELD_OUT, DISPLACEMENT, WITHIN)


@dataclass(frozen=True)
class Cell:
    """Episodes of one policy in one way of execution, and what is known of its servo.

    Attributes:
        executed: Number of steps of a chunk that are executed before the next plan.
        success: 1 for each solved episode, otherwise 0.
        score: Score of each episode.
        loss: Validation loss: mean squared error of the targets that are executed in chunks [unit²].
        relative_loss: The same in units of half the range of the training targets.
        tracking: Root mean square tracking error of the demonstrations [unit].
        remaining: Share of a displacement that is left; see `ServoMeasures`.
        amplification: Amplification of the errors of the targets.
        variance: Amplification times validation loss [unit²].
        stationary: Stationary amplification of the canonical servo.
        train_seconds: Share of the duration of the trainings that ran together [s].
    """

    executed: int
    success: list[float]
    score: list[float]
    loss: float
    relative_loss: float
    tracking: float
    remaining: float
    amplification: float
    variance: float
    stationary: float
    train_seconds: float


def work(jobs: Sequence[ServoJob]) -> Iterator[tuple[ServoJob, list[dict[str, Any]]]]:
    """Both cells of each job, as plain values; the trainings of one shape run as one program.

    Raises:
        DivergedError: The loss of a training was not finite; the results of the others are stored first.
    """
    made = [_Made.of(job) for job in jobs]
    started = perf_counter()
    variants = train_variants_to_end([one.recipe for one in made], [one.data for one in made])
    seconds, failed = (perf_counter() - started) / len(jobs), list[str]()
    for index, one in enumerate(made):
        try:
            planner = variants.planner(index)
        except DivergedError as error:
            failed.append(f"{one.job.key}: {error}")
            continue
        yield one.job, [asdict(cell) for cell in _cells(one, planner, seconds)]
    if failed:
        raise DivergedError("\n".join(failed))


def shape_of(job: ServoJob) -> str:
    """Name of a job's shape: jobs of one shape can be trained as one program."""
    return f"{job.task} {job.updates}"


def recipe_of(job: ServoJob, shown: Episodes) -> Recipe:
    """Recipe of a training; plans are limited to the range of the training targets."""
    task, width = task_named(job.task, job.data), WIDTHS[job.task]
    low, high = (tuple(float(value) for value in ends) for ends in (shown.actions.amin(0), shown.actions.amax(0)))
    spec = PolicySpec(
        n_states=shown.states.shape[1],
        n_actions=shown.actions.shape[1],
        n_observed=shown.observed.vector.shape[1],
        codec=Actions(),
        model=Regression(network=FilmMlp(widths=(width,) * 3, activation="mish", linear_skip=True, bounded=False)),
        n_obs_steps=task.n_obs_steps,
        horizon=2 * task.executed,
        execution=Execution(n_action_steps=task.executed, action_low=low, action_high=high),
    )
    training = Training(steps=job.updates, batch_size=64, warmup_steps=min(100, job.updates // 4), ema_decay=0.99)
    return Recipe(policy=spec, training=training, seed=job.seed)


def shown_of(job: ServoJob) -> tuple[Episodes, Episodes, float]:
    """Demonstrations with a servo's targets, to train on and held out, and the tracking error; same split for all."""
    task = task_named(job.task, job.data)
    made = task.retargeted(task.demonstrations(job.demos, job.seed), job.gains)
    shown, held_out = split(made.episodes, held_out=HELD_OUT, rng=stream(job.seed, "study servo", "held out"))
    return shown, held_out, made.tracking


@dataclass(frozen=True, eq=False)
class _Made:
    """A job with its data."""

    job: ServoJob
    recipe: Recipe
    data: TrainingSet
    held_out: Episodes
    tracking: float

    @staticmethod
    def of(job: ServoJob) -> "_Made":
        shown, held_out, tracking = shown_of(job)
        recipe = recipe_of(job, shown)
        return _Made(job, recipe, prepare(recipe, shown), held_out, tracking)


def _cells(made: _Made, planner: Planner, seconds: float) -> Iterator[Cell]:
    job, task = made.job, task_named(made.job.task, made.job.data)
    errors = target_errors(planner, made.held_out, task.executed)
    measures = asdict(servo_measures(task, made.held_out, job.gains, errors))
    for executed in (task.executed, 1):
        policy = Policy(planner, execution=replace(made.recipe.policy.execution, n_action_steps=executed))
        success, score = _episodes(task, job, policy)
        yield Cell(
            executed=executed,
            success=success,
            score=score,
            loss=float(errors.mean()),
            relative_loss=float((errors / planner.code_scale.half.double().square()).mean()),
            tracking=made.tracking,
            train_seconds=seconds,
            **measures,
        )


def _episodes(task: ServoTask, job: ServoJob, policy: Policy) -> tuple[list[float], list[float]]:
    environment = task.environment(job.gains, job.starts)
    try:
        found = rollout(policy, environment, starts=task.starts(job.starts), seed=job.seed)
    finally:
        environment.close()
    return task.solved(found), task.score(found)
