"""Findings on positions that velocities move: a heading that drifts, and x and y that are exchanged."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..findings import DataFinding, note, share, warning
from .drifting import significant
from .planes import Plane

SMALLEST = 0.03
"""Smallest drift of a direction that is reported [rad]."""
MAIN = 0.5
"""An action moves a pair of positions if its weight is at least this fraction of the largest."""


def check_headings(planes: Sequence[Plane]) -> Iterator[DataFinding]:
    """A direction of motion, against the commanded one, that drifts over the episodes."""
    clear = [
        plane
        for plane in planes
        if plane.drift.large
        and abs(plane.shift) >= SMALLEST
        and significant(plane.drift.best, plane.episodes, len(planes) * plane.episodes)
    ]
    if clear:
        yield _turning(max(clear, key=lambda plane: plane.drift.best))


def _turning(plane: Plane) -> DataFinding:
    grows, first = not plane.drift.stepped, plane.first
    when = "turns steadily from the first episode to the last" if grows else f"turns at episode {first}"
    late = "the later ones" if grows else f"those from {first} on (--drop-episodes {first}-)"
    against = f"the velocities in the direction of {plane.heading}" if plane.heading else "the commanded velocities"
    x, y = plane.positions
    what = (
        f"The calibration drifts: the motion of {x} and {y} against {against} {when}, by {plane.shift:+.3g} rad "
        f"({share(plane.drift.best)} of the variance over the episodes)."
    )
    return warning(
        "drift",
        what,
        effect="Early and late episodes have frames that are turned against each other. A policy averages over them "
        "and drives beside the goal, the farther the more.",
        remedy="Calibrate the heading and record again, turn the positions or the commands of each episode back before "
        f"converting, or leave {late} out if the robot at deployment is calibrated as in the "
        "others.",
        values={
            "kind": "trend" if grows else "step",
            "first_episode": first,
            "offsets": {plane.heading or f"{x}, {y}": plane.shift},
            "coordinates": [{"action": "", "state": plane.heading, "positions": [x, y], "offset": plane.shift}],
        },
    )


def check_order(planes: Sequence[Plane]) -> Iterator[DataFinding]:
    """Two positions that are exchanged in the whole set, against the heading or against the order of the actions."""
    for plane in planes:
        if plane.sign < 0:
            # exchanged positions turn what moves forwards by a quarter; a heading that counts clockwise need not
            x, y = _axes(plane)
            size = np.hypot(x, y)
            first = int(np.flatnonzero(size >= MAIN * size.max())[0])
            yield _exchanged(plane, sure=bool(abs(y[first]) > abs(x[first])))
    moved = [(plane, _movers(plane)) for plane in planes if plane.sign == 0]
    crossed = [(plane, pair) for plane, pair in moved if pair is not None and pair[0] == pair[1] + 1]
    # two actions that move other coordinates in their own order are not exchanged, as of a target beside its position
    right = {pair for _, pair in moved if pair is not None}
    if len(crossed) == 1 and crossed[0][1][::-1] not in right:
        yield _exchanged(crossed[0][0], sure=len(planes) > 1)


def _axes(plane: Plane) -> tuple[Float[ndarray, " m"], Float[ndarray, " m"]]:
    """Effect of each action along both axes of its frame."""
    return np.real(plane.weights), np.imag(plane.weights)


def _movers(plane: Plane) -> tuple[int, int] | None:
    """The actions that alone, and by as much, move the first and the second of two positions."""
    x, y = _axes(plane)
    one, other = int(np.abs(x).argmax()), int(np.abs(y).argmax())
    low, high = sorted((float(x[one]), float(y[other])))
    alone = abs(y[one]) <= MAIN * abs(x[one]) and abs(x[other]) <= MAIN * abs(y[other])
    return (one, other) if alone and low > MAIN * high else None


def _exchanged(plane: Plane, sure: bool) -> DataFinding:
    x, y = plane.positions
    heading = (
        f"they move as velocities in the direction of {plane.heading} say only if they are exchanged, or if the "
        "heading counts clockwise"
        if plane.heading
        else "each moves as the command of the other one says"
    )
    return (warning if sure else note)(
        "exchanged",
        f"The columns {x} and {y} seem to be exchanged in all episodes: {heading} (R² {plane.r2:.2f}).",
        effect="The set is consistent, so that a policy can learn it; on a robot or in a simulation with the usual "
        "order it drives to the mirrored place.",
        remedy="Compare the order of the columns with that of the robot at deployment, and exchange them before "
        "converting if it is another one.",
        values={"columns": [x, y], "first_episode": 0, "heading": plane.heading, "r2": plane.r2},
    )
