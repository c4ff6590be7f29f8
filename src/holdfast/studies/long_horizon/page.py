"""From the rows and curves of study long-horizon to its verdicts, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...recipe import Recipe
from ...report import Chart, Rule, Series
from ...report.chart import draw_charts
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.statistics import INTERVALS
from ..engine.tables import ResultTable, Row, column, compared, estimate
from ..quadrotor.labels import ARM_COLUMNS, ARM_NAMES, arm_colour, paired_table, quadrotor_rows
from .plan import GUST

_AIRS = {"still": "still air", "gusts": "gusts"}
_FLOOR = 1e-4  # errors below it are drawn there
_SOURCE = "(Block et al. 2023, arXiv 2307.14619)"
_ARM = (*ARM_COLUMNS, column("σ", "sigma", "g"), column("air", "air"))
MAIN_TABLE = ResultTable(
    "All arms",
    (
        *_ARM,
        estimate("score", "score", page_only=True),
        estimate("distance", "distance"),
        column("early", "early", ".3g", page_only=True),
        column("late", "late", ".3g", page_only=True),
        estimate("late / early", "growth"),
        estimate("power of time", "exponent"),
        estimate("diverged", "diverged", percent=True),
    ),
    caption="Score and distance over the whole flight. Distance, early, late: median over starts, geometric mean "
    "over seeds. Brackets: 95 % intervals.",
)
PAIRED_TABLE = paired_table("Paired by seed and start", (*_ARM, column("against", "against")))
METRICS = ("score", "distance", "diverged", "early", "late", "growth", "exponent", "diverged_demonstrated")


def long_horizon_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    curves: Sequence[Row],
    *,
    demonstrated: float,
    recipes: Mapping[str, Recipe],
) -> StudyResult:
    """Everything that the study found; `demonstrated` is the length of a demonstration [s]."""
    return StudyResult(
        title="Far beyond the demonstrations' horizon",
        lead=f"Policies cloned from demonstrations of {demonstrated:g} s fly for {rows[0]['steps']:,} steps from "
        "held-out starts, with and without gains and noise.",
        rows=quadrotor_rows(rows, comparisons, METRICS),
        verdicts=long_horizon_verdicts(rows, comparisons),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={
            f"long-horizon-n{count}": _figure([curve for curve in curves if curve["n_demos"] == count], demonstrated)
            for count in sorted({row["n_demos"] for row in rows})
        },
        notes=[
            "Late / early: the error in the last tenth of a flight over that in the 100 steps after the "
            "demonstrations' end. Power of time: the exponent with which the largest error so far grows from the "
            "demonstrations' end on; 1 is linear. The expert comes to rest, which bounds the distance of a stable "
            "policy; no growth here is no promise for tasks without an end. Flights that diverge numerically stand "
            "still, which understates their growth.",
            INTERVALS,
        ],
        recipes=recipes,
        values={"gust": GUST, "curves": curves},
    )


def long_horizon_verdicts(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims about compounding errors, in each air."""
    found = list[Verdict]()
    for air, name in _AIRS.items():
        gains, raw = (
            [row for row in rows if row["air"] == air and (row["gains"] != "none") == kept] for kept in (True, False)
        )
        if gains:
            bounded = sum(row["exponent_side"] != "above" and row["diverged"] == 0 for row in gains)
            claim = f"With stabilizing gains errors compound at most linearly, in {name} {_SOURCE}."
            growing = sum(row["exponent_side"] == "above" for row in gains)
            found.append(Verdict(claim, _growth(gains), answer(bounded, growing, of=len(gains))))
        if raw:
            worse = sum(row["exponent_side"] == "above" or row["diverged"] > 0 for row in raw)
            claim = (
                f"Without stabilization errors compound faster than linearly, or policies diverge, in {name} {_SOURCE}."
            )
            found.append(Verdict(claim, _growth(raw), "yes" if worse == len(raw) else "open" if worse else "no"))
        pairs = [item for item in comparisons if item["air"] == air and item["gains"] != "none"]
        pairs = [item for item in pairs if item["against"].startswith("raw")]
        if pairs:
            sides = [item["distance_side"] for item in pairs]
            told = "; ".join(f"{_name(item)}: {compared(item)}" for item in pairs)
            claim = (
                f"Over the whole flight gains are closer to the expert than raw actions with the same noise, in {name}."
            )
            found.append(Verdict(claim, f"{told}.", answer(sides.count("below"), sides.count("above"), of=len(sides))))
    return found


def _growth(rows: Sequence[Row]) -> str:
    later = sum(row["growth_side"] == "above" for row in rows)
    faster = sum(row["exponent_side"] == "above" for row in rows)
    lost = [row for row in rows if row["diverged"] > 0]
    told = [
        f"{_name(row)} {row['diverged']:.0%}, {row['diverged_demonstrated']:.0%} within a demonstration's length"
        for row in lost
    ]
    return (
        f"Of {len(rows)} arms, the error is significantly larger late than early in {later}, the largest error grows "
        f"significantly faster than linearly in {faster}, and flights diverge in "
        f"{'; '.join([f'{len(lost)} arms', *told])}."
    )


def _name(row: Row) -> str:
    return f"{ARM_NAMES[row['gains']]}, N = {row['n_demos']}, σ = {row['sigma']:g}"


def _figure(curves: Sequence[Row], demonstrated: float) -> Drawing:
    """Error (left) and share of diverged flights (right) over time, one row per air."""
    charts = list[Chart]()
    for air, name in _AIRS.items():
        own = [curve for curve in curves if curve["air"] == air]
        if own:
            charts += [_errors(own, name, demonstrated), _shares(own, name, demonstrated)]
    return Drawing(
        partial(draw_charts, charts=charts, columns=2),
        f"Over time, N = {curves[0]['n_demos']}",
        f"Top: still air; bottom: gusts, noise of {GUST:g} m/s and rad/s per step on the rates, the same for all "
        "policies and for the expert, which replans at every step. Dashed: σ = 0. Bands: 10 to 90 % of flights (left), "
        f"95 % intervals (right). Errors below {_FLOOR:g} are drawn there. Diverged: ever more than 10 away.",
        "Distance to the expert and share of diverged flights over time",
    )


def _errors(curves: Sequence[Row], air: str, demonstrated: float) -> Chart:
    floored = [
        {**curve, **{key: [max(value, _FLOOR) for value in curve[key]] for key in ("median", "low", "high")}}
        for curve in curves
    ]
    series = [_series(curve, "median", "low", "high") for curve in floored]
    rules = [Rule(demonstrated, "demonstrations end", upright=True)]
    title = f"Distance to the expert, median, in {air}"
    return Chart(title, series, "time [s]", "distance to the expert [SI]", log_y=True, rules=rules)


def _shares(curves: Sequence[Row], air: str, demonstrated: float) -> Chart:
    series = [_series(curve, "diverged", "diverged_low", "diverged_high") for curve in curves]
    rules = [Rule(demonstrated, "demonstrations end", upright=True)]
    return Chart(f"Diverged flights, in {air}", series, "time [s]", "share of flights", rules=rules)


def _series(curve: Row, middle: str, low: str, high: str) -> Series:
    return Series(
        f"{ARM_NAMES[curve['gains']]}, σ = {curve['sigma']:g}",
        *(curve[key] for key in ("seconds", middle, low, high)),
        colour=arm_colour(curve["gains"]),
        dashed=curve["sigma"] == 0,
    )
