"""How far apart two laws are at least, from draws of both: a classifier two-sample test.

    TV(P, Q)   = sup_A  P(A) − Q(A)
    TV_ε(P, Q) = inf_{X~P, Y~Q} P[‖X − Y‖ > ε] = sup_A  P(A) − Q(A^ε),    A^ε = {y : ‖y − A‖ ≤ ε}   (Strassen 1965)

Any region A gives a lower bound. It is fitted to one half of the draws, the classifier being chosen on a part of that
half, and counted on the other half: with m draws of each law there,

    2 · accuracy − 1 = share of P's draws in A − share of Q's in A^ε,

whose mean is at most TV_ε. The number right is a sum of 2m independent events of two probabilities, which is no more
spread than a binomial of their mean (Hoeffding 1956), so the exact binomial bound (Clopper and Pearson 1934) holds.
(Lopez-Paz and Oquab 2017, arXiv 1610.06545, for the test.)

The bound says how far apart the laws are *at least*: classifiers miss what they cannot express, and few draws say
little. With 2m draws held out no bound exceeds 2 · 0.05^(1/2m) − 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ..errors import DataError, ShapeError
from .classifiers import Region, classifiers

__all__ = ["FEWEST_DRAWS", "TwoSample", "pooled", "two_sample"]

FEWEST_DRAWS = 40
"""Of each law. 20 of each are then held out, which at best say TV ≥ 0.86."""
LEVEL = 0.95

_stats = cast(Any, stats)  # scipy ships no types


@dataclass(frozen=True)
class TwoSample:
    """What a classifier could tell of two laws, on draws that it had not seen.

    Attributes:
        correct: Draws that it attributed rightly.
        tested: Draws held out, as many of each law.
        classifier: The one that was chosen.
        constant: Whether each sample showed one value only, as a deterministic policy's does.
        epsilon: Distance below which two draws count as equal.
        level: Of the lower bound.
    """

    correct: int
    tested: int
    classifier: str
    constant: bool = False
    epsilon: float = 0.0
    level: float = LEVEL

    @property
    def estimate(self) -> float:
        """2 · accuracy − 1, at least 0; its expectation before that is at most TV_ε."""
        return max(0.0, 2 * self.correct / self.tested - 1)

    @property
    def lower(self) -> float:
        """TV_ε is at least this, with probability `level`."""
        return self.lower_at(self.level)

    @property
    def p_value(self) -> float:
        """Probability of so many right answers, or more, if both laws were the same."""
        return float(_stats.binom.sf(self.correct - 1, self.tested, 0.5))

    def lower_at(self, level: float) -> float:
        """The bound at another level, as when the largest of several is looked for."""
        return max(0.0, 2 * _least_rate(self.correct, self.tested, level) - 1)


def two_sample(
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "k c"],
    *,
    rng: torch.Generator,
    epsilon: float = 0.0,
    level: float = LEVEL,
) -> TwoSample:
    """Bound the distance TV_ε of two laws from below.

    Args:
        first: Independent draws of one law.
        second: As many of the other, independent of the first.
        rng: Splits the draws.
        epsilon: Draws at most so far apart count as equal, in the units of the draws; 0 for total variation.
        level: Of the bound.

    Raises:
        DataError: Fewer than 40 draws of a law, draws that are not finite, or a negative `epsilon`.
        ShapeError: Unequal numbers of draws or coordinates.

    >>> from holdfast.seeding import stream
    >>> draws = torch.randn(400, 2, dtype=torch.float64, generator=stream(0, "doc"))
    >>> found = two_sample(draws[:200], draws[200:] + 2.0, rng=stream(0, "split"))
    >>> 0.6 < found.lower < found.estimate
    True
    """
    _check(first, second, epsilon, level)
    ours, theirs = (draws.detach().cpu().double() for draws in (first, second))
    constant = all(bool((draws == draws[:1]).all()) for draws in (ours, theirs))
    order = torch.randperm(len(ours), generator=rng), torch.randperm(len(theirs), generator=rng)
    half = len(ours) // 2
    learned = ours[order[0][:half]], theirs[order[1][:half]]
    name, region = _choose(learned[0], learned[1], epsilon)
    held = ours[order[0][half:]], theirs[order[1][half:]]
    return TwoSample(
        correct=_right(region, held[0], held[1], epsilon),
        tested=2 * len(held[0]),
        classifier=name,
        constant=constant,
        epsilon=epsilon,
        level=level,
    )


def pooled(tests: Sequence[TwoSample]) -> TwoSample:
    """One test for the mean distance of several pairs of laws, from independent draws of each pair.

    The number right in all of them is again a sum of independent events, so that its bound holds for the mean of
    these pairs' distances (not for that of other pairs).
    """
    names = sorted({test.classifier for test in tests})
    return TwoSample(
        correct=sum(test.correct for test in tests),
        tested=sum(test.tested for test in tests),
        classifier="; ".join(names),
        constant=all(test.constant for test in tests),
        epsilon=tests[0].epsilon,
        level=tests[0].level,
    )


def _choose(first: Tensor, second: Tensor, epsilon: float) -> tuple[str, Region]:
    """The classifier that does best on the last third, fitted again to all."""
    fitted = 2 * len(first) // 3
    fits = classifiers(margin=epsilon)
    rights = {
        name: _right(fit(first[:fitted], second[:fitted]), first[fitted:], second[fitted:], epsilon)
        for name, fit in fits.items()
    }
    best = max(rights, key=lambda name: rights[name])
    return best, fits[best](first, second)


def _right(region: Region, first: Tensor, second: Tensor, epsilon: float) -> int:
    return int(region.holds(first, 0.0).sum()) + int((~region.holds(second, epsilon)).sum())


def _least_rate(count: int, total: int, level: float) -> float:
    """Lower end of the exact binomial interval, one-sided."""
    return float(_stats.beta.ppf(1 - level, count, total - count + 1)) if count else 0.0


def _check(first: Tensor, second: Tensor, epsilon: float, level: float) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"expected as many draws of as many numbers from both laws, got {list(first.shape)} and "
            f"{list(second.shape)}. Draw equally often from both."
        )
    if len(first) < FEWEST_DRAWS:
        raise DataError(f"{len(first)} draws of each law say nothing with confidence. Draw at least {FEWEST_DRAWS}.")
    if not bool(first.isfinite().all() & second.isfinite().all()):
        raise DataError("draws that are not finite cannot be compared. Count them apart, and leave them out.")
    if not (0 <= epsilon < float("inf") and 0 < level < 1):
        raise DataError(f"expected epsilon of 0 or above and a level between 0 and 1, got {epsilon} and {level}.")
