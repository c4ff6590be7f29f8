"""Observations of the future: coordinates that are another one some steps ahead.

A coordinate d is a copy of the coordinate j, k ≥ 1 steps ahead, if in

    d[t] = α j[t + k] + β + e[t]

the error is rounding, Var e ≤ 10⁻³ Var(d[t] − d[t − 1]), or noise: white, leaving R² ≥ 0.98, and that of d, not of j.
What merely leads another coordinate, as a reference leads the robot, leaves an error with memory, or the robot's noise.
The equation also holds where j is late, as in a stack of past observations. Of the two, the one in the present is the
one of whose next change the action a[t] explains more, beyond c[t] and c[t − 1]:

    u(c) = SSE(c[t + 1] − c[t] | c[t], c[t − 1], a[t]) / SSE(c[t + 1] − c[t] | c[t], c[t − 1]),    u(j) < 0.7 u(d).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..unobserving import without_coordinates
from .columns import goals
from .findings import DataFinding, counted, error, listed
from .recording import Recording
from .regression import explained, held_out_rows

ROWS, FEWEST, AHEAD = 4000, 100, 12
"""Rows of the sample, fewest rows, and most steps ahead."""
EXACT, NOISY, WHITE = 1e-3, 0.98, 0.3
SAME, HALF = 0.5, 0.7
"""Largest error of the copy relative to that of the same step, and largest part that the action leaves of the present
coordinate relative to that of the future one."""
TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """An observed coordinate that copies another one of a later step."""

    label: str
    of: str
    steps: int
    r2: float
    noisy: bool


@dataclass(frozen=True, kw_only=True)
class _Pair:
    leader: int
    follower: int
    steps: int
    r2: float
    noisy: bool


def future_of(recording: Recording, condemned: Collection[str] = ()) -> list[Ahead]:
    """Coordinates of the observation that show the future, each at the lag that fits best."""
    some = recording.sample(ROWS, seed_words="future")
    longest = min(AHEAD, int(np.median(some.lengths)) // 4)
    seen, labels = some.observed(np.arange(len(some.owner))), some.observed_labels
    usable = ~goals(seen, some) & (seen.std(axis=0) > 0)
    usable &= ~np.array([label in condemned for label in labels])
    moving = np.flatnonzero(usable)
    if longest < 1 or len(moving) < 2 or int(some.pairs(longest).sum()) < FEWEST:
        return []
    pairs = _pairs(seen[:, moving], some, longest)
    first = [pair for pair in pairs if _is_future(pair, seen[:, moving], some)]
    best = {pair.leader: pair for pair in sorted(first, key=lambda pair: pair.r2)}
    named = [labels[index] for index in moving.tolist()]
    return [
        Ahead(label=named[d], of=named[pair.follower], steps=pair.steps, r2=pair.r2, noisy=pair.noisy)
        for d, pair in sorted(best.items())
    ]


def _pairs(seen: Float[ndarray, "rows n"], some: Recording, longest: int) -> list[_Pair]:
    """Pairs of a leader and a follower, at the lag that fits best."""
    unexplained = np.stack([_unexplained(seen, some.pairs(max(k, 1)), k) for k in range(longest + 1)])
    best = unexplained.argmin(axis=0)
    found = list[_Pair]()
    for d, j in np.argwhere((unexplained.min(axis=0) <= 1 - NOISY) & (best > 0)).tolist():
        k = int(best[d, j])
        left = float(unexplained[k, d, j])
        if d == j or left > SAME * unexplained[0, d, j]:
            continue
        noisy = _kind(seen[:, d], seen[:, j], k, some)
        if noisy is not None:
            found.append(_Pair(leader=d, follower=j, steps=k, r2=1 - left, noisy=noisy))
    return found


def _unexplained(seen: Float[ndarray, "rows n"], inside: Bool[ndarray, " pairs"], k: int) -> Float[ndarray, "n n"]:
    """1 − R² of each coordinate as a line in each one k steps later."""
    now, later = (seen, seen) if k == 0 else (seen[:-k][inside], seen[k:][inside])
    now, later = now - now.mean(axis=0), later - later.mean(axis=0)
    scale = np.outer(np.sqrt((now**2).sum(axis=0)), np.sqrt((later**2).sum(axis=0)))
    return 1 - (now.T @ later) ** 2 / np.maximum(scale, 1e-300) ** 2


def _kind(d: Float[ndarray, " rows"], j: Float[ndarray, " rows"], k: int, some: Recording) -> bool | None:
    """Whether a copy has noise; `None` if it is none."""
    rows = np.flatnonzero(some.pairs(k + 1)) + 1
    rows = rows[(some.owner[rows] == some.owner[rows - 1]) & (rows + k + 1 < len(d))]
    rows = rows[some.owner[rows] == some.owner[np.minimum(rows + k + 1, len(d) - 1)]]
    if len(rows) < FEWEST:
        return None
    x, y = j[rows + k] - j[rows + k].mean(), d[rows] - d[rows].mean()
    slope = float(x @ y) / max(float(x @ x), 1e-300)
    e = y - slope * x
    if float(e @ e) <= EXACT * float(((d[rows] - d[rows - 1]) ** 2).sum()):
        return False
    after = np.flatnonzero(np.diff(rows) == 1)
    bends = (v[at + 1] - 2 * v[at] + v[at - 1] for v, at in ((d, rows), (j, rows + k)))
    own, other = (abs(_alike(e, bend)) for bend in bends)
    return True if abs(_alike(e[after], e[after + 1])) <= WHITE and own > 2 * other else None


def _alike(x: Float[ndarray, " k"], y: Float[ndarray, " k"]) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y) / max(float(np.sqrt((x @ x) * (y @ y))), 1e-300)


def _is_future(pair: _Pair, seen: Float[ndarray, "rows n"], some: Recording) -> bool:
    """Whether the follower, and not the leader, responds to the action of its row."""
    rows: Int[ndarray, " rows"] = np.flatnonzero(some.pairs()[:-1] & some.pairs()[1:]) + 1
    held, acted = held_out_rows(some.owner[rows]), some.actions.values[rows].astype(np.float64)

    def left(c: int) -> float:
        own = np.stack([seen[rows, c], seen[rows - 1, c]], axis=1)
        change = (seen[rows + 1, c] - seen[rows, c])[:, None]
        alone, both = (1 - float(explained(x, change, held)[0]) for x in (own, np.concatenate([own, acted], axis=1)))
        return (both + TINY) / (alone + TINY)

    return left(pair.follower) < HALF * left(pair.leader)


def check_future(found: list[Ahead], recording: Recording) -> Iterator[DataFinding]:
    """Observations that hold what happens later."""
    if not found:
        return
    copies = listed([f"{one.label} is {one.of} {counted(one.steps, 'step')} ahead" for one in found])
    noisy = [one.r2 for one in found if one.noisy]
    noise = f", with noise (R² {min(noisy):.4f})" if noisy else ""
    yield error(
        "future",
        f"The observation contains the future: {copies} (up to scale and offset{noise}).",
        effect="The policy learns to act on what has not happened yet. At deployment nothing provides it, and the "
        "policy fails.",
        remedy=f"{without_coordinates(recording.observed_labels, [one.label for one in found])}.",
        values={
            "coordinates": [one.label for one in found],
            "of": [one.of for one in found],
            "steps": [one.steps for one in found],
            "r2": [one.r2 for one in found],
            "noisy": [one.noisy for one in found],
        },
    )
