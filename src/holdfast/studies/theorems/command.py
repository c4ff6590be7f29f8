"""Study theorems as a command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.jobs import each, run_jobs
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from .page import theorems_result
from .plan import GRID, Setting, TheoremJob, jobs_of, measure


@dataclass(frozen=True)
class Theorems(PooledStudy):
    """Bounds of the theory compared with measured imitation losses on scalar, linear and quadrotor systems.

    The bounds are those of Block et al. 2023 (arXiv 2307.14619), with the constants derived in docs/theory.md.
    """

    settings: tuple[Setting, ...] = tuple(GRID)
    """Systems and theorems to measure: contractive is the theorem of the talk on Block et al., on a stable scalar
    system without chunks; plain is Theorem 1, on a double integrator; the others are Theorem 2, on the system that they
    name (scalar is an unstable one, and on the quadrotor the bound holds to first order). Names that contain spaces
    need quotes."""
    rollouts: int | None = None
    """Number of rollouts of expert and policy for each system, noise level, chunk length and error of the policy.
    Default: 600 in quick; 2000 in full."""
    seed: int = 0
    """Random seed of the rollouts."""

    def jobs(self) -> list[TheoremJob]:
        """All cells; full has twice as many tolerances."""
        quick = self.preset == "quick"
        count = self.rollouts or (600 if quick else 2000)
        jobs = [jobs_of(setting, quick=quick, count=count, seed=self.seed) for setting in self.settings]
        return [job for some in jobs for job in some]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        jobs = self.jobs()
        results = run_jobs(
            jobs, each(measure), folder, dict[str, Any], workers=self.workers, on_done=stage("cells", len(jobs))
        )
        return theorems_result([row for rows in results for row in rows])
