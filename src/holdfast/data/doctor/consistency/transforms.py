"""A transformed input beside the one-step model: what it explains on episodes that were not used for the fit.

For inputs x, a change y and a transform h of the action, y and h are replaced by what x leaves of them, and

    gain = 1 − Σ (y − w h)² / Σ y²

is taken over held-out rows, with w from the other rows. A gain is sure if the errors that are saved, summed by episode,
are on average far above their standard error, against the linear model and against one with a square and a cube.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .steps import Steps

SURE = 2.0
"""Smallest ratio of what a transform saves to its standard error over episodes."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """Inputs of a fit as orthonormal columns, of the rows of the fit and of the held-out rows."""

    q: Float[ndarray, "rows d"]
    q_held: Float[ndarray, "held d"]
    held: Bool[ndarray, " all"]

    def left(self, values: Float[ndarray, "all k"]) -> tuple[ndarray, ndarray]:
        """What the inputs leave of further columns, of the rows of the fit and of the held-out rows."""
        train = values[~self.held]
        weights = self.q.T @ train
        return train - self.q @ weights, values[self.held] - self.q_held @ weights

    def beside(self, values: Float[ndarray, "all k"]) -> "Base":
        """The base with further columns."""
        left, left_held = self.left(values)
        _, s, vt = np.linalg.svd(left.T @ left)
        kept = s > 1e-12 * (values**2).sum()
        turn = vt[kept].T / np.sqrt(s[kept])
        q, q_held = (np.concatenate(pair, axis=1) for pair in ((self.q, left @ turn), (self.q_held, left_held @ turn)))
        return Base(q=q, q_held=q_held, held=self.held)


@dataclass(frozen=True, kw_only=True)
class Split:
    """What a linear model leaves of the change of a coordinate, and what one with squares and cubes leaves."""

    base: Base
    y: Float[ndarray, " rows"]
    y_held: Float[ndarray, " held"]
    smooth: Float[ndarray, " held"]


def bases_of(steps: Steps) -> list[Base]:
    """The newest state and action as inputs, and the last two of each."""
    n, m = len(steps.moving), len(steps.acting)
    held = steps.owner % 2 == 1
    past = np.concatenate([steps.inputs, np.ones((len(steps.rows), 1))], axis=1)
    return [_orthonormal(wide, held) for wide in (past[:, [*range(n), *range(2 * n, 2 * n + m), -1]], past)]


def _orthonormal(wide: Float[ndarray, "rows d"], held: Bool[ndarray, " rows"]) -> Base:
    train = wide[~held]
    _, s, vt = np.linalg.svd(train.T @ train)
    kept = s > 1e-12 * s[0]
    turn = vt[kept].T / np.sqrt(s[kept])
    return Base(q=train @ turn, q_held=wide[held] @ turn, held=held)


def split_of(bases: Sequence[Base], y: Float[ndarray, " rows"], index: Float[ndarray, " rows"]) -> Split:
    """What a linear model leaves of a change, and what one with the square and the cube of an index leaves."""
    now = bases[0].left(y[:, None])
    past = now if bases[1] is bases[0] else bases[1].left(y[:, None])
    # two states are needed where a velocity is not recorded, and blur the effect of an action elsewhere
    enough = float((now[1] ** 2).mean()) <= 2 * float((past[1] ** 2).mean()) + 1e-9
    base, (left, left_held) = (bases[0], now) if enough else (bases[1], past)
    u = (index - index.mean()) / max(float(index.std()), 1e-300)
    curved, curved_held = base.left(np.stack([u**2, u**3], axis=1))
    weights = np.linalg.lstsq(curved, left[:, 0], rcond=1e-9)[0]
    return Split(base=base, y=left[:, 0], y_held=left_held[:, 0], smooth=left_held[:, 0] - curved_held @ weights)


def best_of(
    steps: Steps, split: Split, tried: Float[ndarray, "rows k"], *, strict: bool = True
) -> tuple[int, float, float]:
    """The transform with the smallest error on held-out rows, its gain (0 if it must be sure and is not), its slope."""
    h, h_held = split.base.left(tried)
    norms = _squares(h)
    slopes = np.where(norms > 1e-12 * _squares(tried), h.T @ split.y / np.maximum(norms, 1e-300), 0.0)
    # Σ (y − w h)² less Σ y², without an array of all errors
    best = int((slopes * (slopes * _squares(h_held) - 2 * (split.y_held @ h_held))).argmin())
    before, after = split.y_held**2, (split.y_held - slopes[best] * h_held[:, best]) ** 2
    gain = 1 - float(after.sum() / before.sum())
    if not strict:
        return best, gain, float(slopes[best])
    owner = steps.owner[split.base.held]
    edges = np.flatnonzero(np.diff(owner, prepend=-1))
    sure = all(_sure(np.add.reduceat(other - after, edges)) for other in (before, split.smooth**2))
    return best, gain if sure else 0.0, float(slopes[best])


def _squares(values: Float[ndarray, "rows k"]) -> Float[ndarray, " k"]:
    return np.einsum("rk,rk->k", values, values)


def _sure(saved: Float[ndarray, " episodes"]) -> bool:
    """Whether what is saved on average over episodes is far above its standard error."""
    return len(saved) > 2 and bool(saved.mean() > SURE * saved.std(ddof=1) / np.sqrt(len(saved)))
