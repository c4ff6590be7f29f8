"""Flights of study real-time: one training with every way that its family can do, at every delay.

A training is followed by flights from the same starts, in the same gusts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...errors import RecipeError
from ...learn import correct, initial_state, planner_of, prepare, train
from ...policy import Planner, Policy
from ...policy.realtime import (
    CORRECTION,
    WAYS,
    CorrectionRecipe,
    Corrects,
    Delay,
    Means,
    Naive,
    RealTime,
    Way,
    load_correction,
    way_named,
)
from ...recipe import Recipe
from ...types import Episodes
from .job import HUMAN, ONE_SIDE, RealTimeJob, recipe_of
from .seams import Seams
from .tasks import SCORED, Flight, answered_late, demonstrations_of, dynamics_of, flown, of_one_side

CHUNKS = "chunks"
"""Name, in the place of a way, of chunks without delay."""
LATE = "late"
"""Name, in the place of a way, of one-step policies that answer an old observation."""
LAGS = (4, 8)
"""Steps k of chunks that are compared with one-step policies that answer the observation of k steps ago."""
ONE_SIDE_WAYS = ("naive", "guided", "conditioned", "forward")
"""Ways that are run with demonstrations of one side of the fork."""
CORRECTED = (
    ("fork", "flow"),
    ("quadrotor2d", "flow"),
    ("quadrotor2d", "flow-gains"),
    ("pusht", "flow-prefix"),
    ("avoid", "flow-prefix"),
    ("avoid", "flow-gains"),
)
"""Tasks and policies for which a correction of every step is trained, for the way residual."""
HUMAN_WAYS = ("naive", "guided", "conditioned", "trained", "residual")
"""Ways that are run on Push-T and Avoid, where a flight takes longer."""
NOISE_WAYS = ("naive", "ensemble", "bid", "guided", "conditioned", "trained")
"""Ways that are run on Push-T with action noise."""


@dataclass(frozen=True)
class Cell:
    """Flights of one training in one way at one delay.

    Attributes:
        way: Name of the way, or `CHUNKS` or `LATE`.
        delay: Delay as on the command line; of `CHUNKS` and `LATE` the number of steps k.
        solved: Whether each episode was solved.
        score: The task's own score of each episode; empty where it is 1 for solved episodes and 0 for others.
        seam: Mean jump of the action at a switch of plans in each episode, in mean steps of the demonstrations'
            actions; `None` for episodes without a switch.
        sides: Side on which each episode passed the fork (0 left, 1 right); `None` where it did not.
    """

    way: str
    delay: str
    solved: list[bool]
    score: list[float]
    seam: list[float | None]
    sides: list[float | None]


def fly_job(folder: Path, jobs: Sequence[RealTimeJob]) -> Iterator[tuple[RealTimeJob, list[Cell]]]:
    """Train, and fly every way at every delay."""
    return ((job, list(_cells(job, folder))) for job in jobs)


def ways_of(
    planner: Planner, weaker: Planner | None, job: RealTimeJob, corrections: Corrects | None = None
) -> dict[str, Way]:
    """Every way that the policy can do, by name.

    A model that takes clean first steps does the same in the ways conditioned and trained, of which only the second is
    run.
    """
    dynamics = None if job.task in HUMAN else dynamics_of(job.task)
    means = Means(planner, planner.spec.execution, weaker=weaker, dynamics=dynamics, corrections=corrections)
    names = [name for name in _wanted(job) if not _twice(name, planner)]
    found = dict[str, Way]()
    for name in names:
        try:
            way = way_named(name, means)
            way.check(planner.model, planner.spec)
        except RecipeError:
            continue  # a way that this family cannot do has no row
        found[name] = way
    return found


def _wanted(job: RealTimeJob) -> Sequence[str]:
    if job.task == "pusht-noise":
        return NOISE_WAYS
    return HUMAN_WAYS if job.task in HUMAN else ONE_SIDE_WAYS if job.arm in ONE_SIDE else tuple(WAYS)


def _twice(name: str, planner: Planner) -> bool:
    return name == "conditioned" and planner.model.takes_clean_prefix


def _cells(job: RealTimeJob, folder: Path) -> Iterator[Cell]:
    episodes = demonstrations_of(job.task, folder)
    seams = Seams.of(episodes)
    if job.arm == "one-step":
        planner, _ = _trained(recipe_of(job), answered_late(episodes, job.lag))
        yield _flown(job, seams, Policy(planner), LATE, str(job.lag), action_delay=job.lag)
        return
    shown = of_one_side(episodes) if job.arm in ONE_SIDE else episodes
    planner, weaker = _stored(job) if job.run else _trained(recipe_of(job), shown)
    for name, way in ways_of(planner, weaker, job, _corrections(job, planner, episodes)).items():
        for delay in job.delays:
            policy = Policy(planner, realtime=RealTime(Delay.parse(delay), way))
            yield _flown(job, seams, policy, name, delay)
    if job.task == "pusht-noise":
        often = replace(planner.spec.execution, n_action_steps=1)
        policy = Policy(planner, execution=often, realtime=RealTime(Delay(0), Naive()))
        yield _flown(job, seams, policy, CHUNKS, "1")
    if job.task == "fork" and job.arm == "flow":
        for count in (1, *LAGS):
            execution = replace(planner.spec.execution, n_action_steps=count)
            yield _flown(job, seams, Policy(planner, execution=execution), CHUNKS, str(count))


def _stored(job: RealTimeJob) -> tuple[Planner, None]:
    """The policy of a run folder."""
    return Policy.from_pretrained(Path(job.run)).planner, None


def _corrections(job: RealTimeJob, planner: Planner, episodes: Episodes) -> Corrects | None:
    """The correction of every step: trained for some policies, that of the run folder if it has one, or none."""
    if job.run:
        folder = Path(job.run)
        return load_correction(folder, planner) if (folder / CORRECTION).exists() else None
    if (job.task, job.arm) not in CORRECTED:
        return None
    options = CorrectionRecipe(plans=8192, steps=min(3000, job.updates), seed=job.seed)
    return correct(planner, recipe_of(job), episodes, options)[0]


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
    found: Flight = flown(
        job.task, policy, count=job.starts, seed=job.seed, action_delay=action_delay, on_step=watch.note
    )
    sides = [float(side) for side in found.rollout.extra.get("mode", torch.full((job.starts,), torch.nan))]
    return Cell(
        way=way,
        delay=delay,
        solved=[bool(one) for one in found.solved],
        score=[float(one) for one in found.score] if job.task in SCORED else [],
        seam=watch.jumps(found.rollout),
        sides=[None if side != side else side for side in sides],
    )
