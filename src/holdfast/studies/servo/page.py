"""From the rows of study servo to its tables, maps and page."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...recipe import Recipe
from ..engine.result import Drawing, StudyResult
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS
from ..engine.tables import ResultTable, Row, brackets, column, computed, estimate, seed_difference_columns
from .figure import draw_servos
from .named import TASK_NAMES, task_named
from .plan import PREDICTORS
from .tasks import TaskName
from .verdicts import factor_in, verdicts_of

METRICS = (
    "score",
    "success",
    "loss",
    "relative_loss",
    "remaining",
    "variance",
    "amplification",
    "stationary",
    "tracking",
)
MAIN_TABLE = ResultTable(
    "All servos",
    (
        column("task", "task"),
        column("servo", "arm"),
        column("steps per plan", "executed"),
        estimate("score", "score"),
        estimate("success", "success", percent=True, page_only=True),
        computed("relative loss", lambda row: f"{row['relative_loss']:.2g}"),
        computed("loss", lambda row: f"{row['loss']:.2g}", page_only=True),
        computed("displacement left", lambda row: f"{row['remaining']:.2f}"),
        computed("amplification", lambda row: f"{row['amplification']:.2g}", page_only=True),
        computed("amplification × loss", lambda row: f"{row['variance']:.2g}", page_only=True),
        computed("tracking error", lambda row: f"{row['tracking']:.1g}", page_only=True),
    ),
    caption="Score: share of episodes that end near the goal (reach) or at rest near it (quadrotor), largest "
    "coverage over 0.95 (Push-T). Losses and amplification × loss: geometric means over seeds, in m² or px², and "
    "relative to the squared half range of the targets. Tracking error: root mean square, in m or px, largest of the "
    "seeds.",
)
PAIRED_TABLE = ResultTable(
    "The compliant, overdamped servo minus others, paired by seed and start",
    (
        column("task", "task"),
        column("steps per plan", "executed"),
        column("minus", "against"),
        *seed_difference_columns(),
        computed("ratio of relative losses", lambda row: factor_in(row, "relative_loss_ratio"), page_only=True),
        computed("ratio of losses", lambda row: factor_in(row, "loss_ratio"), page_only=True),
    ),
)
RANKING_TABLE = ResultTable(
    "Rank correlation with failure over servos",
    (
        column("task", "task"),
        column("steps per plan", "executed"),
        computed("predictor", lambda row: PREDICTORS[row["predictor"]]),
        computed("Spearman's ρ", lambda row: f"{row['correlation']:+.2f}"),
        computed("95 % interval", lambda row: brackets(row["correlation_low"], row["correlation_high"], "+.2f")),
        computed("minus that of the loss", lambda row: f"{row['gain']:+.2f}", page_only=True),
        computed("95 % interval ", lambda row: brackets(row["gain_low"], row["gain_high"], "+.2f"), page_only=True),
    ),
    caption="Failure is 1 − score. A predictor that ranks all servos as failure does has +1. Intervals: percentile "
    "bootstrap over servos and seeds, approximate with so few servos.",
)


def servo_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    rankings: Sequence[Row],
    *,
    recipes: Mapping[str, Recipe] | None = None,
) -> StudyResult:
    """Everything that the study found."""
    ratios = {"difference": "score", "relative_loss_ratio": "relative_loss_ratio", "loss_ratio": "loss_ratio"}
    omit = ("seeds_in_favour",)
    return StudyResult(
        title="Which gains of the servo make cloning easy?",
        lead="Policies command a servo by targets. For each stiffness and damping ratio the targets were recomputed so "
        "that the servo passes through the same demonstrated states, and the same regression was trained on them with "
        "the same number of updates.",
        rows=[
            *measurement_rows(rows, METRICS, omit=("each", "train_seconds")),
            *comparison_rows(comparisons, ratios, omit=omit),
        ],
        verdicts=verdicts_of(comparisons, rankings),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons), RANKING_TABLE.of(rankings)],
        figures={f"servo-{task}": _figure(task, rows) for task in dict.fromkeys(row["task"] for row in rows)},
        notes=[
            "Servos of one seed share the demonstrated states, the split into training and validation, the initial "
            "weights and the starts. The plans are limited to the range of the training targets. The servo of the "
            "mass saturates at 4 N.",
            "Validation loss: mean squared error of the targets of the first steps of a chunk, on a fifth of the "
            "demonstrations. It is relative where it is divided by the squared half range of the targets, which is "
            "larger for compliant servos.",
            "Displacement left: two replays of the same targets, one from a displaced position; root mean square of "
            "their distance within 1 s over the displacement. Below 1 the servo contracts.",
            "Amplification: largest variance of the position for independent errors of the targets of unit variance. "
            "The linear loop is that of the mass below its limit of force, of the quadrotor at hover, and of "
            "the agent.",
            INTERVALS,
        ],
        recipes=recipes or {},
        values={"rankings": list(rankings)},
    )


def _figure(task: TaskName, rows: Sequence[Row]) -> Drawing:
    own = [row for row in rows if row["task"] == task]
    most = max(row["executed"] for row in own)
    chunks, single = ([row for row in own if row["executed"] == count] for count in (most, 1))
    known = task_named(task)
    return Drawing(
        partial(draw_servos, title=TASK_NAMES[task], chunks=chunks, single=single, unit=known.unit),
        TASK_NAMES[task],
        "Each cell is one servo: means over training seeds, from the same starts. Dark is good. Compliant, overdamped "
        "servos are at the top left. Intervals are in the tables.",
        "Maps over stiffness and damping ratio of score, validation loss, contraction and amplification times loss",
    )
