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
        column("can tell", "telling"),
        column("violated", "violated"),
        column("ratio: min / median / max", "ratios"),
    ),
    caption="A cell can tell if its bound is below 1 and its loss surely above 0. The ratio is that of the bound to "
    "this sure loss; the ratio to the loss itself is at most as large.",
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
        column("surely ≥", "surely", ".3g"),
        column("ratio", "ratio", ".2g"),
        computed(
            "status",
            lambda row: row["broken"] or ("vacuous" if row["vacuous"] else "holds" if row["holds"] else "violated"),
        ),
    ),
    caption="Floor: the expert against itself, from half as many rollouts. Surely: the larger of the lower end of the "
    "measured interval and a lower bound without matching, which is the largest TV_ε of a state or an action along one "
    "direction from laws in closed form (talk, Theorem 1), or the lower end of the interval of the share of rollouts "
    "beyond a half-space or away from the expert's single flight (Theorem 2).",
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
        lead="Bounds on L_marg,ε with all their constants, against matchings of rollouts and exact laws, over ε, σ and "
        f"the number of decisions H. {_told(rows)}",
        rows=measurement_rows(
            [{**row, "task": row["system"]} for row in rows],
            ("bound", "measured", "floor", "surely", "ratio"),
            arm="flaw",
            omit=("system", "vacuous", "holds", "tells"),
        ),
        verdicts=theorem_verdicts(rows),
        tables=[SUMMARY.of([_summary(group) for group in _groups(rows).values()]), CELLS.of(rows)],
        figures=charts,
        notes=[*_failures(rows), _CAUTIONS],
        values={"power": power(rows)},
    )


_CAUTIONS = (
    "A bound of 1 or more, and any bound on a loss that may be 0, cannot be seen to fail: such rows are no evidence. "
    "Matching finite samples overestimates: where the floor, the expert against itself, is as large as the measured "
    "loss, matching alone shows no difference, and the lower bound without matching decides. "
    "Losses are measured at up to nine steps of a run. Theorem 2 does not pair "
    "initial states (docs/theory.md, section 4): runs are pooled over them, or start in one. On the quadrotor the "
    "constants are those of linearizations; their radius was measured with samples and is no proof."
)


def theorem_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the bounds: all linear systems together, then each system, theorem and flaw."""
    linear = [row for row in rows if row["bound"] is not None and not row["system"].startswith("quadrotor")]
    bad, telling = [row for row in linear if not row["holds"]], sum(row["tells"] for row in linear)
    seen = (
        f"none of {len(linear)} bounds is below the sure loss; {telling} of them could have been, being below 1 "
        "where the loss is surely above 0."
        if not bad
        else f"{len(bad)} of {len(linear)} bounds are below the sure loss, the first at {_place(bad[0])}. One in forty "
        "intervals may miss by chance; more would be an error."
    )
    first = Verdict(
        f"Imitation losses are at most linear in the horizon, with the theorems' bounds {_SOURCE}.",
        f"On the scalar and linear systems {seen}",
        "yes" if not bad and telling else "open" if len(bad) <= len(linear) / 40 else "no",
    )
    return [first, *(_group_verdict(name, group) for name, group in _groups(rows).items())]


def power(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Rows, rows that can tell and violated bounds, in all and by theorem."""
    kinds = {"all": list(rows), **grouped((row["theorem"], row) for row in rows)}
    return {
        kind: {
            "rows": len(group),
            "telling": sum(row["tells"] for row in group),
            "violated": sum(row["bound"] is not None and not row["holds"] for row in group),
        }
        for kind, group in kinds.items()
    }


def _told(rows: Sequence[Row]) -> str:
    counts = power(rows)
    parts = [f"{count['telling']} of {count['rows']} ({kind})" for kind, count in counts.items() if kind != "all"]
    whole = counts["all"]
    return (
        f"{whole['telling']} of {whole['rows']} rows can tell a wrong bound from a right one, {', '.join(parts)}; "
        f"{whole['violated']} are violated."
    )


def _group_verdict(name: str, group: Sequence[Row]) -> Verdict:
    claim = f"The bound holds and is informative: {name}."
    bounded = [row for row in group if row["bound"] is not None]
    if not bounded:
        return Verdict(claim, f"No bound: {group[0]['broken']}.", "open")
    informative = [row for row in bounded if not row["vacuous"]]
    sure = _ratios(group)
    ratio = (
        "no loss among them is surely above 0, so none can tell"
        if not sure
        else f"where the loss is surely above 0 as well ({len(sure)} cells) the bound is {min(sure):.2g} to "
        f"{max(sure):.2g} times the sure loss, {statistics.median(sure):.2g} in the median"
    )
    violated = any(not row["holds"] for row in bounded)
    seen = f"{len(informative)} of {len(group)} bounds are informative (below 1); {ratio}."
    return Verdict(claim, seen, "no" if violated else "yes" if sure else "open")


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    """Assumptions that fail, one example of each kind per group."""
    for name, group in _groups(rows).items():
        broken = [row for row in group if row["bound"] is None]
        kinds = {text.split(" = ")[0].split(",")[0]: text for row in broken for text in row["broken"].split("; ")}
        if kinds:
            yield f"{name}: an assumption fails in {len(broken)} cells: {'; '.join(kinds.values())}."


def _ratios(group: Sequence[Row]) -> list[float]:
    return [row["ratio"] for row in group if row["tells"]]


def _summary(group: Sequence[Row]) -> dict[str, Any]:
    bounded, sure = [row for row in group if row["bound"] is not None], _ratios(group)
    return {
        **{key: group[0][key] for key in ("system", "theorem", "flaw")},
        "cells": len(group),
        "below": sum(not row["vacuous"] for row in bounded),
        "telling": len(sure),
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
        "Dashed: the bound. Points: the sure loss, with bars up to the upper end of the interval of the matched loss. "
        "Zeros are off this axis.",
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
        surely, high = ([row[key] for row in own] for key in ("surely", "measured_high"))
        # an upper end below the exact loss is a miss of the interval, and drawn as none
        ends = [max(pair) for pair in zip(surely, high, strict=True)]
        series.append(Series(f"bound, H = {chunks}", x, bounds, colour=colour, dashed=True))
        series.append(Series(f"surely lost, H = {chunks}", x, surely, surely, ends, colour=colour, points=True))
    return series
