"""From the rows and curves of study pitfalls to its verdicts, tables and charts."""

from collections.abc import Mapping, Sequence

from ...recipe import Recipe
from ...report import Chart, Rule, Series
from ..engine.result import Answer, StudyResult, Verdict
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS
from ..engine.tables import ResultTable, Row, brackets, column, computed, estimate, interval
from .plan import PAIR

_SOURCE = "(Simchowitz, Pfrommer and Jadbabaie 2025, arXiv 2503.09722)"
_HOW = (
    f"Ours are two linear systems (ρ = {PAIR.rho:g}, b = {PAIR.coupling:g}, λ = {PAIR.decay:g}; "
    "holdfast.control.systems.indistinguishable derives their properties): open loop and expert are stable in both, "
    "their demonstrations are equal, and a linear law that is exact on the data has an error that grows at least by ρ "
    "per step in one of the two. The paper's own matrices and hyper-parameters were not available, and its experts are "
    "nonlinear. Cost: the largest |p|, the distance from the line of all data; the worse of the two systems counts, "
    "for each training run. Runs beyond 1,000 are stopped there."
)
DRAWN = {
    "regression": ("regression", "#d1431f"),
    "regression, bounded actions": ("… bounded actions", "#cf5b93"),
    "regression, replica noise": ("… replica noise", "#17978b"),
    "regression, plans 8, executes 1": ("… 8 planned, 1 done", "#b07a22"),
    "regression, plans 8, executes 4": ("… 8 planned, 4 done", "#8577dd"),
    "regression, plans 8, executes 8": ("… 8 planned, 8 done", "#2f86c9"),
    "diffusion": ("diffusion", "#3d444c"),
    "diffusion, plans 8, executes 8": ("diffusion, 8 of 8 done", "#8a949e"),
}
"""Arms in the charts, with name and colour; the table has all of them."""

MAIN_TABLE = ResultTable(
    "All arms, after training",
    (
        column("arm", "arm"),
        column("error", "error", ".2g"),
        estimate("cost", "cost"),
        column("in +", "cost_plus", ".3g", page_only=True),
        column("in −", "cost_minus", ".3g", page_only=True),
        estimate("before training", "cost_at_first", page_only=True),
        column("cost / error", "amplification", ".3g"),
        estimate("runs beyond 1", "above_one", percent=True, page_only=True),
        computed("exponential", lambda row: f"{row['exponential']} of {row['seeds']}"),
        computed(
            "growth", lambda row: ", ".join(f"{kind} {count}" for kind, count in row["kinds"].items()), page_only=True
        ),
    ),
    caption="Error: mean square on held-out demonstrations. Cost: in the worse system; cost / error: over the root "
    "of the error. Growth: of the distance to the expert, up to 1, with the number of training runs.",
)
PAIRED_TABLE = ResultTable(
    "Compared with regression, paired by seed and start",
    (
        column("arm", "arm"),
        computed("cost ×", lambda item: _ratio(item)),
        computed("", lambda item: {"above": "more", "below": "less"}.get(item["side"], item["side"])),
    ),
    caption="Geometric mean ratios, each training run in its worse system.",
    page_only=True,
)
METRICS = ("error", "cost", "cost_of_better", "cost_plus", "cost_minus", "cost_at_first", "amplification", "above_one",
           "exponential", "rate")  # fmt: skip


def pitfalls_result(
    rows: Sequence[Row], comparisons: Sequence[Row], curves: Sequence[Row], *, recipes: Mapping[str, Recipe]
) -> StudyResult:
    """Everything that the study found."""
    return StudyResult(
        title="Low loss, high cost: two systems that data cannot distinguish",
        lead="One training for both of two systems whose demonstrations are equal, evaluated in the worse of the two.",
        rows=[
            *measurement_rows(rows, METRICS, task="indistinguishable", omit=("kinds",)),
            *comparison_rows(comparisons, {"ratio": "cost ratio"}, omit=("side",)),
        ],
        verdicts=pitfalls_verdicts(rows, comparisons, curves),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={
            "pitfalls-training": _training(curves),
            "pitfalls-loss": _losses(curves),
            "pitfalls-horizon": _horizon(curves),
        },
        notes=[_HOW, INTERVALS],
        recipes=recipes,
        values={"pair": PAIR, "curves": curves},
    )


def pitfalls_verdicts(rows: Sequence[Row], comparisons: Sequence[Row], curves: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the paper's claims: regression first, then every arm compared with it."""
    arms, drawn = {row["arm"]: row for row in rows}, {curve["arm"]: curve for curve in curves}
    found = list[Verdict]()
    if "regression" in arms:
        found.append(_regression(arms["regression"], drawn["regression"]))
    found += [_compared(item, arms[item["arm"]]) for item in comparisons]
    bounded, diffusion = arms.get("regression, bounded actions"), arms.get("diffusion")
    if bounded and diffusion:
        seen = (
            f"Regression with actions clipped to the range of the data costs {interval(bounded, 'cost')}, diffusion "
            f"{interval(diffusion, 'cost')}; with bounded actions the stable open loop bounds the state, though far "
            "from the data."
        )
        claim = "Diffusion without chunks differs from regression because its samples are within the range of the data."
        found.append(Verdict(claim, seen, "open"))
    return found


def _regression(row: Row, curve: Row) -> Verdict:
    first, last = curve["error"][0], curve["error"][-1]
    rate = "" if row["rate"] is None else f", by {row['rate']:.3g} per step"
    grown = row["cost"] / row["cost_at_first"]
    seen = (
        f"From the first weights to the last, the error on held-out demonstrations goes from {first:.2g} to {last:.2g} "
        f"(mean square), while the cost in the worse system {'rises' if grown > 1 else 'falls'} from "
        f"{interval(row, 'cost_at_first')} to {interval(row, 'cost')}, that is × {grown:.3g}. The cost is "
        f"{row['amplification']:.3g} times the root mean square error. In the worse system the distance grows "
        f"exponentially in {row['exponential']} of {row['seeds']} training runs{rate}; in the better one the cost is "
        f"{interval(row, 'cost_of_better')}."
    )
    claim = (
        f"Regression: the error in closed loop is exponential in the horizon while the validation loss falls {_SOURCE}."
    )
    exponential = row["exponential"] / row["seeds"]
    return Verdict(claim, seen, "yes" if exponential > 0.5 and last < first else "no" if exponential == 0 else "open")


def _compared(item: Row, row: Row) -> Verdict:
    words = {"above": "costs more", "below": "costs less", "not significant": "no significant difference"}
    answers: dict[str, Answer] = {"above": "no", "below": "yes", "not significant": "open"}
    seen = (
        f"{words[item['side']]} (× {_ratio(item)}); cost {interval(row, 'cost')}, {row['amplification']:.3g} times its "
        f"error; exponential in {row['exponential']} of {row['seeds']} training runs."
    )
    return Verdict(
        f"{item['arm'][0].upper()}{item['arm'][1:]}, costs less than regression.", seen, answers[item["side"]]
    )


def _ratio(item: Row) -> str:
    return f"{item['ratio']:.2g} {brackets(item['ratio_low'], item['ratio_high'], '.2g')}"


def _training(curves: Sequence[Row]) -> Chart:
    # the first checkpoint, before any update, is drawn at 10 on the logarithmic axis
    lines = [(curve, [max(mark, 10.0) for mark in curve["updates"]], curve["cost"]) for curve in curves]
    return Chart(
        "Cost over training, in the worse of the two systems",
        [_line(*line, points=True) for line in lines if line[0]["arm"] in DRAWN],
        "updates",
        "largest |p|",
        "Geometric mean over seeds of the median over starts; at 10: before training. Intervals are in the table; "
        "those of regression span powers of ten, since its actions off the data depend on its first weights.",
        log_x=True,
        log_y=True,
        rules=[Rule(1.0, "distance of the starts")],
    )


def _losses(curves: Sequence[Row]) -> Chart:
    shown = [curve for curve in curves if curve["arm"] in DRAWN and not _same_weights(curve["arm"])]
    lines = [(curve, [max(mark, 10.0) for mark in curve["updates"]], curve["error"]) for curve in shown]
    return Chart(
        "Meanwhile, the error on held-out demonstrations",
        [_line(*line) for line in lines],
        "updates",
        "mean square error",
        "Of the first action of a plan, on the expert's own states; geometric mean over seeds. At 10: before training. "
        "A policy trained with noise cannot be exact.",
        log_x=True,
        log_y=True,
    )


def _same_weights(arm: str) -> bool:
    """Whether another arm in the chart has the same weights."""
    return "bounded" in arm or arm.endswith(("executes 1", "executes 4"))


def _horizon(curves: Sequence[Row]) -> Chart:
    shown = [curve for curve in curves if curve["arm"] in DRAWN]
    steps = [float(step) for step in range(1, len(curves[0]["over_time"]))]
    lines = [_line(curve, steps, curve["over_time"][1:]) for curve in shown]
    start = min(curve["over_time"][1] for curve in shown)
    least = [start * PAIR.rho ** (step - 1) for step in steps]
    return Chart(
        "Over the horizon, after training",
        [*lines, Series(f"{PAIR.rho:g} × per step", steps, least, colour="#c3c9cf", dashed=True)],
        "steps",
        "largest |p| so far",
        "In the worse system; geometric mean over seeds of the median over starts. Dashed: growth by ρ per step.",
        log_y=True,
    )


def _line(curve: Row, x: Sequence[float], y: Sequence[float], *, points: bool = False) -> Series:
    name, colour = DRAWN[curve["arm"]]
    return Series(name, [float(value) for value in x], y, colour=colour, points=points)
