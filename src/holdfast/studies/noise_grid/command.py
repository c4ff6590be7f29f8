"""Study noise-grid as a command."""

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RecipeError
from ..engine.jobs import grouped
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..quadrotor.arms import Arm, Gains, recipe_of
from ..quadrotor.cells import Scored, run_in_world, shared_world
from ..quadrotor.run_arms import GROUP, shape_of
from .page import noise_grid_result
from .plan import Cell, NoiseJob, comparisons_of, evaluate_grid, rows_of


@dataclass(frozen=True)
class NoiseGrid(PooledStudy):
    """Noise in training against noise at deployment, on the 2-D quadrotor.

    One training run for each level of training noise, with and without gains, is evaluated with every level of
    deployment noise from the same held-out starts. Equal levels are the replica policy of Block et al. 2023 (arXiv
    2307.14619).
    """

    seeds: int = 3
    """Number of training seeds; each seed also selects its demonstrations."""
    demos: tuple[int, ...] | None = None
    """Numbers of demonstrations. Default: 3 in quick; 1 3 10 in full."""
    sigmas: tuple[float, ...] | None = None
    """Standard deviations of the noise on observations, which are scaled to [-1, 1], for both axes. Default: 0 0.03 0.1
    0.3 in quick; 0 0.01 0.03 0.05 0.1 0.2 0.3 0.5 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 1500 in quick; 3000 in full."""

    def jobs(self) -> list[NoiseJob]:
        """All training runs: raw actions and gains along the trajectory; in full also the expert's own feedback."""
        quick = self.preset == "quick"
        kinds: tuple[Gains, ...] = ("none", "tvlqr") if quick else ("none", "tvlqr", "receding")
        counts = self.demos or ((3,) if quick else (1, 3, 10))
        levels = self.sigmas or ((0.0, 0.03, 0.1, 0.3) if quick else (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5))
        steps = self.steps or (1500 if quick else None)
        if len(set(levels)) < len(levels):
            raise RecipeError(f"expected each sigma once, got {', '.join(f'{sigma:g}' for sigma in levels)}.")
        return [
            NoiseJob(Arm("holdfast", count, kind, sigma, seed, steps=steps), tuple(levels))
            for seed, count, kind, sigma in itertools.product(range(self.seeds), counts, kinds, levels)
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        shared_world(folder, self.preset)
        jobs = self.jobs()
        cells = run_cells(jobs, folder, stage, workers=self.workers)
        recipes = {job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)}
        return noise_grid_result(rows_of(cells), comparisons_of(cells), recipes)


def run_cells(
    jobs: list[NoiseJob], folder: Path, stage: Stage, *, workers: int | None = None
) -> dict[Cell, list[Scored]]:
    """Scores of every cell, one element per seed."""
    work = partial(evaluate_grid, folder)
    results = run_in_world(
        jobs, work, folder, Scored, stage, alike=lambda job: shape_of(job.arm), size=GROUP, workers=workers
    )
    return grouped(
        ((job.arm.gains, job.arm.n_demos, job.arm.sigma, deployed), scores)
        for job, found in zip(jobs, results, strict=True)
        for deployed, scores in zip(job.deployed, found, strict=True)
    )
