"""Study long-horizon on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..control import Quadrotor2D
from ..report import write_result
from ..studies.long_horizon.page import long_horizon_findings, write_long_horizon_page
from ..studies.long_horizon.plan import GUST, LongHorizon, LongJob, long_horizon
from ..studies.quadrotor.arms import recipe_of
from ..studies.quadrotor.cells import Preset
from ..studies.quadrotor.words import interval
from .console import name_files, show_table, stages

__all__ = ["run_long_horizon"]

_COLUMNS = ("cloned", "N", "sigma", "air", "distance", "late over early", "power of time", "diverged")


def run_long_horizon(
    out: Path, jobs: list[LongJob], *, preset: Preset, workers: int | None, size: tuple[int, int] | None = None
) -> None:
    """Run the study and write its figures, page and result.json."""
    started, task = time.perf_counter(), Quadrotor2D()
    with stages() as stage:
        found = long_horizon(
            jobs,
            out,
            preset=preset,
            size=size,
            workers=workers,
            on_expert=stage("the expert's flights", 2 * len({job.steps for job in jobs})),
            on_done=stage("trainings and flights", len(jobs)),
        )
    values: dict[str, Any] = {
        "study": "long-horizon",
        "preset": preset,
        "gust": GUST,
        "recipes": {job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)},
        "rows": found.rows,
        "comparisons": found.comparisons,
        "curves": [vars(curve) for curve in found.curves],
        "findings": long_horizon_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    page = write_long_horizon_page(out, found, demonstrated=task.dt * task.steps)
    name_files(write_result(out / "result.json", values), *page)


def _show(found: LongHorizon) -> None:
    rows = [
        [
            row["gains"],
            str(row["n_demos"]),
            f"{row['sigma']:g}",
            row["air"],
            interval(row, "distance"),
            interval(row, "growth"),
            interval(row, "exponent"),
            interval(row, "diverged", percent=True),
        ]
        for row in found.rows
    ]
    show_table("long-horizon, over seeds, with 95 % intervals", _COLUMNS, rows)
