"""From the rows of study inputs to its verdicts, tables and figure."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...recipe import Recipe
from ...report import Chart, Series
from ...report.chart import draw_charts
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS, REFERENCE
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS, sides_of
from ..engine.tables import ResultTable, Row, column, estimate, seed_difference_columns, with_signs
from .changes import CHANGES

COLOURS: Mapping[str, str] = {
    "raw": RAW_ACTIONS,
    "explicit, none": OTHERS[0],
    "explicit, isotropic": OTHERS[1],
    "explicit, matched": GAINS,
    "state": REFERENCE,
}
MAIN_TABLE = ResultTable(
    "Scores",
    (
        column("input", "arm"),
        column("pictures", "change"),
        estimate("score", "score"),
        column("estimator's error [px]", "estimator_error", ".2f"),
        column("training [s]", "train_seconds", ".0f", page_only=True),
    ),
    caption="Score: mean over starts of the largest clip(coverage / 0.95, 0, 1) within 300 steps. Estimator's error: "
    "root mean square over the keypoints, on held-out demonstrations.",
)
PAIRED_TABLE = ResultTable(
    "Differences, paired by seed and start",
    (
        column("input", "arm"),
        column("pictures", "change"),
        column("minus", "against"),
        *seed_difference_columns(),
    ),
    page_only=True,
)


def inputs_result(
    rows: Sequence[Row], comparisons: Sequence[Row], *, recipes: Mapping[str, Recipe] | None = None
) -> StudyResult:
    """Everything that the study found."""
    return StudyResult(
        title="Raw pixels, estimated states or the states themselves: Push-T",
        lead="Policies of the same family and network, trained with the same number of updates on the same "
        "demonstrations, see pictures of 96 × 96 pixels, keypoints that an estimator finds in them, or the keypoints "
        "themselves. The pictures are also changed at deployment.",
        rows=[
            *measurement_rows(rows, ("score",), task="pusht", omit=("each",)),
            *comparison_rows(comparisons, {"difference": "score"}),
        ],
        verdicts=verdicts_of(comparisons),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={"inputs": _figure(rows)},
        notes=[
            "Estimated states: the estimator has the pictures of one step and no memory, and was trained on the "
            "demonstrations that the policy was trained on, of which a tenth was held out.",
            "Noise of the law of the estimator's errors, and isotropic noise of equal trace, are added in training "
            "only: at deployment the estimator's errors take their place.",
            INTERVALS,
        ],
        recipes=recipes or {},
    )


def verdicts_of(comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the study's questions; those without measurements are omitted."""
    asked = (
        ("Noise matched to the estimator's errors outperforms isotropic noise of equal trace", "explicit, isotropic"),
        ("Noise matched to the estimator's errors outperforms training without noise", "explicit, none"),
        ("A policy of estimated states outperforms one trained from raw pixels at equal numbers of updates", "raw"),
    )
    found = [_verdict(f"{claim}.", "explicit, matched", against, comparisons) for claim, against in asked]
    return [verdict for verdict in (*found, *_robust(comparisons)) if verdict is not None]


def _verdict(claim: str, arm: str, against: str, comparisons: Sequence[Row]) -> Verdict | None:
    rows = [row for row in comparisons if (row["arm"], row["against"]) == (arm, against)]
    if not rows:
        return None
    sides = sides_of(rows, "difference")
    cells = tuple(f"pictures {_called(row)}: {with_signs(row)}" for row in rows)
    better, worse = sides.count("above"), sides.count("below")
    seen = f"The score is significantly higher in {better} and lower in {worse} of {len(rows)} comparisons."
    return Verdict(claim, seen, answer(better, worse, of=len(rows)), cells)


def _robust(comparisons: Sequence[Row]) -> list[Verdict]:
    """For each arm, whether changes of the pictures leave its score as it is."""
    found = list[Verdict]()
    for arm in dict.fromkeys(row["arm"] for row in comparisons):
        rows = [row for row in comparisons if row["against"] == f"{arm}, pictures as they are"]
        if not rows:
            continue
        worse = sides_of(rows, "difference").count("below")
        cells = tuple(f"{_called(row)}: {with_signs(row)}" for row in rows)
        seen = f"The score is significantly lower under {worse} of {len(rows)} changes of the pictures."
        found.append(
            Verdict(f"The input “{arm}” is robust to changes of the pictures.", seen, "no" if worse else "open", cells)
        )
    return found


def _called(row: Row) -> str:
    return "as they are" if row["change"] == "none" else f"with {row['change']}"


def _figure(rows: Sequence[Row]) -> Drawing:
    """Scores of all arms under all changes, side by side."""
    changes = [change for change in CHANGES if any(row["change"] == change for row in rows)]
    series = list[Series]()
    for arm, colour in COLOURS.items():
        line = {row["change"]: row for row in rows if row["arm"] == arm}
        if not line:
            continue
        places = [index for index, change in enumerate(changes) if change in line]
        shown = [line[changes[index]] for index in places]
        if arm == "state":
            # the same under every change
            places, shown = list(range(len(changes))), shown[:1] * len(changes)
        values = ([row[f"score{end}"] for row in shown] for end in ("", "_low", "_high"))
        series.append(Series(arm, [float(place) for place in places], *values, colour=colour, points=True))
    names = ", ".join(f"{index}: {change}" for index, change in enumerate(changes))
    chart = Chart("Push-T", series, f"change of the pictures ({names})", "score (largest coverage)")
    return Drawing(
        partial(draw_charts, charts=[chart], columns=1),
        "The figure",
        "Means over training seeds on the same untouched starts; bars are 95 % Student intervals over seeds.",
        "Score of each kind of input under each change of the pictures",
    )
