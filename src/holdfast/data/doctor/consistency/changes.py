"""Changes of the one-step model over the episodes in recorded order: a step, a trend, another response.

For each episode k, the errors of one fit are compared with those of two fits, on the episodes before k and from k on:

    gain(k) = 1 − [SSE(e < k) + SSE(e ≥ k)] / SSE(all),

on episodes that the fits did not see, so that it is about 0 or below without a change. A gain counts if no random order
of the episodes reaches it. What changed is the simplest description that reaches most of the gain: a constant that
grows with the episodes, a constant that steps, or the response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ....seeding import stream
from .moments import FEWEST, Moments

ORDERS = 59
"""Random orders of the episodes that a gain must exceed."""
PLACES = 24
"""Episodes at which a change is searched before the search is refined."""
LEAST = 0.1
"""Smallest gain that is reported."""
MOST_OF = 0.85

Change: TypeAlias = Literal["trend", "step", "response"]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A change of a regression over the episodes.

    Attributes:
        kind: A constant that grows with the episodes, one that steps, or another response.
        first: The first changed episode (of the sample); 0 for a trend.
        targets: Index of the targets that change.
        gain: Fraction of their squared error that the change explains on held-out episodes, by target.
        shift: Size of the constant, from the first to the last episode or before to after, by target, in their scale.
        before: Weights before the change.
        after: Weights after it.
    """

    kind: Change
    first: int
    targets: tuple[int, ...]
    gain: tuple[float, ...]
    shift: tuple[float, ...]
    before: Float[ndarray, "d p"]
    after: Float[ndarray, "d p"]


def change_of(moments: Moments, *, seed_words: str, orders: int = ORDERS) -> Changed | None:
    """The most striking change of a regression over the episodes; `None` if random orders change as much."""
    count = len(moments.rows)
    if count < 2 * FEWEST:
        return None
    trend = _gains(moments, moments.with_input(ramp(count)))
    places = _places(count)
    single = _single(moments)
    gains = _split_gains(moments, places, single)
    best = np.maximum(gains.max(axis=0), trend)
    if not (best >= LEAST).any():
        return None
    rng = stream(0, "doctor", "consistency", seed_words)
    for _ in range(orders):
        order = torch.randperm(count, generator=rng).numpy()
        other = _split_gains(moments, places[:: max(1, len(places) // 8)], single, order)
        mixed = ramp(count)[np.argsort(order)]
        reached = np.maximum(other.max(axis=0), _gains(moments, moments.with_input(mixed), order))
        best = np.where(best > 1.2 * np.maximum(reached, 0.0) + 0.01, best, 0.0)
        if not (best >= LEAST).any():
            return None
    return _described(moments, best, trend, places, gains)


def ramp(count: int) -> Float[ndarray, " episodes"]:
    """Numbers from −1/2 for the first episode to 1/2 for the last."""
    return np.linspace(-0.5, 0.5, count)


def from_on(count: int, first: int) -> Bool[ndarray, " episodes"]:
    """Which episodes are not before the given one."""
    return np.arange(count) >= first


def _places(count: int) -> list[int]:
    """Episodes at which a change is searched: both sides have enough episodes for held-out fits."""
    least = FEWEST if count < 40 else FEWEST + 1
    return sorted({int(place) for place in np.linspace(least, count - least, PLACES)})


def _single(moments: Moments, order: Int[ndarray, " episodes"] | None = None) -> Float[ndarray, " p"]:
    return moments.crossed_each(np.ones((1, 1, len(moments.rows)), dtype=bool), order)[0]


def _gains(moments: Moments, richer: Moments, order: Int[ndarray, " episodes"] | None = None) -> Float[ndarray, " p"]:
    """Fraction of the squared error that a further input explains on held-out episodes."""
    return 1 - _single(richer, order) / _single(moments, order)


def _split_gains(
    moments: Moments,
    places: Sequence[int],
    single: Float[ndarray, " p"],
    order: Int[ndarray, " episodes"] | None = None,
) -> Float[ndarray, "places p"]:
    """Fraction of the squared error that two fits explain, one before and one from each place on."""
    after = np.stack([from_on(len(moments.rows), first) for first in places])
    return 1 - moments.crossed_each(np.stack([~after, after], axis=1), order) / single


def _described(
    moments: Moments, best: ndarray, trend: ndarray, places: Sequence[int], gains: Float[ndarray, "places p"]
) -> Changed:
    count = len(moments.rows)
    targets = np.flatnonzero(best >= LEAST)
    main = int(targets[best[targets].argmax()])
    first = _refined(moments, places[int(gains[:, main].argmax())], main, places)
    after = from_on(count, first)
    stepped = moments.with_input(after.astype(float))
    split, step = _split_gains(moments, [first], _single(moments))[0, main], _gains(moments, stepped)[main]
    top = max(split, step, float(trend[main]))
    everything = np.ones(count, dtype=bool)
    if trend[main] >= MOST_OF * top and trend[main] >= step:
        shift, kind = moments.with_input(ramp(count)).fit(everything)[-2], "trend"
    elif step >= MOST_OF * top:
        shift, kind = stepped.fit(everything)[-2], "step"
    else:
        shift, kind = np.zeros(len(best)), "response"
    return Changed(
        kind=kind,
        first=0 if kind == "trend" else first,
        targets=tuple(int(t) for t in targets),
        gain=tuple(float(best[t]) for t in targets),
        shift=tuple(float(shift[t]) for t in targets),
        before=moments.fit(~after),
        after=moments.fit(after),
    )


def _refined(moments: Moments, near: int, main: int, places: Sequence[int]) -> int:
    """The first changed episode: the place from which the two fits leave the smallest error."""
    count, gap = len(moments.rows), max(1, len(moments.rows) // PLACES + 1)
    before, after = (from_on(count, place) for place in (near - gap, near + gap))
    first, second = moments.fit(~before), moments.fit(after)
    one, two = moments.errors(first)[:, main], moments.errors(second)[:, main]
    candidates = range(max(1, min(near - 2 * gap, places[0])), min(count, near + 2 * gap + 1))
    return min(candidates, key=lambda place: one[:place].sum() + two[place:].sum())
