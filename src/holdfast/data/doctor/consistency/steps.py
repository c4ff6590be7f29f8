"""Rows of the one-step model: the next change of each state coordinate, given the last two states and actions.

    s[t + 1] − s[t] ≈ A₀ s[t] + A₁ s[t − 1] + B₀ a[t] + B₁ a[t − 1] + c

Two states and two actions cover velocities that are not recorded and a delay of one step. The checks of this package
look at what this model leaves unexplained: by episode, by row, and against the action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..columns import goals
from ..recording import Recording
from ..semantics import Meaning
from .moments import Moments, moments_of

ROWS = 16_000
MOST, WIDE = 64, 16
"""Largest number of state coordinates that are modelled, and above which half as many rows are used."""
FEWEST_ROWS, FEWEST_EPISODES = 200, 8
ROUNDING = 1e-6
RATE = 0.9
"""Correlation of a rate with the change of its position."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Rows of a one-step model.

    Attributes:
        recording: The sample of the data set.
        rows: Rows t that have a predecessor and a successor in their episode.
        owner: Episode of each row, in the sample.
        moving: Index of the state coordinates that are predicted.
        acting: Index of the action coordinates that vary.
        inputs: Standardised s[t], s[t − 1], a[t], a[t − 1].
        mean: Mean of the inputs.
        scale: Standard deviation of the inputs.
        change: s[t + 1] − s[t], divided by `size`.
        size: Root mean square change of each coordinate.
        others: Pairs of coordinate and action that belong to different parts of the robot, such as an object that a
            hand pushes, by place in `moving` and `acting`.
    """

    recording: Recording
    rows: Int[ndarray, " rows"]
    owner: Int[ndarray, " rows"]
    moving: Int[ndarray, " p"]
    acting: Int[ndarray, " m"]
    inputs: Float[ndarray, "rows d"]
    mean: Float[ndarray, " d"]
    scale: Float[ndarray, " d"]
    change: Float[ndarray, "rows p"]
    size: Float[ndarray, " p"]
    others: frozenset[tuple[int, int]] = frozenset()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the predicted coordinates."""
        return tuple(self.recording.states.labels[n] for n in map(int, self.moving))

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the action coordinates that vary."""
        return tuple(self.recording.actions.labels[m] for m in map(int, self.acting))

    @cached_property
    def driven(self) -> Float[ndarray, "p p"]:
        """Correlation of the value of each coordinate with the change of each other one."""
        n = len(self.moving)
        now, change = self.inputs[:, :n], self.change - self.change.mean(axis=0)
        spread = np.sqrt((now**2).mean(axis=0))[:, None] * np.sqrt((change**2).mean(axis=0))[None]
        alike = np.abs(now.T @ change) / len(now) / np.maximum(spread, 1e-300)
        np.fill_diagonal(alike, 0.0)
        return alike

    @cached_property
    def rates(self) -> Bool[ndarray, " p"]:
        """Which coordinates are the rate of another one: its change correlates with their value."""
        return self.driven.max(axis=1) >= RATE

    def of(self, meant: Sequence[Meaning]) -> "Steps":
        """The rows, with the pairs of action and coordinate that the meaning of the actions excludes.

        An action that is a target or a velocity of one coordinate is judged by this one, its rate and its position.
        """
        found = set[tuple[int, int]]()
        for meaning in meant:
            if (
                meaning.kind in ("target", "velocity")
                and meaning.state in self.labels
                and meaning.action in self.actions
            ):
                own, action = self.labels.index(meaning.state), self.actions.index(meaning.action)
                kin = np.maximum(self.driven[own], self.driven[:, own])
                found |= {(n, action) for n in range(len(self.moving)) if n != own and kin[n] < RATE}
        return replace(self, others=frozenset(found))

    def moments(self) -> Moments:
        """Moments of the one-step model."""
        return moments_of(self.inputs, self.change, self.owner, self.labels, episodes=len(self.recording.lengths))

    def newest(self) -> Moments:
        """Moments of a smaller model, s[t] and a[t] only, whose weights are better determined."""
        n, m = len(self.moving), len(self.acting)
        return self.moments().only(np.array([*range(n), *range(2 * n, 2 * n + m)]))

    def gains(self, weights: Float[ndarray, "d p"]) -> Float[ndarray, "m p"]:
        """Effect of each action on the change of each coordinate, in their units, from weights of the smaller model."""
        n, m = len(self.moving), len(self.acting)
        return weights[n : n + m] / self.scale[2 * n : 2 * n + m, None] * self.size

    def exchanged(self, kind: str, one: int, other: int, rows: Int[ndarray, " k"]) -> tuple[ndarray, ndarray]:
        """Inputs and changes of some rows with two columns exchanged, of the moving states or of the actions."""
        raw = self.inputs[rows] * np.where(np.isinf(self.scale), 0.0, self.scale) + self.mean
        change = self.change[rows] * self.size
        first = 0 if kind == "state" else 2 * len(self.moving)
        width = len(self.moving) if kind == "state" else len(self.acting)
        for block in (first, first + width):
            raw[:, [block + one, block + other]] = raw[:, [block + other, block + one]]
        if kind == "state":
            change[:, [one, other]] = change[:, [other, one]]
        return (raw - self.mean) / self.scale, change / np.where(self.size > 0, self.size, np.inf)


def steps_of(recording: Recording, most: int = ROWS) -> Steps | None:
    """About `most` rows of the one-step model; `None` with too few rows or episodes, or too many coordinates."""
    wide = len(recording.states.labels) > WIDE
    some = recording.sample(most // 2 if wide else most, seed_words="consistency")
    if len(some.lengths) < FEWEST_EPISODES:
        return None
    states, actions = some.states.values.astype(np.float64), some.actions.values.astype(np.float64)
    moving = np.flatnonzero(~goals(states, some) & (states.std(axis=0) > 0))
    acting = np.flatnonzero(actions.std(axis=0) > 0)
    step = np.arange(len(some.owner)) - some.starts[some.owner]
    rows = np.flatnonzero((step >= 1) & (step < some.lengths[some.owner] - 1))
    width = 2 * (len(moving) + len(acting))
    if not 0 < len(moving) <= MOST or not len(acting) or len(rows) < max(FEWEST_ROWS, 5 * width):
        return None
    now, command = states[:, moving], actions[:, acting]
    raw = np.concatenate([now[rows], now[rows - 1], command[rows], command[rows - 1]], axis=1)
    mean, scale, change = raw.mean(axis=0), raw.std(axis=0), now[rows + 1] - now[rows]
    size = np.sqrt((change**2).mean(axis=0))
    owner, still = some.owner[rows], ~(size > ROUNDING * now.std(axis=0))
    return Steps(
        recording=some,
        rows=rows,
        owner=owner,
        moving=moving,
        acting=acting,
        inputs=(raw - mean) / np.where(scale > 0, scale, np.inf),
        mean=mean,
        scale=np.where(scale > 0, scale, np.inf),
        change=change / np.where(still, np.inf, size),
        size=size,
    )
