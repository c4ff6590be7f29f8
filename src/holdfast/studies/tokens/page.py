"""From the rows of study tokens to its verdicts, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...recipe import Recipe
from ...report import Chart, Series
from ...report.dots import Dot, DotPanel, draw_dots
from ...report.palette import GAINS, OTHERS, REFERENCE
from ..engine.result import Drawing, StudyResult, Verdict
from ..engine.rows import measurement_rows
from ..engine.statistics import estimate_in
from ..engine.tables import ResultTable, Row, brackets, column, estimate
from ..families.page import COST_COLUMNS, metrics_of_families
from .plan import FAST_TABLE

RATES = ResultTable(
    "One second of action, FAST",
    (
        column("data", "data"),
        column("Hz", "hz", ".0f"),
        column("numbers per action", "numbers", page_only=True),
        column("naive tokens", "naive_tokens"),
        column("FAST tokens", "tokens", ".1f"),
        column("compression", "compression", ".1f"),
        column("error (rms)", "rms_error", ".3f", page_only=True),
    ),
    caption="Held-out chunks; error in normalized units.",
)
CLONING = ResultTable(
    "Cloning",
    (
        column("task", "task"),
        column("tokens", "family"),
        estimate("score", "score"),
        column("success", "success", ".0%", page_only=True),
        *COST_COLUMNS,
    ),
    caption="bins, bet and vq-bet predict all tokens at once with the residual network, the last two with offsets; the "
    "same transformer predicts the others token by token.",
)


def tokens_result(
    compression: Sequence[Row],
    cloning: Sequence[Row],
    *,
    recipes: Mapping[str, Recipe] | None = None,
    values: Mapping[str, Any] | None = None,
) -> StudyResult:
    """Everything that the study found."""
    measured = ("naive_tokens", "tokens", "compression", "rms_error", "sensitivity")
    cloned = CLONING.of(cloning)
    figures: dict[str, Chart | Drawing] = {"tokens-rates": _rates(compression)}
    if cloning:
        figures["tokens-cloning"] = Drawing(
            partial(draw_cloning, rows=cloning),
            "Cloning",
            "Scores of policies over the codes of each tokenizer, with 95 % intervals, at equal budgets.",
            "Scores of cloned policies",
        )
    return StudyResult(
        title="Tokens of actions",
        lead="Tokens per second of action at each control rate, after table I of Pertsch et al. 2025 (arXiv "
        "2501.09747), and cloning with such tokens.",
        rows=[
            *measurement_rows(
                [{**row, "task": row["data"], "arm": "fast"} for row in compression], measured, omit=("data",)
            ),
            *metrics_of_families(cloning),
        ],
        verdicts=tokens_verdicts(compression, cloning),
        tables=[RATES.of([*compression, *_published()]), *([cloned] if cloning else [])],
        figures=figures,
        recipes=recipes or {},
        values=values or {},
    )


def tokens_verdicts(compression: Sequence[Row], cloning: Sequence[Row]) -> list[Verdict]:
    """Verdicts on both parts."""
    swept = [row for row in compression if sum(other["data"] == row["data"] for other in compression) > 1]
    found = list[Verdict]()
    if swept:
        slow, fast = min(swept, key=lambda row: row["hz"]), max(swept, key=lambda row: row["hz"])
        numbers, tokens = (fast[key] / slow[key] for key in ("naive_tokens", "tokens"))
        found.append(
            Verdict(
                "FAST tokens grow more slowly with the rate than the numbers of a second (Pertsch et al. 2025).",
                f"{fast['data']}: from {slow['hz']:.0f} to {fast['hz']:.0f} Hz the numbers of a second grow "
                f"{numbers:.1f} times, its FAST tokens {tokens:.1f} times ({slow['tokens']:.0f} to "
                f"{fast['tokens']:.0f}).",
                "yes" if tokens < numbers else "no",
            )
        )
    for task in dict.fromkeys(row["task"] for row in cloning):
        rows = sorted((row for row in cloning if row["task"] == task), key=lambda row: -row["score"])
        told = "; ".join(
            f"{row['family']} {row['score']:.2f} {brackets(row['score_low'], row['score_high'])}" for row in rows
        )
        found.append(Verdict(f"Scores of cloning on {task}.", f"{told}.", "open"))
    return found


def _published() -> list[Row]:
    return [
        {
            "data": f"{name} (published)",
            "hz": float(hz),
            "numbers": numbers,
            "naive_tokens": naive,
            "tokens": float(fast),
            "compression": naive / fast,
        }
        for name, numbers, hz, naive, fast in FAST_TABLE
    ]


def _rates(rows: Sequence[Row]) -> Chart:
    series = list[Series]()
    for name in dict.fromkeys(row["data"] for row in rows):
        line = sorted((row for row in rows if row["data"] == name), key=lambda row: row["hz"])
        x, y = ([row[key] for row in line] for key in ("hz", "compression"))
        series.append(Series(f"{name}, {line[-1]['numbers']} numbers", x, y, points=True))
    published = sorted(_published(), key=lambda row: row["hz"])
    x, y = ([row[key] for row in published] for key in ("hz", "compression"))
    series.append(Series("published", x, y, colour=REFERENCE, points=True, dashed=True))
    lead = max(rows, key=lambda row: row["compression"])
    return Chart(
        f"FAST: {lead['compression']:.0f} numbers per token at {lead['hz']:.0f} Hz ({lead['data']})",
        series,
        "control rate [Hz]",
        "numbers per token",
        "Held-out chunks of one second. Published: four robots of Pertsch et al. 2025.",
        log_x=True,
    )


def draw_cloning(path: Path, rows: Sequence[Row]) -> Path:
    """Scores with intervals, one line per tokenizer, one colour per task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    dots = dict[str, list[Dot]]()
    for row in rows:
        place = tasks.index(row["task"])
        shift = 0.16 * (2 * place - 1) if len(tasks) > 1 else 0.0
        dots.setdefault(row["family"], []).append(Dot(estimate_in(row, "score"), (GAINS, *OTHERS)[place], shift=shift))
    best = max(rows, key=lambda row: row["score"], default={"family": "none", "task": "no task"})
    subtitle = "; ".join(f"{'blue' if place == 0 else 'teal'}: {task}" for place, task in enumerate(tasks))
    panel = DotPanel(f"{best['family']} leads on {best['task']}", subtitle, dots, "score", limits=(-0.03, 1.03))
    return draw_dots(path, list(dots), [panel])
