"""From the runs of study toy to its verdicts, tables and charts."""

from collections.abc import Sequence

from ...report import Chart, Rule, Series
from ...report.chart import HUES
from ...report.palette import MUTED
from ..engine.result import StudyResult, Verdict
from ..engine.rows import measurement_rows
from ..engine.statistics import flat
from ..engine.tables import ResultTable, column, computed, estimate
from .learners import LEVEL, SLOPE, C
from .plan import ToyRuns

_HUES = (*HUES, MUTED)
"""One colour for each ε of the preset full."""

GROWTH = (
    column("learner", "learner"),
    column("growth", "kind"),
    estimate("per step", "rate"),
    estimate("bounded at the end", "bounded"),
    column("exact", "exact", ".4f"),
    column("1 − 1.5 t ε", "promised", ".4f"),
)
CELLS = ResultTable(
    "All cells",
    (
        column("learner", "learner"),
        column("ε", "eps", "g"),
        column("t", "time"),
        column("bounded", "bounded", ".4f"),
        computed("95 % interval", lambda row: f"[{row['bounded_low']:.4f}, {row['bounded_high']:.4f}]"),
        column("exact", "exact", ".4f"),
        column("1 − 1.5 t ε", "promised", ".4f"),
        computed(
            "theorem's bound on the complement",
            lambda row: "not TVC" if row["bound"] is None else f"{row['bound']:.3g}",
        ),
    ),
    caption="Bounded: within 10 ε at all steps up to t. The mean and the rounded learner are deterministic and run "
    "once. A bound of 1 or more is vacuous.",
    page_only=True,
)


def toy_result(found: ToyRuns) -> StudyResult:
    """Everything that the study found."""
    growth = {
        learner: {"eps": found.grown_eps, "kind": grown.kind, "rate": grown.rate, "reason": grown.reason}
        for learner, grown in found.growths.items()
    }
    return StudyResult(
        title="Two learners with the same mean error",
        lead="x' = 0.9 x + u, an expert that does nothing, and learners with an error of ε on its data: one diverges, "
        "one makes rare mistakes.",
        rows=measurement_rows(
            found.rows, ("bounded", "exact", "promised", "bound"), task="scalar", arm="learner", omit=("holds",)
        ),
        verdicts=[_explodes(found), _stays(found), _smoothing(found)],
        tables=[
            ResultTable(
                f"Growth of errors, ε = {found.grown_eps:g}, {max(found.plan.times)} steps",
                GROWTH,
                _growth_rows(found),
                "Growth of the distance to the expert, of learners with ε within a factor of 2. Brackets: 95 % "
                "intervals.",
            ),
            CELLS.of(found.rows),
        ],
        figures={"toy-distance": _distance(found), "toy-bounded": _bounded(found), "toy-smoothing": _laws(found)},
        notes=[_means(found)],
        values={"plan": found.plan, "c": C, "growth": growth, "means": found.means, "laws": found.laws},
    )


def _growth_rows(found: ToyRuns) -> list[dict[str, object]]:
    at_end = {
        row["learner"]: row
        for row in found.rows
        if (row["eps"], row["time"]) == (found.grown_eps, max(found.plan.times))
    }
    rows = list[dict[str, object]]()
    for learner, grown in found.growths.items():
        rate = {} if grown.rate is None else flat("rate", grown.rate)
        rows.append({**at_end[learner], "kind": grown.kind, **rate})
    return rows


def _explodes(found: ToyRuns) -> Verdict:
    mean = found.growths["mean"]
    fits = mean.kind == "exponential" and mean.rate is not None and abs(mean.rate.mean - 1.05) < 1e-3
    return Verdict(
        "The learner 0.15 x + ε has an error of ε in training and of (1.05)ᵗ ε in closed loop (talk by Simchowitz on "
        "Block et al. 2023, arXiv 2307.14619).",
        f"The growth of the mean learner is {mean.kind}.",
        "yes" if fits else "no",
        tuple(f"{learner}: {grown.reason}" for learner, grown in found.growths.items()),
    )


def _stays(found: ToyRuns) -> Verdict:
    tested = [row for row in found.rows if row["promised"] is not None]
    under = [row for row in tested if not row["holds"]]
    inside = sum(row["bounded_low"] <= row["exact"] <= row["bounded_high"] for row in tested)
    below = f"none of {len(tested)} cells is" if not under else f"{len(under)} of {len(tested)} cells are"
    return Verdict(
        "The learner Bernoulli(min(1, 0.15 x)) + ε has the same mean but is 0.15-TVC, and stays within O(ε) with "
        "probability 1 − O(tε): its mistakes accumulate at most linearly (same talk).",
        f"With its constant, the promise is P[bounded up to t] ≥ 1 − c t ε, c = 0.15/(1 − 0.9) = {C:g}, where bounded "
        f"means within {LEVEL:g} ε; {below} below it with the whole exact binomial interval (Bernoulli and smoothed "
        f"rounded learner). The exact probability is within the 95 % interval in {inside} of {len(tested)} cells; "
        "cells of one ε share their runs.",
        "no" if under else "yes",
    )


def _means(found: ToyRuns) -> str:
    half = max(found.plan.times) // 2
    mean, rare = found.means["mean"][half], found.means["bernoulli"][half]
    return (
        f"Both learners have the same mean: at t = {half} and ε = {found.grown_eps:g} the distance of the mean learner "
        f"is {mean.mean:.3g}, the mean distance of the Bernoulli learner {rare.mean:.3g} [{rare.low:.3g}, "
        f"{rare.high:.3g}]. Expected errors are equal until 0.15 x > 1; the second learner concentrates them in few "
        "runs."
    )


def _smoothing(found: ToyRuns) -> Verdict:
    laws = [law for law in found.laws if law["learner"] == "smoothed rounded"]
    inside = sum(law["share_low"] <= law["exact"] <= law["share_high"] for law in laws)
    grown = found.growths["smoothed mean"]
    rate = "no rate" if grown.rate is None else f"{grown.rate.mean:.3f} per step"
    return Verdict(
        "Smoothing a learner that acts by tokens (integer actions) makes it the Bernoulli learner.",
        f"Rounded to integers, the mean learner is deterministic and not TVC; with uniform observation noise it is the "
        f"Bernoulli learner exactly ({inside} of {len(laws)} places within the 95 % interval). Gaussian noise of σ = "
        f"{found.plan.sigma:g} on the observations of the mean learner itself makes it 1/2σ-TVC, but a linear law "
        f"stays linear: its growth is {grown.kind}, with {rate}. The theorem applies there too but is vacuous: on "
        "noised data this learner's error is 0.15 σ|w|, far above ε/10. Noise in the data helps a learner that is "
        "fitted to it.",
        # of 95 % intervals about one in twenty may miss
        "yes" if inside >= 0.85 * len(laws) else "no",
    )


def _distance(found: ToyRuns) -> Chart:
    series = list[Series]()
    for learner in ("mean", "smoothed mean", "bernoulli"):
        low, middle, high = ([float(value) for value in band] for band in found.growths[learner].bands)
        band = (None, None) if learner == "mean" else (low, high)
        series.append(Series(f"{learner}, median", _steps(middle), middle, *band))
    means = [value.mean for value in found.means["bernoulli"]]
    series.append(Series("bernoulli, mean", _steps(means), means, dashed=True, colour="#17978b"))
    return Chart(
        "One learner diverges; of the other, a few runs do",
        series,
        "step t",
        "|x|",
        f"Learners with ε within a factor of 2 of {found.grown_eps:g}; bands hold 80 % of the runs. Dashed: mean of "
        "all runs. The rounded and the smoothed rounded learner are like the Bernoulli learner.",
        log_y=True,
        rules=[Rule(LEVEL * found.grown_eps, "10 ε")],
    )


def _bounded(found: ToyRuns) -> Chart:
    series = list[Series]()
    for place, eps in enumerate(found.plan.epsilons):
        colour = _HUES[place % len(_HUES)]
        rows = [row for row in found.rows if row["learner"] == "bernoulli" and row["eps"] == eps]
        times = [float(row["time"]) for row in rows]
        gone, low, high = ([1 - row[name] for row in rows] for name in ("bounded", "bounded_high", "bounded_low"))
        series.append(Series(f"ε = {eps:g}", times, gone, low, high, colour=colour, points=True))
        promised = [min(1.0, C * time * eps) for time in times]
        series.append(Series(f"{C:g} t ε", times, promised, colour=colour, dashed=True))
    return Chart(
        "Bernoulli learner: the share of runs that left 10 ε is below 1.5 t ε",
        series,
        "steps t",
        "P[not bounded up to t]",
        "Points with exact binomial 95 % intervals; dashed, in the same color, the promise c t ε with c = 1.5.",
        log_x=True,
        log_y=True,
    )


def _steps(values: Sequence[float]) -> list[float]:
    return [float(step) for step in range(len(values))]


def _laws(found: ToyRuns) -> Chart:
    end, step = 8.0, 1 / SLOPE
    laws = [law for law in found.laws if law["learner"] == "smoothed rounded"]
    x, share, low, high = ([law[name] for law in laws] for name in ("x", "share", "share_low", "share_high"))
    return Chart(
        "Rounded and smoothed, the mean learner is the Bernoulli learner",
        [
            Series("mean: u = 0.15 x", [0.0, end], [0.0, SLOPE * end], colour="#d1431f"),
            Series("rounded: u", [0.0, step, step, end], [0.0, 0.0, 1.0, 1.0], colour="#8a949e"),
            Series("bernoulli: P[u = 1]", [0.0, step, end], [0.0, 1.0, 1.0], colour="#17978b", dashed=True),
            Series("smoothed: P[u = 1]", x, share, low, high, colour="#2f86c9", points=True),
        ],
        "x",
        "action without ε",
        "Smoothed: uniform noise of width 1/0.15 on the observations of the rounded learner; exact binomial 95 % "
        "intervals.",
    )
