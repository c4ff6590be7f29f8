"""Intervals of measured numbers, of 95 % unless another level is given.

    rates                  exact binomial interval (Clopper and Pearson 1934), at every number of episodes
    means over episodes    Student's t interval, from 10 episodes on
    medians of episodes    order statistics, from 10 episodes on
    means over seeds       Student's t interval, from 2 trainings on
    seeds × starts         the wider of Student's interval over seeds and a bootstrap over both

An estimate from too few values has no interval and keeps the values themselves. Differences are paired first.

Coverage: a rate's is at least 95 % for every p and n, a mean's is 95 % for normal values. A mean of skewed values needs
more of them: for exponential values, Student's interval covers 0.90 at n = 10 and 0.93 at n = 50 (a test).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..seeding import stream
from . import quantiles

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles that bound the central 95 %."""
FEWEST = 10
"""Smallest number of episodes from which means and medians get an interval; below, the values themselves are listed."""
BLOCK = 5000
"""Resampled means that are computed at once: with many differences, millions of starts are drawn."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        mean: The number.
        low: Lower end; −∞ if there is no interval.
        high: Upper end; ∞ if there is no interval.
        values: The values themselves, where they are too few for an interval.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...] = field(default=(), kw_only=True)

    @property
    def has_interval(self) -> bool:
        """Whether the interval excludes any number."""
        return not (self.low == -math.inf and self.high == math.inf)

    def __str__(self) -> str:
        if self.has_interval:
            return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"
        listed = f"; values {', '.join(f'{value:.4g}' for value in self.values)}" if self.values else ""
        return f"{self.mean:.2f} (no interval{listed})"


def without_interval(mean: float, values: tuple[float, ...] = ()) -> Estimate:
    """A number of which no interval is known."""
    return Estimate(mean, -math.inf, math.inf, values=values)


def rate(events: Bool[Tensor, " b"]) -> Estimate:
    """Share of true events with the exact binomial interval (Clopper and Pearson 1934).

    For 0 of n the upper end is 1 − 0.025^(1/n).

    >>> import torch
    >>> estimate = rate(torch.zeros(50, dtype=torch.bool))
    >>> (estimate.low, round(estimate.high, 4) == round(1 - 0.025 ** (1 / 50), 4))
    (0.0, True)
    """
    count, total = int(events.sum()), events.shape[0]
    low, high = quantiles.binomial(count, total, TAILS[0])
    return Estimate(count / total, low, high)


def over_starts(values: Float[Tensor, " b"]) -> Estimate:
    """Mean over episodes: a `rate` if all values are 0 or 1, otherwise as `mean_over_starts`.

    Raises:
        DataError: There are no values.
    """
    _check_some(values)
    events = values == 1
    return rate(events) if bool((events | (values == 0)).all()) else mean_over_starts(values)


def mean_over_starts(values: Float[Tensor, " b"], *, level: float = LEVEL) -> Estimate:
    """Mean of numbers or paired differences over episodes, with Student's interval from `FEWEST` episodes on.

    The mean of values of which some are −∞ (returns of lost episodes) is −∞, whatever the others are.

    Raises:
        DataError: There are no values.
    """
    _check_some(values)
    sample = values.detach().cpu().double()
    if not bool(sample.isfinite().all()):
        return _of_infinite(sample)
    mean = float(sample.mean())
    return _student(sample, level) if len(sample) >= FEWEST else without_interval(mean, _listed(sample))


def over_seeds(values: Float[Tensor, " seeds"], *, level: float = LEVEL) -> Estimate:
    """Mean over training seeds with Student's interval: mean ± t · s / √n.

    A single seed has no interval: nothing is known about other trainings.

    Raises:
        DataError: There are no values.
    """
    _check_some(values)
    sample = values.detach().cpu().double()
    if not bool(sample.isfinite().all()):
        return _of_infinite(sample)
    return _student(sample, level) if len(sample) > 1 else without_interval(float(sample[0]))


def median_over_starts(values: Float[Tensor, " b"]) -> Estimate:
    """Median over episodes, with the interval between two order statistics, from `FEWEST` episodes on.

        [x_(k), x_(n + 1 − k)],   k the largest number with P(Binomial(n, ½) < k) ≤ 2.5 %

    Covers the median of every continuous law with at least 95 % (Thompson 1936).

    Raises:
        DataError: There are no values.

    >>> import torch
    >>> estimate = median_over_starts(torch.arange(1.0, 11.0))
    >>> (estimate.mean, estimate.low, estimate.high)
    (5.5, 2.0, 9.0)
    """
    _check_some(values)
    sample = values.detach().cpu().double().sort().values
    count, middle = len(sample), float(np.median(sample.numpy()))
    if count < FEWEST:
        return without_interval(middle, _listed(sample))
    # the smallest m with P(X ≤ m) ≥ 2.5 %, hence P(X < m) < 2.5 %: k = m, counted from 1
    k = quantiles.sign(TAILS[0], count)
    return Estimate(middle, float(sample[k - 1]), float(sample[count - k]))


def bootstrap(
    values: Float[Tensor, " b"],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    *,
    seed: int = 0,
    resamples: int = 5000,
) -> Estimate:
    """Another statistic of independent values with its percentile bootstrap interval (Efron 1979).

    It covers too little for few values (for a mean of normal values 0.90 at n = 10), so no report prints it for means,
    medians or rates.

    Args:
        values: One number per start (differences, when two policies are compared).
        statistic: Reduces the last axis. Default: the mean.
        seed: Random seed for resampling.
        resamples: Number of resampled sets.
    """
    reduce = _mean if statistic is None else statistic
    sample = values.detach().cpu().double().numpy()
    found = float(reduce(sample[None])[0])
    if len(sample) < FEWEST:
        return without_interval(found, tuple(float(value) for value in sample))
    rng = resampling(seed)
    chosen = sample[rng.integers(len(sample), size=(resamples, len(sample)))]
    low, high = np.quantile(reduce(chosen), TAILS)
    return Estimate(found, float(low), float(high))


def resampling(seed: int) -> np.random.Generator:
    """The generator that resamples, of a random seed."""
    return np.random.default_rng(stream(seed, "resampling").initial_seed())


def crossed(
    values: Float[Tensor, "seeds starts"], *, seed: int = 0, resamples: int = 5000, level: float = LEVEL
) -> Estimate:
    """Mean of a seeds × starts table, both factors random and resampled independently (pigeonhole bootstrap).

    (Owen 2007, arXiv 0712.1111.) With n seeds it is too narrow by about √((n − 1)/n); the deviations of the seeds'
    means are therefore widened by the inverse factor, and those of the starts' means by t_{n−1}/z √(n/(n − 1)) for n
    starts. A few seeds are still covered too rarely; see `over_both`.
    """
    table = values.detach().cpu().double().numpy()
    seeds, starts = table.shape
    mean, effect = table.mean(), table.mean(axis=1, keepdims=True) - table.mean()
    placed = table.mean(axis=0, keepdims=True) - table.mean()
    widened = table + effect * ((seeds / max(seeds - 1, 1)) ** 0.5 - 1) + placed * (_widening(starts, level) - 1)
    rng = resampling(seed)
    rows = np.stack([np.bincount(r, minlength=seeds) for r in rng.integers(seeds, size=(resamples, seeds))]) / seeds
    means = np.empty(resamples)
    for first in range(0, resamples, BLOCK):
        block = rows[first : first + BLOCK]
        chosen = rng.integers(starts, size=(len(block), starts))
        columns = np.stack([np.bincount(c, minlength=starts) for c in chosen])
        means[first : first + BLOCK] = np.einsum("rs,st,rt->r", block, widened, columns / starts, optimize=True)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(float(mean), float(low), float(high))


def over_both(values: Float[Tensor, "seeds starts"], *, level: float = LEVEL) -> Estimate:
    """Mean of a seeds × starts table: the wider of Student's interval over seeds and a bootstrap over both.

    Of a single training only the starts vary: its interval is that of `mean_over_starts` and tells nothing about other
    trainings.
    """
    if len(values) == 1:
        return mean_over_starts(values[0], level=level)
    if not bool(values.isfinite().all()):
        return _of_infinite(values.detach().cpu().double().flatten())
    # the tails of higher levels need more resampled means
    resamples = max(5000, round(250 / (1 - level)))
    both = crossed(values, level=level, resamples=resamples)
    seeds = over_seeds(values.mean(dim=1), level=level)
    return Estimate(both.mean, min(both.low, seeds.low), max(both.high, seeds.high))


def _widening(count: int, level: float) -> float:
    """Factor by which a bootstrap of the mean of `count` normal values is narrower than Student's interval."""
    if count < 2:
        return 1.0
    upper = (1 + level) / 2
    return quantiles.student(upper, count - 1) / quantiles.normal(upper) * (count / (count - 1)) ** 0.5


def _student(sample: Float[Tensor, " n"], level: float) -> Estimate:
    count, mean = len(sample), float(sample.mean())
    half = quantiles.student((1 + level) / 2, count - 1) * float(sample.std()) / count**0.5
    return Estimate(mean, mean - half, mean + half)


def _of_infinite(sample: Float[Tensor, " n"]) -> Estimate:
    """The mean of values that are not all finite: infinite if the infinite ones have one sign, otherwise unknown."""
    mean = float(sample.mean())
    return without_interval(mean) if math.isnan(mean) else Estimate(mean, mean, mean)


def _listed(sample: Float[Tensor, " n"]) -> tuple[float, ...]:
    return tuple(float(value) for value in sample)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.mean(axis=-1)


def _check_some(values: Tensor) -> None:
    if values.dim() != 1 or not len(values):
        raise DataError(f"expected at least one number per episode or training, got shape {list(values.shape)}.")
