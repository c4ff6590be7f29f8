"""Study fig6-pusht on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.engine.trials import Trial, run_trials
from ..studies.fig6_pusht.page import fig6_findings, write_fig6_page
from ..studies.fig6_pusht.plan import Fig6, summarize_fig6
from .console import console, name_files, show_table, stages

__all__ = ["run_fig6"]

_COLUMNS = ("law", "N", "sigma", "run", "score", "success")


def run_fig6(out: Path, trials: list[Trial], *, preset: str, workers: int | None) -> None:
    """Run the study and write its figure, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        results = run_trials(trials, out, workers=workers, on_done=stage("trainings", len(trials)))
    found = summarize_fig6(results)
    values: dict[str, Any] = {
        "study": "fig6-pusht",
        "preset": preset,
        "recipe": trials[0].recipe,
        "episodes": trials[0].episodes,
        "first_seed": trials[0].first_seed,
        "rows": found.rows,
        "comparisons": found.comparisons,
        "training_seconds": found.seconds,
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_fig6_page(out, found))


def _show(found: Fig6) -> None:
    rows = [
        [
            row["law"],
            str(row["n_demos"]),
            f"{row['sigma']:g}",
            row["noise"],
            f"{row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['success']:.0%}",
        ]
        for row in found.rows
    ]
    show_table("fig6-pusht, means over seeds with 95 % intervals", _COLUMNS, rows)
    for sentence in fig6_findings(found):
        console.print(sentence, soft_wrap=True, markup=False)
