"""From long flights to rows: how far, how much farther late than early, how many leave and when."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...evaluation import over_seeds
from ..quadrotor.arms import Gains
from ..quadrotor.cells import Judged, compared, geometric, ratio, row_of, share, verdict

__all__ = ["AIRS", "Air", "Arms", "Curve", "LongFlight", "comparisons_of", "curves_of", "rows_of"]

Air: TypeAlias = Literal["still", "gusts"]
AIRS: tuple[Air, ...] = ("still", "gusts")

Arms: TypeAlias = tuple[Gains, int, float]
"""What an arm is over its seeds: kind of gains, demonstrations, σ."""


@dataclass(frozen=True)
class LongFlight:
    """One training's flights in one air, beside the expert's in the same; time goes in blocks of equal length.

    Attributes:
        air: Still, or in gusts.
        block: Steps of a block.
        score: See `Judged`.
        distance: See `Judged`, over the whole flight.
        error: Mean state error of each start in each block.
        peak: Largest state error of each start in each block.
        left: Step at which each start had diverged, `None` where it never did.
    """

    air: Air
    block: int
    score: list[float]
    distance: list[float]
    error: list[list[float]]
    peak: list[list[float]]
    left: list[int | None]

    @property
    def judged(self) -> Judged:
        """As other studies judge flights."""
        return Judged(self.score, self.distance, [step is not None for step in self.left])


@dataclass(frozen=True)
class Curve:
    """An arm in one air over time, all seeds and starts together.

    Attributes:
        gains: Kind of gains, "none" for raw actions.
        n_demos: Demonstrations.
        sigma: Std of the noise in training and flight.
        air: Still, or in gusts.
        seconds: End of each block [s].
        median: Of the errors in each block.
        low: 10 % quantile of the errors.
        high: 90 % quantile of the errors.
        diverged: Share that has diverged by the end of each block.
        diverged_low: Lower end of its interval.
        diverged_high: Upper end of its interval.
    """

    gains: Gains
    n_demos: int
    sigma: float
    air: Air
    seconds: list[float]
    median: list[float]
    low: list[float]
    high: list[float]
    diverged: list[float]
    diverged_low: list[float]
    diverged_high: list[float]


Groups: TypeAlias = Mapping[tuple[Arms, Air], Sequence[LongFlight]]


def rows_of(groups: Groups, *, demonstrated: int) -> list[dict[str, Any]]:
    """One flat object an arm and air.

    Beside what `row_of` tells: `early`, error in as many steps after the demonstrations' end as they are long; `late`,
    in the last tenth of the flight; `growth`, their ratio, paired by seed and start; `exponent`, the power of time that
    the largest error so far grows with from the demonstrations' length on: 0 is no growth, 1 a linear one.

    Args:
        groups: Flights of each arm and air, one a seed.
        demonstrated: Steps of a demonstration.
    """
    return [_row(arm, air, group, demonstrated) for (arm, air), group in groups.items()]


def _row(arm: Arms, air: Air, group: Sequence[LongFlight], demonstrated: int) -> dict[str, Any]:
    block, blocks = group[0].block, len(group[0].error[0])
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64)
    first, last = demonstrated // block, max(blocks // 10, 1)
    early, late = error[..., first : 2 * first].mean(-1), error[..., -last:].mean(-1)
    growth, exponent = ratio(late, early), over_seeds(_exponents(group, first).quantile(0.5, dim=1))
    soon = share(_gone(group, demonstrated))
    return {
        "gains": arm[0],
        "n_demos": arm[1],
        "sigma": arm[2],
        "air": air,
        "steps": block * blocks,
        **row_of([flight.judged for flight in group]),
        "early": geometric(early.quantile(0.5, dim=1)).mean,
        "late": geometric(late.quantile(0.5, dim=1)).mean,
        "growth": growth.mean,
        "growth_low": growth.low,
        "growth_high": growth.high,
        "growth_verdict": verdict(growth, 1.0),
        "exponent": exponent.mean,
        "exponent_low": exponent.low,
        "exponent_high": exponent.high,
        "exponent_verdict": verdict(exponent, 1.0),
        "diverged_demonstrated": soon.mean,
        "diverged_demonstrated_low": soon.low,
        "diverged_demonstrated_high": soon.high,
    }


def _exponents(group: Sequence[LongFlight], first: int) -> Float[Tensor, "seeds starts"]:
    """log(M(H) / M(h)) / log(H / h) with M the largest error so far, h the demonstrations' end, H the flight's."""
    largest = torch.tensor([flight.peak for flight in group], dtype=torch.float64).cummax(-1).values
    grown = (largest[..., -1] / largest[..., first - 1].clamp(min=1e-9)).clamp(min=1.0)
    return grown.log() / math.log(largest.shape[-1] / first)


def _gone(group: Sequence[LongFlight], steps: int) -> Bool[Tensor, "seeds starts"]:
    """Who has diverged within so many steps."""
    return torch.tensor([[left is not None and left < steps for left in flight.left] for flight in group])


def comparisons_of(groups: Groups) -> list[dict[str, Any]]:
    """In each air: gains beside raw actions of the same noise, noise beside none of the same kind."""
    found = list[dict[str, Any]]()
    for ((kind, count, sigma), air), group in groups.items():
        bases: dict[str, Arms] = {}
        if kind != "none":
            bases["raw actions with the same noise"] = ("none", count, sigma)
        if sigma > 0:
            bases["the same without noise"] = (kind, count, 0.0)
        own = [flight.judged for flight in group]
        for name, base in bases.items():
            if other := groups.get((base, air)):
                what = {"gains": kind, "n_demos": count, "sigma": sigma, "air": air, "against": name}
                found.append({**what, **compared(own, [flight.judged for flight in other])})
    return found


def curves_of(groups: Groups, *, dt: float) -> list[Curve]:
    """Error and share of diverged flights over time, for pictures."""
    return [_curve(arm, air, group, dt) for (arm, air), group in groups.items()]


def _curve(arm: Arms, air: Air, group: Sequence[LongFlight], dt: float) -> Curve:
    error = torch.tensor([flight.error for flight in group], dtype=torch.float64).flatten(0, 1)
    block, blocks = group[0].block, error.shape[1]
    low, median, high = ([float(each) for each in error.quantile(q, dim=0)] for q in (0.1, 0.5, 0.9))
    shares = [share(_gone(group, block * (index + 1))) for index in range(blocks)]
    return Curve(
        *arm,
        air=air,
        seconds=[dt * block * (index + 1) for index in range(blocks)],
        median=median,
        low=low,
        high=high,
        diverged=[each.mean for each in shares],
        diverged_low=[each.low for each in shares],
        diverged_high=[each.high for each in shares],
    )
