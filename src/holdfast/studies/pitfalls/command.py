"""Study pitfalls as a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from .page import pitfalls_result
from .plan import CHUNK, SIGMA, Checked, FamilyKind, PitfallJob, by_arm, check_job, recipe_of
from .summary import comparisons_of, curves_of, rows_of


@dataclass(frozen=True)
class Pitfalls(PooledStudy):
    """Regression, diffusion, noise and chunks on two systems whose demonstrations are identical.

    Off the demonstrations, an action that is safe in one of the systems is unsafe in the other. Since the
    demonstrations do not show which of the two it is, every learner is unsafe in at least one of them, and its errors
    grow there. Measures how fast they grow in the worse of the two. Regression and diffusion are each trained in three
    variants: single actions without noise; single actions with noise in training, which are run both with this noise at
    deployment and without; and chunks of 8 actions without noise, of which 1, 4 or 8 are executed. The pair of systems
    is our own; the mechanism is that of Simchowitz, Pfrommer and Jadbabaie 2025 (arXiv 2503.09722).
    """

    seeds: int | None = None
    """Number of training seeds. Default: 5 in quick; 10 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 1000 in quick; 10000 in full."""

    def jobs(self) -> list[PitfallJob]:
        """All training runs."""
        quick = self.preset == "quick"
        count, updates = self.seeds or (5 if quick else 10), self.steps or (1000 if quick else 10_000)
        families: tuple[FamilyKind, ...] = ("diffusion", "regression")
        kinds: list[tuple[FamilyKind, int, float]] = [
            (family, *kind) for family in families for kind in ((1, 0.0), (1, SIGMA), (CHUNK, 0.0))
        ]
        return [PitfallJob(*kind, seed, updates) for kind in kinds for seed in range(count)]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        arms = run_trainings(jobs, folder, stage, workers=self.workers)
        return pitfalls_result(
            rows_of(arms),
            comparisons_of(arms),
            curves_of(arms),
            recipes={f"{job.family}, h = {job.horizon}, sigma = {job.sigma:g}": recipe_of(job) for job in jobs[::-1]},
        )


def run_trainings(
    jobs: Sequence[PitfallJob], folder: Path, stage: Stage, *, workers: int | None = None
) -> dict[str, list[list[Checked]]]:
    """Checkpoints of every arm, one list per seed."""
    results = run_jobs(
        jobs, each(check_job), folder, Checked, workers=workers, on_done=stage("training runs", len(jobs))
    )
    return by_arm(jobs, results)
