"""From the rows of study fig6-pusht to its verdicts, tables and charts."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Recipe
from ...report import Chart, Series
from ...report.chart import draw_charts
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS, REFERENCE
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS, sides_of
from ..engine.tables import ResultTable, Row, column, estimate, seed_difference_columns, with_signs

_LAWS = {"gaussian": "Gaussian noise, as in the paper", "uniform": "uniform noise σ U[0, 1), as in its code"}
_WAYS = {
    "replica": ("replica: in training and at deployment", GAINS),
    "train": ("train: in training only", RAW_ACTIONS),
    "shift": ("shift: its mean alone at deployment", OTHERS[0]),
}
_CELL = (column("law", "law"), column("N", "n_demos"), column("σ", "sigma", "g"), column("deployed", "noise"))
MAIN_TABLE = ResultTable(
    "All arms",
    (*_CELL, estimate("score", "score"), column("success", "success", ".0%")),
    caption="Score: mean over starts of the largest clip(coverage / 0.95, 0, 1) within 300 steps. Success: "
    "coverage above 0.95.",
)
PAIRED_TABLE = ResultTable(
    "Differences, paired by seed and start",
    (*_CELL, column("minus", "against"), *seed_difference_columns()),
    page_only=True,
)


def fig6_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    *,
    recipes: Mapping[str, Recipe] | None = None,
    values: Mapping[str, Any] | None = None,
) -> StudyResult:
    """Everything that the study found."""
    return StudyResult(
        title="Noise in training alone, or also at deployment: Push-T",
        lead="Figure 6 of Block et al. 2023 (arXiv 2307.14619) on human demonstrations of Push-T, for the paper's law "
        "of noise and for that of its code. Network, updates, batch size and starts are fixed.",
        rows=[
            *measurement_rows(rows, ("score", "success"), task="pusht", arm="noise"),
            *comparison_rows(comparisons, {"difference": "score"}, of="noise"),
        ],
        verdicts=fig6_verdicts(comparisons),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={"fig6": _figure(rows)},
        notes=[
            "The code behind the published figure draws its noise from σ U[0, 1) instead of N(0, σ²). The policy is "
            "trained on its mean σ/2 too; the train-only policy is then deployed without it and sees every coordinate "
            "off by σ/2, the replica does not.",
            INTERVALS,
        ],
        recipes=recipes or {},
        values=values or {},
    )


def fig6_verdicts(comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims of the figure, for each law, and on their explanation."""
    found = list[Verdict | None]()
    for law, name in (("gaussian", "Gaussian noise"), ("uniform", "Uniform noise")):
        own = [row for row in comparisons if row["law"] == law]
        found.append(_verdict(f"{name}: the replica outperforms noise in training alone", "replica", "train", own))
        found.append(_verdict(f"{name}: the replica outperforms training without noise", "replica", "none", own))
        if law == "uniform":
            found.append(_verdict(f"{name}: its mean alone outperforms training alone", "shift", "train", own))
    return [verdict for verdict in (*found, _explanation(comparisons)) if verdict is not None]


def _verdict(claim: str, way: str, against: str, pairs: Sequence[Row]) -> Verdict | None:
    rows = [row for row in pairs if row["noise"] == way and row["against"] == against]
    if not rows:
        return None
    sides = sides_of(rows, "difference")
    cells = "; ".join(f"N = {row['n_demos']}, σ = {row['sigma']:g}: {with_signs(row)}" for row in rows)
    better, worse = sides.count("above"), sides.count("below")
    return Verdict(
        f"{claim} (Block et al. 2023, Figure 6).",
        f"The score is significantly higher in {better} and lower in {worse} of {len(rows)} cells ({cells}).",
        answer(better, worse, of=len(rows)),
    )


def _explanation(comparisons: Sequence[Row]) -> Verdict | None:
    """How much of the gap between replica and train-only the mean of the uniform noise explains."""
    uniform = [row for row in comparisons if row["law"] == "uniform" and row["against"] == "train"]
    gaps, shifts = (
        {(row["n_demos"], row["sigma"]): row["difference"] for row in uniform if row["noise"] == way}
        for way in ("replica", "shift")
    )
    if not gaps or gaps.keys() != shifts.keys():
        return None
    claim = "The gap between the replica and noise in training alone is due to the shift of the uniform noise's mean."
    (n_demos, sigma), gap = max(gaps.items(), key=lambda item: item[1])
    if gap <= 0:
        return Verdict(
            claim, "With uniform noise, too, the replica gains nothing over noise in training alone.", "open"
        )
    seen = (
        f"Where the uniform law favors the replica most (N = {n_demos}, σ = {sigma:g}: {gap:+.3f}), deploying the "
        "train-only policy with the mean it was trained with, and no noise, changes its score by "
        f"{shifts[n_demos, sigma]:+.3f}: that much of the gap is the shift of the mean."
    )
    return Verdict(claim, seen, "yes" if shifts[n_demos, sigma] > gap / 2 else "no")


def _figure(rows: Sequence[Row]) -> Drawing:
    """One chart per number of demonstrations (rows) and law (columns)."""
    laws = [law for law in _LAWS if any(row["law"] == law for row in rows)]
    if not laws:
        raise DataError("expected rows with noise, got none. Give at least one sigma above 0.")
    counts = sorted({row["n_demos"] for row in rows})
    charts = [_chart([row for row in rows if row["n_demos"] == n], law, n) for n in counts for law in laws]
    return Drawing(
        partial(draw_charts, charts=charts, columns=len(laws)),
        "The figure",
        "Means over training seeds, each with its own choice of demonstrations, on the same published test starts; "
        "bars and band are 95 % Student intervals over seeds.",
        "Score against noise for two laws of noise and several numbers of demonstrations",
    )


def _chart(rows: Sequence[Row], law: str, count: int) -> Chart:
    sigmas = sorted({row["sigma"] for row in rows if row["law"] == law})
    series = list[Series]()
    for way, (name, colour) in _WAYS.items():
        line = sorted((row for row in rows if (row["law"], row["noise"]) == (law, way)), key=lambda row: row["sigma"])
        if line:
            values = ([row[f"score{end}"] for row in line] for end in ("", "_low", "_high"))
            series.append(Series(name, [row["sigma"] for row in line], *values, colour=colour, points=True))
    for row in rows:
        if row["noise"] == "none" and sigmas:
            ends = ([row[f"score{end}"]] * 2 for end in ("", "_low", "_high"))
            series.append(Series("no noise", [sigmas[0] / 1.2, sigmas[-1] * 1.2], *ends, colour=REFERENCE, dashed=True))
    return Chart(
        f"N = {count} demonstrations, {_LAWS[law]}",
        series,
        "σ on normalized observations",
        "score (largest coverage)",
        log_x=True,
    )
