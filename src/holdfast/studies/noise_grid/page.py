"""From the rows of study noise-grid to its verdicts, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...recipe import Recipe
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.statistics import INTERVALS
from ..engine.tables import ResultTable, Row, column, compared, estimate, interval
from ..quadrotor.labels import ARM_COLUMNS, ARM_NAMES, paired_table, quadrotor_rows
from .figure import draw_noise_grid
from .plan import BASES

MAIN_TABLE = ResultTable(
    "All cells",
    (
        *ARM_COLUMNS,
        column("σ in training", "sigma_train", "g"),
        column("σ at deployment", "sigma_deploy", "g"),
        estimate("score", "score"),
        estimate("distance", "distance"),
        estimate("diverged", "diverged", percent=True, page_only=True),
    ),
    caption="Score: mean over starts and seeds. Distance: median over starts, geometric mean over seeds. Diverged: "
    "ever more than 10 from the expert. Brackets: 95 % intervals.",
)
PAIRED_TABLE = paired_table(
    "The replica policy, paired by seed and start",
    (*ARM_COLUMNS, column("σ", "sigma", "g"), column("against", "against")),
    "; below × 1 the replica is closer to the expert",
)


def noise_grid_result(rows: Sequence[Row], comparisons: Sequence[Row], recipes: Mapping[str, Recipe]) -> StudyResult:
    """Everything that the study found."""
    counts = sorted({row["n_demos"] for row in rows})
    return StudyResult(
        title="Noise in training, noise at deployment",
        lead="The 2-D quadrotor, cloned with and without stabilizing gains: one training run for each level of "
        "training noise, evaluated with every level of deployment noise.",
        rows=quadrotor_rows(rows, comparisons, ("score", "distance", "diverged")),
        verdicts=noise_grid_verdicts(rows, comparisons),
        tables=[MAIN_TABLE.of(rows), PAIRED_TABLE.of(comparisons)],
        figures={
            f"noise-grid-n{count}": Drawing(
                partial(draw_noise_grid, rows=[row for row in rows if row["n_demos"] == count]),
                f"The grid, N = {count}",
                "Each cell is one way of deployment of one training run, over training seeds, from the same held-out "
                "starts. Framed: the replica policy. Dark is good. Intervals are in the table.",
                "Score and distance to the expert for each pair of training and deployment noise",
            )
            for count in counts
        },
        notes=[INTERVALS],
        recipes=recipes,
    )


def noise_grid_verdicts(rows: Sequence[Row], comparisons: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims of Block et al. 2023."""
    with_gains = [item for item in comparisons if item["gains"] != "none"]
    without = [item for item in comparisons if item["gains"] == "none" and item["against"] == BASES[1]]
    return [
        _noise_helps(
            "With gains, the replica policy improves on no noise at deployment, and on no noise at all (Block et al. "
            "2023, arXiv 2307.14619).",
            with_gains,
            "above",
        ),
        _noise_helps("Without gains, noise hurts (Block et al. 2023).", without, "below"),
        _best_cells(rows),
    ]


def _noise_helps(claim: str, items: Sequence[Row], side: str) -> Verdict:
    # hurting shows in a lower score or a larger distance, helping in the opposite
    opposite = {"above": "below", "below": "above"}

    def count(side: str) -> int:
        return sum(item["score_side"] == side or item["distance_side"] == opposite[side] for item in items)

    counts = {
        words: sum(item[key] == one for item in items)
        for words, key, one in (
            ("higher score", "score_side", "above"),
            ("lower score", "score_side", "below"),
            ("closer to the expert", "distance_side", "below"),
            ("farther from the expert", "distance_side", "above"),
        )
    }
    # the table has all of them
    told = tuple(
        f"{ARM_NAMES[item['gains']]}, N = {item['n_demos']}, σ = {item['sigma']:g}, against {item['against']}: "
        f"{compared(item)}"
        for item in items[:6]
    )
    seen = f"{len(items)} comparisons: significantly {', '.join(f'{w} in {n}' for w, n in counts.items())}."
    return Verdict(claim, seen, answer(count(side), count(opposite[side]), of=len(items)), told)


def _best_cells(rows: Sequence[Row]) -> Verdict:
    """Whether the deployment that is closest to the expert is the replica, training by training."""
    told, replicas, trainings = list[str](), 0, 0
    for gains, count in dict.fromkeys((row["gains"], row["n_demos"]) for row in rows):
        own = [row for row in rows if (row["gains"], row["n_demos"]) == (gains, count)]
        best, near = max(own, key=lambda row: row["score"]), min(own, key=lambda row: row["distance"])
        told.append(
            f"{ARM_NAMES[gains]}, N = {count}: the best score, {interval(best, 'score')}, is at {_place(best)}; the "
            f"smallest distance, {interval(near, 'distance')}, at {_place(near)}"
        )
        for sigma in sorted({row["sigma_train"] for row in own}):
            nearest = min((row for row in own if row["sigma_train"] == sigma), key=lambda row: row["distance"])
            replicas += nearest["sigma_train"] == nearest["sigma_deploy"]
            trainings += 1
    claim = "Each training is closest to the expert when it is deployed as its replica."
    seen = f"The replica is the closest deployment of {replicas} of {trainings} training runs."
    return Verdict(claim, seen, "open", tuple(told))


def _place(row: Row) -> str:
    return f"σ = {row['sigma_train']:g} in training and {row['sigma_deploy']:g} at deployment"
