"""Study imperfect-oracle on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.imperfect_oracle.figure import oracle_label
from ..studies.imperfect_oracle.page import imperfect_oracle_findings, write_imperfect_oracle_page
from ..studies.imperfect_oracle.plan import ImperfectOracle, OracleJob, imperfect_oracle
from ..studies.quadrotor.arms import recipe_of
from ..studies.quadrotor.cells import Preset
from ..studies.quadrotor.words import interval
from .console import console, name_files, show_table, stages

__all__ = ["run_imperfect_oracle"]

_COLUMNS = ("oracle", "gains", "N", "score", "distance", "diverged", "radius at hover", "failed")


def run_imperfect_oracle(
    out: Path, jobs: list[OracleJob], *, preset: Preset, workers: int | None, size: tuple[int, int] | None = None
) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        advance = stage("trainings", len(jobs))
        found = imperfect_oracle(jobs, out, preset=preset, size=size, workers=workers, on_done=advance)
    values: dict[str, Any] = {
        "study": "imperfect-oracle",
        "preset": preset,
        "recipes": {job.arm.gains: recipe_of(job.arm) for job in reversed(jobs)},
        "rows": found.rows,
        "comparisons": found.comparisons,
        "problems": found.problems,
        "findings": imperfect_oracle_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_imperfect_oracle_page(out, found))


def _show(found: ImperfectOracle) -> None:
    rows = [
        [
            oracle_label(row),
            row["gains"],
            str(row["n_demos"]),
            *(interval(row, name) if "score" in row else "" for name in ("score", "distance")),
            f"{row['diverged']:.0%}" if "score" in row else "",
            "" if row.get("radius") is None else f"{row['radius']:.3f}",
            str(row["failed"]),
        ]
        for row in found.rows
    ]
    show_table("imperfect-oracle, over seeds, with 95 % intervals", _COLUMNS, rows)
    for sentence in imperfect_oracle_findings(found):
        console.print(sentence, soft_wrap=True)
