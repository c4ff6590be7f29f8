"""Study pitfalls on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.pitfalls.page import pitfalls_findings, write_pitfalls_page
from ..studies.pitfalls.plan import PAIR, PitfallJob, Pitfalls, pitfalls, recipe_of
from ..studies.quadrotor.cells import Preset
from ..studies.quadrotor.words import interval
from .console import console, name_files, show_table, stages

__all__ = ["run_pitfalls"]

_COLUMNS = ("arm", "error", "cost", "before training", "cost / error", "exponential")


def run_pitfalls(out: Path, jobs: list[PitfallJob], *, preset: Preset, workers: int | None) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        found = pitfalls(jobs, out, workers=workers, on_done=stage("trainings", len(jobs)))
    values: dict[str, Any] = {
        "study": "pitfalls",
        "preset": preset,
        "pair": PAIR,
        "recipes": {
            f"{job.family}, h = {job.horizon}, sigma = {job.sigma:g}": recipe_of(job) for job in reversed(jobs)
        },
        "rows": found.rows,
        "comparisons": found.comparisons,
        "curves": found.curves,
        "findings": pitfalls_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_pitfalls_page(out, found))


def _show(found: Pitfalls) -> None:
    rows = [
        [
            row["arm"],
            f"{row['error']:.2g}",
            interval(row, "cost"),
            interval(row, "cost_at_first"),
            f"{row['amplification']:.3g}",
            f"{row['exponential']} of {row['runs']}",
        ]
        for row in found.rows
    ]
    show_table("pitfalls, in the worse of the two systems, with 95 % intervals", _COLUMNS, rows)
    for sentence in pitfalls_findings(found):
        console.print(sentence, soft_wrap=True, markup=False)
