"""Rows of a regression of the action on the observation: what the demonstrators do, with squares and products."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..recording import Recording
from .moments import Moments, moments_of

ROWS = 16_000
WIDEST, PRODUCTS = 100, 10
"""Largest number of observed coordinates, and of those whose products are inputs."""
FEWEST_EPISODES = 8
FEW = 0.25
ROUNDING = 1e-9
NEAR = 0.8
"""Correlation of an action with the position that it follows."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Rows of the regression.

    Attributes:
        recording: The sample of the data set.
        seen: Observed coordinates that vary, standardised.
        labels: Their names.
        acts: Action coordinates that vary, standardised.
        scale: Standard deviation of each.
        actions: Their names.
    """

    recording: Recording
    seen: Float[ndarray, "rows o"]
    labels: tuple[str, ...]
    acts: Float[ndarray, "rows m"]
    scale: Float[ndarray, " m"]
    actions: tuple[str, ...]

    @property
    def owner(self) -> Int[ndarray, " rows"]:
        """Episode of each row, in the sample."""
        return self.recording.owner

    def inputs(self, seen: Float[ndarray, "rows o"]) -> Float[ndarray, "rows d"]:
        """The observation, with squares and products if it is small enough."""
        width = seen.shape[1]
        # goals are constant within episodes, so that products of many would fit single episodes
        if width > PRODUCTS or width * (width + 3) / 2 > FEW * len(self.recording.lengths):
            return seen
        one, other = np.triu_indices(width)
        return np.concatenate([seen, seen[:, one] * seen[:, other]], axis=1)

    def moments(self) -> Moments:
        """Moments of the regression."""
        return moments_of(
            self.inputs(self.seen), self.acts, self.owner, self.actions, episodes=len(self.recording.lengths)
        )

    def answers(self, moments: Moments) -> tuple[Float[ndarray, "rows m"], Float[ndarray, "rows m"]]:
        """What the regression predicts and what was done, both without the position that each action follows."""
        weights = moments.fit(np.ones(len(moments.rows), dtype=bool))
        guess = self.inputs(self.seen) @ weights[:-1] + weights[-1]
        alike = self.seen.T @ self.acts / len(self.acts)
        near = self.seen[:, np.unique(alike.argmax(axis=0)[alike.max(axis=0) > NEAR])]
        if not near.shape[1]:
            return guess, self.acts
        turn = np.linalg.lstsq(near, np.concatenate([guess, self.acts], axis=1), rcond=1e-9)[0]
        left, acts = np.hsplit(np.concatenate([guess, self.acts], axis=1) - near @ turn, 2)
        # a prediction by these positions alone leaves its rounding
        return np.where(np.abs(left).max(axis=0) > ROUNDING * np.abs(guess).max(axis=0), left, 0.0), acts

    def exchanged(self, kind: str, one: int, other: int, rows: Int[ndarray, " k"]) -> tuple[ndarray, ndarray]:
        """Inputs and actions of some rows with two columns exchanged."""
        seen, acts = self.seen[rows], self.acts[rows]
        if kind == "state":
            seen[:, [one, other]] = seen[:, [other, one]]
        else:
            acts[:, [one, other]] = acts[:, [other, one]]
        return self.inputs(seen), acts


def habits_of(recording: Recording) -> Habits | None:
    """Rows of the regression; `None` with too few rows or episodes, or too many coordinates."""
    some = recording.sample(ROWS, seed_words="consistency")
    count = len(some.owner)
    if len(some.lengths) < FEWEST_EPISODES or len(some.observed_labels) > WIDEST:
        return None
    seen, acts = some.observed(np.arange(count)), some.actions.values.astype(np.float64)
    varies, moves = seen.std(axis=0) > 0, acts.std(axis=0) > 0
    if not varies.any() or not moves.any() or count < 20 * int(varies.sum()):
        return None
    seen, acts = seen[:, varies], acts[:, moves]
    return Habits(
        recording=some,
        seen=(seen - seen.mean(axis=0)) / seen.std(axis=0),
        labels=tuple(label for label, kept in zip(some.observed_labels, varies, strict=True) if kept),
        acts=(acts - acts.mean(axis=0)) / acts.std(axis=0),
        scale=acts.std(axis=0),
        actions=tuple(label for label, kept in zip(some.actions.labels, moves, strict=True) if kept),
    )
