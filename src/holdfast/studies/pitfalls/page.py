"""The page and the figures of study pitfalls: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report import Chart, Rule, Section, Series, Table, Text, draw_chart, write_page
from ..quadrotor.words import interval
from .plan import PAIR, Pitfalls

__all__ = ["pitfalls_findings", "write_pitfalls_page"]

Row = dict[str, Any]

CLAIMED = (
    "Claimed (Simchowitz, Pfrommer and Jadbabaie 2025, arXiv 2503.09722): where systems and experts, all of them "
    "stable, cannot be told apart on the expert's data, policies that return a smooth mean with noise that does not "
    "depend on the state execute with an error that is exponential in the horizon times their error on the data. In "
    "its experiment rollout cost rises while validation loss falls, policies of random noise beat all learned ones, "
    "and diffusion, replica noising and chunks of 4 or 8 actions beat regression; chunks are not exponential."
)
HOW = (
    f"How it was made. Ours are two linear systems (ρ = {PAIR.rho:g}, b = {PAIR.coupling:g}, λ = {PAIR.decay:g}; "
    "holdfast.control.systems.indistinguishable derives their properties): open loop and expert are stable in both, "
    "their demonstrations are equal, and a linear law that is exact on the data has an error that grows at least by ρ "
    "a step in one of the two. The paper's own matrices and hyper-parameters were not at hand, and its experts are "
    "nonlinear. Cost: the largest |p|, the distance from the line that all data lie on; of the two systems the worse "
    "one counts. Runs beyond 1,000 are stopped there."
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
"""Arms that are drawn, under which name and in which colour; the others are in the table."""


def write_pitfalls_page(folder: Path, found: Pitfalls) -> list[Path]:
    """Write `pitfalls-training.png`, `pitfalls-loss.png`, `pitfalls-horizon.png` and `index.html`."""
    charts = {
        "pitfalls-training.png": _training(found),
        "pitfalls-loss.png": _losses(found),
        "pitfalls-horizon.png": _horizon(found),
    }
    figures = [draw_chart(folder / name, chart) for name, chart in charts.items()]
    sections: list[Section] = [
        *charts.values(),
        Text("What was claimed, what was seen", [CLAIMED, HOW, *pitfalls_findings(found)]),
        _rows(found.rows),
        _comparisons(found.comparisons),
    ]
    page = write_page(
        folder / "index.html",
        title="Low loss, high cost: two systems that data cannot tell apart",
        lead="One training for both of two systems whose demonstrations are equal, judged in the worse of the two.",
        sections=sections,
    )
    return [*figures, page]


def pitfalls_findings(found: Pitfalls) -> list[str]:
    """What can be said from the numbers, also where nothing can be told apart."""
    rows = {row["arm"]: row for row in found.rows}
    curves = {curve["arm"]: curve for curve in found.curves}
    sentences = list[str]()
    if "regression" in rows:
        sentences.append(_regression(rows["regression"], curves["regression"]))
    sentences += [_against(item, rows[item["arm"]]) for item in found.comparisons]
    bounded, diffusion = rows.get("regression, bounded actions"), rows.get("diffusion")
    if bounded and diffusion:
        sentences.append(
            "What sets diffusion apart without chunks: its samples lie within the range of the data. Regression whose "
            f"actions are cut to that range costs {interval(bounded, 'cost')}, diffusion "
            f"{interval(diffusion, 'cost')}; with bounded actions the stable open loop bounds the state, "
            "far from the data though."
        )
    return [
        *sentences,
        "A difference counts as seen where its 95 % interval, the wider of Student's over seeds and a bootstrap over "
        "seeds and starts, leaves out no difference; no correction is made for the number of comparisons. Which of the "
        "two systems is the worse one is chosen by the cost itself, for each training.",
    ]


def _regression(row: Row, curve: Row) -> str:
    first, last = curve["error"][0], curve["error"][-1]
    rate = "" if row["rate"] is None else f", by {row['rate']:.3g} a step"
    grown = row["cost"] / row["cost_at_first"]
    verb = "rises" if grown > 1 else "falls"
    return (
        f"Seen, regression: from the first weights to the last, the error on held-out demonstrations goes from "
        f"{first:.2g} to {last:.2g} (mean square), while the cost in the worse system {verb} from "
        f"{interval(row, 'cost_at_first')} to {interval(row, 'cost')}, that is × {grown:.3g}. The cost is "
        f"{row['amplification']:.3g} times the root mean square error. In the worse system the distance grows "
        f"exponentially in {row['exponential']} of {row['runs']} trainings{rate}; in the better one the cost is "
        f"{interval(row, 'cost_of_better')}."
    )


def _against(item: Row, row: Row) -> str:
    said = {
        "above": "costs more than regression",
        "below": "costs less than regression",
        "not told apart": "is not told apart from regression",
    }
    return (
        f"{item['arm'][0].upper()}{item['arm'][1:]}: {said[item['verdict']]} (× {_ratio(item)}); cost "
        f"{interval(row, 'cost')}, {row['amplification']:.3g} times its error; exponential in {row['exponential']} of "
        f"{row['runs']} trainings."
    )


def _training(found: Pitfalls) -> Chart:
    # the first checkpoint, before any update, has its place at 10 on the logarithmic axis
    lines = [(curve, [max(mark, 10.0) for mark in curve["updates"]], curve["cost"]) for curve in found.curves]
    return Chart(
        "Cost over training, in the worse of the two systems",
        [_line(*line, points=True) for line in lines if line[0]["arm"] in DRAWN],
        "updates",
        "largest |p|",
        "Geometric mean over seeds of the median over starts; at 10: before training. Intervals are in the table; "
        "those of regression span powers of ten, since what it does off the data is up to its first weights.",
        log_x=True,
        log_y=True,
        rules=[Rule(1.0, "as far as starts lie")],
    )


def _losses(found: Pitfalls) -> Chart:
    kept = [curve for curve in found.curves if curve["arm"] in DRAWN and not _same_weights(curve["arm"])]
    lines = [(curve, [max(mark, 10.0) for mark in curve["updates"]], curve["error"]) for curve in kept]
    return Chart(
        "Meanwhile, the error on held-out demonstrations",
        [_line(*line) for line in lines],
        "updates",
        "mean square error",
        "Of the first action of a plan, on the expert's own states; geometric mean over seeds. At 10: before training. "
        "Trained with noise, a policy cannot be exact.",
        log_x=True,
        log_y=True,
    )


def _same_weights(arm: str) -> bool:
    """Whether another arm that is drawn has the same weights."""
    return "bounded" in arm or arm.endswith(("executes 1", "executes 4"))


def _horizon(found: Pitfalls) -> Chart:
    kept = [curve for curve in found.curves if curve["arm"] in DRAWN]
    steps = [float(step) for step in range(1, len(found.curves[0]["over_time"]))]
    lines = [_line(curve, steps, curve["over_time"][1:]) for curve in kept]
    start = min(curve["over_time"][1] for curve in kept)
    least = [start * PAIR.rho ** (step - 1) for step in steps]
    return Chart(
        "Over the horizon, after training",
        [*lines, Series(f"{PAIR.rho:g} × a step", steps, least, colour="#c3c9cf", dashed=True)],
        "steps",
        "largest |p| so far",
        "In the worse system; geometric mean over seeds of the median over starts. Dashed: growth by ρ a step.",
        log_y=True,
    )


def _line(curve: Row, x: Sequence[float], y: Sequence[float], *, points: bool = False) -> Series:
    name, colour = DRAWN[curve["arm"]]
    return Series(name, [float(value) for value in x], y, colour=colour, points=points)


def _ratio(item: Row) -> str:
    return f"{item['ratio']:.2g} [{item['ratio_low']:.2g}, {item['ratio_high']:.2g}]"


def _rows(rows: Sequence[Row]) -> Table:
    return Table(
        "All arms, after training",
        ["arm", "error", "cost", "in +", "in −", "before training", "cost / error", "runs beyond 1", "growth"],
        [
            [
                row["arm"],
                f"{row['error']:.2g}",
                interval(row, "cost"),
                f"{row['cost_plus']:.3g}",
                f"{row['cost_minus']:.3g}",
                interval(row, "cost_at_first"),
                f"{row['amplification']:.3g}",
                interval(row, "above_one", percent=True),
                ", ".join(f"{kind} {count}" for kind, count in row["kinds"].items()),
            ]
            for row in rows
        ],
        "Error: mean square on held-out demonstrations. Cost: of the worse system; cost / error: over the root of it. "
        "Growth: of the distance to the expert, up to 1, in how many trainings.",
    )


def _comparisons(comparisons: Sequence[Row]) -> Table:
    return Table(
        "Beside regression, paired by seed and start",
        ["arm", "cost ×", "verdict"],
        [
            [
                item["arm"],
                _ratio(item),
                {"above": "more", "below": "less"}.get(item["verdict"], item["verdict"]),
            ]
            for item in comparisons
        ],
        "Geometric means of ratios, each training in its worse system.",
    )
