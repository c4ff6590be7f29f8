"""Statistics over training seeds and starts that the studies share.

Tables are `[seeds, starts]`. Intervals are 95 %; a difference is significant when its interval excludes zero (a ratio:
one). No correction is made for the number of comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...evaluation import Estimate, over_both, over_seeds, rate

Side: TypeAlias = Literal["above", "below", "not significant"]

INTERVALS = (
    "A difference is significant when its 95 % interval, the wider of Student's over seeds and a bootstrap over seeds "
    "and starts, excludes zero (a ratio: one). No correction is made for the number of comparisons."
)

_SMALLEST = 1e-9  # a distance of exactly 0 has no logarithm


def paired_difference(table: Float[Tensor, "seeds starts"]) -> Estimate:
    """Mean of paired differences, with the interval of `over_both`."""
    return over_both(table)


def paired_ratio(values: Float[Tensor, "seeds starts"], base: Float[Tensor, "seeds starts"]) -> Estimate:
    """Geometric mean of paired ratios `values / base`, with the interval of `paired_difference` on the logarithms."""
    return _exp(paired_difference(values.clamp(min=_SMALLEST).log() - base.clamp(min=_SMALLEST).log()))


def geometric_mean(values: Float[Tensor, " seeds"]) -> Estimate:
    """Geometric mean over seeds, with Student's interval of the logarithms."""
    return _exp(over_seeds(values.clamp(min=_SMALLEST).log()))


def share(events: Bool[Tensor, "seeds starts"]) -> Estimate:
    """Share of true events: the wider of the exact binomial interval and Student's over seeds, within [0, 1].

    The binomial interval alone would treat all episodes as independent, which those of one training are not; Student's
    alone is empty where all seeds agree. Of a single training it is the binomial interval.
    """
    pooled = rate(events.flatten())
    if len(events) == 1:
        return pooled
    seeds = over_seeds(events.double().mean(dim=1))
    return Estimate(pooled.mean, max(0.0, min(pooled.low, seeds.low)), min(1.0, max(pooled.high, seeds.high)))


def side_of(estimate: Estimate, null: float) -> Side:
    """The side of `null` on which the whole interval lies, or "not significant".

    >>> side_of(Estimate(1.5, 1.1, 2.0), null=1.0)
    'above'
    """
    if estimate.low > null:
        return "above"
    return "below" if estimate.high < null else "not significant"


def sides_of(rows: Sequence[Mapping[str, Any]], name: str, null: float = 0.0) -> list[Side]:
    """`side_of` the value `name` of each row."""
    return [side_of(estimate_in(row, name), null) for row in rows]


def seeds_in_favour(table: Float[Tensor, "seeds starts"]) -> int:
    """Number of seeds whose mean difference is positive."""
    return int((table.mean(dim=1) > 0).sum())


def table_of(values: Sequence[Sequence[float | bool]]) -> Float[Tensor, "seeds starts"]:
    """One row per seed, one column per start, in float64."""
    return torch.tensor(values, dtype=torch.float64)


def flat(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three entries of a row: `name`, `name_low`, `name_high`; infinite ends without an interval."""
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def estimate_in(row: Mapping[str, Any], name: str) -> Estimate:
    """The estimate that `flat` stored in a row."""
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _exp(estimate: Estimate) -> Estimate:
    # the interval of two very different seeds can exceed the range of floats
    mean, low, high = (math.exp(min(value, 700.0)) for value in (estimate.mean, estimate.low, estimate.high))
    return Estimate(mean, low, high) if estimate.has_interval else replace(estimate, mean=mean)
