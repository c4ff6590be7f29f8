"""From the rows of study inputs to its verdicts, tables and figure."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from ...evaluation import Estimate
from ...recipe import Recipe
from ...report.dots import Dot, DotPanel, draw_dots
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS, REFERENCE
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS, estimate_in, sides_of
from ..engine.tables import ResultTable, Row, column, computed, estimate, seed_difference_columns, with_signs

COLOURS: Mapping[str, str] = {
    "raw": RAW_ACTIONS,
    "frozen": OTHERS[2],
    "fine-tuned": OTHERS[3],
    "explicit, none": OTHERS[0],
    "explicit, isotropic": OTHERS[1],
    "explicit, matched": GAINS,
    "state": REFERENCE,
}
HEADINGS: Mapping[str, str] = {
    "none": "as they are",
    "brightness": "darker",
    "shift": "camera moved",
    "occlusion": "partly hidden",
    "blur": "out of focus",
}
"""Headings of the changes of the pictures."""
ISOTROPIC = "explicit, isotropic"
MAIN_TABLE = ResultTable(
    "Scores",
    (
        column("input", "arm"),
        computed("pictures", lambda row: HEADINGS[row["change"]]),
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
        computed("pictures", lambda row: HEADINGS[row["change"]]),
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
        title="Raw pixels, pre-trained features, estimated states or the states themselves: Push-T",
        lead="Policies of the same family and network, trained with the same number of updates on the same "
        "demonstrations, see pictures of 96 × 96 pixels, features of a pre-trained encoder, keypoints that an "
        "estimator finds in the pictures, or the keypoints themselves. The pictures are also changed at deployment.",
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
    matched, raw = "explicit, matched", "raw"
    asked = (
        ("Noise matched to the estimator's errors outperforms isotropic noise of equal trace", matched, ISOTROPIC),
        ("Noise matched to the estimator's errors outperforms training without noise", matched, "explicit, none"),
        ("A policy of estimated states outperforms one from raw pixels at equal numbers of updates", matched, raw),
        ("Features of a frozen pre-trained encoder outperform an encoder trained with the policy", "frozen", raw),
        ("A fine-tuned pre-trained encoder outperforms one trained from random weights", "fine-tuned", raw),
    )
    found = [_verdict(f"{claim}.", arm, against, comparisons) for claim, arm, against in asked]
    return [verdict for verdict in (*found, *_robust(comparisons)) if verdict is not None]


def _verdict(claim: str, arm: str, against: str, comparisons: Sequence[Row]) -> Verdict | None:
    rows = [row for row in comparisons if (row["arm"], row["against"]) == (arm, against)]
    if not rows:
        return None
    sides = sides_of(rows, "difference")
    cells = tuple(f"{_called(row)}: {with_signs(row)}" for row in rows)
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
    return HEADINGS[row["change"]]


def _figure(rows: Sequence[Row]) -> Drawing:
    """Scores of all arms, one panel for each change of the pictures."""
    known = {(row["arm"], row["change"]): row for row in rows}
    lines = [arm for arm in COLOURS if any(arm == name for name, _ in known) and arm != "state"] or ["state"]
    reference = known.get(("state", "none"))
    panels = [
        DotPanel(
            heading,
            "",
            {arm: [_dot(known[arm, change])] for arm in lines if (arm, change) in known},
            "score",
            limits=(0.0, 1.05),
            reference=None if reference is None else Estimate(reference["score"], -math.inf, math.inf),
        )
        for change, heading in HEADINGS.items()
        if any(change == name for _, name in known)
    ]
    return Drawing(
        partial(draw_dots, lines=lines, panels=panels, width=2.4),
        "The figure",
        "Means over training seeds on the same untouched starts; bars are 95 % Student intervals over seeds. Dashed: "
        "the policy that sees the keypoints of the simulator, which does not depend on pictures.",
        "Score of each kind of input under each change of the pictures",
    )


def _dot(row: Row) -> Dot:
    return Dot(estimate_in(row, "score"), COLOURS[row["arm"]])
