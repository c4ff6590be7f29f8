"""Study families on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..data import write
from ..envs.obstacle import obstacle_demonstrations
from ..report import write_result
from ..seeding import stream
from ..studies.engine.trials import Trial, run_trials
from ..studies.families.page import families_findings, write_families_page
from ..studies.families.summary import family_rows
from .console import console, name_files, show_table, stages

__all__ = ["record_obstacle", "run_families"]

_COLUMNS = ("task", "family", "score", "entropy", "training [s]", "calls", "plan [ms]")


def record_obstacle(out: Path, *, count: int = 100) -> Path:
    """The demonstrations of the obstacle, written into the study's folder once; the same at every call."""
    path = out / "data" / "obstacle.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(obstacle_demonstrations(count, rng=stream(0, "study", "obstacle")), path)
    return path


def run_families(out: Path, trials: list[Trial], *, preset: str, workers: int | None) -> None:
    """Run the study and write its figure, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        results = run_trials(trials, out, workers=workers, on_done=stage("trainings", len(trials)))
    rows = family_rows(results)
    values: dict[str, Any] = {
        "study": "families",
        "preset": preset,
        "recipes": {trial.name: trial.recipe for trial in trials},
        "first_seed": trials[0].first_seed,
        "rows": rows,
        "training_seconds": sum(result.train_seconds for result in results),
        "seconds": time.perf_counter() - started,
    }
    _show(rows)
    name_files(write_result(out / "result.json", values), *write_families_page(out, rows))


def _show(rows: list[dict[str, Any]]) -> None:
    cells = [
        [
            row["task"],
            row["family"],
            f"{row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['entropy']:.2f}" if "entropy" in row else "",
            f"{row['train_seconds']:.0f}",
            str(row["network_calls"]),
            f"{row['plan_ms']:.1f}",
        ]
        for row in rows
    ]
    show_table("families, means with 95 % intervals", _COLUMNS, cells)
    for sentence in families_findings(rows):
        console.print(sentence, soft_wrap=True, markup=False)
