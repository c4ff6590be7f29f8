"""Study toy on the command line: from options to files and a table."""

import time
from pathlib import Path
from typing import Any

from ..report import write_result
from ..studies.quadrotor.cells import Preset
from ..studies.toy.page import toy_findings, write_toy_page
from ..studies.toy.plan import C, Toy, ToyPlan, toy
from .console import console, name_files, show_table, stages

__all__ = ["run_toy"]

_COLUMNS = ("learner", "growth", "a step", "bounded at the end", "exact", "promised")


def run_toy(out: Path, plan: ToyPlan, *, preset: Preset) -> None:
    """Run the study and write its figures, page and result.json."""
    started = time.perf_counter()
    with stages() as stage:
        advance = stage("runs", 1)
        found = toy(plan)
        advance(1)
    values: dict[str, Any] = {
        "study": "toy",
        "preset": preset,
        "plan": plan,
        "c": C,
        "rows": found.rows,
        "growth": {
            learner: {"eps": found.grown_eps, "kind": grown.kind, "rate": grown.rate, "reason": grown.reason}
            for learner, grown in found.growths.items()
        },
        "means": found.means,
        "laws": found.laws,
        "findings": toy_findings(found),
        "seconds": time.perf_counter() - started,
    }
    _show(found)
    name_files(write_result(out / "result.json", values), *write_toy_page(out, found))


def _show(found: Toy) -> None:
    end = max(found.plan.times)
    last = {row["learner"]: row for row in found.rows if (row["eps"], row["time"]) == (found.grown_eps, end)}
    rows = [
        [
            learner,
            grown.kind,
            "–" if grown.rate is None else f"{grown.rate.mean:.4f} [{grown.rate.low:.4f}, {grown.rate.high:.4f}]",
            f"{last[learner]['bounded']:.4f} [{last[learner]['bounded_low']:.4f}, {last[learner]['bounded_high']:.4f}]",
            "–" if last[learner]["exact"] is None else f"{last[learner]['exact']:.4f}",
            "–" if last[learner]["promised"] is None else f"{last[learner]['promised']:.4f}",
        ]
        for learner, grown in found.growths.items()
    ]
    show_table(f"toy, epsilon {found.grown_eps:g}, {end} steps, with 95 % intervals", _COLUMNS, rows)
    for sentence in toy_findings(found):
        console.print(sentence, soft_wrap=True, markup=False)
