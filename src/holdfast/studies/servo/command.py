"""Study servo as a command."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ...errors import RecipeError, at_least
from ..engine.jobs import run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..families.plan import pusht_data
from .job import Cell, ServoJob, recipe_of, shape_of, shown_of, work
from .named import task_named
from .page import servo_result
from .plan import comparisons_of, groups_of, rankings_of, rows_of
from .tasks import TaskName

RATIOS = (0.5, 1.0, 2.0)
"""Damping ratios of the quick preset."""
DEMOS: dict[TaskName, tuple[int, int]] = {"reach": (20, 50), "quadrotor2d": (10, 20), "pusht": (206, 206)}
"""Number of demonstrations in quick and in full."""
UPDATES: dict[TaskName, tuple[int, int]] = {
    "reach": (800, 8000),
    "quadrotor2d": (800, 8000),
    "pusht": (2000, 20_000),
}
"""Number of updates in quick and in full."""
STARTS: dict[TaskName, tuple[int, int]] = {"reach": (200, 400), "quadrotor2d": (200, 400), "pusht": (20, 100)}
"""Number of starts in quick and in full."""

SEEDS: dict[TaskName, tuple[int, int]] = {"reach": (5, 10), "quadrotor2d": (5, 10), "pusht": (3, 5)}
"""Number of seeds in quick and in full."""
TOGETHER = 9
"""Largest number of trainings that run as one program."""


@dataclass(frozen=True)
class Servo(PooledStudy):
    """Stiffness and damping of the servo under a policy: which make cloning easy, and whether a formula ranks them.

    Policies command a servo by targets. For each pair of stiffness and damping ratio, the targets are recomputed so
    that the servo passes through the same demonstrated states, and the same regression is trained on them: on the
    double integrator (reach), on the quadrotor under a position servo, and on Push-T, whose servo can be set.
    Measured are score, validation loss, contraction (how much of a displacement is left) and the amplification of
    errors, and how well each ranks the servos (arXiv 2604.02523, arXiv 2604.14484).
    """

    tasks: tuple[TaskName, ...] = ("reach", "quadrotor2d", "pusht")
    """Tasks: reach (a point mass), quadrotor2d, pusht."""
    data: Path | None = None
    """Demonstrations of Push-T. Default: pusht/pusht_cchi_v7_replay.zarr, those of Diffusion Policy, in the folder
    given by the environment variable HOLDFAST_DATA, or else in ../shared/data. For other data choose another --out,
    because the measurements stored in it would be used again."""
    seeds: int | None = None
    """Number of training seeds. Default: 5 for reach and the quadrotor and 3 for Push-T in quick; 10 and 5 in full."""
    steps: int | None = None
    """Number of parameter updates of each training. Default: 800 for reach and the quadrotor and 2000 for Push-T in
    quick; 8000 and 20000 in full."""
    starts: int | None = None
    """Number of episodes of each policy. Default: 200 for reach and the quadrotor and 20 for Push-T in quick; 400
    and 100 in full."""

    def jobs(self) -> list[ServoJob]:
        """One job for each seed, task and servo; seeds are outermost, so that an interrupted study has whole seeds.

        Raises:
            DataError: The demonstrations of Push-T do not exist.
            RecipeError: A number is below 1, or data are given without a task that reads them.
        """
        if self.data is not None and "pusht" not in self.tasks:
            raise RecipeError(
                "--data are demonstrations of Push-T, which --tasks leaves out. Add pusht, or omit --data."
            )
        full = self.preset == "full"
        if self.seeds is not None:
            at_least(1, seeds=self.seeds)
        seeds: dict[TaskName, int] = {task: self.seeds or SEEDS[task][full] for task in self.tasks}
        found = list[ServoJob]()
        for seed in range(max(seeds.values(), default=0)):
            for task, count in seeds.items():
                found += self._jobs_of(task, seed, full) if seed < count else []
        return found

    def _jobs_of(self, task: TaskName, seed: int, full: bool) -> list[ServoJob]:
        updates = UPDATES[task][full] if self.steps is None else self.steps
        starts = STARTS[task][full] if self.starts is None else self.starts
        at_least(1, steps=updates, starts=starts)
        data = str((self.data or pusht_data("give a file with --data")).resolve()) if task == "pusht" else ""
        return [
            ServoJob(task, stiffness, ratio, seed, DEMOS[task][full], updates, starts, data)
            for stiffness in between(task_named(task).stiffness, full)
            for ratio in between(RATIOS, full)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        firsts = {job.task: job for job in reversed(jobs)}
        recipes = {task: recipe_of(job, shown_of(job)[0]) for task, job in firsts.items()}
        done = stage("servos and seeds", len(jobs))
        found = run_jobs(jobs, work, folder, Cell, alike=shape_of, size=TOGETHER, workers=self.workers, on_done=done)
        groups = groups_of(jobs, found)
        return servo_result(rows_of(groups), comparisons_of(groups), rankings_of(groups), recipes=recipes)


def between(levels: Sequence[float], finer: bool) -> tuple[float, ...]:
    """Levels of a grid; of a finer one also the geometric means of neighbours.

    >>> between((1.0, 4.0, 16.0), True)
    (1.0, 2.0, 4.0, 8.0, 16.0)
    """
    if not finer:
        return tuple(levels)
    means = [math.sqrt(low * high) for low, high in pairwise(levels)]
    return tuple(sorted([*levels, *means]))
