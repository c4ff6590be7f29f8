"""Play: the path that a command asks for, and the path of a follower that a gap of some width separates from it.

    p[t] = clip(p[t − 1], u[t] − w/2, u[t] + w/2)

The gap may be before the motor, where u is the command itself, or behind it, where u is the path of the motor. The
latter is not recorded; it is a moving average of the last commands, whose weights are fitted.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .steps import Steps

TARGET = 0.8
"""Correlation of an action with the position that it is a target for."""
FOLLOWS = 0.6
"""Correlation of the change of a coordinate with its recorded rate."""
TAPS = 10
"""Number of commands of the moving average."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """What a follower with play follows, in every row of the recording.

    Attributes:
        values: u[t].
        first: Place of the follower at the first row of each episode.
        ahead: Whether u[t] is reached at row t + 1 (the command), or at row t (the motor).
        steps: Whether only changes of the path mean something, as of a sum of velocities.
        known: Columns that the path adds to the linear model without play.
    """

    values: Float[ndarray, " all"]
    first: Float[ndarray, " episodes"]
    ahead: bool
    steps: bool
    known: Float[ndarray, "rows k"]

    def behind(self, steps: Steps, widths: Float[ndarray, " k"]) -> Float[ndarray, "rows k"]:
        """The follower of each width, or its next change, at the rows of the model."""
        follower = followers(steps, self.values, self.first, widths)
        if self.steps:
            return follower[steps.rows + 1] - follower[steps.rows]
        return follower[steps.rows if self.ahead else steps.rows + 1]


def partner_of(steps: Steps, command: Float[ndarray, " all"]) -> tuple[Float[ndarray, " all"], float]:
    """The position that an action follows most closely, and their correlation."""
    positions = steps.recording.states.values[:, steps.moving].astype(np.float64)
    centred, own = positions - positions.mean(axis=0), command - command.mean()
    alike = (own @ centred) / np.maximum(np.sqrt((own @ own) * (centred**2).sum(axis=0)), 1e-300)
    best = int(alike.argmax())
    return positions[:, best], float(alike[best])


def paths_of(steps: Steps, target: int, command: Float[ndarray, " all"]) -> list[Path]:
    """The path of the command, and that of the motor."""
    some = steps.recording
    partner, alike = partner_of(steps, command)
    nothing = np.zeros((len(steps.rows), 0))
    place = some.states.column(int(steps.moving[target]))
    change = np.append(np.diff(place), 0.0)
    change[some.starts + some.lengths - 1] = 0.0
    if alike > TARGET:
        first = partner[some.starts]
        motor = _averaged(steps, command, place, pad=command[some.starts])
        known = np.stack([motor[steps.rows], motor[steps.rows + 1]], axis=1)
        found = [Path(values=command, first=first, ahead=True, steps=False, known=nothing)]
        if steps.rates[target]:
            return found
        found.append(Path(values=motor, first=place[some.starts], ahead=False, steps=False, known=known))
        return [*found, *(_summed(steps, rate, rate[steps.rows, None]) for rate in _rate_of(steps, change))]
    if steps.rates[target]:
        return []
    speed = _averaged(steps, command, change, pad=np.zeros(len(some.starts)), now=True)
    found = [_summed(steps, speed, speed[steps.rows, None])]
    # a force moves a velocity, so that its sum is no path
    if np.corrcoef(command[steps.rows], change[steps.rows])[0, 1] > FOLLOWS:
        found.append(_summed(steps, command, speed[steps.rows, None]))
    return [*found, *(_summed(steps, rate, rate[steps.rows, None]) for rate in _rate_of(steps, change))]


def _summed(steps: Steps, speed: Float[ndarray, " all"], known: Float[ndarray, "rows k"]) -> Path:
    path = sums_of(steps, speed)
    return Path(values=path, first=path[steps.recording.starts], ahead=True, steps=True, known=known)


def _rate_of(steps: Steps, change: Float[ndarray, " all"]) -> list[Float[ndarray, " all"]]:
    """The recorded rate of a coordinate at the next row, which a motor with an encoder of its own reports."""
    if not steps.rates.any():
        return []
    rates = steps.recording.states.values[:, steps.moving[steps.rates]].astype(np.float64)
    later = rates[np.minimum(np.arange(len(change)) + 1, len(change) - 1)]
    centred, own = later[steps.rows] - later[steps.rows].mean(axis=0), change[steps.rows] - change[steps.rows].mean()
    alike = (own @ centred) / np.maximum(np.sqrt((own @ own) * (centred**2).sum(axis=0)), 1e-300)
    best = int(alike.argmax())
    return [later[:, best]] if alike[best] > FOLLOWS else []


def _averaged(
    steps: Steps,
    command: Float[ndarray, " all"],
    answer: Float[ndarray, " all"],
    *,
    pad: Float[ndarray, " episodes"],
    now: bool = False,
) -> Float[ndarray, " all"]:
    """Moving average of the previous commands (with the present one if `now`) that explains an answer best."""
    some, step = steps.recording, np.arange(len(command)) - steps.recording.starts[steps.recording.owner]
    taps: list[ndarray] = [np.ones(len(command))]
    for back in range(0 if now else 1, TAPS + 1):
        shifted = np.concatenate([command[:1].repeat(back), command[: len(command) - back]])
        padded: ndarray = np.where(step >= back, shifted, pad[some.owner])
        taps.append(padded)
    wide: ndarray = np.stack(taps, axis=1)
    fitted = (some.owner % 2 == 0) & (step >= 1) & (step < some.lengths[some.owner] - 1)
    inputs: Float[ndarray, "rows taps"] = wide[fitted]
    gram: ndarray = inputs.T @ inputs
    ridge = 1e-6 * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
    weights: ndarray = np.linalg.solve(gram + ridge, inputs.T @ answer[fitted])
    return wide @ weights


def sums_of(steps: Steps, command: Float[ndarray, " all"]) -> Float[ndarray, " all"]:
    """Σ of the actions before each row, within its episode."""
    total = np.cumsum(command) - command
    return total - total[steps.recording.starts][steps.recording.owner]


def followers(
    steps: Steps, path: Float[ndarray, " all"], first: Float[ndarray, " episodes"], widths: Float[ndarray, " k"]
) -> Float[ndarray, "all k"]:
    """The path behind a play of each width, in every row."""
    some = steps.recording
    found = np.empty((len(path), len(widths)))
    place, step = first[:, None] + np.zeros(len(widths)), 0
    alive = np.arange(len(some.lengths))
    while len(alive):
        now = path[some.starts[alive] + step][:, None]
        place[alive] = np.clip(place[alive], now - widths / 2, now + widths / 2)
        found[some.starts[alive] + step] = place[alive]
        step += 1
        alive = alive[some.lengths[alive] > step]
    return found
