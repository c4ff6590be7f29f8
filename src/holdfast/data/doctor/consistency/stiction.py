"""Stiction: a coordinate at rest that small actions do not move, and larger ones move at once.

At rest, a coordinate without friction moves in proportion to u, the action or its distance from the coordinate. With
friction it stands still up to a breakaway value D, although its response to larger actions says that it would have
moved by far more than what counts as standing still.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..findings import FEW_LEVELS
from .shapes import Index
from .steps import Steps

AHEAD = 3
"""Steps within which a coordinate must move, as forces need two to move a position."""
REST = 0.02
"""Motion at rest, as a fraction of the usual step."""
NOISES = 4.0
FEWEST, ESCAPES, EPISODES = 25, 4, 3
STUCK, FREE = 0.9, 0.7
LEAP = 3.0
"""Motion that rows at rest would show without friction, as a multiple of what counts as standing still."""
WORTH = 0.03
"""Smallest breakaway value, as a fraction of the standard deviation of u."""
TARGET, TIE = 0.6, 0.05


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A coordinate with stiction.

    Attributes:
        size: Breakaway value D of the index, in its units.
        rows: Number of steps at rest below D.
        stuck: Fraction of them after which the coordinate has not moved.
        moved: Fraction of the steps at rest above D after which it has.
    """

    index: Index
    action: str
    state: str
    size: float
    rows: int
    stuck: float
    moved: float


def stuck_of(steps: Steps) -> list[Stuck]:
    """Coordinates that small actions do not move at rest."""
    some = steps.recording
    weights = steps.newest().fit(np.ones(len(some.lengths), dtype=bool))
    spread = steps.scale[2 * len(steps.moving) :][: len(steps.acting)]
    mains = np.abs(steps.gains(weights) * spread[:, None])
    states = some.states.values[:, steps.moving].astype(np.float64)
    found = list[Stuck]()
    for target in np.flatnonzero((steps.size > 0) & ~steps.rates):
        position = states[:, target]
        # a force acts on the rate first, so that the main action of a position is sought over its rate too
        for action in np.argsort(-mains[:, target])[:2]:
            command = some.actions.column(int(steps.acting[action]))
            if (int(target), int(action)) in steps.others:
                continue
            if len(np.unique(command[:2000])) <= FEW_LEVELS or len(np.unique(position[:2000])) <= FEW_LEVELS:
                continue
            found += list(_tried(steps, int(target), int(action), position, command))
            if found and found[-1].state == steps.labels[target]:
                break
    return found


def _tried(
    steps: Steps, target: int, action: int, position: Float[ndarray, " all"], command: Float[ndarray, " all"]
) -> Iterator[Stuck]:
    some = steps.recording
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero((step >= 1) & (step < some.lengths[some.owner] - AHEAD))
    still = max(REST * float(steps.size[target]), NOISES * _noise(position, some.owner))
    at_rest = rows[np.abs(position[rows] - position[rows - 1]) <= still]
    moved = np.abs(position[at_rest + AHEAD] - position[at_rest])
    candidates = list[tuple[float, Stuck]]()
    # the size of a target means nothing, only its distance from the position does
    alike = abs(float(np.corrcoef(command, position)[0, 1]))
    tried: tuple[tuple[Index, ndarray], ...] = (("action", command), ("difference", command - position))
    for index, u in tried:
        if index == "action" and alike > TARGET:
            continue
        ahead = np.stack([u[at_rest + k] for k in range(AHEAD)])
        one_way = (np.sign(ahead) == np.sign(ahead[0])).all(axis=0)
        sizes = np.where(one_way, np.abs(ahead).min(axis=0), 0.0)
        found = _breakaway(sizes, np.abs(ahead).max(axis=0), moved, still, some.owner[at_rest], float(u.std()))
        if found is not None:
            size, count, stuck, free = found
            names = {"action": steps.actions[action], "state": steps.labels[target]}
            candidates.append(
                (stuck + free, Stuck(index=index, **names, size=size, rows=count, stuck=stuck, moved=free))
            )
    if candidates:
        best = max(score for score, _ in candidates)
        yield next(stuck for score, stuck in candidates if score >= best - TIE)


def _noise(values: Float[ndarray, " all"], owner: ndarray) -> float:
    """Standard deviation of white noise, from third differences of the rows that move least."""
    inside = owner[:-3] == owner[3:]
    third = np.abs(np.diff(values, n=3)[inside])
    return float(np.quantile(third, 0.1)) / (0.126 * np.sqrt(20)) if len(third) else 0.0


def _breakaway(
    low: Float[ndarray, " rest"],
    high: Float[ndarray, " rest"],
    moved: Float[ndarray, " rest"],
    still: float,
    owner: ndarray,
    spread: float,
) -> tuple[float, int, float, float] | None:
    """The value of |u| that best separates rows that stay from rows that move; `None` without stiction.

    `low` and `high` are the smallest |u| of the next steps (0 where u changes sign) and the largest, `still` the
    largest motion that counts as standing still, and `spread` the standard deviation of u.
    """
    stays = moved <= still
    if int(stays.sum()) < FEWEST or int((~stays).sum()) < ESCAPES:
        return None
    held = np.quantile(high[stays], [0.9, 0.95, 0.97, 0.98, 0.99, 1.0])
    tried = np.unique(np.concatenate([held, np.quantile(high, np.linspace(0.02, 0.98, 80))]))
    below, above = _at_most(high, tried), len(low) - _at_most(low, tried)
    stuck = _at_most(high[stays], tried) / np.maximum(below, 1)
    free = (int((~stays).sum()) - _at_most(low[~stays], tried)) / np.maximum(above, 1)
    score = np.where((below >= FEWEST) & (above >= ESCAPES), stuck + free, 0.0)
    # no row at rest may lie between the largest action that moves nothing and the smallest that does
    best = int(np.flatnonzero(score >= score.max() - 0.005)[0])
    size = float(tried[best])
    clear = (high <= size) & stays
    if stuck[best] < STUCK or free[best] < FREE or size < WORTH * spread:
        return None
    beyond = low > size
    response = float(np.median(moved[beyond] / low[beyond]))
    # without friction, these rows would have moved by their share of what larger actions move
    clear &= response * low >= LEAP * still
    if int(clear.sum()) < FEWEST // 2 or len(np.unique(owner[clear])) < EPISODES:
        return None
    return size, int(below[best]), float(stuck[best]), float(free[best])


def _at_most(values: Float[ndarray, " rows"], levels: Float[ndarray, " k"]) -> Int[ndarray, " k"]:
    """How many values are not above each level."""
    return np.searchsorted(np.sort(values), levels, side="right")
