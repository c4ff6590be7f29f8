"""Episodes whose rows are out of order.

In an episode of smooth motion, neighbouring rows are alike: the ratio of von Neumann (1941)

    ρ = mean (x[t + 1] − x[t])² / (2 Var x)

is far below 1. In random order it is 1.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..columns import goals
from ..findings import DataFinding, counted, listed, warning
from ..recording import Recording

SMOOTH, ROUGH, TIMES = 0.15, 0.4, 5.0
"""Largest usual ρ of a smooth column, smallest ρ of rows out of order, and its smallest multiple of the usual one."""
MOVES = 0.05
"""Smallest variance of an episode, as a part of the usual one: what rests shows noise."""
FEWEST, SHORTEST = 3, 8


def shuffled_of(recording: Recording) -> Bool[ndarray, " episodes"]:
    """Whether the rows of each episode are out of order, judged by the smooth coordinates of the state."""
    none = np.zeros(len(recording.lengths), dtype=bool)
    long = recording.lengths >= SHORTEST
    if long.sum() < FEWEST or not recording.states.labels:
        return none
    ratio, spread = _roughness(recording)
    moving = (spread > 0) & (spread >= MOVES * np.median(spread[long], axis=0))
    usual: Float[ndarray, " n"] = np.median(ratio[long], axis=0)
    smooth = ~goals(recording.states.values.astype(np.float64), recording) & (usual > 0) & (usual <= SMOOTH)
    judged = moving & smooth
    enough = long & (judged.sum(axis=1) * 2 > smooth.sum())
    if not enough.any():
        return none
    rough = (ratio >= np.maximum(ROUGH, TIMES * usual)) & judged
    return enough & (rough.sum(axis=1) * 2 > judged.sum(axis=1))


def _roughness(recording: Recording) -> tuple[Float[ndarray, "episodes n"], Float[ndarray, "episodes n"]]:
    """ρ and the variance of each coordinate of the state in each episode."""
    values = recording.states.values.astype(np.float64)
    counts = recording.lengths[:, None]
    means = np.add.reduceat(values, recording.starts, axis=0) / counts
    spread = np.add.reduceat((values - means[recording.owner]) ** 2, recording.starts, axis=0) / counts
    squares = np.zeros_like(values)
    squares[:-1] = np.diff(values, axis=0) ** 2 * recording.pairs()[:, None]
    steps = np.add.reduceat(squares, recording.starts, axis=0) / np.maximum(counts - 1, 1)
    return steps / np.maximum(2 * spread, 1e-300), spread


def check_shuffled(shuffled: Bool[ndarray, " episodes"], recording: Recording) -> Iterator[DataFinding]:
    """Episodes whose rows are out of order."""
    if not shuffled.any():
        return
    numbers = [int(e) for e in recording.episodes[shuffled]]
    yield warning(
        "order",
        f"The rows of {counted(len(numbers), 'episode')} of {len(recording.lengths)} are out of order: neighbouring "
        f"rows are hardly more alike than any two: episode {listed(numbers, 12)}.",
        effect="Chunks of actions and windows of observations join rows of different times.",
        remedy="Sort the rows by their time and convert again, or leave these episodes out: --drop-episodes "
        f"{' '.join(map(str, numbers))}.",
        values={"kind": "shuffled", "episodes": numbers},
    )
