"""From the checkpoints of study pitfalls to its rows, comparisons and curves."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...evaluation import Estimate
from ..engine.statistics import flat, geometric_mean, paired_ratio, share, side_of, table_of
from .plan import Checked

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
    last = [_worst(_last(flights)) for flights in seeds]
    rates = [one.rate for one in last if one.kind == "exponential" and one.rate is not None]
    return {
        "arm": arm,
        **flat("error", _over(seeds, lambda flights: flights[-1].error)),
        **flat("cost", _over(seeds, _cost)),
        **flat("cost_of_better", _over(seeds, lambda flights: min(map(_median, _last(flights))))),
        **flat("cost_plus", _over(seeds, lambda flights: _of(flights, 1))),
        **flat("cost_minus", _over(seeds, lambda flights: _of(flights, -1))),
        **flat("cost_at_first", _over(seeds, lambda flights: max(map(_median, _at(flights, flights[0].step))))),
        **flat("amplification", _over(seeds, lambda flights: _cost(flights) / flights[-1].error ** 0.5)),
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
        **{f"cost{end}": [flat("cost", cost)[f"cost{end}"] for cost in costs] for end in ("", "_low", "_high")},
        "over_time": [geometric_mean(column).mean for column in last.unbind(1)],
    }


def _at(flights: Sequence[Checked], step: int) -> list[Checked]:
    return [one for one in flights if one.step == step]


def _last(flights: Sequence[Checked]) -> list[Checked]:
    return _at(flights, flights[-1].step)


def _of(flights: Sequence[Checked], sign: int) -> float:
    return next(_median(one) for one in _last(flights) if one.sign == sign)


def _worst(pair: Sequence[Checked]) -> Checked:
    return max(pair, key=_median)


def _cost(flights: Sequence[Checked]) -> float:
    return _median(_worst(_last(flights)))


def _median(one: Checked) -> float:
    return float(torch.tensor(one.peaks, dtype=torch.float64).quantile(0.5))


def _peaks(seeds: Seeds) -> Float[Tensor, "seeds starts"]:
    return table_of([_worst(_last(flights)).peaks for flights in seeds])


def _over(seeds: Seeds, number: Callable[[Sequence[Checked]], float]) -> Estimate:
    return geometric_mean(torch.tensor([number(flights) for flights in seeds], dtype=torch.float64))
