"""First observations of flights against those of the demonstrations.

A first observation that no demonstration came near is the sign of another order of coordinates, of another unit or of
another frame. Two tests, each per coordinate:

several flights     Flights and demonstrations that begin alike are exchangeable, so the number K of b flights that
                    begin outside the range of the first observations of n demonstrations is beta-binomial with
                    parameters (2, n − 1). The coordinate is outside if P(K ≥ k) is below 0.001, divided by the number
                    of coordinates. The test assumes no law of the starts.
few flights         At least half of the flights begin outside that range by a margin that grows as n falls.

With fewer than five demonstrations a start that is not demonstrated is normal, and nothing is said. Of runs that do not
store the first observations, only values far outside everything that was demonstrated count.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .interface import Coordinates

MANY = 10
"""Number of flights from which their count is tested."""
FEWEST = 5
"""Number of demonstrations from which the range of their first observations tells something."""
LEVEL = 1e-3
"""Largest probability of an alarm where flights and demonstrations begin alike."""
UNKNOWN = 10
"""Widths of the range that a value lies outside of it, where the number of demonstrations is not known."""
ROUNDING = 1e-5
"""Difference that is rounding, relative to the magnitude: single precision has 6 · 10⁻⁸ at each operation."""
FACTORS = {180 / math.pi: "degrees and radians", 1000.0: "a factor of 1000", 100.0: "a factor of 100"}
"""Ratios of common units."""


@dataclass(frozen=True)
class Outside:
    """A coordinate whose first values are outside those of every demonstration.

    Attributes:
        index: Coordinate of the observation vector.
        count: Number of flights that begin outside.
        value: The value that is farthest outside.
        low: Smallest value of the demonstrations that it is compared with.
        high: Largest value.
        of_first: Whether that range is of the demonstrations' first steps, as opposed to all of their steps.
        factor: Factor that brings all first values into the demonstrations' range, if a common one does.
    """

    index: int
    count: int
    value: float
    low: float
    high: float
    of_first: bool
    factor: float | None = None


def outside(trained: Coordinates, episodes: int | None, seen: Float[Tensor, "b d"]) -> list[Outside]:
    """Coordinates of first observations `[b, d]` that are outside every demonstration.

    Args:
        trained: Coordinates of the observations in training, in the order of `seen`.
        episodes: Number of training episodes; `None` if it is not known.
        seen: The first observation of each flight.
    """
    values = seen.detach().double().cpu()
    values = values[values.isfinite().all(dim=1)]
    if not len(values) or (episodes is not None and episodes < FEWEST):
        return []
    low, high = torch.tensor([trained.low, trained.high], dtype=torch.float64)
    rounding = ROUNDING * torch.maximum(low.abs(), high.abs()) + torch.finfo(torch.float32).tiny
    found = dict[int, Outside]()
    if trained.first_low is not None and trained.first_high is not None and episodes is not None:
        first = torch.tensor([trained.first_low, trained.first_high], dtype=torch.float64)
        margin = rounding + _margin(first[1] - first[0], high - low, episodes, len(values))
        beyond = (values < first[0] - margin) | (values > first[1] + margin)
        found = _listed(beyond, _alarming(beyond, episodes), values, first, of_first=True)
    # a width away from everything that was ever observed, more where the number of demonstrations is not known
    width = (high - low) * (1 if episodes is not None else UNKNOWN)
    far = (values < low - width - rounding) | (values > high + width + rounding)
    far = far & ((width > 0) | torch.tensor(episodes is not None))
    return [*({**_listed(far, 2 * far.sum(0) >= len(values), values, torch.stack([low, high])), **found}).values()]


def scaled(trained: Coordinates, episodes: int | None, seen: Float[Tensor, "b d"]) -> list[tuple[int, float]]:
    """Coordinates whose first values fill the demonstrations' range only in another unit, with the factor.

    Values in radians lie inside a range in degrees, so they are not outside of it; but they all lie in a small part
    around zero, and multiplied by 57.3 they fill it. Needs ten flights and ten demonstrations.
    """
    values = seen.detach().double().cpu()
    known = trained.first_low is not None and trained.first_high is not None
    if len(values) < MANY or (episodes or 0) < MANY or not known or not bool(values.isfinite().all()):
        return []
    first = torch.tensor([trained.first_low, trained.first_high], dtype=torch.float64)
    width, spread = first[1] - first[0], values.amax(0) - values.amin(0)
    found = list[tuple[int, float]]()
    for index in range(values.shape[1]):
        for factor in FACTORS:
            grown = factor * values[:, index]
            fills = 0.7 * width[index] < factor * spread[index] < 1.3 * width[index]
            slack = 0.15 * width[index]
            inside = (grown > first[0, index] - slack) & (grown < first[1, index] + slack)
            if bool(fills) and bool(inside.all()):
                found.append((index, factor))
                break
    return found


def _margin(first: Tensor, whole: Tensor, episodes: int, flights: int) -> Float[Tensor, " d"]:
    """Distance beyond the range of first observations that may be chance."""
    if flights >= MANY:
        return 0.05 * whole
    # where all demonstrations begin with one value, chance plays no part
    return torch.where(first > 0, 0.2 * whole + 6 / (episodes - 1) * first, 0.05 * whole)


def _alarming(beyond: Bool[Tensor, "b d"], episodes: int) -> Bool[Tensor, " d"]:
    flights, coordinates = beyond.shape
    counts = beyond.sum(dim=0)
    if flights < MANY:
        return 2 * counts >= flights
    fewest = fewest_outside(flights, episodes, LEVEL / coordinates)
    return counts >= fewest


def fewest_outside(flights: int, episodes: int, level: float) -> int:
    """Smallest k with P(K ≥ k) ≤ level, K beta-binomial(flights; 2, episodes − 1); flights + 1 if there is none.

    >>> fewest_outside(50, 60, 1e-3), fewest_outside(10, 1, 1e-3)
    (11, 11)
    """
    tail, fewest = 0.0, flights + 1
    for k in range(flights, 0, -1):
        tail += _probability(k, flights, episodes)
        if tail > level:
            break
        fewest = k
    return fewest


def _probability(k: int, flights: int, episodes: int) -> float:
    """P(K = k): k of the flights are outside the range of the demonstrations, all being exchangeable.

    C(b, k) B(k + 2, b − k + n − 1) / B(2, n − 1);   for n = 1 every value is outside
    """
    if episodes == 1:
        return float(k == flights)
    b, n = flights, episodes
    ways = math.lgamma(b + 1) - math.lgamma(k + 1) - math.lgamma(b - k + 1)
    return math.exp(ways + _log_beta(k + 2, b - k + n - 1) - _log_beta(2, n - 1))


def _log_beta(a: int, b: int) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _listed(
    beyond: Bool[Tensor, "b d"],
    alarming: Bool[Tensor, " d"],
    values: Float[Tensor, "b d"],
    bounds: Float[Tensor, "2 d"],
    *,
    of_first: bool = False,
) -> dict[int, Outside]:
    found = dict[int, Outside]()
    for index, alarm in enumerate(alarming & beyond.any(dim=0)):
        if not bool(alarm):
            continue
        low, high, column = float(bounds[0, index]), float(bounds[1, index]), values[:, index]
        distance = torch.maximum(low - column, column - high)
        worst = float(column[distance.argmax()])
        factor = _factor(column, low, high)
        found[index] = Outside(index, int(beyond[:, index].sum()), worst, low, high, of_first, factor)
    return found


def _factor(column: Float[Tensor, " b"], low: float, high: float) -> float | None:
    """A common ratio of units by which all values, divided, come into the range and fill a part of it."""
    slack = 0.15 * (high - low)
    for factor in FACTORS:
        shrunk = column / factor
        inside = bool(((shrunk >= low - slack) & (shrunk <= high + slack)).all())
        if high > low and inside and float(shrunk.abs().max()) > 0.1 * max(abs(low), abs(high)):
            return 1 / factor
    return None
