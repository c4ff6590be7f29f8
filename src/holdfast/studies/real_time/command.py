"""Study real-time as a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RecipeError
from ..engine.jobs import run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from .page import real_time_result
from .plan import ArmName, Cell, RealTimeJob, fly_job, recipe_of
from .summary import by_place, comparisons_of, rows_of
from .tasks import TaskName, record

ARMS: tuple[tuple[TaskName, ArmName, int], ...] = (
    ("fork", "flow", 0),
    ("fork", "mixture", 0),
    ("fork", "streaming", 0),
    ("fork", "regression", 0),
    ("quadrotor2d", "flow", 0),
    ("quadrotor2d", "flow-gains", 0),
    ("fork", "one-step", 0),
    ("fork", "one-step", 4),
    ("fork", "one-step", 8),
)
"""Policies of the study: task, policy, and the age of the observation that a one-step policy answers."""


@dataclass(frozen=True)
class RealTime(PooledStudy):
    """What inference delay costs, and what each way to act meanwhile gives back, on a fork and on the 2-D quadrotor.

    On the fork, a fast point mass in gusts passes a disc on its left or its right. Policies plan 16 steps and execute 8
    of them between plans; a plan arrives d control steps after its observation. Every way of --realtime that a family
    can do is measured at every delay, from the same starts in the same gusts. Beside it, one-step policies that answer
    the observation of k steps ago are compared with chunks of k steps (arXiv 2608.02547).
    """

    seeds: int | None = None
    """Number of training seeds. Default: 2 in quick; 5 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 3000 in quick; 12000 in full."""
    starts: int | None = None
    """Number of episodes for each training, way and delay. Default: 100 in quick; 400 in full."""
    tasks: tuple[TaskName, ...] = ("fork", "quadrotor2d")
    """Tasks."""
    arms: tuple[ArmName, ...] = ("flow", "mixture", "streaming", "regression", "flow-gains", "one-step")
    """Policies: families on the fork, flow with raw actions and with gains on the quadrotor, and one-step policies."""
    delays: tuple[str, ...] = ()
    """Inference delays [control steps], at most 8; "0-4" is drawn anew for each plan. Default: 0 2 4 8 0-4 0-8 in
    quick; 0 to 8, 0-2, 0-4, 0-6 and 0-8 in full."""

    def jobs(self) -> list[RealTimeJob]:
        """All trainings."""
        quick = self.preset == "quick"
        count, starts = self.seeds or (2 if quick else 5), self.starts or (100 if quick else 400)
        delays = self.delays or (_QUICK if quick else _FULL)
        updates = self.steps or (3000 if quick else 12_000)
        # seeds outermost: an interrupted study has whole seeds
        return [
            RealTimeJob(task, arm, seed, updates, starts, () if arm == "one-step" else delays, lag)
            for seed in range(count)
            for task, arm, lag in ARMS
            if task in self.tasks and arm in self.arms
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        if not (jobs := self.jobs()):
            raise RecipeError(
                f"no policy of {', '.join(self.arms)} belongs to {', '.join(self.tasks)}. The quadrotor has flow and "
                "flow-gains, the fork has the others and flow."
            )
        recorded = stage("demonstrations", len(self.tasks))
        for done, task in enumerate(self.tasks, start=1):
            record(task, folder)
            recorded(done)
        return run_real_time(jobs, folder, stage, workers=self.workers)


_QUICK = ("0", "2", "4", "8", "0-4", "0-8")
_FULL = (*map(str, range(9)), "0-2", "0-4", "0-6", "0-8")


def run_real_time(
    jobs: Sequence[RealTimeJob], folder: Path, stage: Stage, *, workers: int | None = None
) -> StudyResult:
    """Run all jobs and summarise them."""
    found = run_jobs(
        jobs, partial(fly_job, folder), folder, Cell, workers=workers, on_done=stage("trainings", len(jobs))
    )
    cells = by_place(jobs, found)
    return real_time_result(
        rows_of(cells), comparisons_of(cells), recipes={f"{job.task}, {job.arm}": recipe_of(job) for job in jobs}
    )
