"""From the rows of study fig5 to its verdicts, tables and figure."""

from collections.abc import Mapping, Sequence
from functools import partial

from ...recipe import Recipe
from ..engine.result import Drawing, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.statistics import INTERVALS, sides_of
from ..engine.tables import ResultTable, Row, column, estimate, seed_difference_columns, with_signs
from ..quadrotor.arms import Setting
from ..quadrotor.labels import ARM_COLUMNS, ARM_NAMES
from .figure import draw_fig5
from .lines import best_of
from .plan import PUBLISHED_POINTS

_ARM = (*ARM_COLUMNS, column("σ", "sigma", "g"), column("noise", "noise"))
MAIN_TABLE = ResultTable(
    "All arms",
    (*_ARM, estimate("score", "score"), column("distance", "distance", ".3f"), column("diverged", "diverged", ".0%")),
    caption="Score: mean over starts of the summed rewards relative to the expert's. Distance: median over starts "
    "of the time-averaged state error. Diverged: ever more than 10 from the expert.",
)
PAIRED_TABLE = ResultTable(
    "One demonstration with gains minus ten without",
    (*_ARM, *seed_difference_columns()),
    caption="Paired by seed and start with the best raw-action arm of ten demonstrations, which is chosen by its "
    "own score on these starts; that favors it.",
)
REFERENCES = ResultTable(
    "Without a network",
    (column("reference", "name"), column("score", "score", ".3f"), column("distance", "distance", ".3f")),
    caption="Hover + Kx: one gain, nothing learned. Exact law: the conditional law of the noised demonstrations, "
    "which a generative model that fits its training set perfectly would sample from.",
)
_NOTE = (
    "The score rewards being at rest at the goal and exceeds 1 for a policy that is faster than the expert, so a "
    "regulator without learning scores well: read it together with the distance to the expert and the reference rows."
)


def fig5_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    references: Sequence[Row],
    *,
    setting: Setting,
    recipes: Mapping[str, Recipe],
    training_seconds: float = 0.0,
) -> StudyResult:
    """Everything that the study found."""
    metrics = ("score", "distance", "diverged")
    return StudyResult(
        title="Cloning gains against cloning raw actions",
        lead="Figure 5 of Block et al. 2023 (arXiv 2307.14619) on the 2-D quadrotor, measured again "
        + ("with our best settings for each arm." if setting == "holdfast" else "with the published settings."),
        rows=[
            *measurement_rows(rows, metrics, task="quadrotor2d", arm="gains"),
            *measurement_rows(references, metrics, task="quadrotor2d", arm="name"),
            *comparison_rows(comparisons, {"difference": "score"}, of="gains"),
        ],
        verdicts=fig5_verdicts(rows, comparisons, references),
        tables=[MAIN_TABLE.of(rows), REFERENCES.of(references), PAIRED_TABLE.of(comparisons)],
        figures={"fig5": _drawing(rows, references, setting)},
        notes=[_NOTE, INTERVALS],
        recipes=recipes,
        values={"setting": setting, "training_seconds": training_seconds},
    )


def _drawing(rows: Sequence[Row], references: Sequence[Row], setting: Setting) -> Drawing:
    points = PUBLISHED_POINTS if setting == "published" else None
    return Drawing(
        partial(draw_fig5, rows=rows, references=references, published_points=points),
        "The figure",
        "Each point is a mean over training seeds, each with its own choice of demonstrations, from the same held-out "
        "starts; bands are 95 % Student intervals over seeds.",
        "Score and distance to the expert against number of demonstrations and noise",
    )


def fig5_verdicts(rows: Sequence[Row], comparisons: Sequence[Row], references: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the claims of the figure."""
    return [_one_against_ten(comparisons), _gains_at_each_count(rows), _replica(rows), _imitation(rows, references)]


def _one_against_ten(comparisons: Sequence[Row]) -> Verdict:
    sides = sides_of(comparisons, "difference")
    best = max(comparisons, key=lambda item: item["difference"], default=None)
    seen = (
        "Not measured: needs arms with 1 and with 10 demonstrations."
        if best is None
        else f"The score is significantly higher for {sides.count('above')} and lower for {sides.count('below')} of "
        f"{len(sides)} arms with gains; the best ({ARM_NAMES[best['gains']]}, σ = {best['sigma']:g}, {best['noise']}): "
        f"{with_signs(best)}."
    )
    # one way of using one demonstration is enough for the claim
    holds = "yes" if "above" in sides else answer(0, sides.count("below") == len(sides) > 0, of=len(sides))
    claim = "One demonstration with gains outperforms ten without (Block et al. 2023, Figure 5)."
    return Verdict(claim, seen, holds)


def _gains_at_each_count(rows: Sequence[Row]) -> Verdict:
    told, wins, losses, counted = list[str](), 0, 0, 0
    for count in sorted({row["n_demos"] for row in rows}):
        own = [row for row in rows if row["n_demos"] == count]
        gains, raw = ([row for row in own if (row["gains"] != "none") == kept] for kept in (True, False))
        best, base, near, far = (best_of(side, what) for what in ("score", "distance") for side in (gains, raw))
        if best is None or base is None or near is None or far is None:
            continue
        counted += 1
        wins += best["score_low"] > base["score_high"]
        losses += best["score_high"] < base["score_low"]
        told.append(
            f"N = {count}: best score with gains {best['score']:.3f} ({_named(best)}), without {base['score']:.3f} "
            f"({_named(base)}); smallest distance {near['distance']:.3f} against {far['distance']:.3f}"
        )
    seen = f"Significantly higher at {wins} and lower at {losses} of {counted} numbers of demonstrations."
    claim = "With gains the best score is higher than without, at every number of demonstrations."
    return Verdict(claim, seen, answer(wins, losses, of=counted), tuple(told))


def _named(row: Row) -> str:
    return f"{ARM_NAMES[row['gains']]}, σ = {row['sigma']:g}, {row['noise']}"


def _replica(rows: Sequence[Row]) -> Verdict:
    def settings(row: Row) -> tuple[int, str, float]:
        return row["n_demos"], row["gains"], row["sigma"]

    train = {settings(row): row for row in rows if row["noise"] == "train"}
    pairs = [
        (row, train[settings(row)])
        for row in rows
        if row["noise"] == "replica" and row["gains"] != "none" and settings(row) in train
    ]
    mean = sum(row["score"] - other["score"] for row, other in pairs) / max(len(pairs), 1)
    seen = f"The score changes by {mean:+.3f} on average over {len(pairs)} pairs of arms." if pairs else "Not measured."
    claim = "With gains, noise at deployment as well as in training (replica) improves on noise in training alone."
    return Verdict(claim, seen, "open")


def _imitation(rows: Sequence[Row], references: Sequence[Row]) -> Verdict:
    nearest = best_of(rows, "distance")
    hover = [item for item in references if item["name"].startswith("hover") and item["score"] > 0.9]
    best = max(hover, key=lambda item: item["score"], default=None)
    claim = "A high score means imitation of the expert."
    if nearest is None or best is None:
        return Verdict(claim, "No regulator without learning scores above 0.9.", "open")
    seen = (
        f"{best['name']} has learned nothing and scores {best['score']:.2f} at distance {best['distance']:.2f}; the "
        f"closest policy, {_named(nearest)}, is {nearest['distance']:.3f} from the expert."
    )
    return Verdict(claim, seen, "no" if best["distance"] > 1.3 * nearest["distance"] else "open")
