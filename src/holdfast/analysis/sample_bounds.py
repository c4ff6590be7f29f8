"""How far apart two laws are, from k samples of each: intervals for TV_ε and W₁ of the laws themselves.

*Above.* A pairing of samples, one of its pairs drawn at random, is a coupling of the laws, so TV_ε(laws) ≤
E TV_ε(samples); replacing one of the n·2k samples moves the mean over n starts by at most 1/(nk), so that (McDiarmid
1989)

    P[TV_ε(laws) > TV_ε(samples) + √(log(1/a) / (nk))] ≤ a.

*Below.* By Strassen (1965) TV_ε = sup_A P(A) − Q(A^ε), where A^ε is what lies within ε of A. One half of the samples
finds a function h that changes by no more than the distance does (the potential of their W₁) and a threshold c; of
A = {h ≤ c} it is known that A^ε ⊆ {h ≤ c + ε}. The other half counts how often its P-samples have h ≤ c and its
Q-samples h ≤ c + ε; Clopper and Pearson (1934) bound both rates. Over several starts the counts are added; they are
then less spread than binomial ones (Hoeffding 1956).

So the interval of TV_ε holds with probability 95 % at least, for every number of samples, in every dimension, if the
distance obeys the triangle inequality and samples are independent. It is the interval *given the initial states*. That
of W₁ has the same two sides, but normal tails (the upper with the variance bound of Efron and Stein 1981): it is
asymptotic in k, and so are its 95 %.
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

__all__ = ["Halves", "total_variation_interval", "wasserstein_interval"]

SIDE = (1 - LEVEL) / 2
"""What each side of an interval may miss."""
NORMAL = 1.959963984540054
ROUNDING = 1e-9

_beta = cast(Any, stats).beta  # scipy ships no types


@dataclass(frozen=True)
class Halves:
    """Which samples find a witness and which count it.

    Attributes:
        fit: Of each set of k, those that find it.
        count: The others.
    """

    fit: NDArray[np.int64]
    count: NDArray[np.int64]

    @staticmethod
    def of(k: int, *, starts: int = 1, seed: int = 0) -> "Halves":
        """Halve k samples at random.

        Raises:
            RecipeError: So few that the interval could not be shorter than [0, 1].
        """
        # with all counted P-samples inside and no Q-sample near, the lower end is 2 (a/2)^(1/N) − 1
        counted = ceil(log(SIDE / 2) / log(1 / 2))
        enough = 2 * max(1, ceil(counted / starts))
        if k < enough:
            raise RecipeError(
                f"{k} rollouts of each of {starts} initial states are too few for a 95 % interval, which would be "
                f"[0, 1] whatever they did. Take {enough} or more of each."
            )
        order = torch.randperm(k, generator=stream(seed, "halves")).numpy()
        return Halves(fit=order[: k // 2], count=order[k // 2 :])


def total_variation_interval(
    pooled: Float[Tensor, "k2 k2"], epsilons: Sequence[float] | Tensor, *, seed: int = 0
) -> tuple[Estimate, ...]:
    """TV_ε of the samples at each ε, with an interval for TV_ε of the laws they came from.

    Args:
        pooled: Distances among 2k samples, those of P first.
        epsilons: Above zero.
        seed: Of halving the samples.

    Raises:
        RecipeError: Too few samples (the message says how many are enough), or an ε of zero or below.
        ShapeError: Not a square of even size.
    """
    levels, k = levels_of(epsilons), _half(pooled)
    halves = Halves.of(k, seed=seed)
    values = total_variation(pooled[:k, k:], levels)
    counts = witness(pooled.double().numpy(), levels.numpy(), halves)[1:]
    return estimates(values.numpy(), counts, counted=len(halves.count), samples=k)


def wasserstein_interval(pooled: Float[Tensor, "k2 k2"], *, seed: int = 0) -> Estimate:
    """W₁ of the samples, with an interval for W₁ of the laws they came from; asymptotic in k.

    Args:
        pooled: Distances among 2k samples, those of P first; all finite.
        seed: Of halving the samples.

    Raises:
        RecipeError: Too few samples.
        ShapeError: Not a square of even size.
        DataError: An infinite distance: W₁ is then of no use.
    """
    k = _half(pooled)
    if not bool(pooled.isfinite().all()):
        raise DataError("some samples are infinitely far from others, so W1 has no interval. Take TV_eps.")
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
    """At each ε: what the witness gains on the samples that found it; how many of the others are in A; and near it."""
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
    """Intervals from the values of the samples and the counts of the witnesses.

    Args:
        values: Of the samples, at each ε.
        counts: How many were inside and near, at each ε.
        counted: Of how many of each kind.
        samples: nk, of each kind.
    """
    inside, near = counts
    # the ends of a rate are 0 and 1 where beta's parameters would be 0
    least = np.where(inside > 0, _beta.ppf(SIDE / 2, np.maximum(inside, 1), counted - inside + 1), 0.0)
    most = np.where(near < counted, _beta.ppf(1 - SIDE / 2, near + 1, np.maximum(counted - near, 1)), 1.0)
    low = np.clip(least - most, 0.0, values)
    high = np.minimum(1.0, values + (log(1 / SIDE) / samples) ** 0.5)
    return tuple(Estimate(*map(float, ends)) for ends in zip(values, low, high, strict=True))


def _potential(pooled: NDArray[np.float64], halves: Halves, *, reach: float = 0.0) -> NDArray[np.float64]:
    """A function of slope at most 1, low where P-samples are and high where Q-samples are, at all samples.

    The potential of W₁ on the samples that fit it, continued to the others by the mean of its largest and its smallest
    continuation of slope 1 (McShane 1934): either alone would lift one set by the distance to the nearest sample.
    """
    k = len(pooled) // 2
    one, other = halves.fit, halves.fit + k
    finite = pooled.max(where=np.isfinite(pooled), initial=0.0)
    # lost samples beyond reach of any ε, not infinitely far; what has slope 1 in a smaller distance has it in a larger
    table = np.minimum(pooled, 2 * (finite + reach) + 1)
    _, u, v = transport(np.ascontiguousarray(table[np.ix_(one, other)]))
    largest = (table[:, other] - v).min(axis=1)
    smallest = (u - table[:, one]).max(axis=1)
    return -(largest + smallest) / 2


def _threshold(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """The threshold c with the largest share(one ≤ c) − share(other ≤ c), amid those that do as well; and that."""
    breaks = np.sort(np.concatenate([one, other]))
    gains = [np.searchsorted(np.sort(side), breaks, side="right") / len(side) for side in (one, other)]
    gain = gains[0] - gains[1]
    best = int(gain.argmax())
    following = breaks[min(best + 1, len(breaks) - 1)]
    return float(breaks[best] + following) / 2, float(gain[best])


def _half(pooled: Tensor) -> int:
    if pooled.shape[0] != pooled.shape[1] or pooled.shape[0] % 2 or not len(pooled):
        raise ShapeError(
            f"expected distances among 2k samples, the k of the one law first, got a table of "
            f"{pooled.shape[0]} by {pooled.shape[1]}."
        )
    return len(pooled) // 2
