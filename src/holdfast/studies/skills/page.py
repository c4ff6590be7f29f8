"""From the rows of study skills to its verdicts, tables and figure."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...envs.courier import SKILLS
from ...recipe import Recipe
from ...report.dots import Dot, DotPanel, draw_dots
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS, REFERENCE
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS, estimate_in, side_of, sides_of
from ..engine.tables import ResultTable, Row, column, computed, estimate, interval, seed_difference_columns, with_signs
from .job import EVERY

COLOURS: Mapping[str, str] = {
    "low": RAW_ACTIONS,
    "middle": GAINS,
    "high": OTHERS[0],
    "high, naive switch": OTHERS[1],
    "high, perfect selector": OTHERS[2],
    "high, perfect skills": REFERENCE,
}
METRICS = ("success", "parts", "jump", "change_elsewhere", "selector_accuracy")
MAIN_TABLE = ResultTable(
    "Levels of action",
    (
        column("arm", "arm"),
        estimate("success", "success", percent=True),
        estimate("parts done", "parts"),
        estimate("jump at switches [N]", "jump"),
        estimate("change elsewhere [N]", "change_elsewhere", page_only=True),
        column("training [s]", "train_seconds", ".0f", page_only=True),
    ),
    caption="Success: share of episodes in which the bell rings within 120 steps. Parts done: 0 to 3. Jump: largest "
    "change of the force from one step to the next in the four steps from a switch on, mean over switches.",
)
CONFUSION_TABLE = ResultTable(
    "Choices of the selector on held-out demonstrations",
    (
        column("label", "label"),
        *(column(f"chosen: {name}", f"chosen_{name}", ".1%") for name in SKILLS),
        column("steps", "steps", page_only=True),
    ),
    caption="Share of the control steps of each label in which each skill was chosen, all seeds together.",
)
PAIRED_TABLE = ResultTable(
    "Differences of success, paired by seed and start",
    (
        column("arm", "arm"),
        column("minus", "against"),
        *seed_difference_columns(),
        computed("ratio of jumps", lambda row: interval(row, "jump_ratio") if "jump_ratio" in row else None),
    ),
    page_only=True,
)


def skills_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    confusion: Sequence[Row],
    *,
    recipes: Mapping[str, Recipe] | None = None,
) -> StudyResult:
    """Everything that the study found."""
    pairs = [row for row in comparisons if "jump_ratio" in row]
    return StudyResult(
        title="Forces, way-points or skills: at which level should a policy act?",
        lead="Policies of the same family and network clone the same demonstrations of a task of three skills (fetch a "
        "parcel, deliver it, ring a bell), with the same number of updates. They act by forces (low), by way-points of "
        "a PD cascade (middle), or by skills that a cloned selector chooses (high).",
        rows=[
            *measurement_rows(rows, METRICS, task="courier", omit=("each",)),
            *comparison_rows(comparisons, {"difference": "success"}, omit=("jump_ratio", "jump_ratio_low")),
            *comparison_rows(pairs, {"jump_ratio": "jump_ratio"}, omit=("difference", "difference_low")),
        ],
        verdicts=verdicts_of(rows, comparisons),
        tables=[MAIN_TABLE.of(rows), CONFUSION_TABLE.of(confusion), PAIRED_TABLE.of(comparisons)],
        figures={"skills": _figure(rows)},
        notes=[
            f"The selector decides every {EVERY} steps, and where a learned termination condition holds. Of the "
            "updates of the arm high, three tenths train each skill and one tenth the selector.",
            "Perfect selector: the learned skills, chosen in every step by the true stage of the task. Perfect skills: "
            "the expert's skills, chosen by the cloned selector. Naive switch: without a hand-over.",
            INTERVALS,
        ],
        recipes=recipes or {},
        values={"confusion": list(confusion)},
    )


def verdicts_of(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the study's questions; those without measurements are omitted."""
    asked = (
        ("Way-points solve more episodes than forces.", "middle", "low"),
        ("Skills with a cloned selector solve more episodes than forces.", "high", "low"),
        ("Skills with a cloned selector solve more episodes than way-points.", "high", "middle"),
    )
    found = [_higher(claim, arm, against, comparisons) for claim, arm, against in asked]
    parts = (
        ("The selector limits the success of skills.", "high, perfect selector", "a perfect selector"),
        ("The learned skills limit the success of skills.", "high, perfect skills", "perfect skills"),
    )
    found += [_limited(claim, against, what, rows, comparisons) for claim, against, what in parts]
    return [verdict for verdict in (*found, _smoother(comparisons)) if verdict is not None]


def _of(comparisons: Sequence[Row], arm: str, against: str) -> list[Row]:
    return [row for row in comparisons if (row["arm"], row["against"]) == (arm, against)]


def _higher(claim: str, arm: str, against: str, comparisons: Sequence[Row]) -> Verdict | None:
    found = _of(comparisons, arm, against)
    if not found:
        return None
    sides = sides_of(found, "difference")
    seen = f"The difference of the shares of solved episodes is {with_signs(found[0])}."
    return Verdict(claim, seen, answer(sides.count("above"), sides.count("below"), of=1))


def _limited(claim: str, against: str, what: str, rows: Sequence[Row], comparisons: Sequence[Row]) -> Verdict | None:
    """Whether replacing one part by a perfect one raises the success."""
    found = _of(comparisons, "high", against)
    if not found:
        return None
    sides = sides_of(found, "difference")
    known = {row["arm"]: row for row in rows}
    seen = (
        f"Success is {interval(known[against], 'success', percent=True)} with {what}, and "
        f"{interval(known['high'], 'success', percent=True)} without; the difference of the arm high from it is "
        f"{with_signs(found[0])}."
    )
    return Verdict(claim, seen, answer(sides.count("below"), sides.count("above"), of=1))


def _smoother(comparisons: Sequence[Row]) -> Verdict | None:
    found = [row for row in comparisons if "jump_ratio" in row]
    if not found:
        return None
    side = side_of(estimate_in(found[0], "jump_ratio"), 1.0)
    seen = f"The jumps of the force at switches are × {interval(found[0], 'jump_ratio')} of those of naive switches."
    return Verdict(
        "Handing the chunk in force to the next skill makes switches smoother.",
        seen,
        answer(int(side == "below"), int(side == "above"), of=1),
    )


def _figure(rows: Sequence[Row]) -> Drawing:
    """Success, parts done and jumps of all arms."""
    known = {row["arm"]: row for row in rows}
    lines = [arm for arm in COLOURS if arm in known]
    panels = [
        DotPanel(
            heading,
            "",
            {arm: [Dot(estimate_in(known[arm], metric), COLOURS[arm])] for arm in lines if metric in known[arm]},
            unit,
            limits=limits,
        )
        for heading, metric, unit, limits in (
            ("solved", "success", "share of episodes", (0.0, 1.02)),
            ("parts done", "parts", "of 3", (0.0, 3.05)),
            ("jump at switches", "jump", "force [N]", None),
        )
        if any(metric in row for row in rows)
    ]
    return Drawing(
        partial(draw_dots, lines=lines, panels=panels, width=2.4),
        "The figure",
        "Means over training seeds on the same untouched starts. Bars are 95 % intervals: of shares the wider of the "
        "binomial and Student's over seeds, of others Student's over seeds.",
        "Success, parts done and jumps at switches of each level of action",
    )
