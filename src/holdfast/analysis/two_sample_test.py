"""Lower bound on the distance of two distributions from samples: a classifier two-sample test.

    TV(P, Q)   = sup_A  P(A) − Q(A)
    TV_ε(P, Q) = inf_{X~P, Y~Q} P[‖X − Y‖ > ε] = sup_A  P(A) − Q(A^ε),    A^ε = {y : ‖y − A‖ ≤ ε}   (Strassen 1965)

Every region A gives a lower bound. The region is fitted to one half of the samples (the classifier is selected on a
part of that half) and evaluated on the other half. With m held-out samples of each distribution,

    2 · accuracy − 1 = share of P's samples in A − share of Q's samples in A^ε,

has a mean of at most TV_ε. The number of correct predictions is a sum of 2m independent events with two probabilities,
whose spread is at most that of a binomial with their mean (Hoeffding 1956), so the exact binomial bound (Clopper and
Pearson 1934) holds. (Lopez-Paz and Oquab 2017, arXiv 1610.06545, for the test.)

The true distance may be much larger: classifiers miss differences they cannot express, and with 2m held-out samples no
bound exceeds 2 · 0.05^(1/2m) − 1.
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

FEWEST_DRAWS = 40
"""Smallest number of samples of each distribution; with 20 held-out samples of each the bound is at most 0.86."""
LEVEL = 0.95

_stats = cast(Any, stats)  # scipy ships no types


@dataclass(frozen=True)
class TwoSample:
    """Result of a classifier two-sample test on held-out samples.

    Attributes:
        correct: Number of correctly classified samples.
        tested: Number of held-out samples, half from each distribution.
        classifier: Name of the selected classifier.
        constant: Whether each sample consists of one value, as for a deterministic policy.
        epsilon: Distance up to which two samples count as equal.
        level: Confidence level of the lower bound.
    """

    correct: int
    tested: int
    classifier: str
    constant: bool = False
    epsilon: float = 0.0
    level: float = LEVEL

    @property
    def estimate(self) -> float:
        """2 · accuracy − 1, at least 0; before this clipping its expectation is at most TV_ε."""
        return max(0.0, 2 * self.correct / self.tested - 1)

    @property
    def lower(self) -> float:
        """Lower bound of TV_ε with confidence `level`."""
        return self.lower_at(self.level)

    @property
    def p_value(self) -> float:
        """Probability of at least as many correct predictions if both distributions are equal."""
        return float(_stats.binom.sf(self.correct - 1, self.tested, 0.5))

    def lower_at(self, level: float) -> float:
        """Lower bound at another level, for example for the maximum of several tests."""
        return max(0.0, 2 * _least_rate(self.correct, self.tested, level) - 1)


def two_sample(
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "k c"],
    *,
    rng: torch.Generator,
    epsilon: float = 0.0,
    level: float = LEVEL,
) -> TwoSample:
    """Lower bound of the distance TV_ε of two distributions.

    Args:
        first: Independent samples of one distribution.
        second: As many samples of the other, independent of the first.
        rng: Random generator for the split.
        epsilon: Distance up to which samples count as equal, in their units; 0 for total variation.
        level: Confidence level of the bound.

    Raises:
        DataError: There are fewer than 40 samples of a distribution, non-finite samples, or a negative `epsilon`.
        ShapeError: The numbers of samples or coordinates differ.

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
    """One test for the mean distance of several pairs of distributions, from independent samples of each pair.

    The total number of correct predictions is again a sum of independent events, so the bound holds for the mean
    distance of these pairs (not for that of other pairs).
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
    """Classifier with the best accuracy on the last third, refitted to all samples."""
    fitted = 2 * len(first) // 3
    fits = classifiers(margin=epsilon)
    rights = {
        name: _right(fit(first[:fitted], second[:fitted]), first[fitted:], second[fitted:], epsilon)
        for name, fit in fits.items()
    }
    best = max(rights, key=lambda name: rights[name])
    return best, fits[best](first, second)


def _right(region: Region, first: Tensor, second: Tensor, epsilon: float) -> int:
    return int(region.contains(first, 0.0).sum()) + int((~region.contains(second, epsilon)).sum())


def _least_rate(count: int, total: int, level: float) -> float:
    """Lower end of the one-sided exact binomial interval."""
    return float(_stats.beta.ppf(1 - level, count, total - count + 1)) if count else 0.0


def _check(first: Tensor, second: Tensor, epsilon: float, level: float) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"expected equal numbers of samples and coordinates from both distributions, got {list(first.shape)} and "
            f"{list(second.shape)}. Draw equally often from both."
        )
    if len(first) < FEWEST_DRAWS:
        raise DataError(f"{len(first)} samples per distribution are too few. Draw at least {FEWEST_DRAWS}.")
    if not bool(first.isfinite().all() & second.isfinite().all()):
        raise DataError("samples that are not finite cannot be compared. Remove them and count them separately.")
    if not (0 <= epsilon < float("inf") and 0 < level < 1):
        raise DataError(f"expected epsilon of 0 or above and a level between 0 and 1, got {epsilon} and {level}.")
