"""Rows of study inputs: the score of each kind of input under each change of the pictures, and paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...evaluation import over_seeds
from ..engine.jobs import grouped
from ..engine.statistics import flat, paired_difference, seeds_in_favour, table_of
from .job import Cell, InputsJob

Group = Mapping[tuple[str, str], Sequence[tuple[InputsJob, Cell]]]
"""Arm and change → seeds in order."""

PAIRS = (
    ("explicit, matched", "explicit, isotropic"),
    ("explicit, matched", "explicit, none"),
    ("explicit, isotropic", "explicit, none"),
    ("explicit, matched", "raw"),
    ("frozen", "raw"),
    ("fine-tuned", "raw"),
    ("fine-tuned", "frozen"),
    ("explicit, matched", "frozen"),
    ("raw", "state"),
    ("frozen", "state"),
    ("fine-tuned", "state"),
    ("explicit, matched", "state"),
)
"""Arms that are compared under the same change."""


def groups_of(jobs: Sequence[InputsJob], found: Sequence[Sequence[Cell]]) -> Group:
    """All cells by arm and change."""
    pairs = [(job, cell) for job, cells in zip(jobs, found, strict=True) for cell in cells]
    pairs.sort(key=lambda pair: pair[0].seed)
    return grouped(((cell.arm, cell.change), (job, cell)) for job, cell in pairs)


def rows_of(groups: Group) -> list[dict[str, Any]]:
    """One wide row per arm and change."""
    return [_row(arm, change, group) for (arm, change), group in groups.items()]


def _row(arm: str, change: str, group: Sequence[tuple[InputsJob, Cell]]) -> dict[str, Any]:
    scores = _scores(group)
    errors = [cell.error for _, cell in group if cell.error is not None]
    return {
        "arm": arm,
        "change": change,
        **flat("score", over_seeds(scores.mean(dim=1))),
        "each": [float(value) for value in scores.mean(dim=1)],
        "estimator_error": sum(errors) / len(errors) if errors else None,
        "train_seconds": sum(cell.train_seconds for _, cell in group) / len(group),
        "seeds": [job.seed for job, _ in group],
        "episodes": scores.shape[1],
    }


def comparisons_of(groups: Group) -> list[dict[str, Any]]:
    """Differences of arms under the same change, and of each change from none, paired by seed and start."""
    found = list[dict[str, Any]]()
    for arm, against in PAIRS:
        for change in dict.fromkeys(change for _, change in groups):
            found += _compared(groups, (arm, change), (against, change), against, change)
    for arm, change in groups:
        if change != "none":
            found += _compared(groups, (arm, change), (arm, "none"), f"{arm}, pictures as they are", change)
    return found


def _compared(
    groups: Group, one: tuple[str, str], other: tuple[str, str], against: str, change: str
) -> list[dict[str, Any]]:
    """One row, or none where a side was not measured; the states themselves are the same under every change."""
    other = (other[0], "none") if other[0] == "state" else other
    if one not in groups or other not in groups:
        return []
    table = _scores(groups[one]) - _scores(groups[other])
    difference = flat("difference", paired_difference(table))
    favour = {"seeds_in_favour": seeds_in_favour(table), "seeds": table.shape[0]}
    return [{"arm": one[0], "against": against, "change": change, **difference, **favour}]


def _scores(group: Sequence[tuple[InputsJob, Cell]]) -> Float[Tensor, "seeds starts"]:
    return table_of([cell.score for _, cell in group])
