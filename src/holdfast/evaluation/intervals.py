"""95 % intervals of measured numbers.

Every estimate is an `Estimate(mean, low, high)`. Rates use the exact binomial interval, which is never empty, even for
0 of n; means over starts use the bootstrap; means over training seeds use Student's t, because five seeds are too few
to resample. Differences are paired first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ..seeding import stream

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles that bound the central 95 %."""

_stats = cast(Any, stats)  # scipy ships no types


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def rate(events: Bool[Tensor, " b"]) -> Estimate:
    """Share of true events with the exact binomial interval (Clopper and Pearson 1934).

    For 0 of n the upper end is 1 − 0.025^(1/n).

    >>> import torch
    >>> estimate = rate(torch.zeros(50, dtype=torch.bool))
    >>> (estimate.low, round(estimate.high, 4) == round(1 - 0.025 ** (1 / 50), 4))
    (0.0, True)
    """
    count, total = int(events.sum()), events.shape[0]
    interval = _stats.binomtest(count, total).proportion_ci(confidence_level=LEVEL, method="exact")
    return Estimate(count / total, float(interval.low), float(interval.high))


def bootstrap(
    values: Float[Tensor, " b"],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    *,
    seed: int = 0,
    resamples: int = 5000,
) -> Estimate:
    """A statistic of independent values with its percentile bootstrap interval (Efron 1979).

    Args:
        values: One number per start (differences, when two policies are compared).
        statistic: Reduces the last axis. Default: the mean.
        seed: Random seed for resampling.
        resamples: Number of resampled sets.
    """
    reduce = _mean if statistic is None else statistic
    sample = values.detach().cpu().double().numpy()
    rng = resampling(seed)
    chosen = sample[rng.integers(len(sample), size=(resamples, len(sample)))]
    low, high = np.quantile(reduce(chosen), TAILS)
    return Estimate(float(reduce(sample[None])[0]), float(low), float(high))


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.mean(axis=-1)


def resampling(seed: int) -> np.random.Generator:
    """The generator that resamples, of a random seed."""
    return np.random.default_rng(stream(seed, "resampling").initial_seed())


def over_starts(values: Float[Tensor, " b"], *, seed: int = 0) -> Estimate:
    """Mean over starts: a `rate`, whose interval is never empty, if all values are 0 or 1; otherwise by `bootstrap`."""
    events = values == 1
    return rate(events) if bool((events | (values == 0)).all()) else bootstrap(values, seed=seed)


def over_seeds(values: Float[Tensor, " seeds"]) -> Estimate:
    """Mean over training seeds with Student's interval: mean ± t · s / √n.

    With a single seed both ends equal the mean.
    """
    sample = values.detach().cpu().double()
    mean, count = float(sample.mean()), sample.shape[0]
    if count == 1:
        return Estimate(mean, mean, mean)
    half = float(_stats.t.ppf(TAILS[1], count - 1)) * float(sample.std()) / count**0.5
    return Estimate(mean, mean - half, mean + half)


def crossed(values: Float[Tensor, "seeds starts"], *, seed: int = 0, resamples: int = 5000) -> Estimate:
    """Mean of a seeds × starts table, both factors random and resampled independently (pigeonhole bootstrap).

    (Owen 2007, arXiv 0712.1111.) With n seeds it is too narrow by about √((n − 1)/n); the deviations of the seeds'
    means are therefore widened by the inverse factor.
    """
    table = values.detach().cpu().double().numpy()
    seeds, starts = table.shape
    mean, effect = table.mean(), table.mean(axis=1, keepdims=True) - table.mean()
    widened = table + effect * ((seeds / max(seeds - 1, 1)) ** 0.5 - 1)
    rng = resampling(seed)
    rows = np.stack([np.bincount(r, minlength=seeds) for r in rng.integers(seeds, size=(resamples, seeds))]) / seeds
    columns = np.stack([np.bincount(c, minlength=starts) for c in rng.integers(starts, size=(resamples, starts))])
    means = np.einsum("rs,st,rt->r", rows, widened, columns / starts, optimize=True)
    low, high = np.quantile(means, TAILS)
    return Estimate(float(mean), float(low), float(high))
