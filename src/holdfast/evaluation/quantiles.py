"""Quantiles behind the intervals, from `scipy.special`: importing `scipy.stats` takes longer than a short evaluation.

normal      Φ⁻¹(q)
student     t such that P(T ≤ t) = q, T of Student's distribution
sign        smallest m with P(X ≤ m) ≥ q, X ~ Binomial(n, ½)
binomial    exact interval of a rate (Clopper and Pearson 1934): I⁻¹(q; k, n − k + 1), I⁻¹(1 − q; k + 1, n − k)
"""

import math
from typing import Any, cast

from scipy import special  # pyright: ignore[reportMissingTypeStubs]

_special = cast(Any, special)  # scipy ships no types


def normal(q: float) -> float:
    """Quantile of the standard normal distribution.

    >>> round(normal(0.975), 4)
    1.96
    """
    return float(_special.ndtri(q))


def student(q: float, degrees: int) -> float:
    """Quantile of Student's distribution.

    >>> round(student(0.975, 4), 3)
    2.776
    """
    return float(_special.stdtrit(degrees, q))


def sign(q: float, count: int) -> int:
    """Smallest m such that at most m heads of `count` coins have a probability of at least q.

    >>> sign(0.025, 10)
    2
    """
    m = max(math.ceil(_special.bdtrik(q, count, 0.5)), 0)
    # the inverse of a sum is rounded
    while m > 0 and _special.bdtr(m - 1, count, 0.5) >= q:
        m -= 1
    while _special.bdtr(m, count, 0.5) < q:
        m += 1
    return m


def binomial(events: int, total: int, tail: float) -> tuple[float, float]:
    """Exact interval of the rate of `events` in `total`, with the probability `tail` beyond each end.

    >>> low, high = binomial(0, 50, 0.025)
    >>> low, round(high - (1 - 0.025 ** (1 / 50)), 12)
    (0.0, 0.0)
    """
    low = float(_special.betaincinv(events, total - events + 1, tail)) if events else 0.0
    high = float(_special.betaincinv(events + 1, total - events, 1 - tail)) if events < total else 1.0
    return low, high
