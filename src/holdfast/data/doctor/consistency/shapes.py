"""Saturation: the response of a coordinate to the action does not grow beyond a level.

For each coordinate and the action that moves it most, one transformed input is added to the one-step model:

    clip(u, −L, L)     of u = a[t] or u = a[t] − s[t]

The level that reduces the squared error most on episodes that were not used for the fit is reported, if the reduction
is significant over these episodes, and if its error is significantly below that of a model with the square and the cube
of u too: a smooth curve is not taken for a kink.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..findings import FEW_LEVELS
from .play import TARGET, partner_of
from .steps import Steps
from .transforms import Base, Split, best_of, split_of

Index: TypeAlias = Literal["action", "difference"]

LEVELS = np.concatenate([[0.03, 0.06, 0.1, 0.15, 0.2, 0.25], np.linspace(0.3, 0.98, 24)])
"""Levels of saturation that are tried, as quantiles of |u|."""
GAIN = 0.15
"""Smallest reduction of the squared error."""
COARSE = 0.05
"""Smallest reduction on the coarse grid of levels for which the fine grid is tried."""
EXACT = 1e-5
"""A model that leaves less than this fraction of the variance open is taken as complete."""
FLAT = 0.3
"""Largest slope beyond the level, as a fraction of the slope below it."""
LEAST_ROWS, MOST_ROWS, SOME = 0.01, 0.95, 2000
FEW, MANY = 12, 0.3


@dataclass(frozen=True, kw_only=True)
class Kink:
    """A transform of the action that explains the response of a coordinate.

    Attributes:
        size: Level L, in the units of the index.
        gain: Reduction of the squared error on held-out episodes.
        slope: Effect of the transformed index on the next change of the coordinate.
        share: Fraction of the rows beyond the level.
    """

    index: Index
    action: str
    state: str
    size: float
    gain: float
    slope: float
    share: float


def kinks_of(steps: Steps, bases: Sequence[Base]) -> list[Kink]:
    """The level of each coordinate's main action that explains it, where there is one; the clearest first."""
    moments, everything = steps.newest(), np.ones(len(steps.recording.lengths), dtype=bool)
    gains = np.abs(steps.gains(moments.fit(everything)))
    spread = steps.scale[2 * len(steps.moving) :][: len(steps.acting)]
    found = list[Kink]()
    for target in np.flatnonzero(steps.size > 0):
        action = int((gains[:, target] * spread).argmax())
        few = len(np.unique(steps.recording.actions.column(int(steps.acting[action]))[:SOME])) <= FEW_LEVELS
        if few or (int(target), action) in steps.others:
            continue
        kink = _tried(steps, bases, int(target), action)
        found += [] if kink is None else [kink]
    return sorted(found, key=lambda kink: -kink.gain)


def _tried(steps: Steps, bases: Sequence[Base], target: int, action: int) -> Kink | None:
    command, rows = steps.recording.actions.column(int(steps.acting[action])), steps.rows
    partner, alike = partner_of(steps, command)
    # the size of a target means nothing, only its distance from the position does
    index: Index = "difference" if alike > TARGET else "action"
    values = (command - partner if alike > TARGET else command)[rows]
    split = split_of(bases, steps.change[:, target], values)
    if (split.y_held**2).mean() < EXACT:
        return None
    levels = np.unique(np.quantile(np.abs(values), LEVELS))
    levels = levels[levels > 0]
    return _saturated(steps, split, target, action, index, values, levels) if len(levels) else None


def _saturated(
    steps: Steps,
    split: Split,
    target: int,
    action: int,
    index: Index,
    values: Float[ndarray, " rows"],
    levels: Float[ndarray, " k"],
) -> Kink | None:
    at, gain, _ = best_of(steps, split, np.clip(values[:, None], -levels, levels), strict=False)
    if gain < COARSE:
        return None
    fine = np.linspace(float(levels[max(at - 1, 0)]), float(levels[min(at + 1, len(levels) - 1)]), 15)
    at, gain, _ = best_of(steps, split, np.clip(values[:, None], -fine, fine))
    below, beyond = _slopes(steps, target, action, values, float(fine[at]))
    part = float((np.abs(values) > fine[at]).mean())
    # among many coordinates, the best is good by chance more often
    if gain < (GAIN if len(steps.moving) <= FEW else MANY):
        return None
    if abs(beyond) > FLAT * abs(below) or not LEAST_ROWS <= part <= MOST_ROWS:
        return None
    return _kink(steps, target, action, index, float(fine[at]), gain, below, part)


def _slopes(
    steps: Steps, target: int, action: int, values: Float[ndarray, " rows"], level: float
) -> tuple[float, float]:
    """Slope of the response below and beyond a level, given the other inputs."""
    n, m = len(steps.moving), len(steps.acting)
    inner = np.clip(values, -level, level)
    others = steps.inputs[:, [*range(n), *range(2 * n, 2 * n + m)]]
    # the index is a sum of other inputs, so that only the residual of the part beyond the level is free
    wide = np.concatenate([others, np.ones((len(values), 1)), inner[:, None]], axis=1)
    weights = np.linalg.lstsq(wide, steps.change[:, target], rcond=1e-9)[0]
    scale = steps.scale[2 * n + action]
    beyond = float(weights[n + action] / scale)
    return float((weights[-1] + beyond) * steps.size[target]), float(beyond * steps.size[target])


def _kink(
    steps: Steps,
    target: int,
    action: int,
    index: Index,
    size: float,
    gain: float,
    slope: float,
    part: float,
) -> Kink:
    return Kink(
        index=index,
        action=steps.actions[action],
        state=steps.labels[target],
        size=size,
        gain=gain,
        slope=slope,
        share=part,
    )
