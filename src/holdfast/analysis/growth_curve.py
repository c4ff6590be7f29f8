"""Quantiles of distances over episodes that may be lost (infinite) or over (NaN), and their resamples."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ..evaluation.intervals import resampling

MAX_LOST = 0.35
"""Share of lost and saturated episodes at which the fit ends; below it resampled medians stay finite."""
BANDS = (0.1, 0.5, 0.9)


def fit_window(
    values: Float64[ndarray, "b s"], middle: Float64[ndarray, " s"], first: int, floor: float
) -> tuple[int, int]:
    """First step above the floor, and the first later step below it or with too many lost or finished episodes."""
    gone = np.isinf(values).mean(0) > MAX_LOST
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
    """Median over the window, followed by the medians of resampled sets of episodes; positive and finite."""
    part = values[:, window[0] : window[1]]
    rng = resampling(seed)
    chosen = rng.integers(len(part), size=(resamples, len(part)))
    curves = np.stack([medians(part), *(medians(part[rows]) for rows in chosen)])
    # a resample may have a non-finite median if it contains many lost or finished episodes: use that of the full set
    curves = np.where(np.isfinite(curves), curves, curves[0])
    return np.maximum(curves, max(floor, 1e-300))


def medians(values: Float64[ndarray, "b s"]) -> Float64[ndarray, " s"]:
    """Medians over the running episodes; NaN where all are over."""
    return quantiles(values)[1]


def quantiles(values: Float64[ndarray, "b s"]) -> Float64[ndarray, "3 s"]:
    """Quantiles over the running episodes; infinite where too many episodes are lost."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = (~np.isnan(values)).sum(0)
    rows = list[Float64[ndarray, " s"]]()
    for share in BANDS:
        place = share * np.maximum(count - 1, 0)
        below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
        low, high = (np.take_along_axis(ordered, index[None], 0)[0] for index in (below, above))
        # infinity − infinity is NaN, and an infinite neighbour of weight 0 must not change a finite quantile
        gap = np.subtract(high, low, out=np.zeros_like(low), where=(place != below) & np.isfinite(low))
        rows.append(low + (place - below) * gap)
    return np.stack(rows)
