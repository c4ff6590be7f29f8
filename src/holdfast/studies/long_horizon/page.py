"""The page and the figures of study long-horizon: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Picture, Section, Table, Text, write_page
from ..quadrotor.words import between, interval, times
from .figure import AIRS, KINDS, draw_long_horizon
from .plan import GUST, LongHorizon

__all__ = ["long_horizon_findings", "write_long_horizon_page"]

Row = dict[str, Any]

_TOLD = 12

CLAIMED = (
    "Claimed (seed 000, slides; Block et al. 2023, arXiv 2307.14619, seed 001): without stabilisation and continuity, "
    "errors accumulate over time steps, possibly exponentially in the horizon; with them, they compound at most "
    "linearly in it. The published experiments have short flights, and seed 003 asks for 1,000 steps and more."
)


def write_long_horizon_page(folder: Path, found: LongHorizon, *, demonstrated: float) -> list[Path]:
    """Write `long-horizon-n<N>.png`, one a number of demonstrations, and `index.html`; returns their paths.

    Args:
        folder: Where they go.
        found: The study's values.
        demonstrated: Length of a demonstration [s].
    """
    counts = sorted({row["n_demos"] for row in found.rows})
    figures = list[Path]()
    for count in counts:
        curves = [vars(curve) for curve in found.curves if curve.n_demos == count]
        figures.append(draw_long_horizon(folder / f"long-horizon-n{count}.png", curves, demonstrated=demonstrated))
    sections: list[Section] = [
        Picture(
            f"Over time, N = {count}",
            figure,
            f"Above still air; below gusts, noise of {GUST:g} m/s and rad/s a step on the rates, the same for all "
            "policies and for the expert, which plans all the way. Diverged: ever more than 10 from the expert.",
            "Distance to the expert and share of diverged flights over time",
        )
        for count, figure in zip(counts, figures, strict=True)
    ]
    sections += [Text("What was claimed, what was seen", [CLAIMED, *long_horizon_findings(found)])]
    sections += [_rows(found.rows), _comparisons(found.comparisons)]
    steps = found.rows[0]["steps"]
    page = write_page(
        folder / "index.html",
        title="Far beyond the demonstrations' horizon",
        lead=f"Policies cloned from demonstrations of {demonstrated:g} s, flown for {steps:,} steps from held-out "
        "starts, with and without gains and noise.",
        sections=sections,
    )
    return [*figures, page]


def long_horizon_findings(found: LongHorizon) -> list[str]:
    """What can be said from the numbers, also where nothing can be told apart."""
    sentences = _summary(found.rows)
    # more sentences than these nobody reads; the table has them all
    if len(found.rows) <= _TOLD:
        sentences += [_growth(row) for row in found.rows]
    for air, name in AIRS.items():
        own = [item for item in found.comparisons if item["air"] == air]
        if own:
            parts = [f"{_name(item)} against {item['against']} {between(item)}" for item in own]
            sentences.append(f"Paired, over the whole flight, in {name}: {'; '.join(parts)}.")
    return [
        *sentences,
        "Growth is the error in the last tenth of a flight over that in the 100 steps after the demonstrations' end. "
        "The exponent is the power of time that the largest error so far grows with from the demonstrations' end on: 1 "
        "is linear. The expert comes to rest, which bounds what a stable policy can be away from it; so no growth here "
        "is less than a promise for tasks without an end. Flights that were lost stand still, which understates the "
        "growth of those.",
    ]


def _summary(rows: Sequence[Row]) -> list[str]:
    """In each air, of how many arms with and without gains the error is seen to grow, and how many lose flights."""
    said = list[str]()
    for air, name in AIRS.items():
        for side, kept in (("with gains", True), ("of raw actions", False)):
            own = [row for row in rows if row["air"] == air and (row["gains"] != "none") == kept]
            if own:
                grown = sum(row["growth_verdict"] == "above" for row in own)
                faster = sum(row["exponent_verdict"] == "above" for row in own)
                lost = sum(row["diverged"] > 0 for row in own)
                said.append(
                    f"In {name}, of {len(own)} arms {side}: the error is seen to be larger late than early in {grown}, "
                    f"the largest error to grow faster than time in {faster}; {lost} lost at least one flight."
                )
    return said


def _name(row: Row) -> str:
    return f"{KINDS[row['gains']][0]}, N = {row['n_demos']}, σ = {row['sigma']:g}"


def _growth(row: Row) -> str:
    grown = {
        "above": "the error is larger late than early",
        "below": "the error is smaller late than early",
        "not told apart": "late and early errors are not told apart",
    }
    power = {
        "above": "more than linear",
        "below": "less than linear",
        "not told apart": "not told apart from linear",
    }
    return (
        f"{_name(row)}, {AIRS[row['air']]}: {interval(row, 'diverged_demonstrated', percent=True)} of flights diverged "
        f"within a demonstration's length, {interval(row, 'diverged', percent=True)} by the end; "
        f"{grown[row['growth_verdict']]} (× {interval(row, 'growth')}); the largest error so far grows with a power "
        f"{interval(row, 'exponent')} of time, {power[row['exponent_verdict']]}."
    )


def _rows(rows: Sequence[Row]) -> Table:
    return Table(
        "All arms",
        ["arm", "air", "score", "distance", "early", "late", "growth ×", "exponent", "diverged"],
        [
            [
                _name(row),
                row["air"],
                interval(row, "score"),
                interval(row, "distance"),
                f"{row['early']:.3g}",
                f"{row['late']:.3g}",
                interval(row, "growth"),
                interval(row, "exponent"),
                interval(row, "diverged", percent=True),
            ]
            for row in rows
        ],
        "Score and distance over the whole flight. Distance, early, late: median over starts, geometric mean over "
        "seeds. Brackets: 95 % intervals.",
    )


def _comparisons(comparisons: Sequence[Row]) -> Table:
    return Table(
        "Paired by seed and start",
        ["arm", "air", "against", "score", "95 % interval", "distance", "95 % interval "],
        [
            [
                _name(item),
                item["air"],
                item["against"],
                f"{item['score_difference']:+.3f}",
                f"[{item['score_difference_low']:+.3f}, {item['score_difference_high']:+.3f}]",
                f"× {times(item['distance_ratio'])}",
                f"[{times(item['distance_ratio_low'])}, {times(item['distance_ratio_high'])}]",
            ]
            for item in comparisons
        ],
        "Differences of scores, geometric means of ratios of distances. No correction is made for their number.",
    )
