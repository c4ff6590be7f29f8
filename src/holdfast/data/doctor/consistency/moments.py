"""Linear regressions over any subset of episodes, from second moments that are computed once for each episode.

For inputs x and targets y of the rows t of episode e,

    G_e = Σ_t x xᵀ,    C_e = Σ_t x yᵀ,    q_e = Σ_t y²

determine the least-squares fit on a set of episodes and its squared error on another, without the rows. Fits are judged
on episodes that they did not see: those of even order by a fit on those of odd order, and the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

RIDGE = 1e-7
FEWEST = 4
"""Smallest number of episodes of a fit."""


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Moments of sets of episodes."""

    rows: Shaped[ndarray, " k"]
    gram: Float[ndarray, "k d d"]
    cross: Float[ndarray, "k d p"]
    square: Float[ndarray, "k p"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Moments of standardised inputs and targets by episode; the last input is the constant 1.

    Attributes:
        labels: Name of each target.
        rows: Rows of each episode.
        gram: G_e.
        cross: C_e.
        square: q_e.
        floor: Squared error of a row that rounding alone explains, by target.
    """

    labels: tuple[str, ...]
    rows: Int[ndarray, " episodes"]
    gram: Float[ndarray, "episodes d d"]
    cross: Float[ndarray, "episodes d p"]
    square: Float[ndarray, "episodes p"]
    floor: float = 1e-9

    def fit(self, chosen: Bool[ndarray, " episodes"]) -> Float[ndarray, "d p"]:
        """Least squares on the chosen episodes."""
        return self._fits(self._sums(chosen[None]))[0]

    def errors(self, weights: Float[ndarray, "d p"]) -> Float[ndarray, "episodes p"]:
        """Squared error of a fit in each episode."""
        return self._errors(self._each, weights[None])

    def crossed(self, groups: Sequence[Bool[ndarray, " episodes"]]) -> Float[ndarray, " p"]:
        """Squared error over all episodes, of fits within their group on the episodes of the other parity."""
        return self.crossed_each(np.stack(groups)[None])[0]

    def crossed_each(
        self, groupings: Bool[ndarray, "k groups episodes"], order: Int[ndarray, " episodes"] | None = None
    ) -> Float[ndarray, "k p"]:
        """`crossed` for several groupings at once, which reads the moments once; of the episodes in another order."""
        even = np.cumsum(groupings, axis=2) % 2 == 0
        halves = np.stack([groupings & even, groupings & ~even], axis=2).reshape(-1, len(self.rows))
        if order is not None:
            halves = halves[:, np.argsort(order)]
        sums = self._sums(halves)
        other = np.arange(len(halves)) ^ 1
        errors = self._errors(sums, self._fits(sums)[other])
        return errors.reshape(len(groupings), -1, errors.shape[1]).sum(axis=1)

    def _sums(self, chosen: Bool[ndarray, "k episodes"]) -> "_Sums":
        """Sums of the moments over sets of episodes."""
        each, weights = self._each, chosen.astype(np.float64)

        def total(values: ndarray) -> ndarray:
            return (weights @ values.reshape(len(values), -1)).reshape(len(weights), *values.shape[1:])

        return _Sums(rows=total(each.rows), gram=total(each.gram), cross=total(each.cross), square=total(each.square))

    @property
    def _each(self) -> "_Sums":
        return _Sums(rows=self.rows, gram=self.gram, cross=self.cross, square=self.square)

    def _fits(self, sums: "_Sums") -> Float[ndarray, "k d p"]:
        gram = sums.gram.copy()
        # a view of the diagonals
        np.einsum("kdd->kd", gram)[...] += RIDGE * np.maximum(sums.rows, 1)[:, None]
        return np.linalg.solve(gram, sums.cross)

    def _errors(self, sums: "_Sums", weights: Float[ndarray, "w d p"]) -> Float[ndarray, "k p"]:
        explained = (weights * (2 * sums.cross - sums.gram @ weights)).sum(axis=1)
        return np.maximum(sums.square - explained, 0.0) + self.floor * sums.rows[:, None]

    def with_input(self, values: Float[ndarray, " episodes"]) -> "Moments":
        """The moments with a further input that is constant within episodes; it stands before the constant 1."""
        count, d = len(self.rows), self.gram.shape[1]
        gram = np.zeros((count, d + 1, d + 1))
        old = np.array([*range(d - 1), d])
        gram[:, old[:, None], old[None]] = self.gram
        own = values[:, None] * self.gram[:, -1]
        gram[:, d - 1, old] = gram[:, old, d - 1] = own
        gram[:, d - 1, d - 1] = values**2 * self.rows
        cross = np.insert(self.cross, d - 1, values[:, None] * self.cross[:, -1], axis=1)
        return replace(self, gram=gram, cross=cross)

    def only(self, inputs: Int[ndarray, " k"]) -> "Moments":
        """The moments with some of the inputs; the constant 1 remains."""
        kept = np.append(inputs, self.gram.shape[1] - 1)
        return replace(self, gram=self.gram[:, kept[:, None], kept[None]], cross=self.cross[:, kept])


def moments_of(
    inputs: Float[ndarray, "rows d"],
    targets: Float[ndarray, "rows p"],
    owner: Int[ndarray, " rows"],
    labels: tuple[str, ...],
    *,
    episodes: int,
) -> Moments:
    """Moments of rows that are sorted by episode; those of an episode without rows are 0."""
    wide = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    edges = np.searchsorted(owner, np.arange(1, episodes))
    parts = list(zip(np.split(wide, edges), np.split(targets, edges), strict=True))
    return Moments(
        labels=labels,
        rows=np.array([len(x) for x, _ in parts]),
        gram=np.stack([x.T @ x for x, _ in parts]),
        cross=np.stack([x.T @ y for x, y in parts]),
        square=np.stack([(y**2).sum(axis=0) for _, y in parts]),
    )
