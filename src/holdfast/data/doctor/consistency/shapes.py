"""The response of a coordinate as a function of the action: saturation, and play after reversals.

For each coordinate and the action that moves it most, one transformed input h is added to the one-step model:

    saturation   clip(u, −L, L)             of u = a[t] or u = a[t] − s[t]
    play         p[t] = clip(p[t − 1], a[t] − w/2, a[t] + w/2), or the steps of the play of Σ a

The transform that reduces the squared error most on episodes that were not used for the fit is reported, if the
reduction is significant over these episodes, and if its error is significantly below that of a model with the square
and the cube of u too: a smooth curve is not taken for a kink.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..findings import FEW_LEVELS
from .steps import Steps

Shape: TypeAlias = Literal["saturation", "play"]
Index: TypeAlias = Literal["action", "difference", "sum"]

LEVELS = np.linspace(0.3, 0.98, 24)
"""Levels of saturation that are tried, as quantiles of |u|."""
WIDTHS = np.array([0.005, 0.01, 0.02, 0.03, 0.045, 0.065, 0.09, 0.13, 0.2])
"""Widths of play that are tried, as fractions of the range."""
FINE = np.linspace(0.72, 1.38, 12)
GAIN, SURE = 0.15, 2.0
"""Smallest reduction of the squared error, and its smallest ratio to the standard error over episodes."""
COARSE = 0.05
"""Smallest reduction on the coarse grid of levels or widths for which the fine grid is tried."""
EXACT = 1e-5
"""A model that leaves less than this fraction of the variance open is taken as complete."""
FLAT = 0.3
"""Largest slope beyond the level, as a fraction of the slope below it."""
LEAST_ROWS, MOST_ROWS, SOME = 0.01, 0.6, 2000
FEW, MANY = 12, 0.3
TARGET, PLAY = 0.8, 0.3
"""Correlation of an action with the position that it is a target for; smallest reduction of the error by play."""


@dataclass(frozen=True, kw_only=True)
class Kink:
    """A transform of the action that explains the response of a coordinate.

    Attributes:
        size: Level L or width w, in the units of the index.
        gain: Reduction of the squared error on held-out episodes.
        slope: Effect of the transformed index on the next change of the coordinate.
        share: Fraction of the rows beyond the level, or in the play.
    """

    shape: Shape
    index: Index
    action: str
    state: str
    size: float
    gain: float
    slope: float
    share: float


def kinks_of(steps: Steps) -> list[Kink]:
    """The transform of each coordinate's main action that explains it, where there is one; the clearest first."""
    moments, everything = steps.newest(), np.ones(len(steps.recording.lengths), dtype=bool)
    gains = np.abs(steps.gains(moments.fit(everything)))
    spread = steps.scale[2 * len(steps.moving) :][: len(steps.acting)]
    bases, found = _bases(steps), list[Kink]()
    for target in np.flatnonzero(steps.size > 0):
        action = int((gains[:, target] * spread).argmax())
        if len(np.unique(steps.recording.actions.column(int(steps.acting[action]))[:SOME])) <= FEW_LEVELS:
            continue
        best = max(_tried(steps, bases, int(target), action), key=lambda kink: kink.gain, default=None)
        found += [] if best is None else [best]
    return sorted(found, key=lambda kink: -kink.gain)


def _tried(steps: Steps, bases: Sequence["_Base"], target: int, action: int) -> Iterator[Kink]:
    command, rows = steps.recording.actions.column(int(steps.acting[action])), steps.rows
    partner, alike = partner_of(steps, command)
    # the size of a target means nothing, only its distance from the position does
    index: Index = "difference" if alike > TARGET else "action"
    values = (command - partner if alike > TARGET else command)[rows]
    split = _split(bases, steps.change[:, target], values)
    if (split.y_held**2).mean() < EXACT:
        return
    levels = np.unique(np.quantile(np.abs(values), LEVELS))
    levels = levels[levels > 0]
    if len(levels) and (kink := _saturated(steps, split, target, action, index, values, levels)) is not None:
        yield kink
    path: Index = "action" if alike > TARGET else "sum"
    if (kink := _loose(steps, split, target, action, path, command)) is not None:
        yield kink


def partner_of(steps: Steps, command: Float[ndarray, " all"]) -> tuple[Float[ndarray, " all"], float]:
    """The position that an action follows most closely, and their correlation."""
    positions = steps.recording.states.values[:, steps.moving].astype(np.float64)
    centred, own = positions - positions.mean(axis=0), command - command.mean()
    alike = (own @ centred) / np.maximum(np.sqrt((own @ own) * (centred**2).sum(axis=0)), 1e-300)
    best = int(alike.argmax())
    return positions[:, best], float(alike[best])


@dataclass(frozen=True, kw_only=True)
class _Base:
    """Inputs of a fit as orthonormal columns, of the rows of the fit and of the held-out rows."""

    q: Float[ndarray, "rows d"]
    q_held: Float[ndarray, "held d"]
    held: Bool[ndarray, " all"]

    def left(self, values: Float[ndarray, "all k"]) -> tuple[ndarray, ndarray]:
        """What the inputs leave of further columns, of the rows of the fit and of the held-out rows."""
        train = values[~self.held]
        weights = self.q.T @ train
        return train - self.q @ weights, values[self.held] - self.q_held @ weights


@dataclass(frozen=True, kw_only=True)
class _Split:
    """What a linear model leaves of the change of a coordinate, and what one with squares and cubes leaves."""

    base: _Base
    y: Float[ndarray, " rows"]
    y_held: Float[ndarray, " held"]
    smooth: Float[ndarray, " held"]


def _bases(steps: Steps) -> list[_Base]:
    """The newest state and action as inputs, and the last two of each."""
    n, m = len(steps.moving), len(steps.acting)
    held = steps.owner % 2 == 1
    past = np.concatenate([steps.inputs, np.ones((len(steps.rows), 1))], axis=1)
    return [_orthonormal(wide, held) for wide in (past[:, [*range(n), *range(2 * n, 2 * n + m), -1]], past)]


def _orthonormal(wide: Float[ndarray, "rows d"], held: Bool[ndarray, " rows"]) -> _Base:
    train = wide[~held]
    _, s, vt = np.linalg.svd(train.T @ train)
    kept = s > 1e-12 * s[0]
    turn = vt[kept].T / np.sqrt(s[kept])
    return _Base(q=train @ turn, q_held=wide[held] @ turn, held=held)


def _split(bases: Sequence[_Base], y: Float[ndarray, " rows"], index: Float[ndarray, " rows"]) -> _Split:
    now, past = (base.left(y[:, None]) for base in bases)
    # two states are needed where a velocity is not recorded, and blur the effect of an action elsewhere
    enough = float((now[1] ** 2).mean()) <= 2 * float((past[1] ** 2).mean()) + 1e-9
    base, (left, left_held) = (bases[0], now) if enough else (bases[1], past)
    u = (index - index.mean()) / max(float(index.std()), 1e-300)
    curved, curved_held = base.left(np.stack([u**2, u**3], axis=1))
    weights = np.linalg.lstsq(curved, left[:, 0], rcond=1e-9)[0]
    return _Split(base=base, y=left[:, 0], y_held=left_held[:, 0], smooth=left_held[:, 0] - curved_held @ weights)


def _best(
    steps: Steps, split: _Split, tried: Float[ndarray, "rows k"], *, strict: bool = True
) -> tuple[int, float, float]:
    """The transform with the smallest error on held-out rows, its gain (0 if it must be sure and is not), its slope."""
    h, h_held = split.base.left(tried)
    norms = (h**2).sum(axis=0)
    slopes = np.where(norms > 1e-12 * (tried**2).sum(axis=0), h.T @ split.y / np.maximum(norms, 1e-300), 0.0)
    before = split.y_held**2
    after = (split.y_held[:, None] - slopes * h_held) ** 2
    best = int(after.sum(axis=0).argmin())
    gain = 1 - float(after[:, best].sum() / before.sum())
    if not strict:
        return best, gain, float(slopes[best])
    owner = steps.owner[split.base.held]
    edges = np.flatnonzero(np.diff(owner, prepend=-1))
    sure = all(_sure(np.add.reduceat(other - after[:, best], edges)) for other in (before, split.smooth**2))
    return best, gain if sure else 0.0, float(slopes[best])


def _sure(saved: Float[ndarray, " episodes"]) -> bool:
    """Whether what is saved on average over episodes is far above its standard error."""
    return len(saved) > 2 and bool(saved.mean() > SURE * saved.std(ddof=1) / np.sqrt(len(saved)))


def _saturated(
    steps: Steps,
    split: _Split,
    target: int,
    action: int,
    index: Index,
    values: Float[ndarray, " rows"],
    levels: Float[ndarray, " k"],
) -> Kink | None:
    at, gain, _ = _best(steps, split, np.clip(values[:, None], -levels, levels), strict=False)
    if gain < COARSE:
        return None
    fine = np.linspace(float(levels[max(at - 1, 0)]), float(levels[min(at + 1, len(levels) - 1)]), 15)
    at, gain, _ = _best(steps, split, np.clip(values[:, None], -fine, fine))
    below, beyond = _slopes(steps, target, values, float(fine[at]))
    part = float((np.abs(values) > fine[at]).mean())
    # among many coordinates, the best is good by chance more often
    if gain < (GAIN if len(steps.moving) <= FEW else MANY):
        return None
    if abs(beyond) > FLAT * abs(below) or not LEAST_ROWS <= part <= MOST_ROWS:
        return None
    return _kink(steps, target, action, "saturation", index, float(fine[at]), gain, below, part)


def _slopes(steps: Steps, target: int, values: Float[ndarray, " rows"], level: float) -> tuple[float, float]:
    """Slope of the response below and beyond a level, given the other inputs."""
    n, m = len(steps.moving), len(steps.acting)
    inner = np.clip(values, -level, level)
    others = steps.inputs[:, [*range(n), *range(2 * n, 2 * n + m)]]
    # the index is a sum of other inputs, so that only the residual of the part beyond the level is free
    wide = np.concatenate([others, np.ones((len(values), 1)), inner[:, None]], axis=1)
    weights = np.linalg.lstsq(wide, steps.change[:, target], rcond=1e-9)[0]
    column = int(np.abs(np.corrcoef(others[:, n:].T, values)[-1, :-1]).argmax()) if m > 1 else 0
    scale = steps.scale[2 * n + column]
    beyond = float(weights[n + column] / scale)
    return float((weights[-1] + beyond) * steps.size[target]), float(beyond * steps.size[target])


def _loose(
    steps: Steps, split: _Split, target: int, action: int, index: Index, command: Float[ndarray, " all"]
) -> Kink | None:
    path = command if index == "action" else _sums(steps, command)
    reach = float(np.quantile(path, 0.995) - np.quantile(path, 0.005))
    widths = WIDTHS * reach
    if not reach > 0:
        return None
    at, gain, _ = _best(steps, split, _plays(steps, path, widths, index), strict=False)
    if gain < COARSE:
        return None
    widths = widths[at] * FINE
    tried = _plays(steps, path, widths, index)
    at, gain, slope = _best(steps, split, tried)
    if gain < PLAY or slope <= 0:
        return None
    inside = (
        float((np.abs(np.diff(tried[:, at], prepend=0.0)) == 0).mean())
        if index == "action"
        else float((tried[:, at] == 0).mean())
    )
    return _kink(
        steps, target, action, "play", index, float(widths[at]), gain, slope * float(steps.size[target]), inside
    )


def _sums(steps: Steps, command: Float[ndarray, " all"]) -> Float[ndarray, " all"]:
    """Σ of the actions before each row, within its episode."""
    total = np.cumsum(command) - command
    return total - total[steps.recording.starts][steps.recording.owner]


def _plays(
    steps: Steps, path: Float[ndarray, " all"], widths: Float[ndarray, " k"], index: Index
) -> Float[ndarray, "rows k"]:
    """The path behind a play of each width, at the rows of the model; its steps for sums of actions."""
    some = steps.recording
    follower = np.empty((len(path), len(widths)))
    place, step = _first_place(steps, path, index)[:, None] + np.zeros(len(widths)), 0
    alive = np.arange(len(some.lengths))
    while len(alive):
        now = path[some.starts[alive] + step][:, None]
        place[alive] = np.clip(place[alive], now - widths / 2, now + widths / 2)
        follower[some.starts[alive] + step] = place[alive]
        step += 1
        alive = alive[some.lengths[alive] > step]
    if index == "action":
        return follower[steps.rows]
    return follower[steps.rows + 1] - follower[steps.rows]


def _first_place(steps: Steps, path: Float[ndarray, " all"], index: Index) -> Float[ndarray, " episodes"]:
    """Where the follower starts: at the position that the action is a target for, if there is one."""
    some = steps.recording
    if index == "sum":
        return path[some.starts]
    partner, alike = partner_of(steps, path)
    return partner[some.starts] if alike > TARGET else path[some.starts]


def _kink(
    steps: Steps,
    target: int,
    action: int,
    shape: Shape,
    index: Index,
    size: float,
    gain: float,
    slope: float,
    part: float,
) -> Kink:
    return Kink(
        shape=shape,
        index=index,
        action=steps.actions[action],
        state=steps.labels[target],
        size=size,
        gain=gain,
        slope=slope,
        share=part,
    )
