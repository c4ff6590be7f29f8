"""Study long-horizon as a command."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RecipeError
from ..engine.jobs import grouped
from ..engine.options import PooledStudy, Stage
from ..engine.pool import run_missing
from ..engine.result import StudyResult
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import run_in_world, shared_world, world_of
from ..quadrotor.run_arms import GROUP, shape_of
from .page import long_horizon_result
from .plan import AIRS, BLOCKS, Air, Arms, LongFlight, LongJob, evaluate_long, expert_flights, expert_path
from .summary import comparisons_of, curves_of, rows_of


@dataclass(frozen=True)
class LongHorizon(PooledStudy):
    """Episodes many times as long as the demonstrations, in still air and in gusts, on the 2-D quadrotor.

    Policies cloned from demonstrations of 100 steps, with and without gains and noise, are compared with the
    model-predictive expert over the whole episode.
    """

    seeds: int = 3
    """Number of training seeds; each seed also selects its demonstrations."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations. Default: 3 10 in quick; 1 3 10 in full."""
    sigmas: tuple[float, ...] | None = None
    """Standard deviations of the noise on observations, which are scaled to [-1, 1], equal in training and at
    deployment. Default: 0 0.1 in quick; 0 0.03 0.1 0.3 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 2000 in quick; 3000 in full."""
    length: int | None = None
    """Control steps of an episode, a multiple of 100 and at least 200. Default: 1000 in quick; 5000 in full."""

    def jobs(self) -> list[LongJob]:
        """All training runs: raw actions and gains of two kinds, with and without noise."""
        quick = self.preset == "quick"
        counts, levels = self.demos or ((3, 10) if quick else (1, 3, 10)), self.sigmas
        levels = levels or ((0.0, 0.1) if quick else (0.0, 0.03, 0.1, 0.3))
        length, updates = self.length or (1000 if quick else 5000), self.steps or (2000 if quick else None)
        if length < 200 or length % BLOCKS:
            raise RecipeError(f"expected episodes of 200 steps or more, a multiple of {BLOCKS}, got {length}.")
        kinds: tuple[Gains, ...] = ("none", "tvlqr", "receding")
        return [
            LongJob(Arm("holdfast", count, kind, sigma, seed, steps=updates), length)
            for seed, count, kind, sigma in itertools.product(range(self.seeds), counts, kinds, levels)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        shared_world(folder, self.preset)
        return run_long(self.jobs(), folder, stage, workers=self.workers)


def run_long(jobs: Sequence[LongJob], folder: Path, stage: Stage, *, workers: int | None = None) -> StudyResult:
    """Run the expert in both airs, then all jobs, and summarize them."""
    skies: list[tuple[Air, int]] = [(air, steps) for steps in sorted({job.steps for job in jobs}) for air in AIRS]
    run_missing(
        skies,
        partial(expert_flights, folder),
        partial(expert_path, folder),
        workers=workers,
        on_done=stage("expert episodes", len(skies)),
    )
    work = partial(evaluate_long, folder)
    results = run_in_world(
        jobs,
        work,
        folder,
        LongFlight,
        stage,
        alike=lambda job: f"{shape_of(job.arm)} {job.steps}",
        size=GROUP,
        workers=workers,
    )
    groups: dict[tuple[Arms, Air], list[LongFlight]] = grouped(
        (((job.arm.gains, job.arm.n_demos, job.arm.sigma), flight.air), flight)
        for job, flights in zip(jobs, results, strict=True)
        for flight in flights
    )
    task = world_of(folder).task
    return long_horizon_result(
        rows_of(groups, demonstrated=task.steps),
        comparisons_of(groups),
        curves_of(groups, dt=task.dt),
        demonstrated=task.dt * task.steps,
        recipes={job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)},
    )
