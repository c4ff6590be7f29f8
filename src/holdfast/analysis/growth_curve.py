"""The median of distances over episodes, some of which are infinitely far and some over; and its resamples."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ..seeding import stream

__all__ = ["fit_window", "medians", "quantiles", "resampled"]

GONE = 0.35
"""Share of lost and saturated episodes at which the fit ends: resamples of the median stay finite below it."""
BANDS = (0.1, 0.5, 0.9)


def fit_window(
    values: Float64[ndarray, "b s"], middle: Float64[ndarray, " s"], first: int, floor: float
) -> tuple[int, int]:
    """From the first step above the floor to the first one that is not, or at which too many are gone or over."""
    gone = np.isinf(values).mean(0) > GONE
    few = np.isnan(values).mean(0) > 0.5
    good = ~gone & ~few & (middle > floor) & (np.arange(len(middle)) >= first)
    if not good.any():
        return first, first
    begin = int(good.argmax())
    after = np.flatnonzero(~good[begin:])
    return begin, begin + int(after[0]) if len(after) else len(middle)


def resampled(
    values: Float64[ndarray, "b s"], window: tuple[int, int], floor: float, seed: int, resamples: int
) -> Float64[ndarray, "r t"]:
    """The median of the window, then those of resampled sets of episodes, positive and finite."""
    part = values[:, window[0] : window[1]]
    rng = np.random.default_rng(stream(seed, "resampling").initial_seed())
    chosen = rng.integers(len(part), size=(resamples, len(part)))
    curves = np.stack([medians(part), *(medians(part[rows]) for rows in chosen)])
    # a resample may hold more lost episodes than the set, or none that goes on: the set's own median stands in
    curves = np.where(np.isfinite(curves), curves, curves[0])
    return np.maximum(curves, max(floor, 1e-300))


def medians(values: Float64[ndarray, "b s"]) -> Float64[ndarray, " s"]:
    """Over the episodes that are not over; NaN where all are."""
    return quantiles(values)[1]


def quantiles(values: Float64[ndarray, "b s"]) -> Float64[ndarray, "3 s"]:
    """Quantiles over the episodes that are not over; infinite where that many are infinitely far."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = (~np.isnan(values)).sum(0)
    rows = list[Float64[ndarray, " s"]]()
    for share in BANDS:
        place = share * np.maximum(count - 1, 0)
        below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
        low, high = (np.take_along_axis(ordered, index[None], 0)[0] for index in (below, above))
        # infinity less infinity is no number, and an infinite neighbour of weight 0 must not spoil a finite quantile
        gap = np.subtract(high, low, out=np.zeros_like(low), where=(place != below) & np.isfinite(low))
        rows.append(low + (place - below) * gap)
    return np.stack(rows)
