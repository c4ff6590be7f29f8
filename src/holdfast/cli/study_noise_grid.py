"""Study noise-grid on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.noise_grid.page import noise_grid_findings, write_noise_grid_page
from ..studies.noise_grid.plan import NoiseGrid, NoiseJob, noise_grid
from ..studies.quadrotor.arms import recipe_of
from ..studies.quadrotor.cells import Preset
from ..studies.quadrotor.words import interval
from .console import console, name_files, show_table, stages

__all__ = ["run_noise_grid"]

_COLUMNS = ("cloned", "N", "sigma, training", "sigma, deployment", "score", "distance", "diverged")


def run_noise_grid(
    out: Path, jobs: list[NoiseJob], *, preset: Preset, workers: int | None, size: tuple[int, int] | None = None
) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        advance = stage("trainings", len(jobs))
        found = noise_grid(jobs, out, preset=preset, size=size, workers=workers, on_done=advance)
    values: dict[str, Any] = {
        "study": "noise-grid",
        "preset": preset,
        "recipes": {job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)},
        "rows": found.rows,
        "comparisons": found.comparisons,
        "findings": noise_grid_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_noise_grid_page(out, found))


def _show(found: NoiseGrid) -> None:
    rows = [
        [
            row["gains"],
            str(row["n_demos"]),
            f"{row['sigma_train']:g}",
            f"{row['sigma_deploy']:g}",
            interval(row, "score"),
            interval(row, "distance"),
            f"{row['diverged']:.0%}",
        ]
        for row in found.rows
    ]
    show_table("noise-grid, over seeds, with 95 % intervals", _COLUMNS, rows)
    for sentence in noise_grid_findings(found):
        console.print(sentence, soft_wrap=True)
