"""Rows of study servo: cells, differences between the corners of the grid of servos, and rank correlations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ...evaluation import Estimate, over_seeds
from ..engine.jobs import grouped
from ..engine.statistics import flat, geometric_mean, paired_difference, seeds_in_favour, share, table_of
from .job import Cell, ServoJob
from .ranking import ranking

Key: TypeAlias = tuple[str, int, float, float]
"""Task, executed steps of a chunk, stiffness, damping ratio."""
Groups: TypeAlias = Mapping[Key, Sequence[tuple[ServoJob, Cell]]]
"""Cells with their seeds in order."""

PREDICTORS: Mapping[str, str] = {
    "relative_loss": "validation loss, relative",
    "loss": "validation loss",
    "amplification": "amplification",
    "variance": "amplification × validation loss",
    "canonical": "k_p / (2 k_d) × validation loss",
    "remaining": "displacement left",
}
"""What might rank servos by failure."""
OTHERS = "the other servos"
BEST = "compliant, overdamped"
"""The corner of the grid that both papers call best."""


def groups_of(jobs: Sequence[ServoJob], found: Sequence[Sequence[Cell]]) -> Groups:
    """All cells by task, execution and servo."""
    pairs = [(job, cell) for job, cells in zip(jobs, found, strict=True) for cell in cells]
    pairs.sort(key=lambda pair: pair[0].seed)
    return grouped(((job.task, cell.executed, job.stiffness, job.ratio), (job, cell)) for job, cell in pairs)


def servo_name(stiffness: float, ratio: float) -> str:
    """Name of a servo in tables."""
    return f"k_p {stiffness:g}, ζ {ratio:g}"


def rows_of(groups: Groups) -> list[dict[str, Any]]:
    """One wide row per cell."""
    return [_row(key, group) for key, group in groups.items()]


def _row(key: Key, group: Sequence[tuple[ServoJob, Cell]]) -> dict[str, Any]:
    task, executed, stiffness, ratio = key
    job = group[0][0]
    logarithmic = ("loss", "relative_loss", "variance", "remaining")
    return {
        "task": task,
        "arm": servo_name(stiffness, ratio),
        "executed": executed,
        "stiffness": stiffness,
        "ratio": ratio,
        "damping": job.gains.damping,
        **flat("score", _within(over_seeds(scores(group).mean(dim=1)))),
        **flat("success", share(table_of([cell.success for _, cell in group]) > 0)),
        **{
            key: value for name in logarithmic for key, value in flat(name, geometric_mean(column(group, name))).items()
        },
        "amplification": group[0][1].amplification,
        "stationary": group[0][1].stationary,
        "tracking": max(cell.tracking for _, cell in group),
        "each": [float(value) for value in scores(group).mean(dim=1)],
        "train_seconds": sum(cell.train_seconds for _, cell in group) / len(group),
        "seeds": [job.seed for job, _ in group],
        "episodes": job.starts,
        "demos": job.demos,
        "updates": job.updates,
    }


def _within(score: Estimate) -> Estimate:
    """A mean of scores, which are from 0 to 1, with an interval within these."""
    return replace(score, low=max(score.low, 0.0), high=min(score.high, 1.0)) if score.has_interval else score


def scores(group: Sequence[tuple[ServoJob, Cell]]) -> Float[Tensor, "seeds starts"]:
    """Score of each seed and start."""
    return table_of([cell.score for _, cell in group])


def column(group: Sequence[tuple[ServoJob, Cell]], name: str) -> Float[Tensor, " seeds"]:
    """A measurement of each seed."""
    return torch.tensor([_value(cell, name) for _, cell in group], dtype=torch.float64)


def _value(cell: Cell, name: str) -> float:
    return cell.stationary * cell.loss if name == "canonical" else getattr(cell, name)


def corners_of(servos: Sequence[tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Corners of the grid of servos by name.

    >>> corners_of([(1.0, 0.5), (1.0, 2.0), (4.0, 0.5), (4.0, 2.0)])["compliant, overdamped"]
    (1.0, 2.0)
    """
    soft, hard = min(k for k, _ in servos), max(k for k, _ in servos)
    low, high = min(z for _, z in servos), max(z for _, z in servos)
    named = {
        BEST: (soft, high),
        "compliant, underdamped": (soft, low),
        "stiff, overdamped": (hard, high),
        "stiff, underdamped": (hard, low),
    }
    return {name: servo for name, servo in named.items() if servo in servos}


def comparisons_of(groups: Groups) -> list[dict[str, Any]]:
    """Scores and losses of the compliant, overdamped servo against each other corner and the mean of all others.

    Differences of scores are paired by seed and start, ratios of losses by seed.
    """
    return [row for place, servos in _grids(groups).items() for row in _differences(place, servos)]


def _grids(groups: Groups) -> dict[tuple[str, int], dict[tuple[float, float], Sequence[tuple[ServoJob, Cell]]]]:
    found = dict[tuple[str, int], dict[tuple[float, float], Sequence[tuple[ServoJob, Cell]]]]()
    for (task, executed, stiffness, ratio), group in groups.items():
        found.setdefault((task, executed), {})[stiffness, ratio] = group
    return found


def _differences(
    place: tuple[str, int], servos: Mapping[tuple[float, float], Sequence[tuple[ServoJob, Cell]]]
) -> Iterator[dict[str, Any]]:
    corners = corners_of(list(servos))
    if (best := corners.pop(BEST, None)) is None:
        return
    one, rest = servos[best], [group for servo, group in servos.items() if servo != best]
    against = {name: [servos[servo]] for name, servo in corners.items() if servo != best}
    if rest:
        against[OTHERS] = rest
    for name, groups in against.items():
        table = scores(one) - torch.stack([scores(group) for group in groups]).mean(dim=0)
        row: dict[str, Any] = {
            "task": place[0],
            "executed": place[1],
            "arm": BEST,
            "against": name,
            **flat("difference", paired_difference(table)),
            "seeds_in_favour": seeds_in_favour(table),
            "seeds": table.shape[0],
        }
        for loss in ("loss", "relative_loss"):
            means = torch.stack([column(group, loss).log() for group in groups]).mean(dim=0).exp()
            row |= flat(f"{loss}_ratio", geometric_mean(column(one, loss) / means))
        yield row


def rankings_of(groups: Groups) -> list[dict[str, Any]]:
    """Rank correlation of each predictor with the failure 1 − score over servos, and its gain over that of the loss."""
    found = list[dict[str, Any]]()
    for (task, executed), servos in _grids(groups).items():
        failure = 1 - torch.stack([scores(group).mean(dim=1) for group in servos.values()], dim=1)
        tables = {name: torch.stack([column(group, name) for group in servos.values()], 1) for name in PREDICTORS}
        for name, table in tables.items():
            judged = ranking(table.clamp(min=1e-30), tables["loss"].clamp(min=1e-30), failure)
            found.append(
                {
                    "task": task,
                    "executed": executed,
                    "predictor": name,
                    "servos": len(servos),
                    "seeds": failure.shape[0],
                    **flat("correlation", judged.correlation),
                    **flat("gain", judged.gain),
                }
            )
    return found
