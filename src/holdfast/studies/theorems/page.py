"""From the rows of study theorems to its verdicts, tables and charts."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from ...report import Chart, Rule, Series
from ...report.chart import HUES
from ..engine.jobs import grouped
from ..engine.result import StudyResult, Verdict
from ..engine.rows import measurement_rows
from ..engine.tables import ResultTable, Row, column, computed

SUMMARY = ResultTable(
    "Bound over measured",
    (
        column("system", "system"),
        column("theorem", "theorem"),
        column("flaw", "flaw"),
        column("cells", "cells"),
        column("bound below 1", "below"),
        column("violated", "violated"),
        column("ratio: min / median / max", "ratios"),
    ),
    caption="Ratios of cells whose bound is below 1 and whose measured loss is significantly above 0.",
)
CELLS = ResultTable(
    "All cells",
    (
        column("system", "system"),
        column("theorem", "theorem"),
        column("flaw", "flaw"),
        column("ε", "eps", "g"),
        column("σ", "sigma", "g"),
        column("H", "chunks"),
        column("bound", "bound", ".3g"),
        computed(
            "measured", lambda row: f"{row['measured']:.3f} [{row['measured_low']:.3f}, {row['measured_high']:.3f}]"
        ),
        column("floor", "floor", ".3f"),
        column("exact ≥", "exact", ".3f"),
        column("ratio", "ratio", ".2g"),
        computed(
            "status",
            lambda row: row["broken"] or ("vacuous" if row["vacuous"] else "holds" if row["holds"] else "violated"),
        ),
    ),
    caption="Floor: the expert against itself, from half as many rollouts. Exact: largest TV_ε of a state or an "
    "action alone, from laws in closed form.",
    page_only=True,
)
_SOURCE = "(Block et al. 2023, arXiv 2307.14619; constants derived in docs/theory.md)"


def theorems_result(rows: Sequence[Row]) -> StudyResult:
    """Everything that the study found."""
    charts = dict[str, Chart]()
    for place, group in enumerate(_groups(rows).values()):
        if any(row["bound"] is not None for row in group):
            charts[f"theorems-{place}-eps"] = _over_eps(group)
            charts[f"theorems-{place}-sigma"] = _over_sigma(group)
    return StudyResult(
        title="Bounds of the theory, compared with measurements",
        lead="Bounds on L_marg,ε with all their constants, against exact matchings of rollouts, over ε, σ and the "
        "number of decisions H.",
        rows=measurement_rows(
            [{**row, "task": row["system"]} for row in rows],
            ("bound", "measured", "floor", "exact", "ratio"),
            arm="flaw",
            omit=("system", "vacuous", "holds"),
        ),
        verdicts=theorem_verdicts(rows),
        tables=[SUMMARY.of([_summary(group) for group in _groups(rows).values()]), CELLS.of(rows)],
        figures=charts,
        notes=[*_failures(rows), _CAUTIONS],
    )


_CAUTIONS = (
    "Matching finite samples overestimates: where the floor, the expert against itself, is as large as the measured "
    "loss, nothing is known to differ, and a bound below it is no contradiction. Ratios are relative to the measured "
    "loss and therefore rather too small. Losses are measured at up to nine steps of a run. Theorem 2 does not pair "
    "initial states (docs/theory.md, section 4): runs are pooled over them, or start in one. On the quadrotor the "
    "constants are those of linearisations; their radius was measured with samples and is no proof."
)


def theorem_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the bounds: all linear systems together, then each system, theorem and flaw."""
    linear = [row for row in rows if row["bound"] is not None and not row["system"].startswith("quadrotor")]
    bad = [row for row in linear if not row["holds"]]
    seen = (
        f"none of {len(linear)} bounds is below the interval of the measured loss, nor below the exact lower bound "
        "where there is one."
        if not bad
        else f"{len(bad)} of {len(linear)} bounds are below the interval of the measured loss, the first at "
        f"{_place(bad[0])}. One in forty intervals may miss by chance; more would be an error."
    )
    first = Verdict(
        f"Imitation losses are at most linear in the horizon, with the theorems' bounds {_SOURCE}.",
        f"On the scalar and linear systems {seen}",
        "yes" if not bad else "open" if len(bad) <= len(linear) / 40 else "no",
    )
    return [first, *(_group_verdict(name, group) for name, group in _groups(rows).items())]


def _group_verdict(name: str, group: Sequence[Row]) -> Verdict:
    claim = f"The bound holds and is informative: {name}."
    bounded = [row for row in group if row["bound"] is not None]
    if not bounded:
        return Verdict(claim, f"No bound: {group[0]['broken']}.", "open")
    informative = [row for row in bounded if not row["vacuous"]]
    sure = _ratios(group)
    ratio = (
        "no measured loss among them is significantly above 0"
        if not sure
        else f"where the measured loss is significantly above 0 ({len(sure)} cells) the bound is {min(sure):.2g} to "
        f"{max(sure):.2g} times it, {statistics.median(sure):.2g} in the median"
    )
    violated = any(not row["holds"] for row in bounded)
    seen = f"{len(informative)} of {len(group)} bounds are informative (below 1); {ratio}."
    return Verdict(claim, seen, "no" if violated else "yes" if informative else "open")


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    """Assumptions that fail, one example of each kind per group."""
    for name, group in _groups(rows).items():
        broken = [row for row in group if row["bound"] is None]
        kinds = {text.split(" = ")[0].split(",")[0]: text for row in broken for text in row["broken"].split("; ")}
        if kinds:
            yield f"{name}: an assumption fails in {len(broken)} cells: {'; '.join(kinds.values())}."


def _ratios(group: Sequence[Row]) -> list[float]:
    return [row["ratio"] for row in group if row["ratio"] is not None and not row["vacuous"]]


def _summary(group: Sequence[Row]) -> dict[str, Any]:
    bounded, sure = [row for row in group if row["bound"] is not None], _ratios(group)
    return {
        **{key: group[0][key] for key in ("system", "theorem", "flaw")},
        "cells": len(group),
        "below": sum(not row["vacuous"] for row in bounded),
        "violated": sum(not row["holds"] for row in bounded),
        "ratios": f"{min(sure):.2g} / {statistics.median(sure):.2g} / {max(sure):.2g}" if sure else None,
    }


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return grouped((f"{row['system']}, {row['theorem']}, {row['flaw']}", row) for row in rows)


def _place(row: Row) -> str:
    return f"{row['system']}, {row['flaw']}, ε = {row['eps']:g}, σ = {row['sigma']:g}, H = {row['chunks']}"


def _over_eps(group: Sequence[Row]) -> Chart:
    sigmas = sorted({row["sigma"] for row in group if row["bound"] is not None})
    return _chart(group, "eps", "ε", "sigma", sigmas[len(sigmas) // 2])


def _over_sigma(group: Sequence[Row]) -> Chart:
    epsilons = sorted({row["eps"] for row in group if row["bound"] is not None})
    return _chart(group, "sigma", "σ", "eps", epsilons[(len(epsilons) + 1) // 2 - (len(epsilons) == 1)])


def _chart(group: Sequence[Row], axis: str, symbol: str, fixed: str, value: float) -> Chart:
    name = ", ".join(group[0][key] for key in ("system", "theorem", "flaw"))
    return Chart(
        f"{name}: over {symbol}",
        _series([row for row in group if row[fixed] == value], axis),
        {"eps": "tolerance ε", "sigma": "σ"}[axis],
        f"L_marg,ε at {'σ' if fixed == 'sigma' else 'ε'} = {value:g}",
        "Dashed: the bound; points: measured, with 95 % intervals. Zeros are off this axis.",
        log_x=True,
        log_y=True,
        rules=[Rule(1.0, "vacuous above")],
    )


def _series(rows: Sequence[Row], axis: str) -> list[Series]:
    series = list[Series]()
    for place, chunks in enumerate(sorted({row["chunks"] for row in rows})):
        own = sorted((row for row in rows if row["chunks"] == chunks), key=lambda row: row[axis])
        x, colour = [row[axis] for row in own], HUES[place % len(HUES)]
        bounds = [float("nan") if row["bound"] is None else row["bound"] for row in own]
        measured, low, high = ([row[key] for row in own] for key in ("measured", "measured_low", "measured_high"))
        # an interval down to 0 is drawn down to the axis
        ends = [max(value, 1e-3) for value in low]
        series.append(Series(f"bound, H = {chunks}", x, bounds, colour=colour, dashed=True))
        series.append(Series(f"measured, H = {chunks}", x, measured, ends, high, colour=colour, points=True))
    return series
