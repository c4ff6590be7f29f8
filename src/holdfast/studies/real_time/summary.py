"""From the cells of study real-time to its rows and paired comparisons.

Intervals hold for the trainings that were made: those of shares are exact binomial ones over the episodes of all
trainings, those of differences are over paired episodes. Whether the trainings agree is told by the number of seeds in
favour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...evaluation import Estimate, mean_over_starts, rate
from ..engine.jobs import grouped
from ..engine.statistics import flat, seeds_in_favour, side_of, table_of
from .job import ONE_SIDE, RealTimeJob
from .plan import CHUNKS, LATE, Cell


@dataclass(frozen=True)
class Place:
    """What a row is about: task, policy, way and delay."""

    task: str
    arm: str
    way: str
    delay: str

    @property
    def name(self) -> str:
        """Policy and way."""
        return f"{self.arm}, {self.way}"


Cells = Mapping[Place, Sequence[Cell]]
"""The cells of every row, one for each seed."""


def by_place(jobs: Sequence[RealTimeJob], results: Iterable[Sequence[Cell]]) -> dict[Place, list[Cell]]:
    """All cells of each row."""
    return grouped(
        (Place(job.task, job.arm, cell.way, cell.delay), cell)
        for job, cells in zip(jobs, results, strict=True)
        for cell in cells
    )


def rows_of(cells: Cells) -> list[dict[str, Any]]:
    """One wide row per place: share of solved episodes, score if any, mean jump at the seams, sides of the fork."""
    return [_row(place, group) for place, group in cells.items()]


def comparisons_of(cells: Cells) -> list[dict[str, Any]]:
    """Paired differences of solved shares, or of scores on Push-T: every way against naive, and what is claimed."""
    pairs = [(place, Place(place.task, place.arm, "naive", place.delay)) for place in cells if place.way != "naive"]
    pairs += [pair for place in cells for pair in _claimed(place)]
    known = [(one, other) for one, other in pairs if one in cells and other in cells]
    return [_compared(one, other, cells) for one, other in dict.fromkeys(known)]


def _claimed(place: Place) -> list[tuple[Place, Place]]:
    """Pairs in which a place comes first."""

    def other(**changed: str) -> tuple[Place, Place]:
        return place, Place(**{**vars(place), **changed})

    found = [other(delay="0")] if place.way == "naive" and place.delay != "0" else []
    if place.way == "guided":
        found += [other(way="ensemble"), other(way="guided-no-jacobian")]
    if place.way in ("conditioned", "trained"):
        found += [other(way="guided"), other(way="guided", arm="flow")]
    if place.arm in ONE_SIDE and place.way == "naive":
        found.append(other(arm=place.arm.removesuffix("-one-side")))
    if place.arm == "flow-prefix":
        found.append(other(arm="flow"))
    if place.arm == "flow-gains":
        ways = (place.way, "residual") if place.way == "naive" else (place.way,)
        found += [other(arm=arm, way=way) for way in ways for arm in ("flow", "flow-prefix")]
    if place.way == LATE:
        found += [other(delay="0"), other(arm="flow", way=CHUNKS, delay="1" if place.delay == "0" else place.delay)]
    if place.way == CHUNKS and place.delay != "1":
        found.append(other(delay="1"))
    return found


def _row(place: Place, group: Sequence[Cell]) -> dict[str, Any]:
    events = torch.tensor([cell.solved for cell in group]).flatten()
    scores = [cell.score for cell in group]
    seams = [value for cell in group for value in cell.seam if value is not None]
    sides = [side for cell in group for side, won in zip(cell.sides, cell.solved, strict=True) if won]
    sides = [side for side in sides if side is not None]
    return {
        **vars(place),
        **flat("solved", rate(events)),
        **(flat("seam", mean_over_starts(torch.tensor(seams, dtype=torch.float64))) if len(seams) > 1 else {}),
        **({"left": sides.count(0.0), "right": sides.count(1.0)} if place.task == "fork" else {}),
        **(flat("score", mean_over_starts(table_of(scores).flatten())) if all(scores) else {}),
        "by_seed": [sum(cell.solved) / len(cell.solved) for cell in group],
        "seeds": len(group),
        "episodes": len(group[0].solved),
    }


def _compared(one: Place, other: Place, cells: Cells) -> dict[str, Any]:
    table = _values(cells[one]) - _values(cells[other])
    found = _paired(table.flatten())
    return {
        "task": one.task,
        "arm": one.name,
        "against": other.name,
        "delay": one.delay,
        "delay_against": other.delay,
        **flat("difference", found),
        "side": side_of(found, 0.0),
        "seeds_in_favour": seeds_in_favour(table),
        "seeds_against": seeds_in_favour(-table),
        "seeds": len(table),
    }


def _values(group: Sequence[Cell]) -> torch.Tensor:
    """The score of each training and start where the task has one, else whether it was solved."""
    return table_of([cell.score or cell.solved for cell in group])


def _paired(differences: torch.Tensor) -> Estimate:
    """Mean of paired differences of solved and unsolved; equal outcomes everywhere leave the exact binomial doubt."""
    if bool(differences.any()):
        return mean_over_starts(differences)
    doubt = rate(torch.zeros(len(differences), dtype=torch.bool)).high
    return Estimate(0.0, -doubt, doubt)
