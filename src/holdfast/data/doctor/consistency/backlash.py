"""Play between a command and a coordinate: after a reversal, the coordinate stands still for the width of a gap.

The follower of the command's path, or of the motor's, is added to the one-step model for several widths. The play is
reported if it reduces the squared error on episodes that were not used for the fit, significantly, and significantly
more than the square and the cube of the command do.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..findings import FEW_LEVELS
from .play import TARGET, Path, partner_of, paths_of
from .steps import Steps
from .transforms import Base, best_of, split_of

WIDTHS = np.array([0.005, 0.01, 0.02, 0.03, 0.045, 0.065, 0.09, 0.13, 0.2])
"""Widths that are tried, as fractions of the range of the path."""
FINE = np.linspace(0.72, 1.38, 12)
PLAY, MANY, FEW = 0.1, 0.3, 12
"""Smallest reduction of the squared error, with few coordinates and with more than FEW, where chance finds more."""
COARSE = 0.05
"""Smallest reduction on the coarse grid for which the fine grid is tried."""
EXACT = 1e-5
"""A model that leaves less than this fraction of the variance open is taken as complete."""
SOME = 2000

Along: TypeAlias = Literal["action", "motor", "sum"]


@dataclass(frozen=True, kw_only=True)
class Loose:
    """A coordinate with play.

    Attributes:
        index: What it follows: the command, the motor, or the sum of commands.
        width: Width of the play, in units of the coordinate.
        gain: Reduction of the squared error on held-out episodes.
        left: Squared error that the model with play leaves on held-out episodes.
        share: Fraction of the rows in which the follower stands still.
    """

    index: Along
    action: str
    state: str
    width: float
    gain: float
    left: float
    share: float


def loose_of(steps: Steps, bases: list[Base], zones: Collection[str]) -> list[Loose]:
    """The play of each coordinate that has some; the clearest first.

    With many coordinates, only those of `zones` are examined, the actions with a dead zone: play looks like one too.
    """
    gains = np.abs(steps.gains(steps.newest().fit(np.ones(len(steps.recording.lengths), dtype=bool))))
    spread = steps.scale[2 * len(steps.moving) :][: len(steps.acting)]
    found = list[Loose]()
    for target in map(int, np.flatnonzero(steps.size > 0)):
        action = int((gains[:, target] * spread).argmax())
        command = steps.recording.actions.column(int(steps.acting[action]))
        unlikely = len(steps.moving) > FEW and steps.actions[action] not in zones
        if unlikely or (target, action) in steps.others or len(np.unique(command[:SOME])) <= FEW_LEVELS:
            continue
        tried = [_loose(steps, bases, (target, action), path) for path in paths_of(steps, target, command)]
        found += [max(own, key=lambda one: one.gain)] if (own := [one for one in tried if one is not None]) else []
    return sorted(found, key=lambda one: -one.gain)


def _loose(steps: Steps, bases: list[Base], pair: tuple[int, int], path: Path) -> Loose | None:
    target, action = pair
    command = steps.recording.actions.column(int(steps.acting[action]))
    partner, alike = partner_of(steps, command)
    values = (command - partner if alike > TARGET else command)[steps.rows]
    known = path.known.shape[1] > 0
    split = split_of([bases[1].beside(path.known)] * 2 if known else bases, steps.change[:, target], values)
    reach = float(np.quantile(path.values, 0.995) - np.quantile(path.values, 0.005))
    if not reach > 0 or (split.y_held**2).mean() < EXACT:
        return None
    widths = WIDTHS * reach
    at, gain, _ = best_of(steps, split, path.behind(steps, widths), strict=False)
    if gain < COARSE:
        return None
    widths = widths[at] * FINE
    tried = path.behind(steps, widths)
    at, gain, slope = best_of(steps, split, tried)
    if gain < (PLAY if len(steps.moving) <= FEW else MANY) or slope <= 0:
        return None
    moves = tried[:, at] if path.steps else np.diff(tried[:, at], prepend=0.0)
    return Loose(
        index="motor" if known else "sum" if path.steps else "action",
        action=steps.actions[action],
        state=steps.labels[target],
        width=float(widths[at]) * (slope * float(steps.size[target]) if path.steps else 1.0),
        gain=gain,
        left=(1 - gain) * float((split.y_held**2).mean()),
        share=float((moves == 0).mean()),
    )
