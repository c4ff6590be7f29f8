"""How well a number ranks servos by failure: Spearman's rank correlation with an interval over servos and seeds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ShapeError
from ...evaluation import Estimate
from ...evaluation.intervals import TAILS, resampling

RESAMPLES = 4000
FEWEST_SERVOS = 5
"""Smallest number of servos for which a correlation has an interval."""


@dataclass(frozen=True)
class Ranking:
    """Rank correlation of a predictor with the failure, and its difference from that of a base on the same resamples.

    Attributes:
        correlation: Correlation of the predictor.
        gain: Correlation of the predictor minus that of the base.
    """

    correlation: Estimate
    gain: Estimate


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's ρ along the last axis; ties share their mean rank, and ρ of a constant is NaN.

    >>> float(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])))
    1.0
    """
    one, other = _ranks(x), _ranks(y)
    one, other = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, other))
    size = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(axis=-1) / size


def ranking(
    predictor: Float[Tensor, "seeds servos"],
    base: Float[Tensor, "seeds servos"],
    failure: Float[Tensor, "seeds servos"],
) -> Ranking:
    """Correlations of means over seeds, with percentile intervals of a bootstrap over seeds and servos.

    Seeds are drawn jointly for all three tables, and servos too, so that the difference is paired. With few servos the
    intervals are wide and approximate; fewer than five, or a single seed, have none.

    Args:
        predictor: Positive numbers, averaged over seeds as logarithms.
        base: Those of another predictor.
        failure: What they are to rank.

    Raises:
        ShapeError: The tables have different shapes.
    """
    if not predictor.shape == base.shape == failure.shape:
        raise ShapeError(
            f"expected three tables of one shape, got {list(predictor.shape)}, {list(base.shape)} and "
            f"{list(failure.shape)}. Compare the same seeds and servos."
        )
    tables = predictor.double().log().numpy(), base.double().log().numpy(), failure.double().numpy()
    seeds, servos = failure.shape
    every = np.arange(seeds)[None], np.arange(servos)[None]
    found, other = _correlations(tables, *every)
    rng = resampling(0)
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds)), rng.integers(servos, size=(RESAMPLES, servos))
    enough = servos >= FEWEST_SERVOS and seeds > 1
    many, others = _correlations(tables, *drawn) if enough else (found[:0], other[:0])
    return Ranking(_estimate(found, many), _estimate(found - other, many - others))


def _correlations(
    tables: tuple[NDArray[np.float64], ...], seeds: Int[np.ndarray, "r s"], servos: Int[np.ndarray, "r k"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, base, failure = (table[seeds[:, :, None], servos[:, None]].mean(axis=1) for table in tables)
    return spearman(one, failure), spearman(base, failure)


def _estimate(found: NDArray[np.float64], many: NDArray[np.float64]) -> Estimate:
    usable = many[np.isfinite(many)]
    if not len(usable):
        return Estimate(float(found[0]), -np.inf, np.inf)
    low, high = np.quantile(usable, TAILS)
    return Estimate(float(found[0]), float(low), float(high))


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (x[..., None, :] < x[..., :, None]).sum(axis=-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(axis=-1)
    return below + (equal + 1) / 2
