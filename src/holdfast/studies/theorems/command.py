"""Study theorems as a command."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..engine.stored_types import typed_row
from .page import theorems_result
from .plan import SETTINGS, Name, TheoremJob, TheoremRow, jobs_of, measure


@dataclass(frozen=True)
class Theorems(PooledStudy):
    """Bounds of the theory compared with measured imitation losses on scalar, linear and quadrotor systems.

    The bounds are those of Block et al. 2023 (arXiv 2307.14619) and of Max Simchowitz's talk "Continuous-Token Behavior
    Cloning: Pitfalls and Promises" (slides without date or place), with the constants derived in docs/theory.md.
    Nothing is trained: the policy is made from the expert by adding an error of known size, either a constant bias of
    every action or plan, or a large error of a plan with a small probability. The measured imitation loss is compared
    with the bound that the theorem gives for this error.
    """

    settings: tuple[Name, ...] = tuple(SETTINGS)
    """Systems and theorems to measure: contractive is the theorem of the talk, on a stable scalar system without
    chunks; plain is Theorem 1 of the paper, on a double integrator. The others are its Theorem 2: scalar on an unstable
    scalar system, double-integrator on a double integrator, quadrotor and quadrotor-short-chunks on the quadrotor,
    where the bound holds to first order. The chunks of quadrotor have 200 steps, those of quadrotor-short-chunks 8,
    which are too few for an assumption of the theorem."""
    rollouts: int | None = None
    """Number of rollouts of expert and policy for each system, noise level, chunk length and error of the policy.
    Default: 600 in quick; 2000 in full."""
    seed: int = 0
    """Random seed of the rollouts."""

    def jobs(self) -> list[TheoremJob]:
        """All cells; full has twice as many tolerances."""
        quick = self.preset == "quick"
        count = self.rollouts or (600 if quick else 2000)
        jobs = [jobs_of(SETTINGS[name], quick=quick, count=count, seed=self.seed) for name in self.settings]
        return [job for some in jobs for job in some]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        results = run_jobs(
            jobs, each(measure), folder, typed_row(TheoremRow), workers=self.workers, on_done=stage("cells", len(jobs))
        )
        return theorems_result([row for rows in results for row in rows])
