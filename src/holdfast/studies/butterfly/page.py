"""From the rows and curves of study butterfly to its verdicts, tables and charts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...learn.tracing import LIVE
from ...recipe import Recipe
from ...report import Chart, Rule, Series
from ..engine.result import Answer, StudyResult, Verdict, answer
from ..engine.rows import comparison_rows, measurement_rows
from ..engine.tables import ResultTable, Row, column, computed, estimate, interval
from .summary import LOSSES

_SOURCE = "(Block, Foster, Krishnamurthy, Simchowitz and Zhang 2023, arXiv 2310.11428)"
_NOTE = (
    "An oscillation is the std about a straight trend, from neighbouring checkpoints; that of the distance is of its "
    "logarithm. A ratio is significant when its 95 % interval, the wider of Student's over seeds and a "
    "jackknife over blocks of checkpoints, excludes 1. No correction is made for the number of comparisons. Averages "
    "over checkpoints of a short training lag behind its progress, more so with longer memory. The power ⅔ of the "
    "polynomially decaying rate is our choice: the paper's is not in our sources. The score saturates near 1 and can "
    "exceed it for a policy that is faster than the expert; the distance measures imitation."
)
_LIVE_COLOUR = "#e0592f"
_AVERAGES = ("#8a949e", "#2f86c9", "#8577dd", "#17978b", "#b07a22")
_CELL = (computed("cloned", lambda row: _name(row)), column("batch", "batch"), column("rate", "schedule"))
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
    "weights of the same trainings.",
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
        lead="The 2-D quadrotor, cloned from 10 demonstrations: checkpoints of the second half of each training, with "
        "live and averaged weights, evaluated from the same held-out starts with the same randomness.",
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
            **{f"butterfly-{name}": chart for name, chart in _over_training(rows, traces).items()},
            "butterfly-oscillation-score": _oscillations(rows, "score"),
            "butterfly-oscillation-distance": _oscillations(rows, "distance"),
            **{f"butterfly-{name}": chart for name, chart in _along(landscapes).items()},
        },
        notes=[_NOTE],
        recipes=recipes,
        values={"landscapes": landscapes, "traces": traces},
    )


def butterfly_verdicts(rows: Sequence[Row], comparisons: Sequence[Row], landscapes: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the paper's claims, for each kind of cloning."""
    found = list[Verdict]()
    for live in _bases(rows):
        name = f"{_name(live)}, batches of {live['batch']}, rate held"
        averages = [row for row in rows if _same_cell(row, live) and row["weights"] != LIVE]
        beside = [item for item in comparisons if _kind(item) == _kind(live)]
        found += [
            _oscillates(live, name),
            *_smaller("Averaging the weights removes most of the oscillation", name, averages, _weights),
            *_smaller(
                "Larger batches, a decaying rate or gains reduce the oscillation",
                name,
                [item for item in beside if item["against"] != "raw actions" or _same_cell(item, live)],
                partial(_what, live),
            ),
            *(_rugged(line) for line in landscapes if _kind(line) == _kind(live)),
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
    what = "gains" if _same_cell(item, live) else f"batches of {item['batch']}, {rate},"
    return f"{what} against {item['against']}"


def _rugged(line: Row) -> Verdict:
    rough = line["score_roughness"]
    return Verdict(
        f"Along a stochastic update the reward is rugged where the loss is smooth {_SOURCE}: {_name(line)}.",
        f"Along the update after the last checkpoint the ups and downs of the score add up to {rough:.1f} × its range "
        f"(a single hill has at most 2), those of the loss to {line['loss_roughness']:.1f} ×; the score is between "
        f"{min(line['score']):.2f} and {max(line['score']):.2f} within {max(line['scale']):.0f} updates' length.",
        "yes" if rough > 3 >= line["loss_roughness"] else "no",
    )


def _over_training(rows: Sequence[Row], traces: Sequence[Row]) -> dict[str, Chart]:
    charts = dict[str, Chart]()
    for live in _bases(rows):
        own = [one for one in traces if _same_cell(one, live) and one["seed"] == 0]
        name = f"{live['gains']}-{live['family']}"
        caption = (
            f"First seed, batches of {live['batch']}, rate held; all kinds of weights are of the same training. "
            "Averages of nearly the same memory coincide."
        )
        for measure, words, size in (
            ("score", "score", 1.0),
            ("distance", "distance to the expert [SI]", 1.0),
            ("held_out_loss", "held-out loss [10⁻³]", 1e3),
        ):
            series = [
                Series(
                    one["weights"],
                    [float(step) for step in one["step"]],
                    [size * value for value in one[measure]],
                    colour=_colour(place),
                )
                for place, one in enumerate(own)
            ]
            heading = f"{_name(live)}: {words.split(' [')[0].split(' to ')[0]} at the checkpoints"
            charts[f"{name}-{measure}"] = Chart(heading, series, "update", words, caption, log_y=measure == "distance")
    return charts


def _oscillations(rows: Sequence[Row], measure: str) -> Chart:
    series = list[Series]()
    for live in _bases(rows):
        own = sorted((row for row in rows if _same_cell(row, live)), key=lambda row: row["memory"])
        key = f"{measure}_oscillation"
        values, low, high = ([row[f"{key}{end}"] for row in own] for end in ("", "_low", "_high"))
        series.append(Series(_name(live), [row["memory"] for row in own], values, low, high, points=True))
    what = "the score" if measure == "score" else "the log distance"
    return Chart(
        f"Oscillation of {what}, live and averaged",
        series,
        "memory of the average at the last update [updates]; 1: live weights",
        f"oscillation of {what}",
        "Geometric mean over seeds with Student's interval, which is wide for three seeds; the paired ratios in the "
        "table are more precise. Smallest batches, rate held. The memory is 1/β; that of a decaying β grows.",
        log_x=True,
        log_y=True,
    )


def _along(landscapes: Sequence[Row]) -> dict[str, Chart]:
    if not landscapes:
        return {}
    rule = [Rule(0.0, "checkpoint", upright=True)]
    charts = dict[str, Chart]()
    for measure, words, size in (("score", "score", 1.0), ("held_out_loss", "held-out loss [10⁻³]", 1e3)):
        series = [Series(_name(line), line["scale"], [size * value for value in line[measure]]) for line in landscapes]
        charts[f"along-update-{measure}"] = Chart(
            f"Along one update: {words.split(' [')[0]}",
            series,
            "distance from the last checkpoint [updates]",
            words,
            "The weights move along a straight line through the last live checkpoint of the first seed, in the "
            "direction of the update that follows it; 1 is one update.",
            rules=rule,
        )
    return charts


def _bases(rows: Sequence[Row]) -> list[Row]:
    """The row of live weights with the smallest batch at a held rate, for each kind of cloning."""
    held = [row for row in rows if row["schedule"] == "held" and row["weights"] == LIVE]
    kinds = dict.fromkeys(map(_kind, held))
    return [min((row for row in held if _kind(row) == kind), key=lambda row: row["batch"]) for kind in kinds]


def _kind(row: Row) -> tuple[str, str]:
    return row["gains"], row["family"]


def _same_cell(row: Row, other: Row) -> bool:
    return all(row[key] == other[key] for key in ("gains", "family", "batch", "schedule"))


def _name(row: Row) -> str:
    return f"{'raw actions' if row['gains'] == 'none' else 'gains'}, {row['family']}"


def _colour(place: int) -> str:
    return _LIVE_COLOUR if place == 0 else _AVERAGES[(place - 1) % len(_AVERAGES)]
