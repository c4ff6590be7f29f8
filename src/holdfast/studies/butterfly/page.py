"""From the rows and curves of study butterfly to its verdicts, tables and charts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...learn.tracing import LIVE
from ...recipe import Recipe
from ..engine.result import Answer, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.tables import ResultTable, Row, column, computed, estimate, interval
from .figure import along_update, kind_name, kind_of, live_rows, oscillations, over_training, same_cell
from .summary import LOSSES

_SOURCE = "(Block, Foster, Krishnamurthy, Simchowitz and Zhang 2023, arXiv 2310.11428)"
_NOTE = (
    "An oscillation is the std about a straight trend, from neighboring checkpoints; that of the distance is of its "
    "logarithm. A ratio is significant when its 95 % interval, the wider of Student's over seeds and a "
    "jackknife over blocks of checkpoints, excludes 1. No correction is made for the number of comparisons. Averages "
    "over checkpoints of a short training lag behind its progress, more so with longer memory. The power ⅔ of the "
    "polynomially decaying rate is our choice: the paper's is not in our sources. The score saturates near 1 and can "
    "exceed it for a policy that is faster than the expert; the distance measures imitation."
)
_CELL = (computed("cloned", lambda row: kind_name(row)), column("batch", "batch"), column("rate", "schedule"))
MAIN_TABLE = ResultTable(
    "All weights",
    (
        *_CELL,
        column("weights", "weights"),
        estimate("score", "score"),
        column("worst", "worst", ".2f", page_only=True),
        estimate("distance", "distance", page_only=True),
        column("oscillation", "score_oscillation", ".3g"),
        estimate("ratio", "score_ratio"),
        column("of distance", "distance_oscillation", ".3g", page_only=True),
        estimate("ratio, distance", "distance_ratio"),
    ),
    caption="Score and distance: mean over checkpoints and seeds (distance: median over starts, geometric mean). "
    "Worst: the lowest score of a checkpoint, mean over seeds. Ratio: oscillation over that of the live "
    "weights of the same training runs.",
)
CORRELATIONS = ResultTable(
    "Rank correlations of losses with the distance",
    (
        *_CELL,
        estimate("training loss", "training_loss_tells"),
        estimate("held-out loss", "held_out_loss_tells"),
        estimate("action error", "unexplained_tells"),
        estimate("changes of held-out loss", "held_out_loss_tells_changes"),
        estimate("held-out loss and score", "held_out_loss_score"),
    ),
    caption="Spearman's ρ over the checkpoints of live weights, mean over seeds with Student's interval. A loss "
    "that ranks checkpoints by their behavior would have 1 with the distance and −1 with the score.",
    page_only=True,
)
PAIRED_TABLE = ResultTable(
    "Oscillation of live weights, as a ratio",
    (
        *_CELL,
        column("against", "against"),
        estimate("of score", "score_ratio"),
        estimate("of distance", "distance_ratio"),
    ),
    caption="Below 1 the first oscillates less. Numbers of updates are equal, so larger batches have seen more "
    "windows.",
    page_only=True,
)
_OSCILLATING = ("score", "distance", "loss", "unexplained")
METRICS = (
    *("score", "worst", "distance", "unexplained", "diverged"),
    *(f"{name}_oscillation" for name in _OSCILLATING),
    *("score_ratio", "distance_ratio", "unexplained_ratio"),
    *(f"{loss}_{what}" for loss in LOSSES for what in ("tells", "tells_changes", "score")),
)


def butterfly_result(
    rows: Sequence[Row],
    comparisons: Sequence[Row],
    landscapes: Sequence[Row],
    traces: Sequence[Row],
    recipes: Mapping[str, Recipe],
) -> StudyResult:
    """Everything that the study found."""
    compared = {"score_ratio": "score oscillation ratio", "distance_ratio": "distance oscillation ratio"}
    return StudyResult(
        title="Does the behavior oscillate while the loss is steady?",
        lead="The 2-D quadrotor, cloned from 10 demonstrations: checkpoints of the second half of each training run, "
        "with live and averaged weights, evaluated from the same held-out starts with the same randomness.",
        rows=[
            *measurement_rows(rows, METRICS, task="quadrotor2d", arm="gains"),
            *comparison_rows(comparisons, compared, of="gains"),
        ],
        verdicts=butterfly_verdicts(rows, comparisons, landscapes),
        tables=[
            MAIN_TABLE.of(rows),
            CORRELATIONS.of([row for row in rows if row["weights"] == LIVE]),
            PAIRED_TABLE.of(comparisons),
        ],
        figures={
            **{f"butterfly-{name}": chart for name, chart in over_training(rows, traces).items()},
            "butterfly-oscillation-score": oscillations(rows, "score"),
            "butterfly-oscillation-distance": oscillations(rows, "distance"),
            **{f"butterfly-{name}": chart for name, chart in along_update(landscapes).items()},
        },
        notes=[_NOTE],
        recipes=recipes,
        values={"landscapes": landscapes, "traces": traces},
    )


def butterfly_verdicts(rows: Sequence[Row], comparisons: Sequence[Row], landscapes: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the paper's claims, for each kind of cloning."""
    found = list[Verdict]()
    for live in live_rows(rows):
        name = f"{kind_name(live)}, batches of {live['batch']}, rate held"
        averages = [row for row in rows if same_cell(row, live) and row["weights"] != LIVE]
        beside = [item for item in comparisons if kind_of(item) == kind_of(live)]
        found += [
            _oscillates(live, name),
            *_smaller("Averaging the weights removes most of the oscillation", name, averages, _weights),
            *_smaller(
                "Larger batches, a decaying rate or gains reduce the oscillation",
                name,
                [item for item in beside if item["against"] != "raw actions" or same_cell(item, live)],
                partial(_what, live),
            ),
            *(_rugged(line) for line in landscapes if kind_of(line) == kind_of(live)),
        ]
    return found


def _oscillates(row: Row, name: str) -> Verdict:
    relative = row["score_oscillation"] / max(row["score"], 1e-9)
    loss = row["loss_oscillation"]
    moves = (
        f"relative to its size, the loss oscillates {loss / relative:.1f} × as much as the score"
        if loss > relative
        else "relative to its size, it oscillates less than the score"
    )
    return Verdict(
        f"The loss barely moves while the reward oscillates from checkpoint to checkpoint {_SOURCE}: {name}.",
        f"Live weights score {row['score']:.2f} on average and {row['worst']:.2f} at the worst checkpoint; the score "
        f"oscillates by {interval(row, 'score_oscillation')}, the logarithm of the distance to the expert by "
        f"{interval(row, 'distance_oscillation')}, that of the held-out loss by {interval(row, 'loss_oscillation')}: "
        f"{moves}. The share of the actions' variance that is not explained on held-out expert states is "
        f"{row['unexplained']:.2g} and oscillates by {row['unexplained_oscillation']:.2g}. Ranking checkpoints by the "
        f"held-out loss agrees with ranking them by distance with ρ = {interval(row, 'held_out_loss_tells')}, by the "
        f"action error with {interval(row, 'unexplained_tells')}; loss and score: "
        f"{interval(row, 'held_out_loss_score')}.",
        "no" if loss > relative else "yes",
    )


def _smaller(claim: str, name: str, items: Sequence[Row], label: Callable[[Row], str]) -> list[Verdict]:
    """Verdict that oscillations of score and distance are smaller, if there is anything to compare."""
    words = {"below": "smaller", "above": "larger", "not significant": "not significant"}
    parts = [
        f"{label(item)} × {item['score_ratio']:.2f} of score ({words[item['score_side']]}) and "
        f"× {item['distance_ratio']:.2f} of distance ({words[item['distance_side']]})"
        for item in items
    ]
    sides = [item[f"{metric}_side"] for item in items for metric in ("score", "distance")]
    holds: Answer = answer(sides.count("below"), sides.count("above"), of=len(sides))
    return [Verdict(f"{claim} {_SOURCE}: {name}.", f"{'; '.join(parts)}.", holds)] if parts else []


def _weights(row: Row) -> str:
    return row["weights"]


def _what(live: Row, item: Row) -> str:
    rate = "rate held" if item["schedule"] == "held" else "rate decaying"
    what = "gains" if same_cell(item, live) else f"batches of {item['batch']}, {rate},"
    return f"{what} against {item['against']}"


def _rugged(line: Row) -> Verdict:
    rough = line["score_roughness"]
    return Verdict(
        f"Along a stochastic update the reward is rugged where the loss is smooth {_SOURCE}: {kind_name(line)}.",
        f"Along the update after the last checkpoint the ups and downs of the score add up to {rough:.1f} × its range "
        f"(a single hill has at most 2), those of the loss to {line['loss_roughness']:.1f} ×; the score is between "
        f"{min(line['score']):.2f} and {max(line['score']):.2f} within {max(line['scale']):.0f} updates' length.",
        "yes" if rough > 3 >= line["loss_roughness"] else "no",
    )
