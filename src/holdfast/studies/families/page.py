"""From the rows of study families to its verdicts, tables and figure."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...recipe import Recipe
from ...report.dots import Dot, DotPanel, draw_dots
from ...report.palette import GAINS, RAW_ACTIONS
from ..engine.result import Drawing, StudyResult, Verdict
from ..engine.rows import measurement_rows
from ..engine.statistics import estimate_in
from ..engine.tables import Column, ResultTable, Row, brackets, column, computed, estimate
from .summary import KEEPS_BOTH, keeps_both_ways

_TASKS = {
    "obstacle": ("Obstacle: two ways that the observation does not distinguish", "success; hollow: entropy of 2 ways"),
    "avoid": ("Avoid: 24 ways between six obstacles, human demonstrations", "success; hollow: entropy of 24 ways"),
    "pusht": ("Push-T: contact, human demonstrations", "mean score; bars: published"),
}
COST_COLUMNS: tuple[Column, ...] = (
    column("parameters", "parameters", ",", page_only=True),
    column("training [s]", "train_seconds", ".0f"),
    column("calls", "network_calls"),
    column("plan [ms]", "plan_ms", ".1f"),
)
_COLUMNS = (column("family", "family"), estimate("score", "score"), column("success", "success", ".0%"))
_WAYS = (column("entropy", "entropy", ".2f"), column("collided", "collided", ".0%"))
_PUBLISHED = (computed("published", lambda row: None if "published" not in row else f"{row['published']:.2f}"),)


def families_result(
    rows: Sequence[Row], *, recipes: Mapping[str, Recipe], values: Mapping[str, Any] | None = None
) -> StudyResult:
    """Everything that the study found."""
    return StudyResult(
        title="All families on the same data",
        lead="Generative families of behavior cloning at equal numbers of updates on equal windows, from the same "
        "starts; with their parameters, training times, network calls and planning times.",
        rows=metrics_of_families(rows),
        verdicts=families_verdicts(rows),
        tables=[_table(task, [row for row in rows if row["task"] == task]) for task in _tasks(rows)],
        figures={
            "families": Drawing(
                partial(draw_families, rows=rows),
                "The figure",
                "Success (obstacle, Avoid) and mean score (Push-T) with 95 % intervals; hollow dots: entropy of the "
                "ways of solved episodes, 1 if all are equally frequent.",
                "Score of every family on every task",
            )
        },
        recipes=recipes,
        values=values or {},
    )


def metrics_of_families(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Measurement rows of families."""
    metrics = ("score", "success", "entropy", "rarer_way", "collided", "parameters", "train_seconds", "network_calls",
               "plan_ms", "published")  # fmt: skip
    return measurement_rows(rows, metrics, arm="family")


def draw_families(path: Path, rows: Sequence[Row]) -> Path:
    """Score of every family on every task, with 95 % intervals."""
    panels = [
        DotPanel(
            _TASKS[task][0].partition(":")[0],
            _TASKS[task][1],
            {row["family"]: [_dot(row)] for row in rows if row["task"] == task},
            "score",
            limits=(-0.03, 1.03),
        )
        for task in _tasks(rows)
    ]
    return draw_dots(path, list(dict.fromkeys(row["family"] for row in rows)), panels)


def _dot(row: Row) -> Dot:
    colour = RAW_ACTIONS if row["family"] in ("regression", "mip") else GAINS
    return Dot(estimate_in(row, "score"), colour, hollow=row.get("entropy"), mark=row.get("published"))


def _tasks(rows: Sequence[Row]) -> list[str]:
    return [task for task in _TASKS if any(row["task"] == task for row in rows)]


def families_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """What each task shows."""
    kinds = {"obstacle": _fork, "avoid": _avoid, "pusht": _pusht}
    return [kinds[task]([row for row in rows if row["task"] == task]) for task in _tasks(rows)]


def _fork(rows: Sequence[Row]) -> Verdict:
    solved, rarer = KEEPS_BOTH
    passed = [row["family"] for row in rows if keeps_both_ways(row)]
    failed = [
        f"{row['family']} ({row['success']:.0%}, rarer way {row['rarer_way']:.0%})"
        for row in rows
        if not keeps_both_ways(row)
    ]
    claim = f"All families solve the fork in {solved:.0%} or more and take the rarer way in {rarer:.0%}."
    seen = f"Passed by {', '.join(passed) or 'none'}; not by {', '.join(failed) or 'none'}."
    return Verdict(claim, seen, "no" if failed else "yes")


def _avoid(rows: Sequence[Row]) -> Verdict:
    best = max(rows, key=lambda row: 0.8 * row["success"] + 0.2 * row["entropy"])
    interval = brackets(best["success_low"], best["success_high"])
    seen = f"{best['family']}: success {best['success']:.2f} {interval}, entropy {best['entropy']:.2f}."
    return Verdict("Avoid: largest 0.8 success + 0.2 entropy, D3IL's score.", seen, "open")


def _pusht(rows: Sequence[Row]) -> Verdict:
    first = sorted(rows, key=lambda row: -row["score"])[:5]
    ends = [brackets(row["score_low"], row["score_high"], ".3f") for row in first]
    told = [f"{row['family']} {row['score']:.3f} {interval}" for row, interval in zip(first, ends, strict=True)]
    return Verdict("Push-T: highest scores.", f"{'; '.join(told)}.", "open")


def _table(task: str, rows: Sequence[Row]) -> ResultTable:
    return ResultTable(
        _TASKS[task][0],
        [*_COLUMNS, *(_PUBLISHED if task == "pusht" else _WAYS), *COST_COLUMNS],
        rows,
        f"{rows[0]['updates']} updates, {rows[0]['episodes']} episodes for each of {rows[0]['seeds']} training runs. "
        "Interval: over seeds and starts; of one training run over starts alone. Times: on one thread, while other "
        "training runs are at work.",
    )
