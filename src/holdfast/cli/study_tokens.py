"""Study tokens on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.engine.trials import Trial, run_trials
from ..studies.families.summary import family_rows
from ..studies.tokens.page import tokens_findings, write_tokens_page
from ..studies.tokens.plan import RateJob, compression_rows
from .console import console, name_files, show_table, stages

__all__ = ["run_tokens"]


def run_tokens(out: Path, jobs: list[RateJob], trials: list[Trial], *, preset: str, workers: int | None) -> None:
    """Run both parts of the study and write its figure, page and result.json."""
    started = time.perf_counter()
    compression = list[dict[str, Any]]()
    with stages() as stage:
        advance = stage("rates", len(jobs))
        for done, job in enumerate(jobs, start=1):
            compression += compression_rows(job)
            advance(done)
        results = run_trials(trials, out, workers=workers, on_done=stage("trainings", len(trials))) if trials else []
    cloning = [{"part": "cloning", **row} for row in family_rows(results)]
    values: dict[str, Any] = {
        "study": "tokens",
        "preset": preset,
        "rows": [*compression, *cloning],
        "training_seconds": sum(result.train_seconds for result in results),
        "seconds": time.perf_counter() - started,
    }
    _show(compression, cloning)
    name_files(write_result(out / "result.json", values), *write_tokens_page(out, compression, cloning))


def _show(compression: list[dict[str, Any]], cloning: list[dict[str, Any]]) -> None:
    rates = [
        [row["data"], f"{row['hz']:.0f}", str(row["naive_tokens"]), f"{row['tokens']:.1f}", f"{row['compression']:.1f}"]
        for row in compression
    ]
    show_table("a second of action, FAST", ["data", "Hz", "naive", "tokens", "compression"], rates)
    for sentence in tokens_findings(compression, cloning):
        console.print(sentence, soft_wrap=True, markup=False)
