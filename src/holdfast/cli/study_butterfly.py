"""Study butterfly on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.butterfly.page import butterfly_findings, write_butterfly_page
from ..studies.butterfly.plan import Butterfly, ButterflyJob, butterfly, butterfly_recipe
from ..studies.quadrotor.cells import Preset
from ..studies.quadrotor.words import interval
from .console import console, name_files, show_table, stages

__all__ = ["run_butterfly"]

_COLUMNS = ("cloned", "family", "batch", "rate", "weights", "score", "worst", "oscillation", "of live", "of distance")


def run_butterfly(
    out: Path, jobs: list[ButterflyJob], *, preset: Preset, workers: int | None, size: tuple[int, int] | None = None
) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        advance = stage("trainings", len(jobs))
        found = butterfly(jobs, out, preset=preset, size=size, workers=workers, on_done=advance)
    values: dict[str, Any] = {
        "study": "butterfly",
        "preset": preset,
        "recipes": {f"{job.arm.gains} {job.family}": butterfly_recipe(job) for job in reversed(jobs)},
        "rows": found.rows,
        "comparisons": found.comparisons,
        "landscapes": found.landscapes,
        "traces": found.traces,
        "findings": butterfly_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_butterfly_page(out, found))


def _show(found: Butterfly) -> None:
    rows = [
        [
            row["gains"],
            row["family"],
            str(row["batch"]),
            row["schedule"],
            row["weights"],
            interval(row, "score"),
            f"{row['worst']:.2f}",
            f"{row['score_oscillation']:.3g}",
            interval(row, "score_ratio") if "score_ratio" in row else "",
            interval(row, "distance_ratio") if "distance_ratio" in row else "",
        ]
        for row in found.rows
    ]
    show_table("butterfly, over seeds, with 95 % intervals", _COLUMNS, rows)
    for sentence in butterfly_findings(found):
        console.print(sentence, soft_wrap=True)
