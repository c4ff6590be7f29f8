"""Confidence intervals for TV_ε and W₁ of two distributions from k samples of each.

*Upper end.* A random pair of a pairing of samples is a coupling of the distributions, so TV_ε(distributions) ≤
E TV_ε(samples). Replacing one of the n·2k samples changes the mean over n starts by at most 1/(nk), so that (McDiarmid
1989)

    P[TV_ε(distributions) > TV_ε(samples) + √(log(1/a) / (nk))] ≤ a.

*Lower end.* By Strassen (1965) TV_ε = sup_A P(A) − Q(A^ε), where A^ε is the set of points within ε of A. One half of
the samples fits a 1-Lipschitz witness function h (the potential of their W₁) and a threshold c; for A = {h ≤ c},
A^ε ⊆ {h ≤ c + ε}. The other half counts P-samples with h ≤ c and Q-samples with h ≤ c + ε; Clopper and Pearson (1934)
bound both rates. Over several starts the counts are added; their spread is at most binomial (Hoeffding 1956).

The interval of TV_ε has a coverage of at least 95 %, for every number of samples and every dimension, if the distance
satisfies the triangle inequality and samples are independent. It is *conditional on the initial states*. The interval
of W₁ has the same two sides, but normal tails (the upper with the variance bound of Efron and Stein 1981): its coverage
is asymptotic in k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ..errors import DataError, RecipeError, ShapeError
from ..evaluation.intervals import LEVEL, Estimate
from ..seeding import stream
from .matching import levels_of, total_variation, transport

SIDE = (1 - LEVEL) / 2
"""Error probability of each side of an interval."""
NORMAL = 1.959963984540054
ROUNDING = 1e-9

_beta = cast(Any, stats).beta  # scipy ships no types


@dataclass(frozen=True)
class Halves:
    """Split of k samples into those that fit a witness function and those that evaluate it.

    Attributes:
        fit: Indices of the samples for the fit, in each set of k.
        count: Indices of the samples for the evaluation.
    """

    fit: NDArray[np.int64]
    count: NDArray[np.int64]

    @staticmethod
    def of(k: int, *, starts: int = 1, seed: int = 0) -> "Halves":
        """Split k samples at random.

        Raises:
            RecipeError: The samples are so few that every interval would be [0, 1].
        """
        # if A contains all evaluated P-samples and A^ε no Q-sample, the lower end is 2 (a/2)^(1/N) − 1
        counted = ceil(log(SIDE / 2) / log(1 / 2))
        enough = 2 * max(1, ceil(counted / starts))
        if k < enough:
            raise RecipeError(
                f"{k} rollouts from each of {starts} initial states are too few for a 95 % interval, which would be "
                f"[0, 1] for any result. Take {enough} or more from each."
            )
        order = torch.randperm(k, generator=stream(seed, "halves")).numpy()
        return Halves(fit=order[: k // 2], count=order[k // 2 :])


def total_variation_interval(
    pooled: Float[Tensor, "k2 k2"], epsilons: Sequence[float] | Tensor, *, seed: int = 0
) -> tuple[Estimate, ...]:
    """TV_ε of the samples at each ε, with an interval for TV_ε of their distributions.

    Args:
        pooled: Distances among 2k samples, those of P first.
        epsilons: Tolerances, positive.
        seed: Random seed for the split.

    Raises:
        RecipeError: There are too few samples (the message gives a sufficient number), or a tolerance is not positive.
        ShapeError: The table is not a square of even size.
    """
    levels, k = levels_of(epsilons), _half(pooled)
    halves = Halves.of(k, seed=seed)
    values = total_variation(pooled[:k, k:], levels)
    counts = witness(pooled.double().numpy(), levels.numpy(), halves)[1:]
    return estimates(values.numpy(), counts, counted=len(halves.count), samples=k)


def wasserstein_interval(pooled: Float[Tensor, "k2 k2"], *, seed: int = 0) -> Estimate:
    """W₁ of the samples, with an interval for W₁ of their distributions; asymptotic in k.

    Args:
        pooled: Distances among 2k samples, those of P first; all finite.
        seed: Random seed for the split.

    Raises:
        RecipeError: There are too few samples.
        ShapeError: The table is not a square of even size.
        DataError: A distance is infinite, so that W₁ has no interval.
    """
    k = _half(pooled)
    if not bool(pooled.isfinite().all()):
        raise DataError("some samples are infinitely far from others, so W1 has no interval. Use TV_eps.")
    table, halves = pooled.double().numpy(), Halves.of(k, seed=seed)
    value = transport(np.ascontiguousarray(table[:k, k:]))[0]
    potential = _potential(table, halves)
    one, other = potential[halves.count], potential[halves.count + k]
    error = ((one.var(ddof=1) + other.var(ddof=1)) / len(one)) ** 0.5
    squares = np.square(table[:k, :k]).sum() + np.square(table[k:, k:]).sum()
    spread = (squares / (k * (k - 1)) / (2 * k)) ** 0.5
    low = float(other.mean() - one.mean() - NORMAL * error)
    return Estimate(value, min(max(low, 0.0), value), value + NORMAL * float(spread))


def witness(pooled: NDArray[np.float64], levels: NDArray[np.float64], halves: Halves) -> Float[np.ndarray, "3 e"]:
    """For each ε: the gain of the witness function on its own samples, and the counts of the others in A and A^ε."""
    k = len(pooled) // 2
    height = _potential(pooled, halves, reach=float(levels.max()))
    fit, count = halves.fit, halves.count
    found = list[tuple[float, int, int]]()
    for level in levels:
        slack = ROUNDING * (1 + level + np.abs(height).max())
        threshold, gain = _threshold(height[fit], height[fit + k] - level)
        inside = int((height[count] <= threshold).sum())
        near = int((height[count + k] <= threshold + level + slack).sum())
        found.append((gain, inside, near))
    return np.array(found).T


def estimates(
    values: NDArray[np.float64], counts: NDArray[np.float64], *, counted: int, samples: int
) -> tuple[Estimate, ...]:
    """Intervals from the values of the samples and the counts of the witness functions.

    Args:
        values: Values of the samples at each ε.
        counts: Counts in A and A^ε at each ε.
        counted: Number of evaluated samples of each kind.
        samples: Number nk of samples of each kind.
    """
    inside, near = counts
    # the interval of a rate ends at 0 or 1 where a parameter of the beta distribution would be 0
    least = np.where(inside > 0, _beta.ppf(SIDE / 2, np.maximum(inside, 1), counted - inside + 1), 0.0)
    most = np.where(near < counted, _beta.ppf(1 - SIDE / 2, near + 1, np.maximum(counted - near, 1)), 1.0)
    low = np.clip(least - most, 0.0, values)
    high = np.minimum(1.0, values + (log(1 / SIDE) / samples) ** 0.5)
    return tuple(Estimate(*map(float, ends)) for ends in zip(values, low, high, strict=True))


def _potential(pooled: NDArray[np.float64], halves: Halves, *, reach: float = 0.0) -> NDArray[np.float64]:
    """1-Lipschitz function at all samples, small at P-samples and large at Q-samples.

    The potential of W₁ of the samples for the fit, extended to the others by the mean of the largest and the smallest
    1-Lipschitz extension (McShane 1934): either alone would shift one set by the distance to the nearest sample.
    """
    k = len(pooled) // 2
    one, other = halves.fit, halves.fit + k
    finite = pooled.max(where=np.isfinite(pooled), initial=0.0)
    # lost samples are beyond the reach of every ε but not infinitely far; a smaller distance keeps the slope valid
    table = np.minimum(pooled, 2 * (finite + reach) + 1)
    _, u, v = transport(np.ascontiguousarray(table[np.ix_(one, other)]))
    largest = (table[:, other] - v).min(axis=1)
    smallest = (u - table[:, one]).max(axis=1)
    return -(largest + smallest) / 2


def _threshold(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Threshold c with the largest share(one ≤ c) − share(other ≤ c), in the middle of ties; and this gain."""
    breaks = np.sort(np.concatenate([one, other]))
    gains = [np.searchsorted(np.sort(side), breaks, side="right") / len(side) for side in (one, other)]
    gain = gains[0] - gains[1]
    best = int(gain.argmax())
    following = breaks[min(best + 1, len(breaks) - 1)]
    return float(breaks[best] + following) / 2, float(gain[best])


def _half(pooled: Tensor) -> int:
    if pooled.shape[0] != pooled.shape[1] or pooled.shape[0] % 2 or not len(pooled):
        raise ShapeError(
            f"expected distances among 2k samples, the k of one distribution first, got a table of "
            f"{pooled.shape[0]} by {pooled.shape[1]}."
        )
    return len(pooled) // 2
