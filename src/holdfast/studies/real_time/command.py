"""Study real-time as a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from ...errors import RecipeError
from ...learn import load_recipe
from ..engine.jobs import run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from .job import HUMAN, RealTimeJob, TrainedArm, recipe_of
from .page import real_time_result
from .plan import Cell, fly_job
from .summary import by_place, comparisons_of, rows_of
from .tasks import TaskName, record

ARMS: tuple[tuple[TaskName, TrainedArm, int], ...] = (
    ("fork", "flow", 0),
    ("fork", "flow-prefix", 0),
    ("fork", "mixture", 0),
    ("fork", "streaming", 0),
    ("fork", "regression", 0),
    ("fork", "flow-one-side", 0),
    ("fork", "mixture-one-side", 0),
    ("quadrotor2d", "flow", 0),
    ("quadrotor2d", "flow-gains", 0),
    ("fork", "one-step", 0),
    ("fork", "one-step", 4),
    ("fork", "one-step", 8),
    ("pusht", "flow-prefix", 0),
    ("pusht-noise", "flow-prefix", 0),
    ("avoid", "flow-prefix", 0),
    ("avoid", "flow-gains", 0),
)
"""Policies of the study: task, policy, and the age of the observation that a one-step policy answers."""


@dataclass(frozen=True)
class RealTime(PooledStudy):
    """What inference delay costs, and what each way to act meanwhile gives back, on five tasks.

    On the fork, a fast point mass in gusts passes a disc on its left or its right; the quadrotor flies in gusts, with
    raw actions and with gains; Push-T and Avoid have human demonstrations, in the folder given by the environment
    variable HOLDFAST_DATA. Policies plan 16 steps and execute 8 of them between plans; a plan arrives d control steps
    after its observation. On the fork and the quadrotor every --realtime method that a family supports is measured at
    every delay, with two exceptions: residual only for flow and flow-gains, and for policies of one side only naive,
    guided, conditioned and forward. On Push-T and Avoid the methods are naive, guided, conditioned or trained
    (whichever the family supports), and residual. All have the same starts in the same gusts; the starts played no part
    in any choice. In addition, one-step policies that answer the observation of k steps ago are compared with chunks of
    k steps (arXiv 2608.02547).
    """

    seeds: int | None = None
    """Number of training seeds. Default: 2 in quick; 5 in full."""
    steps: int | None = None
    """Number of parameter updates per training run on the fork and the quadrotor. Default: 3000 in quick; 12000 in
    full."""
    starts: int | None = None
    """Number of episodes for each training run, method and delay on the fork and the quadrotor. Default: 200 in quick;
    400 in full."""
    tasks: tuple[TaskName, ...] = ()
    """Tasks: fork, quadrotor2d, pusht, pusht-noise (Push-T with the action noise of Bidirectional Decoding) and avoid.
    Default: all but pusht-noise in quick; all in full."""
    arms: tuple[TrainedArm, ...] = (
        "flow",
        "flow-prefix",
        "mixture",
        "streaming",
        "regression",
        "flow-one-side",
        "mixture-one-side",
        "flow-gains",
        "one-step",
    )
    """Policies to train. On fork: flow, mixture, streaming, regression, one-step (which answers an old observation with
    a single action), flow-prefix (trained with --prefix-delays), and flow-one-side and mixture-one-side (trained on one
    side of the disc only, which shows how much of the cost of delay is due to the two sides). On quadrotor2d: flow and
    flow-gains. On pusht: flow-prefix. On avoid: flow-prefix and flow-gains."""
    delays: tuple[str, ...] = ()
    """Inference delays on the fork and the quadrotor [control steps], at most 8; "0-4" is drawn anew for each plan.
    Default: 0 2 4 8 0-4 0-8 in quick; 0 to 8, 0-2, 0-4, 0-6 and 0-8 in full."""
    stored: Annotated[tuple[Path, ...], tyro.conf.arg(name="run", metavar="RUN")] = ()
    """Run folders of policies of Push-T or Avoid, in place of training runs on their tasks; several of one task count
    as seeds. The method residual is measured for those with a correction (`train --residual`). Default: none, and
    policies are trained."""
    human_steps: int | None = None
    """Number of parameter updates per training run on Push-T and Avoid. Default: 12000 in quick; 50000 in full."""
    human_starts: int | None = None
    """Number of episodes for each training run, method and delay on Push-T and Avoid. Default: 20 in quick; 100 in
    full."""
    human_delays: tuple[str, ...] = ()
    """Inference delays on Push-T and Avoid. Default: 0 4 in quick; 0 2 4 8 0-8 in full."""

    def jobs(self) -> list[RealTimeJob]:
        """All trainings."""
        quick, tasks = self.preset == "quick", self._tasks()
        stored = [job for number, folder in enumerate(self.stored) for job in self._stored(number, folder)]
        replaced = {job.task for job in stored}
        # seeds outermost: an interrupted study has whole seeds
        return stored + [
            self._job(seed, *arm)
            for seed in range(self.seeds or (2 if quick else 5))
            for arm in ARMS
            if arm[0] in tasks and arm[1] in self.arms and arm[0] not in replaced
        ]

    def _tasks(self) -> tuple[TaskName, ...]:
        return self.tasks or (_QUICK_TASKS if self.preset == "quick" else (*_QUICK_TASKS, "pusht-noise"))

    def _job(self, seed: int, task: TaskName, arm: TrainedArm, lag: int) -> RealTimeJob:
        quick = self.preset == "quick"
        if task in HUMAN:
            return RealTimeJob(task, arm, seed, self.human_steps or (12_000 if quick else 50_000), *self._human(quick))
        delays = () if arm == "one-step" else self.delays or (_QUICK if quick else _FULL)
        updates, starts = self.steps or (3000 if quick else 12_000), self.starts or (200 if quick else 400)
        return RealTimeJob(task, arm, seed, updates, starts, delays, lag)

    def _human(self, quick: bool) -> tuple[int, tuple[str, ...]]:
        """Starts and delays on Push-T and Avoid."""
        delays = ("0", "4") if quick else ("0", "2", "4", "8", "0-8")
        return self.human_starts or (20 if quick else 100), self.human_delays or delays

    def _stored(self, number: int, folder: Path) -> list[RealTimeJob]:
        """Flights of a stored policy on its task, and, if asked for, also with action noise."""
        recipe = load_recipe(folder)
        task, elsewhere = recipe.environment, f"holdfast evaluate {folder} --delay D --realtime WAY"
        if recipe.policy.vision is not None:
            raise RecipeError(
                f"{folder} sees pictures, and the study shows none. Remove it from --run, and measure it with: "
                f"{elsewhere}"
            )
        if task not in ("pusht", "avoid"):
            raise RecipeError(
                f"{folder} is a policy of {task or 'an unnamed task'}; --run takes policies of the environments pusht "
                f"and avoid. Remove it from --run, and measure it with: {elsewhere}"
            )
        place = str(folder.resolve())
        tasks: list[TaskName] = [task]
        if task == "pusht" and "pusht-noise" in self._tasks():
            tasks.append("pusht-noise")
        options = self._human(self.preset == "quick")
        return [RealTimeJob(one, "run", number, 0, *options, run=place) for one in tasks]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        if not (jobs := self.jobs()):
            raise RecipeError(
                f"no policy of {', '.join(self.arms)} belongs to {', '.join(self._tasks())}. The quadrotor has flow "
                "and flow-gains, Push-T flow-prefix, Avoid flow-prefix and flow-gains, the fork all but flow-gains."
            )
        # what people showed first, so that a missing file is found before anything is recorded
        tasks = list[TaskName](dict.fromkeys(job.task for job in jobs))
        tasks.sort(key=lambda task: task not in HUMAN)
        given = {job.task: f"remove --run {job.run}" for job in jobs if job.run}
        recorded = stage("demonstrations", len(tasks))
        for done, task in enumerate(tasks, start=1):
            record(task, folder, otherwise=given.get(task, ""))
            recorded(done)
        return run_real_time(jobs, folder, stage, workers=self.workers)


_QUICK_TASKS: tuple[TaskName, ...] = ("fork", "quadrotor2d", "pusht", "avoid")
_QUICK = ("0", "2", "4", "8", "0-4", "0-8")
_FULL = (*map(str, range(9)), "0-2", "0-4", "0-6", "0-8")


def run_real_time(
    jobs: Sequence[RealTimeJob], folder: Path, stage: Stage, *, workers: int | None = None
) -> StudyResult:
    """Run all jobs and summarise them."""
    found = run_jobs(
        jobs, partial(fly_job, folder), folder, Cell, workers=workers, on_done=stage("training runs", len(jobs))
    )
    cells = by_place(jobs, found)
    return real_time_result(
        rows_of(cells), comparisons_of(cells), recipes={f"{job.task}, {job.arm}": recipe_of(job) for job in jobs}
    )
