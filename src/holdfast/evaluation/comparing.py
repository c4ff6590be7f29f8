"""Two or more policies from the same starts: paired differences, with intervals that hold for all of them at once.

    d_{k,s} = score of one arm − score of another,  training k, start s
    interval at level 1 − 0.05 / m for m differences (Bonferroni), so that all hold together with 95 % or more

An arm is one run, or several trainings of the same recipe. Differences of outcomes (solved or not) have the score
interval of Tango (1998), which is not empty where two policies solve the same starts, all others that of `over_both`.
With several trainings, Tango's interval takes the pairs of all trainings for independent. They are not where a start is
easy or hard for all, so that the wider of it and of `over_both` is taken.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError
from . import quantiles
from .intervals import LEVEL, Estimate, over_both, rate

Verdict: TypeAlias = Literal["higher", "lower", "no difference found"]


@dataclass(frozen=True)
class Arm:
    """Scores of the trainings of one recipe, from the same starts.

    Attributes:
        name: Name in tables and pictures.
        scores: The task's own score of each episode, one row for each training.
    """

    name: str
    scores: Float[Tensor, "trainings starts"]

    @property
    def estimate(self) -> Estimate:
        """Mean score with its own 95 % interval."""
        if not is_outcome(self.scores):
            return over_both(self.scores)
        pooled = rate(self.scores.flatten() == 1)
        return _within(pooled, over_both(self.scores), 0.0) if len(self.scores) > 1 else pooled


@dataclass(frozen=True)
class Difference:
    """One arm's score minus another's.

    Attributes:
        first: Name of the arm whose score it is.
        second: Name of the arm that is subtracted.
        alone: The difference with its own 95 % interval.
        together: The same with an interval that holds together with those of all other differences.
    """

    first: str
    second: str
    alone: Estimate
    together: Estimate

    @property
    def verdict(self) -> Verdict:
        """Whether the interval that holds together with the others excludes zero."""
        if not self.together.has_interval or self.together.low <= 0 <= self.together.high:
            return "no difference found"
        return "higher" if self.together.low > 0 else "lower"


def differences(arms: Sequence[Arm], *, against_first: bool = False) -> list[Difference]:
    """Paired differences of all pairs of arms.

    Args:
        arms: At least two, with scores from the same starts and equally many trainings. The k-th trainings of two arms
            make a pair.
        against_first: Compare only with the first arm, which makes fewer differences and hence narrower intervals.

    Raises:
        DataError: The arms have other numbers of trainings or starts.
    """
    shapes = {tuple(arm.scores.shape) for arm in arms}
    if len(arms) < 2 or len(shapes) > 1:
        found = ", ".join(f"{arm.name}: {arm.scores.shape[0]} × {arm.scores.shape[1]}" for arm in arms)
        raise DataError(f"expected two or more arms with equally many trainings and starts, got {found}.")
    pairs = [(arm, arms[0]) for arm in arms[1:]] if against_first else [(b, a) for a, b in combinations(arms, 2)]
    level = 1 - (1 - LEVEL) / len(pairs)
    found = list[Difference]()
    for one, other in pairs:
        # two lost episodes, of return −∞ each, are equal
        paired = torch.where(one.scores == other.scores, 0.0, one.scores.double() - other.scores.double())
        outcomes = is_outcome(one.scores) and is_outcome(other.scores)
        alone, together = (_interval(paired, outcomes, at) for at in (LEVEL, level))
        found.append(Difference(one.name, other.name, alone, together))
    return found


def is_outcome(scores: Tensor) -> bool:
    """Whether scores only say if an episode was solved: all are 0 or 1."""
    return bool(((scores == 0) | (scores == 1)).all())


def of_outcomes(wins: int, losses: int, total: int, *, level: float = LEVEL) -> Estimate:
    """Difference of two paired rates, (wins − losses) / total, with its score interval.

        |wins − losses − n δ| / √(n (2 q̂ + δ (1 − δ))) ≤ z,    q̂ the likelihood's maximum at difference δ

    (Tango 1998, Statistics in Medicine 17(8), eq. 9 to 12.) Without a single win or loss of n pairs it is
    ± z² / (n + z²).

    Args:
        wins: Pairs that only the first solved.
        losses: Pairs that only the second solved.
        total: Number of pairs.
        level: Probability that the interval is to hold.

    >>> none = of_outcomes(0, 0, 50)
    >>> round(none.low, 6), round(none.high - 1.96**2 / (50 + 1.96**2), 4)
    (-0.071348, -0.0)
    """
    found, limit = (wins - losses) / total, quantiles.normal((1 + level) / 2)

    def excess(delta: float) -> float:
        return abs(_score(wins, losses, total, delta)) - limit

    return Estimate(found, _border(excess, found, -1.0), _border(excess, found, 1.0))


def _score(wins: int, losses: int, total: int, delta: float) -> float:
    """Tango's statistic: normal with variance 1 if δ is the true difference."""
    b = -wins - losses + (2 * total - wins + losses) * delta
    c = -losses * delta * (1 - delta)
    rest = (math.sqrt(max(b * b - 8 * total * c, 0.0)) - b) / (4 * total)
    variance = total * (2 * rest + delta * (1 - delta))
    gap = wins - losses - total * delta
    if gap == 0:
        return 0.0
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)


def _border(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Where the statistic reaches its limit, between a difference inside the interval and one end of the range."""
    if excess(outside) <= 0:
        return outside
    for _ in range(100):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return outside


def _interval(paired: Float[Tensor, "trainings starts"], outcomes: bool, level: float) -> Estimate:
    if not outcomes:
        return over_both(paired, level=level)
    counts = int((paired > 0).sum()), int((paired < 0).sum()), paired.numel()
    pooled = of_outcomes(*counts, level=level)
    return pooled if len(paired) == 1 else _within(pooled, over_both(paired, level=level), -1.0)


def _within(pooled: Estimate, both: Estimate, lowest: float) -> Estimate:
    """The wider of two intervals, within the range of the quantity."""
    return Estimate(pooled.mean, max(lowest, min(pooled.low, both.low)), min(1.0, max(pooled.high, both.high)))
