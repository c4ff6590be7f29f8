"""Monotone functions of the progress of an episode, or of the time since its start, that all episodes share.

The values of each episode are interpolated at equal shares of the episode. The mean g(u) of the other episodes predicts
those of one, so that a value that differs from episode to episode is not predicted by itself.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .recording import Recording

COARSE, TURNS = 12, 1.1
"""Intervals on which a curve is monotone, and its largest total variation, as a multiple of its range."""
FINER = 2
"""Points of the common grid as a multiple of the usual number of steps."""


def shared_curve(values: Float[ndarray, " rows"], u: Float[ndarray, " rows"], some: Recording) -> ndarray | None:
    """Prediction of each row by the curve of the other episodes; `None` if the common curve is not monotone.

    Args:
        values: A coordinate.
        u: Its argument, which grows within episodes.
        some: The episodes.
    """
    parts, arguments = some.by_episode(values), some.by_episode(u)
    grid = np.linspace(float(u.min()), float(u.max()), FINER * int(np.median(some.lengths)))
    # beyond its own last row, an episode tells nothing of the curve
    curves = np.stack([np.interp(grid, x, y, np.nan, np.nan) for x, y in zip(arguments, parts, strict=True)])
    known = np.isfinite(curves)
    count, total = known.sum(axis=0), np.where(known, curves, 0.0).sum(axis=0)
    if not _monotone(grid[count > 0], total[count > 0] / count[count > 0]):
        return None
    at = count > 0
    pairs = zip(arguments, curves, known, strict=True)
    return np.concatenate([np.interp(x, grid[at], _others(own, has, total, count)[at]) for x, own, has in pairs])


def _others(
    own: Float[ndarray, " k"], has: Bool[ndarray, " k"], total: Float[ndarray, " k"], count: Int[ndarray, " k"]
) -> Float[ndarray, " k"]:
    """Mean of the other episodes; what only this one reaches, its last steps, is predicted by itself."""
    alone = has & (count == 1)
    return np.where(alone, total, total - np.where(has, own, 0.0)) / np.maximum(count - (has & ~alone), 1)


def _monotone(grid: Float[ndarray, " k"], curve: Float[ndarray, " k"]) -> bool:
    """Whether the means over equal intervals grow, or fall, up to noise."""
    at = np.minimum((COARSE * (grid - grid[0]) / max(float(np.ptp(grid)), 1e-300)).astype(int), COARSE - 1)
    counts = np.bincount(at, minlength=COARSE)
    means = (np.bincount(at, curve, minlength=COARSE) / np.maximum(counts, 1))[counts > 0]
    return bool(np.abs(np.diff(means)).sum() <= TURNS * float(np.ptp(means)))
