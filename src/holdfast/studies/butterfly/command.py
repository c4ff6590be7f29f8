"""Study butterfly as a command."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import RecipeError
from ..engine.jobs import each, grouped
from ..engine.options import PooledStudy, Stage
from ..engine.result import StudyResult
from ..quadrotor.arms import Arm, Gains
from ..quadrotor.cells import run_in_world, shared_world
from .page import butterfly_result
from .plan import DEMOS, SCALES, ButterflyJob, Cell, Traced, butterfly_recipe, memories_of, trace_job
from .summary import comparisons_of, landscapes_of, rows_of, traces_of

_FEWEST_CHECKPOINTS = 10


@dataclass(frozen=True)
class Butterfly(PooledStudy):
    """Oscillation of a policy's behavior during training, and how much averaging the weights removes.

    Checkpoints in the second half of each training run on the 2-D quadrotor are evaluated, with live and with averaged
    weights, from the same held-out starts with the same randomness (Block et al. 2023, arXiv 2310.11428).
    """

    seeds: int | None = None
    """Number of training seeds. Default: 3 in quick; 5 in full."""
    steps: int | None = None
    """Number of parameter updates per training run. Default: 1200 in quick; 6000 in full."""
    checkpoints: int | None = None
    """Number of checkpoints in the second half of each training run. Default: 20 in quick; 60 in full."""
    batches: tuple[int, ...] | None = None
    """Batch sizes. Default: 8 64 in quick; 8 32 128 512 in full."""

    def jobs(self) -> list[ButterflyJob]:
        """All training runs, on 10 demonstrations."""
        quick = self.preset == "quick"
        sizes = self.batches or ((8, 64) if quick else (8, 32, 128, 512))
        if len(set(sizes)) < len(sizes):
            raise RecipeError(f"expected each batch size once, got {', '.join(map(str, sizes))}.")
        at = _second_half(self.steps or (1200 if quick else 6000), self.checkpoints or (20 if quick else 60))
        return [
            ButterflyJob(
                arm=Arm("holdfast", DEMOS, cell.gains, 0.0, seed, steps=at[-1]),
                family="regression" if cell.family == "regression" else "diffusion",
                batch=cell.batch,
                decays=cell.schedule == "cosine",
                at=at,
                scales=SCALES if seed == 0 and cell.batch == min(sizes) and cell.schedule == "held" else (),
            )
            for seed, cell in itertools.product(
                range(self.seeds or (3 if quick else 5)), _quick_cells(sizes) if quick else _all_cells(sizes)
            )
        ]

    def run(self, folder: Path, stage: Stage) -> StudyResult:
        shared_world(folder, self.preset)
        return run_traces(self.jobs(), folder, stage, workers=self.workers)


def run_traces(jobs: Sequence[ButterflyJob], folder: Path, stage: Stage, *, workers: int | None = None) -> StudyResult:
    """Trace all training runs and summarize them."""
    results = run_in_world(jobs, each(partial(trace_job, folder)), folder, Traced, stage, workers=workers)
    traced = {job: one for job, (one,) in zip(jobs, results, strict=True)}
    cells = grouped((job.cell, one) for job, one in traced.items())
    recipes = {f"{job.arm.gains} {job.family}": butterfly_recipe(job) for job in reversed(jobs)}
    return butterfly_result(
        rows_of(cells, memories_of(jobs)), comparisons_of(cells), landscapes_of(cells), traces_of(traced), recipes
    )


def _quick_cells(sizes: Sequence[int]) -> Iterable[Cell]:
    """Regression with and without gains at all sizes, with decay at the smallest; diffusion with gains."""
    for gains in ("none", "tvlqr"):
        yield from (Cell(gains, "regression", batch, "held") for batch in sizes)
        yield Cell(gains, "regression", min(sizes), "cosine")
    yield Cell("tvlqr", "diffusion", min(sizes), "held")


def _all_cells(sizes: Sequence[int]) -> Iterable[Cell]:
    kinds: tuple[Gains, ...] = ("none", "tvlqr")
    return itertools.starmap(Cell, itertools.product(kinds, ("regression", "diffusion"), sizes, ("held", "cosine")))


def _second_half(updates: int, checkpoints: int) -> tuple[int, ...]:
    """Evenly spaced checkpoints, the last one at the end."""
    every = updates // 2 // checkpoints if checkpoints else 0
    if checkpoints < _FEWEST_CHECKPOINTS or every < 1:
        raise RecipeError(
            f"expected at least {_FEWEST_CHECKPOINTS} checkpoints, and at least twice as many updates, got "
            f"{checkpoints} checkpoints in {updates} updates."
        )
    return tuple(updates - every * back for back in reversed(range(checkpoints)))
