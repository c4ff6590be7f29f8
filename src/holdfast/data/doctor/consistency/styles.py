"""Two styles of demonstrating: episodes that fall into two groups with different actions for equal observations.

Two regressions of the action on the observation are fitted in turn, and each episode is assigned to the one with the
smaller error (k-means with regressions instead of means). Any set can be split in this way. Two styles are reported
only if the two regressions together leave far less error than one on held-out episodes, and if nearly every episode
belongs clearly to one of them. If a column of the episodes agrees with the groups, it is named; groups by a column are
also compared directly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ....seeding import stream
from ....types import Episodes
from ...choosing import dropping, dropping_values
from ..findings import DataFinding, listed, share, warning
from .habits import Habits
from .moments import FEWEST, Moments
from .operators import columns_of, texts_of

STARTS, ROUNDS = 6, 25
GAIN = 0.6
"""Smallest reduction of the error by two regressions of groups that no column names."""
CLEAR, MOST = 1.0, 0.9
"""Log ratio of the two errors of an episode that clearly belongs to one, and fraction of such episodes."""
COLUMN = 0.08
ORDERS = 59
AGREES = 0.9


@dataclass(frozen=True, kw_only=True)
class Styles:
    """Groups of episodes with different actions for equal observations.

    Attributes:
        column: Column of the episodes that names the groups, or "".
        names: Values of the column, or numbers.
        groups: Episodes of each group, as numbered in the data set.
        gain: Reduction of the error on held-out episodes.
        ratios: Slope of the action of each group over the pooled prediction: its scale.
    """

    column: str
    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    gain: float
    ratios: tuple[float, ...]


def styles_of(habits: Habits | None, episodes: Episodes) -> Styles | None:
    """Groups of episodes that differ in style; `None` if there are none."""
    if habits is None:
        return None
    moments = habits.moments()
    columns = dict(columns_of(episodes, habits.recording))
    for name, values in columns.items():
        gain = _column_gain(moments, values)
        if gain >= COLUMN and _exceeds_orders(moments, values, gain):
            return _described(habits, moments, values, name, gain)
    if len(moments.rows) < 4 * FEWEST:
        return None
    first, gain, clear = _two(moments)
    if gain < GAIN or clear < MOST or min(first.sum(), (~first).sum()) < FEWEST:
        return None
    numbers = (~first).astype(int)
    return _described(habits, moments, numbers, _agreeing(columns, numbers), gain)


def _column_gain(moments: Moments, numbers: Int[ndarray, " episodes"]) -> float:
    everything = np.ones(len(numbers), dtype=bool)
    groups = [numbers == kind for kind in np.unique(numbers)]
    gains = 1 - moments.crossed(groups) / moments.crossed([everything])
    return float(gains.max())


def _exceeds_orders(moments: Moments, numbers: Int[ndarray, " episodes"], gain: float) -> bool:
    """Whether no random assignment of the values to the episodes explains as much."""
    rng = stream(0, "doctor", "consistency", "styles")
    for _ in range(ORDERS):
        order = torch.randperm(len(numbers), generator=rng).numpy()
        if gain <= 1.2 * max(_column_gain(moments, numbers[order]), 0.0) + 0.01:
            return False
    return True


def _two(moments: Moments) -> tuple[Bool[ndarray, " episodes"], float, float]:
    """Episodes of the first of two regressions, the gain on held-out episodes, and the fraction of clear episodes."""
    count, rng = len(moments.rows), stream(0, "doctor", "consistency", "groups")
    total = moments.crossed([np.ones(count, dtype=bool)])
    weigh = 1 / np.maximum(total, 1e-300)
    best, error = np.ones(count, dtype=bool), np.inf
    for _ in range(STARTS):
        first = torch.rand(count, generator=rng).numpy() < 0.5
        for _ in range(ROUNDS):
            if min(first.sum(), (~first).sum()) < FEWEST:
                break
            one, two = (moments.errors(moments.fit(part)) @ weigh for part in (first, ~first))
            if np.array_equal(one < two, first):
                break
            first = one < two
        if min(first.sum(), (~first).sum()) >= FEWEST:
            own = float(moments.crossed([first, ~first]) @ weigh)
            best, error = (first, own) if own < error else (best, error)
    if not np.isfinite(error):
        return best, 0.0, 0.0
    one, two = (moments.errors(moments.fit(part)) @ weigh for part in (best, ~best))
    clear = float((np.abs(np.log(np.maximum(one, 1e-300) / np.maximum(two, 1e-300))) >= CLEAR).mean())
    return best, 1 - error / float(total @ weigh), clear


def _agreeing(columns: dict[str, ndarray], numbers: Int[ndarray, " episodes"]) -> str:
    for name, values in columns.items():
        if len(np.unique(values)) == 2 and max((values == numbers).mean(), (values != numbers).mean()) >= AGREES:
            return name
    return ""


def _described(habits: Habits, moments: Moments, numbers: ndarray, column: str, gain: float) -> Styles:
    chosen = habits.recording.episodes
    kinds = [int(kind) for kind in np.unique(numbers)]
    everything = np.ones(len(numbers), dtype=bool)
    pooled = moments.fit(everything)
    return Styles(
        column=column,
        names=tuple(str(kind) for kind in kinds),
        groups=tuple(tuple(int(e) for e in chosen[numbers == kind]) for kind in kinds),
        gain=gain,
        ratios=tuple(_scale(moments, pooled, numbers == kind) for kind in kinds),
    )


def _scale(moments: Moments, weights: Float[ndarray, "d p"], chosen: Bool[ndarray, " episodes"]) -> float:
    """Slope of the actions over the pooled prediction: Σ ŷ y / Σ ŷ²."""
    gram, cross = moments.gram[chosen].sum(axis=0), moments.cross[chosen].sum(axis=0)
    own = float(np.einsum("dp,de,ep->", weights, gram, weights))
    return float((weights * cross).sum()) / max(own, 1e-300)


def check_styles(found: Styles | None, episodes: Episodes) -> Iterator[DataFinding]:
    """Episodes of different styles."""
    if found is None:
        return
    names = _values(found, episodes)
    by = f", by the column {found.column}" if found.column else ""
    parts = [f"{name}: episode {listed(group, 8)}" for name, group in zip(names, found.groups, strict=True)]
    least = min(found.groups, key=len)
    drop = dropping_values(found.column, names[found.groups.index(least)]) if found.column else dropping(least)
    yield warning(
        "styles",
        f"The demonstrations differ in style{by}: {len(found.groups)} groups of episodes have different actions for "
        f"equal observations; a regression for each reduces the error by {share(found.gain)} on held-out episodes "
        f"(scale of the actions {listed([f'{ratio:.2f}' for ratio in found.ratios])}; {'; '.join(parts)}).",
        effect="Several demonstrators, or several ways. A regression learns their mean; a policy that can represent "
        "both may change between them.",
        remedy=f"Compare with training on one group: {drop}; or record who demonstrated as an observation.",
        values={
            "column": found.column,
            "groups": {name: list(group) for name, group in zip(names, found.groups, strict=True)},
            "gain": found.gain,
            "scales": list(found.ratios),
        },
    )


def _values(found: Styles, episodes: Episodes) -> list[str]:
    """Names of the groups: the values of the column, or letters."""
    if not found.column:
        return [f"group {chr(65 + n)}" for n in range(len(found.groups))]
    texts = texts_of(episodes.episode_columns[found.column])
    return [max(set(own), key=own.count) for own in ([texts[e] for e in group] for group in found.groups)]
