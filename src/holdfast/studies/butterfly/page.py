"""The page and the figures of study butterfly: values → pictures and sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...learn.tracing import LIVE
from ...report import Section, Table, Text, write_page
from ...report.chart import Chart, Rule, Series, draw_chart
from ..quadrotor.words import interval
from .plan import Butterfly

__all__ = ["butterfly_findings", "write_butterfly_page"]

Row = dict[str, Any]

NAMES = {"none": "raw actions", "tvlqr": "gains"}
CLAIMED = (
    "Claimed (Block, Foster, Krishnamurthy, Simchowitz and Zhang 2023, arXiv 2310.11428; seed 000): the noise of "
    "minibatches barely moves the cloning loss, but makes the reward of the closed loop oscillate wildly from "
    "checkpoint to checkpoint; the cause is optimisation and not too little data; along the direction of a stochastic "
    "gradient the reward is rugged where the loss is smooth; averaging the weights removes most of the oscillation, "
    "larger batches and a decaying learning rate some of it."
)
_LIVE_COLOUR = "#e0592f"
_AVERAGES = ("#8a949e", "#2f86c9", "#8577dd", "#17978b", "#b07a22")


def write_butterfly_page(folder: Path, found: Butterfly) -> list[Path]:
    """Write the charts as `butterfly-*.png`, and `index.html` with the same ones; returns their paths."""
    charts = {
        **_over_training(found),
        "oscillation-score": _oscillations(found, "score"),
        "oscillation-distance": _oscillations(found, "distance"),
        **_along(found),
    }
    figures = [draw_chart(folder / f"butterfly-{name}.png", chart) for name, chart in charts.items()]
    sections: list[Section] = [Text("What was claimed, what was seen", [CLAIMED, *butterfly_findings(found)])]
    sections += [*charts.values(), _rows(found.rows), _tells(found.rows), _comparisons(found.comparisons)]
    page = write_page(
        folder / "index.html",
        title="Does the loss stand still while the flights oscillate?",
        lead="The 2-D quadrotor, cloned from 10 demonstrations: checkpoints of the second half of each training, live "
        "and averaged weights of the same training, flown from the same held-out starts with the same randomness.",
        sections=sections,
    )
    return [*figures, page]


def butterfly_findings(found: Butterfly) -> list[str]:
    """What can be said from the numbers, also where an effect does not show."""
    sentences = list[str]()
    for live in _bases(found):
        own = [row for row in found.rows if _same_cell(row, live) and row["weights"] != LIVE]
        beside = [item for item in found.comparisons if _kind(item) == _kind(live)]
        lines = [line for line in found.landscapes if _kind(line) == _kind(live)]
        parts = [_oscillates(live), _averaged(own), _steadied(beside, live), _told(live), *map(_rugged, lines)]
        sentences.append(f"{_name(live)}, batches of {live['batch']}, rate held. {' '.join(filter(None, parts))}")
    return [
        *sentences,
        "An oscillation is the std about a straight trend from neighbouring checkpoints; that of the distance is of "
        "its logarithm. It counts as smaller or larger where the 95 % interval of the ratio leaves out 1: the wider of "
        "Student's over seeds and a jackknife over blocks of checkpoints. No correction is made for the number of "
        "comparisons. Averages over checkpoints of a short training lag behind its progress, the more the longer their "
        "memory. The power ⅔ of the polynomially decaying rate is our choice: the paper's is not in our sources. The "
        "score saturates near 1 and can exceed it for a policy that is quicker than the expert; the distance is the "
        "measure of imitation.",
    ]


def _oscillates(row: Row) -> str:
    relative = row["score_oscillation"] / max(row["score"], 1e-9)
    moves = (
        "so here the loss does not stand still: for its size it moves "
        f"{row['loss_oscillation'] / relative:.1f} × as much as the score"
        if row["loss_oscillation"] > relative
        else "less than the score does for its size"
    )
    return (
        f"Live weights score {row['score']:.2f} on average and {row['worst']:.2f} at the worst checkpoint; the score "
        f"oscillates by {interval(row, 'score_oscillation')}, the logarithm of the distance to the expert by "
        f"{interval(row, 'distance_oscillation')}. The logarithm of the held-out loss oscillates by "
        f"{interval(row, 'loss_oscillation')}, {moves}. Of the actions' variance on held-out expert states "
        f"{row['unexplained']:.2g} is missed, which oscillates by {row['unexplained_oscillation']:.2g}."
    )


def _averaged(rows: Sequence[Row]) -> str:
    """How much each average removes, of score and distance."""
    words = {"below": "smaller", "above": "larger", "not told apart": "not told apart"}
    parts = [
        f"{row['weights']} × {row['score_ratio']:.2f} of score ({words[row['score_verdict']]}) and "
        f"× {row['distance_ratio']:.2f} of distance ({words[row['distance_verdict']]})"
        for row in rows
    ]
    return f"Averaged weights' oscillation over the live ones': {'; '.join(parts)}." if parts else ""


def _steadied(comparisons: Sequence[Row], live: Row) -> str:
    """What larger batches, a decaying rate and gains do; gains at the smallest batches and a held rate alone."""
    words = {"below": "steadier", "above": "less steady", "not told apart": "not told apart"}
    parts = [
        f"{_what(item, live)} against {item['against']} × {interval(item, 'score_ratio')} of score "
        f"({words[item['score_verdict']]}) and × {interval(item, 'distance_ratio')} of distance "
        f"({words[item['distance_verdict']]})"
        for item in comparisons
        if item["against"] != "raw actions" or _same_cell(item, live)
    ]
    return f"Live weights' oscillation: {'; '.join(parts)}." if parts else ""


def _what(item: Row, live: Row) -> str:
    return "gains" if _same_cell(item, live) else f"batches of {item['batch']}, {_schedule(item)},"


def _told(row: Row) -> str:
    return (
        f"Ranking checkpoints by the held-out loss agrees with ranking them by distance to ρ = "
        f"{interval(row, 'held_out_loss_tells')}, by the actions' own error to {interval(row, 'unexplained_tells')}; "
        f"loss and score: {interval(row, 'held_out_loss_score')}."
    )


def _rugged(line: Row) -> str:
    rough = line["score_roughness"]
    kind = "a smooth line" if not rough > 3 else "a rugged line"
    return (
        f"Along the update after the last checkpoint the score is {kind}: its ups and downs add up to {rough:.1f} × "
        f"its range (a single hill has 2 at the most), the loss's to {line['loss_roughness']:.1f} ×; it lies between "
        f"{min(line['score']):.2f} and {max(line['score']):.2f} within {max(line['scale']):.0f} updates' length."
    )


def _over_training(found: Butterfly) -> dict[str, Chart]:
    charts = dict[str, Chart]()
    for live in _bases(found):
        own = [one for one in found.traces if _same_cell(one, live) and one["seed"] == 0]
        name = f"{live['gains']}-{live['family']}"
        caption = (
            f"First seed, batches of {live['batch']}, rate held; every kind of weights is of the same training. "
            "Averages of nearly the same memory lie on one another."
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


def _oscillations(found: Butterfly, measure: str) -> Chart:
    series = list[Series]()
    for live in _bases(found):
        rows = sorted((row for row in found.rows if _same_cell(row, live)), key=lambda row: row["memory"])
        key = f"{measure}_oscillation"
        values, low, high = ([row[f"{key}{end}"] for row in rows] for end in ("", "_low", "_high"))
        series.append(Series(_name(live), [row["memory"] for row in rows], values, low, high, points=True))
    what = "the score" if measure == "score" else "the log distance"
    return Chart(
        f"What averaging removes: oscillation of {what}",
        series,
        "memory of the average at the last update [updates]; 1: live weights",
        f"oscillation of {what}",
        "Geometric mean over seeds with Student's interval, which three seeds make wide; the paired ratios in the "
        "table are surer. Smallest batches, rate held. The memory is 1/β; that of a polynomially decaying β grows.",
        log_x=True,
        log_y=True,
    )


def _along(found: Butterfly) -> dict[str, Chart]:
    if not found.landscapes:
        return {}
    rule = [Rule(0.0, "checkpoint", upright=True)]
    charts = dict[str, Chart]()
    for measure, words, size in (("score", "score", 1.0), ("held_out_loss", "held-out loss [10⁻³]", 1e3)):
        series = [
            Series(_name(line), line["scale"], [size * value for value in line[measure]]) for line in found.landscapes
        ]
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


def _rows(rows: Sequence[Row]) -> Table:
    return Table(
        "All weights",
        ["cloned", "batch", "rate", "weights", "score", "worst", "distance", "oscillation", "ratio", "of distance",
         "ratio "],
        [
            [
                _name(row),
                str(row["batch"]),
                row["schedule"],
                row["weights"],
                interval(row, "score"),
                f"{row['worst']:.2f}",
                interval(row, "distance"),
                f"{row['score_oscillation']:.3g}",
                interval(row, "score_ratio") if "score_ratio" in row else "",
                f"{row['distance_oscillation']:.3g}",
                interval(row, "distance_ratio") if "distance_ratio" in row else "",
            ]
            for row in rows
        ],
        "Score and distance: mean over checkpoints and seeds (distance: median over starts, geometric mean). Worst: "
        "the lowest score of a checkpoint, mean over seeds. Ratio: oscillation over that of the live weights of the "
        "same trainings.",
    )  # fmt: skip


def _tells(rows: Sequence[Row]) -> Table:
    return Table(
        "What a loss tells of the distance: rank correlations",
        ["cloned", "batch", "rate", "training loss", "held-out loss", "action error", "changes of held-out loss",
         "held-out loss and score"],
        [
            [
                _name(row),
                str(row["batch"]),
                row["schedule"],
                interval(row, "training_loss_tells"),
                interval(row, "held_out_loss_tells"),
                interval(row, "unexplained_tells"),
                interval(row, "held_out_loss_tells_changes"),
                interval(row, "held_out_loss_score"),
            ]
            for row in rows
            if row["weights"] == LIVE
        ],
        "Spearman's ρ over the checkpoints of live weights, mean over seeds with Student's interval. 1 with the "
        "distance, and −1 with the score, would be a loss that ranks checkpoints as flights do.",
    )  # fmt: skip


def _comparisons(comparisons: Sequence[Row]) -> Table:
    return Table(
        "What else steadies: live weights' oscillation, as a ratio",
        ["cloned", "batch", "rate", "against", "of score", "of distance"],
        [
            [
                _name(item),
                str(item["batch"]),
                item["schedule"],
                item["against"],
                interval(item, "score_ratio"),
                interval(item, "distance_ratio"),
            ]
            for item in comparisons
        ],
        "Below 1 the first is steadier. Equal numbers of updates, so larger batches have seen more windows.",
    )


def _bases(found: Butterfly) -> list[Row]:
    """The live row of the smallest batch at a held rate, of each kind of cloning."""
    held = [row for row in found.rows if row["schedule"] == "held" and row["weights"] == LIVE]
    kinds = dict.fromkeys(map(_kind, held))
    return [min((row for row in held if _kind(row) == kind), key=lambda row: row["batch"]) for kind in kinds]


def _kind(row: Row) -> tuple[str, str]:
    return row["gains"], row["family"]


def _same_cell(row: Row, other: Row) -> bool:
    return all(row[key] == other[key] for key in ("gains", "family", "batch", "schedule"))


def _name(row: Row) -> str:
    return f"{NAMES.get(row['gains'], row['gains'])}, {row['family']}"


def _schedule(row: Row) -> str:
    return "rate held" if row["schedule"] == "held" else "rate decaying"


def _colour(place: int) -> str:
    return _LIVE_COLOUR if place == 0 else _AVERAGES[(place - 1) % len(_AVERAGES)]
