"""From checkpoints, evaluated in both systems, to rows, comparisons and curves over seeds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...evaluation import Estimate
from ..engine.statistics import flat, geometric_mean, paired_ratio, share, side_of


@dataclass(frozen=True)
class Checked:
    """One checkpoint in one way of deployment, in one of the two systems.

    Attributes:
        arm: Name of the deployment, a key of `deployments`.
        error: Mean square error of the first action on held-out demonstrations.
        peaks: Cost of each start: largest |p| over the episode.
        largest: Median over starts of the largest |p| so far, at each step.
        lost: Share of episodes that diverged numerically.
        kind: Kind of growth of the distance to the expert.
        rate: Growth factor per step, if the growth is exponential or contracting.
    """

    arm: str
    sign: int
    step: int
    error: float
    peaks: list[float]
    largest: list[float]
    lost: float
    kind: str
    rate: float | None


Seeds = Sequence[Sequence[Checked]]
"""Checkpoints of each training of an arm."""


def rows_of(arms: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    """One wide row per arm, at its last checkpoint.

    `cost`: median over starts of the largest |p| in the worse system, geometric mean over seeds with Student's interval
    of the logarithms; `cost_of_better` in the other system; `cost_plus` and `cost_minus` for each sign;
    `cost_at_first` before any training; `amplification`: cost over root mean square error on held-out demonstrations.
    """
    return [_row(arm, seeds) for arm, seeds in arms.items()]


def _row(arm: str, seeds: Seeds) -> dict[str, Any]:
    last = [_worst(_at(flights, flights[-1].step)) for flights in seeds]
    rates = [one.rate for one in last if one.kind == "exponential" and one.rate is not None]
    return {
        "arm": arm,
        **flat("error", _over(seeds, lambda flights: flights[-1].error)),
        **flat("cost", _over(seeds, lambda flights: _median(_worst(_at(flights, flights[-1].step))))),
        **flat("cost_of_better", _over(seeds, lambda flights: _median(_best(_at(flights, flights[-1].step))))),
        **flat("cost_plus", _over(seeds, lambda flights: _median(_of(flights, 1)))),
        **flat("cost_minus", _over(seeds, lambda flights: _median(_of(flights, -1)))),
        **flat("cost_at_first", _over(seeds, lambda flights: _median(_worst(_at(flights, flights[0].step))))),
        **flat("amplification", _over(seeds, _amplification)),
        "kinds": dict(Counter(one.kind for one in last)),
        "exponential": len(rates),
        "rate": None if not rates else geometric_mean(torch.tensor(rates, dtype=torch.float64)).mean,
        **flat("above_one", share(_peaks(seeds) > 1)),
        "seeds": len(seeds),
        "episodes": len(last[0].peaks),
    }


def comparisons_of(arms: Mapping[str, Seeds], base: str = "regression") -> list[dict[str, Any]]:
    """Ratios of costs, each in its worse system, to those of regression, paired by seed and start."""
    found = list[dict[str, Any]]()
    for arm, seeds in arms.items():
        if arm != base and base in arms:
            estimate = paired_ratio(_peaks(seeds), _peaks(arms[base]))
            found.append({"arm": arm, "against": base, **flat("ratio", estimate), "side": side_of(estimate, 1.0)})
    return found


def curves_of(arms: Mapping[str, Seeds]) -> list[dict[str, Any]]:
    """Over training: error and cost in the worse system; over the horizon: its largest |p| so far."""
    return [_curve(arm, seeds) for arm, seeds in arms.items()]


def _curve(arm: str, seeds: Seeds) -> dict[str, Any]:
    marks = sorted({one.step for one in seeds[0]})
    checked = [[_at(flights, mark) for flights in seeds] for mark in marks]
    costs = [_over(pairs, lambda pair: _median(_worst(pair))) for pairs in checked]
    last = torch.tensor([_worst(pair).largest for pair in checked[-1]], dtype=torch.float64)
    return {
        "arm": arm,
        "updates": marks,
        "error": [_over(pairs, lambda pair: pair[0].error).mean for pairs in checked],
        "cost": [cost.mean for cost in costs],
        "cost_low": [cost.low for cost in costs],
        "cost_high": [cost.high for cost in costs],
        "over_time": [geometric_mean(column).mean for column in last.unbind(1)],
    }


def _at(flights: Sequence[Checked], step: int) -> list[Checked]:
    return [one for one in flights if one.step == step]


def _of(flights: Sequence[Checked], sign: int) -> Checked:
    return next(one for one in _at(flights, flights[-1].step) if one.sign == sign)


def _worst(pair: Sequence[Checked]) -> Checked:
    return max(pair, key=_median)


def _best(pair: Sequence[Checked]) -> Checked:
    return min(pair, key=_median)


def _median(one: Checked) -> float:
    return float(torch.tensor(one.peaks, dtype=torch.float64).quantile(0.5))


def _amplification(flights: Sequence[Checked]) -> float:
    return _median(_worst(_at(flights, flights[-1].step))) / flights[-1].error ** 0.5


def _peaks(seeds: Seeds) -> Float[Tensor, "seeds starts"]:
    worst = [_worst(_at(flights, flights[-1].step)).peaks for flights in seeds]
    return torch.tensor(worst, dtype=torch.float64)


def _over(seeds: Seeds, number: Callable[[Sequence[Checked]], float]) -> Estimate:
    return geometric_mean(torch.tensor([number(flights) for flights in seeds], dtype=torch.float64))
