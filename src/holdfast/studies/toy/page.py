"""The page and the figures of study toy: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...analysis.error_growth import Growth
from ...report import Chart, Rule, Section, Series, Table, Text, draw_chart, write_page
from .plan import LEVEL, SLOPE, C, Toy

__all__ = ["toy_findings", "write_toy_page"]

CLAIMED = (
    "Claimed (seed 000, slides of the talk on Block et al. 2023, arXiv 2307.14619): in x' = 0.9 x + u, with the zero "
    "trajectory as data, the learner 0.15 x + ε errs by ε in training and by (1.05)ᵗ ε when it is run; "
    "Bernoulli(min(1, 0.15 x)) + ε has the same mean but is 0.15-TVC, and stays within O(ε) with probability "
    "1 − O(tε): probabilistic mistakes accumulate at most linearly."
)


def write_toy_page(folder: Path, found: Toy) -> list[Path]:
    """Write `toy-distance.png`, `toy-bounded.png`, `toy-smoothing.png` and `index.html`; returns their paths."""
    charts = {
        "toy-distance.png": _distance(found),
        "toy-bounded.png": _bounded(found),
        "toy-smoothing.png": _laws(found),
    }
    figures = [draw_chart(folder / name, chart) for name, chart in charts.items()]
    sections: list[Section] = [
        *charts.values(),
        Text("What was claimed, what was seen", [CLAIMED, *toy_findings(found)]),
        _rows(found.rows),
    ]
    page = write_page(
        folder / "index.html",
        title="Two learners with the same mean error",
        lead="x' = 0.9 x + u, an expert that does nothing, and learners that err by ε on its data: one explodes, one "
        "makes rare mistakes.",
        sections=sections,
    )
    return [*figures, page]


def toy_findings(found: Toy) -> list[str]:
    """What can be said from the numbers."""
    kept = [row for row in found.rows if row["promised"] is not None]
    under = [row for row in kept if not row["holds"]]
    inside = sum(row["bounded_low"] <= row["exact"] <= row["bounded_high"] for row in kept)
    return [
        *(_grows(learner, growth) for learner, growth in found.growths.items()),
        _promise(kept, under, inside),
        _means(found),
        _smoothing(found),
    ]


def _grows(learner: str, growth: Growth) -> str:
    return f"Seen, {learner} learner: {growth.reason}."


def _promise(kept: Sequence[dict[str, Any]], under: Sequence[dict[str, Any]], inside: int) -> str:
    verdict = (
        f"none of {len(kept)} cells lies below it" if not under else f"{len(under)} of {len(kept)} cells lie below it"
    )
    return (
        f"The promise with its constant is P[bounded up to t] ≥ 1 − c t ε, c = 0.15/(1 − 0.9) = {C:g}, bounded meaning "
        f"within {LEVEL:g} ε; {verdict} with its whole exact binomial interval (Bernoulli and smoothed rounded "
        f"learner). The exact probability lies within the 95 % interval of {inside} of {len(kept)} cells; those of one "
        "ε share their runs."
    )


def _means(found: Toy) -> str:
    half = max(found.plan.times) // 2
    mean, rare = found.means["mean"][half], found.means["bernoulli"][half]
    return (
        f"The mean is no remedy: at t = {half} and ε = {found.grown_eps:g} the distance of the mean learner is "
        f"{mean.mean:.3g}, the mean distance of the Bernoulli one {rare.mean:.3g} [{rare.low:.3g}, {rare.high:.3g}]. "
        "In expectation both err alike until 0.15 x > 1; the second concentrates it in few runs."
    )


def _smoothing(found: Toy) -> str:
    laws = [law for law in found.laws if law["learner"] == "smoothed rounded"]
    off = [law for law in laws if not law["low"] <= law["exact"] <= law["high"]]
    grown = found.growths["smoothed mean"]
    rate = "no rate" if grown.rate is None else f"{grown.rate.mean:.3f} a step"
    return (
        "Smoothing turns one into the other where the learner acts by tokens: rounded to whole actions the mean "
        "learner is deterministic and not TVC, and behind uniform noise on what it sees it is the Bernoulli learner "
        f"exactly ({len(laws) - len(off)} of {len(laws)} places within the 95 % interval), whose mean is the first "
        f"learner again. Gaussian noise of σ = {found.plan.sigma:g} on what the mean learner itself sees makes it "
        f"1/2σ-TVC, but a linear law stays linear: its kind of growth is {grown.kind}, with {rate}. (While noise still "
        "drives it from 0 its median is no pure recursion, and the fit lies a little below 1.05.) The theorem holds "
        "there too but says nothing: noised data show this learner's error, 0.15 σ|w|, which is far above ε/10. Noise "
        "in the data helps a learner that is fitted to it, not one that is not."
    )


def _distance(found: Toy) -> Chart:
    series = list[Series]()
    for learner in ("mean", "smoothed mean", "bernoulli"):
        low, middle, high = ([float(value) for value in band] for band in found.growths[learner].bands)
        band = (None, None) if learner == "mean" else (low, high)
        series.append(Series(f"{learner}, median", _steps(middle), middle, *band))
    means = [value.mean for value in found.means["bernoulli"]]
    series.append(Series("bernoulli, mean", _steps(means), means, dashed=True, colour="#17978b"))
    return Chart(
        "One learner explodes, of the other a few runs go far",
        series,
        "step t",
        "|x|",
        f"Learners with ε within a factor of 2 of {found.grown_eps:g}; bands hold 80 % of the runs. Dashed: the mean "
        "of all runs. The rounded learner, and the smoothed rounded one, are as the Bernoulli one.",
        log_y=True,
        rules=[Rule(LEVEL * found.grown_eps, "10 ε")],
    )


def _bounded(found: Toy) -> Chart:
    series = list[Series]()
    for place, eps in enumerate(found.plan.epsilons):
        colour = ("#2f86c9", "#e0592f", "#17978b", "#8577dd", "#b07a22", "#cf5b93", "#8a949e", "#5f6b76")[place % 8]
        rows = [row for row in found.rows if row["learner"] == "bernoulli" and row["eps"] == eps]
        times = [float(row["time"]) for row in rows]
        gone, low, high = ([1 - row[name] for row in rows] for name in ("bounded", "bounded_high", "bounded_low"))
        series.append(Series(f"ε = {eps:g}", times, gone, low, high, colour=colour, points=True))
        promised = [min(1.0, C * time * eps) for time in times]
        series.append(Series(f"{C:g} t ε", times, promised, colour=colour, dashed=True))
    return Chart(
        "Bernoulli learner: the share of runs that left 10 ε lies under 1.5 t ε",
        series,
        "steps t",
        "P[not bounded up to t]",
        "Points with exact binomial 95 % intervals; dashed, in the same colour, the promise c t ε with c = 1.5.",
        log_x=True,
        log_y=True,
    )


def _steps(values: Sequence[float]) -> list[float]:
    return [float(step) for step in range(len(values))]


def _laws(found: Toy) -> Chart:
    end, step = 8.0, 1 / SLOPE
    laws = [law for law in found.laws if law["learner"] == "smoothed rounded"]
    x, share, low, high = ([law[name] for law in laws] for name in ("x", "share", "low", "high"))
    return Chart(
        "Rounded and smoothed, the mean learner is the Bernoulli one",
        [
            Series("mean: u = 0.15 x", [0.0, end], [0.0, SLOPE * end], colour="#d1431f"),
            Series("rounded: u", [0.0, step, step, end], [0.0, 0.0, 1.0, 1.0], colour="#8a949e"),
            Series("bernoulli: P[u = 1]", [0.0, step, end], [0.0, 1.0, 1.0], colour="#17978b", dashed=True),
            Series("smoothed: P[u = 1]", x, share, low, high, colour="#2f86c9", points=True),
        ],
        "x",
        "action without ε",
        "Smoothed: uniform noise of width 1/0.15 on what the rounded learner sees; exact binomial 95 % intervals.",
    )


def _rows(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "All cells",
        ["learner", "ε", "t", "bounded", "95 % interval", "exact", "1 − 1.5 t ε", "theorem's bound on its complement"],
        [
            [
                row["learner"],
                f"{row['eps']:g}",
                str(row["time"]),
                f"{row['bounded']:.4f}",
                f"[{row['bounded_low']:.4f}, {row['bounded_high']:.4f}]",
                "–" if row["exact"] is None else f"{row['exact']:.4f}",
                "–" if row["promised"] is None else f"{row['promised']:.4f}",
                "not TVC" if row["theorem"] is None else f"{row['theorem']:.3g}",
            ]
            for row in rows
        ],
        "Bounded: within 10 ε at all steps up to t. The mean and the rounded learner know no chance and are run once. "
        "A theorem's bound of 1 or more says nothing.",
    )
