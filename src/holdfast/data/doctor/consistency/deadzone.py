"""Dead zones: small commands have no effect on a coordinate, also while the hand trembles.

With dry friction, or a dead zone of the controller, a coordinate moves by

    y = u − clip(u, −L, L)

where u is the motion without friction. It is linear in the last two states and actions, and is fitted together with L:
alternately, L on a grid and the linear motion. The command itself is tried as u too, because a drive with a slow
response may ignore small commands before it filters them. The zone is reported if it reduces the error on episodes that
were not used for the fit, significantly more than the square and the cube of u do, and if the slope within the zone is
small.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..findings import FEW_LEVELS
from .play import TARGET, partner_of
from .steps import Steps
from .transforms import Base, best_of, split_of

ZONES = np.array([0.03, 0.06, 0.1, 0.15, 0.21, 0.28, 0.36, 0.45, 0.55, 0.65])
"""Sizes of the zone that are tried, as quantiles of |u|."""
ROUNDS = 3
LEAST, MANY, FEW = 0.03, 0.15, 12
"""Smallest reduction of the squared error, with few coordinates and with more than FEW, where chance finds more."""
FIRST = 0.005
"""Smallest reduction in the first round for which the motion is fitted again."""
NOISES = 2.0
"""Smallest effect of the zone, as a multiple of the error that it leaves."""
INNER = 0.6
"""Largest slope within the zone, as a fraction of the slope beyond it: a response that saturates has a larger one."""
KNOWN = 0.5
"""Fraction of the motion that the one-step model must explain: a free object is nobody's coordinate."""
EXACT = 1e-7
"""A model that leaves less than this fraction of the variance open is taken as complete."""
SOME = 2000

Of: TypeAlias = Literal["motion", "action", "difference"]


@dataclass(frozen=True, kw_only=True)
class DeadZone:
    """A coordinate that small commands do not move.

    Attributes:
        index: The motion without friction, the action, or its distance from the state.
        size: Half-width L of the zone, in units of the action.
        share: Fraction of the rows in the zone.
        rows: Their number.
        gain: Reduction of the squared error on held-out episodes.
        left: Squared error that the model with the zone leaves on held-out episodes.
        slope: Slope of the response within the zone, as a fraction of the slope beyond it.
    """

    index: Of
    action: str
    state: str
    size: float
    share: float
    rows: int
    gain: float
    left: float
    slope: float


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The part h of an index u within the zone, its gain and its weight."""

    u: Float[ndarray, " rows"]
    h: Float[ndarray, " rows"]
    size: float
    gain: float
    left: float
    weight: float


def zones_of(steps: Steps, base: Base) -> list[DeadZone]:
    """The dead zone of each coordinate that has one, given the base of two states and two actions."""
    gains = steps.gains(steps.newest().fit(np.ones(len(steps.recording.lengths), dtype=bool)))
    spread = steps.scale[2 * len(steps.moving) :][: len(steps.acting)]
    found = list[DeadZone]()
    for target in map(int, np.flatnonzero(steps.size > 0)):
        action = int((np.abs(gains[:, target]) * spread).argmax())
        if (target, action) in steps.others:
            continue
        per_unit = abs(float(gains[action, target])) / float(steps.size[target])
        y = steps.change[:, target]
        known = _explained(y, _linear(base, y))
        if _levels(steps, target, action) <= FEW_LEVELS or not KNOWN <= known <= 1 - EXACT:
            continue
        tried = [_motion(steps, base, target, action, per_unit), _command(steps, base, target, action)]
        zones = [zone for zone in tried if zone is not None and abs(zone.slope) <= INNER]
        found += [max(zones, key=lambda zone: zone.gain)] if zones else []
    return sorted(found, key=lambda zone: -zone.gain)


def _clear(steps: Steps, fit: _Fit) -> bool:
    """Whether the zone explains enough and is wider than the noise.

    The noise of sensors hides a slow motion more than a fast one, which looks like a zone of the width of the noise.
    """
    enough = fit.gain >= (LEAST if len(steps.moving) <= FEW else MANY)
    return enough and bool(abs(fit.weight) * fit.size >= NOISES * np.sqrt(fit.left))


def _levels(steps: Steps, target: int, action: int) -> int:
    """Number of distinct values of a coordinate or its action, whichever has fewer."""
    some = steps.recording
    columns = some.states.column(int(steps.moving[target])), some.actions.column(int(steps.acting[action]))
    return min(len(np.unique(column[:SOME])) for column in columns)


def _motion(steps: Steps, base: Base, target: int, action: int, per_unit: float) -> DeadZone | None:
    """The zone of the motion without friction, which is fitted again with each zone."""
    y = steps.change[:, target]
    # of a rate, friction reduces the next value, not the change
    level = _level(steps, target)
    fit = _fit(steps, base, y, _linear(base, y) + level, strict=False)
    for turn in range(1, ROUNDS):
        if fit.gain < FIRST:
            return None
        fit = _fit(steps, base, y, _linear(base, y - fit.weight * fit.h) + level, strict=turn == ROUNDS - 1)
    if not _clear(steps, fit):
        return None
    parts = np.stack([fit.h, fit.u - fit.h], axis=1)
    inner, outer = np.linalg.lstsq(parts, y + level, rcond=None)[0]
    return _zone(steps, (target, action), "motion", fit, (float(inner), float(outer)), fit.size / max(per_unit, 1e-300))


def _command(steps: Steps, base: Base, target: int, action: int) -> DeadZone | None:
    """The zone of the command."""
    command = steps.recording.actions.column(int(steps.acting[action]))
    partner, alike = partner_of(steps, command)
    y, near = steps.change[:, target], alike > TARGET
    fit = _fit(steps, base, y, (command - partner if near else command)[steps.rows], strict=True)
    if not _clear(steps, fit):
        return None
    wide = np.concatenate([steps.inputs, np.ones((len(y), 1))], axis=1)
    at = 2 * len(steps.moving) + action
    outer = float(np.linalg.lstsq(wide, y - fit.weight * fit.h, rcond=1e-9)[0][at] / steps.scale[at])
    index: Of = "difference" if near else "action"
    return _zone(steps, (target, action), index, fit, (outer + fit.weight, outer), fit.size)


def _level(steps: Steps, target: int) -> Float[ndarray, " rows"] | float:
    """The present value of a coordinate that is a rate of another, 0 of all others."""
    if not steps.rates[target]:
        return 0.0
    return (steps.inputs[:, target] * steps.scale[target] + steps.mean[target]) / steps.size[target]


def _linear(base: Base, y: Float[ndarray, " rows"]) -> Float[ndarray, " rows"]:
    """What the linear model predicts in all rows."""
    weights = base.q.T @ y[~base.held]
    found = np.empty(len(y))
    found[~base.held], found[base.held] = base.q @ weights, base.q_held @ weights
    return found


def _explained(y: Float[ndarray, " rows"], guess: Float[ndarray, " rows"]) -> float:
    return 1 - float(((y - guess) ** 2).mean()) / max(float(y.var()), 1e-300)


def _fit(steps: Steps, base: Base, y: Float[ndarray, " rows"], u: Float[ndarray, " rows"], *, strict: bool) -> _Fit:
    split = split_of([base, base], y, u)
    sizes = np.quantile(np.abs(u), ZONES)
    at, gain, weight = best_of(steps, split, np.clip(u[:, None], -sizes, sizes), strict=strict)
    size = float(sizes[at])
    left = (1 - gain) * float((split.y_held**2).mean())
    return _Fit(u=u, h=np.clip(u, -size, size), size=size, gain=gain, left=left, weight=weight)


def _zone(
    steps: Steps, pair: tuple[int, int], index: Of, fit: _Fit, slopes: tuple[float, float], size: float
) -> DeadZone:
    inside = np.abs(fit.u) < fit.size
    inner, outer = slopes
    return DeadZone(
        index=index,
        action=steps.actions[pair[1]],
        state=steps.labels[pair[0]],
        size=size,
        share=float(inside.mean()),
        rows=int(inside.sum()),
        gain=fit.gain,
        left=fit.left,
        slope=inner / outer if outer else np.inf,
    )
