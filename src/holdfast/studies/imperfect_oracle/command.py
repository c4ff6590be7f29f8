"""Study imperfect-oracle as a command."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..engine.jobs import each, grouped
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import run_in_world, shared_world
from .oracles import Absent, Oracle, Perfect
from .page import imperfect_oracle_result
from .plan import (
    IN_FLIGHT,
    IN_TRAINING,
    Cell,
    OracleJob,
    OracleResult,
    comparisons_of,
    evaluate_oracle,
    problems_of,
    rows_of,
)


@dataclass(frozen=True)
class ImperfectOracle(PooledStudy):
    """Wrong, learned, scaled, delayed or no gains on the 2-D quadrotor: how good the synthesis must be.

    HINT (Block et al. 2023, arXiv 2307.14619) assumes stabilizing gains of the true dynamics. Some imperfections are in
    the gains that are computed for the demonstrations, and a new policy is trained for each: a mass that is wrong by a
    factor of 0.5 to 2, dynamics learned by locally linear models or by networks, gains multiplied by 0 to 2, and gains
    that belong to the demonstrated state 3 to 30 steps earlier. Others are only in the feedback at deployment of the
    policy that was trained with exact gains: gains multiplied by 0 to 2, and feedback on a state that is 1 to 3 steps
    late. Raw actions, without gains, are trained for comparison. Quick computes the gains by tvlqr, full by tvlqr and
    by receding.
    """

    seeds: int = 3
    """Number of training seeds; each seed also selects its demonstrations."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations. Default: 3 in quick; 1 3 10 in full."""
    sigma: float = 0.1
    """Standard deviation of the noise on observations, which are scaled to [-1, 1], in training and at deployment; raw
    actions, which it harms, are trained without noise."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 1500 in quick; 3000 in full."""

    def jobs(self, oracles: Sequence[Oracle] = IN_TRAINING, in_flight: Sequence[Oracle] = IN_FLIGHT) -> list[OracleJob]:
        """All training runs."""
        quick = self.preset == "quick"
        kinds: tuple[Gains, ...] = ("tvlqr",) if quick else ("tvlqr", "receding")
        counts, steps = self.demos or ((3,) if quick else (1, 3, 10)), self.steps or (1500 if quick else None)
        jobs = list[OracleJob]()
        for seed, count in itertools.product(range(self.seeds), counts):
            jobs.append(OracleJob(Arm("holdfast", count, "none", 0.0, seed, steps=steps), Absent(), (Absent(),)))
            for kind in kinds:
                arm = Arm("holdfast", count, kind, self.sigma, seed, steps=steps)
                jobs.append(OracleJob(arm, Perfect(), (Perfect(), *in_flight)))
                jobs += [OracleJob(arm, oracle, (oracle,)) for oracle in oracles]
        return jobs

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        shared_world(folder, self.preset)
        return run_oracles(self.jobs(), folder, stage, workers=self.workers)


def run_oracles(jobs: Sequence[OracleJob], folder: Path, stage: Stage, *, workers: int | None = None) -> StudyResult:
    """Work all jobs and summarize them."""
    work = each(partial(evaluate_oracle, folder))
    results = run_in_world(jobs, work, folder, OracleResult.of, stage, workers=workers)
    cells: dict[Cell, list[OracleResult]] = grouped(
        ((job.arm.gains, job.arm.n_demos, job.arm.sigma, oracle), result)
        for job, found in zip(jobs, results, strict=True)
        for oracle, result in zip(job.deployed, found, strict=True)
    )
    return imperfect_oracle_result(
        rows_of(cells),
        comparisons_of(cells),
        problems_of(cells),
        recipes={job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)},
    )
