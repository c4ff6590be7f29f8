"""The page and the figures of study theorems: rows → pictures and sentences."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Chart, Rule, Section, Series, Table, Text, draw_chart, write_page

__all__ = ["theorem_findings", "write_theorems_page"]

Row = dict[str, Any]
HUES = ("#2f86c9", "#e0592f", "#17978b", "#8577dd")

CLAIMED = (
    "Claimed (Block et al. 2023, arXiv 2307.14619, seeds 000 and 001): imitation losses of a total-variation "
    "continuous policy in a contractive system (talk), of one whose chunks of primitive controllers are stable "
    "(Theorem 1), and of a smoothed policy with consistent chunks (Theorem 2) are at most linear in the horizon, in "
    "terms of the policy's error on the expert's own states. The papers hide constants; those used "
    "here are derived in docs/theory.md."
)


def write_theorems_page(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write two PNGs a system, theorem and flaw that has bounds, and `index.html`; returns their paths."""
    charts = dict[str, Chart]()
    for place, (name, group) in enumerate(_groups(rows).items()):
        if any(row["bound"] is not None for row in group):
            charts[f"theorems-{place}-eps.png"] = _over_eps(name, group)
            charts[f"theorems-{place}-sigma.png"] = _over_sigma(name, group)
    figures = [draw_chart(folder / name, chart) for name, chart in charts.items()]
    sections: list[Section] = [
        Text("What was claimed, what was seen", [CLAIMED, *theorem_findings(rows)]),
        _summary(rows),
        *charts.values(),
        _table(rows),
    ]
    page = write_page(
        folder / "index.html",
        title="What the theorems promise, beside what is measured",
        lead="Bounds on L_marg,ε with all their constants, against exact matchings of rollouts, over ε, σ and the "
        "number of decisions H.",
        sections=sections,
    )
    return [*figures, page]


def theorem_findings(rows: Sequence[Row]) -> list[str]:
    """What can be said from the numbers."""
    linear = [row for row in rows if not row["system"].startswith("quadrotor")]
    bad = [row for row in linear if row["bound"] is not None and not row["holds"]]
    counted = [row for row in linear if row["bound"] is not None]
    verdict = (
        f"On the scalar and linear systems none of {len(counted)} bounds lies below the interval of what was measured, "
        "nor below the exact lower bound where there is one."
        if not bad
        else f"On the scalar and linear systems {len(bad)} of {len(counted)} bounds lie below the interval of what was "
        f"measured, the first at {_place(bad[0])}. One in forty intervals may miss by chance; more is a fault."
    )
    return [verdict, *(_group_finding(name, group) for name, group in _groups(rows).items()), _cautions()]


def _group_finding(name: str, group: Sequence[Row]) -> str:
    bounded = [row for row in group if row["bound"] is not None]
    if not bounded:
        return f"{name}: no statement. {group[0]['broken']}."
    saying = [row for row in bounded if not row["vacuous"]]
    sure = [row["ratio"] for row in saying if row["ratio"] is not None]
    ratio = (
        "nowhere among them was surely anything measured to differ"
        if not sure
        else f"where the measured loss is surely above 0 ({len(sure)} cells) the bound is {min(sure):.2g} to "
        f"{max(sure):.2g} times it, {statistics.median(sure):.2g} in the median"
    )
    broken = [row for row in group if row["bound"] is None]
    unknown = f" In {len(broken)} cells an assumption fails: {_shortened(broken)}." if broken else ""
    return f"{name}: {len(saying)} of {len(group)} bounds say something (are below 1); {ratio}.{unknown}"


def _shortened(broken: Sequence[Row]) -> str:
    """One example of each kind of failure; they differ in their numbers."""
    kinds = {text.split(" = ")[0].split(",")[0]: text for row in broken for text in row["broken"].split("; ")}
    return "; ".join(kinds.values())


def _cautions() -> str:
    return (
        "Matching finite samples errs upwards: where the floor, the expert against itself, is as large as what was "
        "measured, nothing is known to differ, and a bound below it is no contradiction; ratios are of what was "
        "measured and so rather too small (one below 1 lies within the interval where the bound is not said to be "
        "violated). Losses are measured at up to nine steps of a run. Theorem 2 does not pair "
        "initial states (docs/theory.md, section 4): runs are pooled over them, or start in one. On the quadrotor the "
        "constants are those of linearisations; their radius was measured with samples and is no proof."
    )


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found = dict[str, list[Row]]()
    for row in rows:
        found.setdefault(f"{row['system']}, {row['theorem']}, {row['flaw']}", []).append(row)
    return found


def _place(row: Row) -> str:
    return f"{row['system']}, {row['flaw']}, ε = {row['eps']:g}, σ = {row['sigma']:g}, H = {row['chunks']}"


def _over_eps(name: str, group: Sequence[Row]) -> Chart:
    sigmas = sorted({row["sigma"] for row in group if row["bound"] is not None})
    sigma = sigmas[len(sigmas) // 2]
    kept = [row for row in group if row["sigma"] == sigma]
    return Chart(
        f"{name}: over ε",
        _series(kept, "eps"),
        "tolerance ε",
        "L_marg,ε",
        f"σ = {sigma:g}. Dashed: the bound; points: measured, with 95 % intervals. Zeros have no place on this axis.",
        log_x=True,
        log_y=True,
        rules=[Rule(1.0, "says nothing")],
    )


def _over_sigma(name: str, group: Sequence[Row]) -> Chart:
    epsilons = sorted({row["eps"] for row in group if row["bound"] is not None})
    eps = epsilons[(len(epsilons) + 1) // 2 - (len(epsilons) == 1)]
    kept = [row for row in group if row["eps"] == eps]
    return Chart(
        f"{name}: over σ",
        _series(kept, "sigma"),
        "σ",
        f"L_marg,ε at ε = {eps:g}",
        "Dashed: the bound; points: measured, with 95 % intervals. Zeros have no place on this axis.",
        log_x=True,
        log_y=True,
        rules=[Rule(1.0, "says nothing")],
    )


def _series(rows: Sequence[Row], axis: str) -> list[Series]:
    series = list[Series]()
    for place, chunks in enumerate(sorted({row["chunks"] for row in rows})):
        kept = sorted((row for row in rows if row["chunks"] == chunks), key=lambda row: row[axis])
        x, colour = [row[axis] for row in kept], HUES[place % len(HUES)]
        bounds = [float("nan") if row["bound"] is None else row["bound"] for row in kept]
        measured, low, high = ([row[key] for row in kept] for key in ("measured", "measured_low", "measured_high"))
        # an interval down to 0 is drawn down to the axis
        ends = [max(value, 1e-3) for value in low]
        series.append(Series(f"bound, H = {chunks}", x, bounds, colour=colour, dashed=True))
        series.append(Series(f"measured, H = {chunks}", x, measured, ends, high, colour=colour, points=True))
    return series


def _summary(rows: Sequence[Row]) -> Table:
    lines = list[list[str | float | None]]()
    for name, group in _groups(rows).items():
        bounded = [row for row in group if row["bound"] is not None]
        sure = [row["ratio"] for row in bounded if row["ratio"] is not None and not row["vacuous"]]
        lines.append(
            [
                name,
                f"{len(group)}",
                f"{sum(not row['vacuous'] for row in bounded)}",
                f"{sum(not row['holds'] for row in bounded)}",
                f"{min(sure):.2g} / {statistics.median(sure):.2g} / {max(sure):.2g}" if sure else "–",
            ]
        )
    return Table(
        "Bound over measured",
        ["system, theorem, flaw", "cells", "bound below 1", "violated", "ratio, least / median / largest"],
        lines,
        "Ratios of cells whose bound is below 1 and whose measured loss is surely above 0.",
    )


def _table(rows: Sequence[Row]) -> Table:
    return Table(
        "All cells",
        ["system", "theorem", "flaw", "ε", "σ", "H", "bound", "measured", "floor", "exact ≥", "ratio", "says"],
        [
            [
                row["system"],
                row["theorem"],
                row["flaw"],
                f"{row['eps']:g}",
                f"{row['sigma']:g}",
                str(row["chunks"]),
                "–" if row["bound"] is None else f"{row['bound']:.3g}",
                f"{row['measured']:.3f} [{row['measured_low']:.3f}, {row['measured_high']:.3f}]",
                f"{row['floor']:.3f}",
                "–" if row["exact"] is None else f"{row['exact']:.3f}",
                "–" if row["ratio"] is None else f"{row['ratio']:.2g}",
                row["broken"] or ("nothing" if row["vacuous"] else "holds" if row["holds"] else "violated"),
            ]
            for row in rows
        ],
        "Floor: the expert against itself, from half as many rollouts. Exact: largest TV_ε of a state or an action "
        "alone, from laws in closed form.",
    )
