"""The manner of each episode: numbers that say how it was demonstrated, whatever it was about.

Speed, how much and how roughly the command moves, length, pauses, the noise of the hand, the size and direction of the
action compared with that of all episodes for the same observations, and the way taken: the deviation from the straight
line between the first state and the last. Directions are given along their principal components over the episodes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..columns import goals
from ..recording import Recording
from .habits import Habits
from .moments import Moments

PAUSED = 0.1
"""Speed of a pause, as a fraction of the usual speed."""
PHASES, WAYS = 6, 3
"""Phases at which the way is compared, and number of its principal directions."""
SMALLEST = 4
"""Smallest number of steps of an episode of which a manner is told."""
TINY, ROUNDING = 1e-9, 1e-6


@dataclass(frozen=True, kw_only=True)
class Manners:
    """Numbers by episode.

    Attributes:
        names: What they are.
        values: The numbers, on a scale on which differences are comparable (logarithms of sizes).
        plain: The numbers as they are said.
        reach: Distance of the last state of each episode from the first, in standard deviations.
    """

    names: tuple[str, ...]
    values: Float[ndarray, "episodes k"]
    plain: Float[ndarray, "episodes k"]
    reach: Float[ndarray, " episodes"]


def manners_of(habits: Habits, moments: Moments) -> Manners | None:
    """The manner of each episode; `None` if episodes are too short."""
    some = habits.recording
    if int(some.lengths.min()) < SMALLEST:
        return None
    states = some.states.values.astype(np.float64)
    states = states[:, ~goals(states, some) & (states.std(axis=0) > 0)]
    if not states.shape[1]:
        return None
    states = (states - states.mean(axis=0)) / states.std(axis=0)
    speed, moved = _steps(states, some), _steps(habits.acts, some)
    rough = _steps(np.diff(habits.acts, axis=0, prepend=habits.acts[:1]), some)
    usual = float(np.median(speed))
    hand = np.sqrt(
        moments.errors(moments.fit(np.ones(len(moments.rows), dtype=bool))).mean(axis=1) / np.maximum(moments.rows, 1)
    )
    ways, (scale, turns) = _ways(states, some), _answers(habits, moments)
    sizes = {
        "speed": _mean(speed, some),
        "motion of the action": _mean(moved, some),
        "roughness of the action": _mean(rough, some) / np.maximum(_mean(moved, some), TINY),
        "length": some.lengths.astype(float),
        "noise of the hand": hand,
    }
    inside = np.arange(len(speed)) != some.starts[some.owner]
    pauses = _mean(((speed < PAUSED * usual) & inside).astype(float), some)
    logs = [np.log(np.maximum(size, TINY)) for size in sizes.values()]
    plain = np.column_stack([*sizes.values(), pauses, scale, ways, turns])
    values = np.column_stack([*logs, np.sqrt(pauses), scale, ways, turns])
    names = [*sizes, "share of pauses", "size of the action for equal observations"]
    names += ["way taken"] * ways.shape[1] + ["direction of the action"] * turns.shape[1]
    # numbers that are equal in all episodes up to rounding have no groups
    varies = values.std(axis=0) > ROUNDING * (1 + np.abs(values).max(axis=0))
    return Manners(
        names=tuple(name for name, kept in zip(names, varies, strict=True) if kept),
        values=values[:, varies],
        plain=plain[:, varies],
        reach=np.sqrt(((states[some.starts + some.lengths - 1] - states[some.starts]) ** 2).mean(axis=1)),
    )


def _steps(values: Float[ndarray, "rows d"], some: Recording) -> Float[ndarray, " rows"]:
    """Length of the step to each row from the one before, 0 at the first."""
    length = np.sqrt((np.diff(values, axis=0, prepend=values[:1]) ** 2).mean(axis=1))
    length[some.starts] = 0.0
    return length


def _mean(values: Float[ndarray, " rows"], some: Recording) -> Float[ndarray, " episodes"]:
    return np.add.reduceat(values, some.starts) / some.lengths


def _answers(habits: Habits, moments: Moments) -> tuple[ndarray, ndarray]:
    """Slope of the action over its prediction, and how far it is turned against it, along principal directions."""
    guess, done = habits.answers(moments)
    starts = habits.recording.starts
    parts = zip(habits.recording.by_episode(done), habits.recording.by_episode(guess), strict=True)
    cross = np.stack([acts.T @ answers for acts, answers in parts])
    power = np.maximum(np.add.reduceat((guess**2).sum(axis=1), starts), TINY)
    one, other = np.triu_indices(guess.shape[1], 1)
    turns = (cross - cross.transpose(0, 2, 1))[:, one, other] / power[:, None]
    return np.trace(cross, axis1=1, axis2=2) / power, _principal(turns)


def _principal(values: Float[ndarray, "episodes k"]) -> Float[ndarray, "episodes w"]:
    """Scores along the first principal directions."""
    u, s, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return (u * s)[:, :WAYS]


def _ways(states: Float[ndarray, "rows n"], some: Recording) -> Float[ndarray, "episodes w"]:
    """Deviation from the straight line between the ends, along its principal directions."""
    along = np.linspace(0, 1, PHASES + 2)[1:-1]
    rows = some.starts[:, None] + np.rint(along[None] * (some.lengths[:, None] - 1)).astype(int)
    first, last = states[some.starts], states[some.starts + some.lengths - 1]
    line = first[:, None] + along[None, :, None] * (last - first)[:, None]
    away = (states[rows] - line).reshape(len(rows), -1)
    return _principal(away)
