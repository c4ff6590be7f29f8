"""The one-step model of most episodes, which faulty episodes do not move, even if they are nearly half of all.

Least trimmed squares (Rousseeuw 1984) over episodes: from several small random sets of episodes, the fit is repeated on
the half of the episodes that it describes best.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ....seeding import stream
from ..consistency.moments import FEWEST, Moments
from ..consistency.steps import Steps

STARTS, ROUNDS = 24, 8
ROWS_EACH = 5
"""Rows of a random set of episodes as a multiple of the inputs."""
PREDICTED = 0.6
"""Smallest R² on the half of a coordinate that can tell."""
TINY = 1e-6
"""Squared error of a standardised change that is rounding."""


@dataclass(frozen=True, kw_only=True)
class Majority:
    """A one-step model of most episodes.

    Attributes:
        weights: Weights of the model, the constant last.
        clear: Index of the coordinates that it predicts.
        level: Mean squared error of an episode, the median over the half that the model describes best.
        part: The same relative to the mean squared change of the episode.
    """

    steps: Steps
    weights: Float[ndarray, "d p"]
    clear: Int[ndarray, " c"]
    level: Float[ndarray, " c"]
    part: Float[ndarray, " c"]

    def errors(self, raw: Float[ndarray, "rows d"], change: Float[ndarray, "rows p"]) -> Float[ndarray, "rows c"]:
        """Squared error of the clear coordinates, of inputs and changes in their own units."""
        inputs = (raw - self.steps.mean) / self.steps.scale
        guess = inputs @ self.weights[:-1, self.clear] + self.weights[-1, self.clear]
        return (change[:, self.clear] / self.steps.size[self.clear] - guess) ** 2

    def ratio(self, error: Float[ndarray, " c"], motion: Float[ndarray, " c"]) -> Float[ndarray, " c"]:
        """Mean squared error of an episode as a multiple of the usual one.

        Of the absolute and the relative error, the one that is nearer to the usual counts: a quick episode has larger
        errors, and a slow one more noise.
        """
        return np.minimum(error / self.level, error / np.maximum(motion, TINY) / self.part)


def majority_of(steps: Steps) -> Majority | None:
    """The model of most episodes; `None` with too few of them, or if it predicts no coordinate."""
    moments = steps.moments()
    full = moments.rows > 0
    if full.sum() < 2 * FEWEST:
        return None
    half = _half(moments, full)
    weights = moments.fit(half)
    error, motion = _errors(moments, weights)[half], moments.square[half] / moments.rows[half, None]
    part = np.median(error / np.maximum(motion, TINY), axis=0)
    clear = np.flatnonzero((part <= 1 - PREDICTED) & (steps.size > 0))
    if not len(clear):
        return None
    level = np.median(error, axis=0)
    return Majority(steps=steps, weights=weights, clear=clear, level=level[clear], part=part[clear])


def _errors(moments: Moments, weights: Float[ndarray, "d p"]) -> Float[ndarray, "episodes p"]:
    return moments.errors(weights) / np.maximum(moments.rows, 1)[:, None] + TINY


def _half(moments: Moments, full: Bool[ndarray, " episodes"]) -> Bool[ndarray, " episodes"]:
    """The half of the episodes that one model describes best."""
    count = max(FEWEST, int(full.sum()) // 2)
    motion = moments.square / np.maximum(moments.rows, 1)[:, None] + TINY
    best, least = full, np.inf
    for first in _starts(moments, full):
        chosen, total = first, np.inf
        for _ in range(ROUNDS):
            parts = _errors(moments, moments.fit(chosen)) / motion
            score = np.where(full, np.log(parts + TINY).sum(axis=1), np.inf)
            nearest = np.argsort(score, kind="stable")[:count]
            total, before = float(score[nearest].sum()), chosen
            chosen = np.isin(np.arange(len(full)), nearest)
            if np.array_equal(chosen, before):
                break
        if total < least:
            best, least = chosen, total
    return best


def _starts(moments: Moments, full: Bool[ndarray, " episodes"]) -> list[Bool[ndarray, " episodes"]]:
    """All episodes, and small random sets."""
    rng = stream(0, "doctor", "majority")
    numbers = np.flatnonzero(full)
    needed = ROWS_EACH * moments.gram.shape[1]
    found = [full]
    for _ in range(STARTS):
        order: Int[ndarray, " k"] = numbers[torch.randperm(len(numbers), generator=rng).numpy()]
        total: Int[ndarray, " k"] = np.cumsum(moments.rows[order])
        enough = max(FEWEST, int((total < needed).sum()) + 1)
        found.append(np.isin(np.arange(len(full)), order[:enough]))
    return found
