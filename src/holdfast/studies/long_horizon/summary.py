"""From the long flights of study long-horizon to its rows, comparisons and curves over time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...evaluation import over_seeds
from ..engine.statistics import flat, geometric_mean, paired_ratio, share, side_of
from ..quadrotor.cells import comparison_of, row_of
from .plan import Air, Arms, LongFlight

Groups: TypeAlias = Mapping[tuple[Arms, Air], Sequence[LongFlight]]


def rows_of(groups: Groups, *, demonstrated: int) -> list[dict[str, Any]]:
    """One wide row per arm and air.

    Besides the entries of `row_of`: `early`, error in as many steps after the demonstrations' end as they are long;
    `late`, in the last tenth of the flight; `growth`, their ratio, paired by seed and start; `exponent`, the power of
    time with which the largest error so far grows from the demonstrations' end on: 0 is no growth, 1 linear growth.
    """
    return [_row(arm, air, group, demonstrated) for (arm, air), group in groups.items()]


def _row(arm: Arms, air: Air, group: Sequence[LongFlight], demonstrated: int) -> dict[str, Any]:
    block, blocks = group[0].block, len(group[0].error[0])
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64)
    first, last = demonstrated // block, max(blocks // 10, 1)
    early, late = error[..., first : 2 * first].mean(-1), error[..., -last:].mean(-1)
    growth, exponent = paired_ratio(late, early), over_seeds(_exponents(group, first).quantile(0.5, dim=1))
    return {
        **_settings(arm, air),
        "steps": block * blocks,
        **row_of([flight.scored for flight in group]),
        "early": geometric_mean(early.quantile(0.5, dim=1)).mean,
        "late": geometric_mean(late.quantile(0.5, dim=1)).mean,
        **flat("growth", growth),
        "growth_side": side_of(growth, 1.0),
        **flat("exponent", exponent),
        "exponent_side": side_of(exponent, 1.0),
        **flat("diverged_demonstrated", share(_gone(group, demonstrated))),
    }


def _settings(arm: Arms, air: Air) -> dict[str, Any]:
    return {"gains": arm[0], "n_demos": arm[1], "sigma": arm[2], "air": air}


def _exponents(group: Sequence[LongFlight], first: int) -> Float[Tensor, "seeds starts"]:
    """log(M(H) / M(h)) / log(H / h) with M the largest error so far, h the demonstrations' end, H the flight's."""
    largest = torch.tensor([flight.peak for flight in group], dtype=torch.float64).cummax(-1).values
    grown = (largest[..., -1] / largest[..., first - 1].clamp(min=1e-9)).clamp(min=1.0)
    return grown.log() / math.log(largest.shape[-1] / first)


def _gone(group: Sequence[LongFlight], steps: int) -> Bool[Tensor, "seeds starts"]:
    """Whether each flight has diverged within a number of steps."""
    return torch.tensor([[left is not None and left < steps for left in flight.left] for flight in group])


def comparisons_of(groups: Groups) -> list[dict[str, Any]]:
    """Gains against raw actions with the same noise, and noise against none with the same gains, in each air."""
    found = list[dict[str, Any]]()
    for ((kind, count, sigma), air), group in groups.items():
        bases: dict[str, Arms] = {}
        if kind != "none":
            bases["raw actions with the same noise"] = ("none", count, sigma)
        if sigma > 0:
            bases["the same without noise"] = (kind, count, 0.0)
        own = [flight.scored for flight in group]
        for name, base in bases.items():
            if other := groups.get((base, air)):
                what = {**_settings((kind, count, sigma), air), "against": name}
                found.append({**what, **comparison_of(own, [flight.scored for flight in other])})
    return found


def curves_of(groups: Groups, *, dt: float) -> list[dict[str, Any]]:
    """Error and share of diverged flights of each arm in each air over time, all seeds and starts together.

    At the end of each block, `seconds`: `median` and the 10 % and 90 % quantiles of the errors (`low`, `high`), and
    the share of flights that have diverged with its interval.
    """
    return [_curve(arm, air, group, dt) for (arm, air), group in groups.items()]


def _curve(arm: Arms, air: Air, group: Sequence[LongFlight], dt: float) -> dict[str, Any]:
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64).flatten(0, 1)
    block, blocks = group[0].block, error.shape[1]
    low, median, high = ([float(each) for each in error.quantile(q, dim=0)] for q in (0.1, 0.5, 0.9))
    shares = [share(_gone(group, block * (index + 1))) for index in range(blocks)]
    return {
        **_settings(arm, air),
        "seconds": [dt * block * (index + 1) for index in range(blocks)],
        "median": median,
        "low": low,
        "high": high,
        "diverged": [each.mean for each in shares],
        "diverged_low": [each.low for each in shares],
        "diverged_high": [each.high for each in shares],
    }
