"""Charts of study butterfly: the checkpoints of a training, their oscillation, and the line along one update."""

from collections.abc import Sequence

from ...learn.tracing import LIVE
from ...report import Chart, Rule, Series
from ..engine.tables import Row

_LIVE_COLOUR = "#e0592f"
_AVERAGES = ("#8a949e", "#2f86c9", "#8577dd", "#17978b", "#b07a22")


def over_training(rows: Sequence[Row], traces: Sequence[Row]) -> dict[str, Chart]:
    """Score, distance and held-out loss at the checkpoints of the first seed, one curve per kind of weights."""
    charts = dict[str, Chart]()
    for live in live_rows(rows):
        own = [one for one in traces if same_cell(one, live) and one["seed"] == 0]
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
            heading = f"{kind_name(live)}: {words.split(' [')[0].split(' to ')[0]} at the checkpoints"
            charts[f"{name}-{measure}"] = Chart(heading, series, "update", words, caption, log_y=measure == "distance")
    return charts


def oscillations(rows: Sequence[Row], measure: str) -> Chart:
    """Oscillation of the score or the distance against the memory of the average, one curve per kind of cloning."""
    series = list[Series]()
    for live in live_rows(rows):
        own = sorted((row for row in rows if same_cell(row, live)), key=lambda row: row["memory"])
        key = f"{measure}_oscillation"
        values, low, high = ([row[f"{key}{end}"] for row in own] for end in ("", "_low", "_high"))
        series.append(Series(kind_name(live), [row["memory"] for row in own], values, low, high, points=True))
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


def along_update(landscapes: Sequence[Row]) -> dict[str, Chart]:
    """Score and held-out loss on the line along one update; empty if there is no line."""
    if not landscapes:
        return {}
    rule = [Rule(0.0, "checkpoint", upright=True)]
    charts = dict[str, Chart]()
    for measure, words, size in (("score", "score", 1.0), ("held_out_loss", "held-out loss [10⁻³]", 1e3)):
        series = [
            Series(kind_name(line), line["scale"], [size * value for value in line[measure]]) for line in landscapes
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


def live_rows(rows: Sequence[Row]) -> list[Row]:
    """The row of live weights with the smallest batch at a held rate, for each kind of cloning."""
    held = [row for row in rows if row["schedule"] == "held" and row["weights"] == LIVE]
    kinds = dict.fromkeys(map(kind_of, held))
    return [min((row for row in held if kind_of(row) == kind), key=lambda row: row["batch"]) for kind in kinds]


def kind_of(row: Row) -> tuple[str, str]:
    """The kind of cloning: gains and family."""
    return row["gains"], row["family"]


def same_cell(row: Row, other: Row) -> bool:
    """Whether two rows belong to the same trainings."""
    return all(row[key] == other[key] for key in ("gains", "family", "batch", "schedule"))


def kind_name(row: Row) -> str:
    """The kind of cloning in words."""
    return f"{'raw actions' if row['gains'] == 'none' else 'gains'}, {row['family']}"


def _colour(place: int) -> str:
    return _LIVE_COLOUR if place == 0 else _AVERAGES[(place - 1) % len(_AVERAGES)]
