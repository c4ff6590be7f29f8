"""Study theorems on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.quadrotor.cells import Preset
from ..studies.theorems.page import theorem_findings, write_theorems_page
from ..studies.theorems.plan import TheoremJob, theorems
from .console import console, name_files, show_table, stages

__all__ = ["run_theorems"]

_COLUMNS = ("system", "theorem", "flaw", "cells", "below 1", "violated")


def run_theorems(out: Path, jobs: list[TheoremJob], *, preset: Preset, workers: int | None) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        rows = theorems(jobs, out, workers=workers, on_done=stage("cells", len(jobs)))
    values: dict[str, Any] = {
        "study": "theorems",
        "preset": preset,
        "rows": rows,
        "findings": theorem_findings(rows),
        "seconds": time.perf_counter() - started,
    }
    _show(rows)
    name_files(write_result(out / "result.json", values), *write_theorems_page(out, rows))


def _show(rows: list[dict[str, Any]]) -> None:
    groups = dict[tuple[str, str, str], list[dict[str, Any]]]()
    for row in rows:
        groups.setdefault((row["system"], row["theorem"], row["flaw"]), []).append(row)
    lines = [
        [
            *name,
            str(len(group)),
            str(sum(not row["vacuous"] for row in group)),
            str(sum(row["bound"] is not None and not row["holds"] for row in group)),
        ]
        for name, group in groups.items()
    ]
    show_table("theorems, bound against measured", _COLUMNS, lines)
    for sentence in theorem_findings(rows):
        console.print(sentence, soft_wrap=True, markup=False)
