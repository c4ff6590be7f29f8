"""Sensors that stop: a coordinate that is constant to the bit from some row on while the rest of the robot moves.

A run of equal values at the end of an episode, or over whole episodes, is a dead sensor if it would have moved
according to the model of the episodes in which it works, and if other coordinates or actions move as usual. Without
that, a joint that is not used, or a robot at rest, would be reported. Where the noise of the sensor keeps the
coordinate from resting in all other episodes, a run that begins within an episode needs no such evidence. And where one
episode shows that a sensor fails, the first rows of a run are enough evidence in the others, because the robot may come
to rest later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ...choosing import dropping
from ..columns import goals
from ..findings import FEW_LEVELS, DataFinding, counted, listed, warning
from ..recording import Quantity, Recording

SHORTEST = 8
"""Smallest number of equal values at the end of an episode."""
USUAL = 0.3
"""Motion of the rest of the robot during the run, as a fraction of its usual motion."""
CLEAN = 0.5
"""Fraction of the episodes that must be free of such runs for a stop in few episodes to stand out."""
PREDICTED = 0.15
OPEN, COARSE = 0.5, 0.2
RESTLESS = 1e-3
"""Smallest range of SHORTEST values in a row, as a fraction of the usual one, of a coordinate that never rests."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A dead sensor.

    Attributes:
        episodes: Episodes in which it stands still, as numbered in the data set.
        first: Step from which it does in the first of them.
        value: The constant value there.
        rows: Number of rows without a reading.
    """

    label: str
    episodes: tuple[int, ...]
    first: int
    value: float
    rows: int


def frozen_of(recording: Recording) -> list[Frozen]:
    """Coordinates of the state and the observation that stop while the rest moves."""
    some = recording
    found = list[Frozen]()
    if len(some.lengths) < 3 or int(some.lengths.max()) <= SHORTEST:
        return found
    items = dict.fromkeys((some.states.name, *(item.name for item in some.seen)))
    for item in some.quantities:
        if item.name in items:
            found += _stopped(some, item)
    return found


def _stopped(some: Recording, item: Quantity) -> Iterator[Frozen]:
    values = item.values
    runs = _last_runs(values, some)
    if not (runs >= SHORTEST).any():
        return
    usual, moving = _motion(some, item, runs)
    held = goals(values.astype(np.float64), some)
    for index, label in enumerate(item.labels):
        own = runs[:, index]
        long = (own >= SHORTEST) & (own >= np.minimum(some.lengths, SHORTEST))
        few = len(np.unique(values[:: max(1, len(values) // 2000), index])) <= FEW_LEVELS
        healthy = ~long
        if not long.any() or few or healthy.sum() < 2 or (held[index] and _resting(values[:, index], some, healthy)):
            continue
        if _often_equal(values[:, index], some, healthy):
            continue
        dead = long & (np.array([moving(e, index, int(own[e])) for e in range(len(own))]) >= USUAL * usual)
        dead &= _expected(some, item, index, own, healthy, dead)
        if _restless(values[:, index], some, healthy):
            dead |= long & (own < some.lengths)
        elif dead.any() and not (dead == long).all():
            begins = long & (
                np.array([moving(e, index, int(own[e]), SHORTEST) for e in range(len(own))]) >= USUAL * usual
            )
            dead |= _expected(some, item, index, own, healthy, begins & ~dead, most=SHORTEST)
        if dead.any():
            yield _frozen(some, values[:, index], label, own, dead)


def _resting(values: Float[ndarray, " rows"], some: Recording, healthy: Bool[ndarray, " episodes"]) -> bool:
    """Whether a coordinate stands still within most of the other episodes too, as a goal does."""
    spans = np.array([np.ptp(part) for part in some.by_episode(values)])
    return bool((spans[healthy] == 0).mean() > OPEN)


def _often_equal(values: Float[ndarray, " rows"], some: Recording, healthy: Bool[ndarray, " episodes"]) -> bool:
    """Whether neighbouring values are often equal in the other episodes, as of a coarse sensor or a joint at rest."""
    inside = some.pairs() & healthy[some.owner[:-1]]
    return bool((np.diff(values)[inside] == 0).mean() > COARSE) if inside.any() else True


def _restless(values: Float[ndarray, " rows"], some: Recording, healthy: Bool[ndarray, " episodes"]) -> bool:
    """Whether a coordinate never rests in the other episodes, as the noise of its sensor shows."""
    parts = [
        part for part, works in zip(some.by_episode(values), healthy, strict=True) if works and len(part) >= SHORTEST
    ]
    if not parts:
        return False
    ranges = np.concatenate(
        [np.ptp(np.lib.stride_tricks.sliding_window_view(part, SHORTEST), axis=1) for part in parts]
    )
    return bool(ranges.min() > RESTLESS * np.median(ranges))


def _last_runs(values: Float[ndarray, "rows d"], some: Recording) -> ndarray:
    """Number of equal values at the end of each episode, by coordinate."""
    runs: ndarray = np.ones((len(some.lengths), values.shape[1]), dtype=int)
    for e, part in enumerate(some.by_episode(values)):
        differs = part[::-1] != part[-1]
        runs[e] = np.where(differs.any(axis=0), differs.argmax(axis=0), len(part))
    return runs


def _motion(some: Recording, item: Quantity, runs: ndarray):  # noqa: ANN202
    """Usual motion of the other coordinates and the actions, and a function of their motion during a run."""
    joined = np.concatenate([item.values, some.actions.values], axis=1).astype(np.float64)
    spread = joined.std(axis=0)
    joined = joined / np.where(spread > 0, spread, np.inf)
    inside = some.pairs()
    step = np.abs(np.diff(joined, axis=0)) * inside[:, None]
    step = np.concatenate([step, np.zeros((1, step.shape[1]))])
    usual = float(step[:-1][inside].max(axis=1).mean()) if inside.any() else np.inf

    def during(episode: int, index: int, length: int, most: int | None = None) -> float:
        stop = some.starts[episode] + some.lengths[episode] - 1
        first = max(stop - length + 1, some.starts[episode])
        rows = slice(first, stop if most is None else min(stop, first + most))
        others = np.delete(step[rows], index, axis=1)
        return float(others.max(axis=1).mean()) if len(others) else 0.0

    return usual, during


def _expected(
    some: Recording,
    item: Quantity,
    index: int,
    runs: ndarray,
    healthy: Bool[ndarray, " episodes"],
    candidates: Bool[ndarray, " episodes"],
    most: int | None = None,
) -> Bool[ndarray, " episodes"]:
    """Episodes in whose run the coordinate should have moved, by the model of the episodes in which it works.

    Of each run, all rows are judged, or only the first.
    """
    inside = np.flatnonzero(some.pairs())
    values = np.concatenate([item.values, some.actions.values], axis=1).astype(np.float64)
    target: ndarray = values[inside + 1, index] - values[inside, index]
    others = np.delete(values, index, axis=1)
    wide = np.concatenate([others[inside], others[inside + 1] - others[inside], np.ones((len(inside), 1))], axis=1)
    scale = wide.std(axis=0)
    wide = wide / np.where(scale > 0, scale, 1.0)
    owner = some.owner[inside]
    train = healthy[owner]
    if train.sum() < 2 * wide.shape[1]:
        return candidates
    gram = wide[train].T @ wide[train] + 1e-7 * int(train.sum()) * np.eye(wide.shape[1])
    weights: ndarray = np.linalg.solve(gram, wide[train].T @ target[train])
    guess = wide @ weights
    usual, left = float((target[train] ** 2).mean()), float(((target - guess)[train] ** 2).mean())
    keep = candidates.copy()
    for e in np.flatnonzero(candidates):
        last = some.starts[e] + some.lengths[e] - 1
        first = last - runs[e] + 1
        rows = (owner == e) & (inside >= first) & (inside < (last if most is None else first + most))
        power = float((guess[rows] ** 2).mean()) if rows.any() else 0.0
        keep[e] = power >= max(PREDICTED**2 * usual, left if left < OPEN * usual else 0.0)
    return keep


def _frozen(some: Recording, values: ndarray, label: str, runs: ndarray, dead: Bool[ndarray, " episodes"]) -> Frozen:
    numbers = np.flatnonzero(dead)
    first = int(numbers[0])
    last = int(some.starts[first] + some.lengths[first] - 1)
    return Frozen(
        label=label,
        episodes=tuple(int(some.episodes[e]) for e in numbers),
        first=int(some.lengths[first] - runs[first]),
        value=float(values[last]),
        rows=int(runs[dead].sum()),
    )


def check_frozen(found: Sequence[Frozen], total: int) -> Iterator[DataFinding]:
    """Dead sensors."""
    for one in found:
        yield warning(
            "frozen",
            f"{one.label} stops: it is constant at {one.value:.4g} from episode {one.episodes[0]}, step {one.first}, "
            f"to the end of {counted(len(one.episodes), 'episode')} of {total} ({counted(one.rows, 'row')}), while the "
            f"rest of the robot moves: episode {listed(one.episodes)}.",
            effect="A dead sensor: its reading has nothing to do with the robot there, and the policy learns to act "
            "without it or on a wrong value.",
            remedy=f"Train with {dropping(one.episodes)}, or record them again.",
            values={
                "coordinate": one.label,
                "first_episode": one.episodes[0],
                "first_step": one.first,
                "episodes": list(one.episodes),
                "rows": one.rows,
                "value": one.value,
            },
        )
