"""What the studies of the quadrotor's noise, horizon and oracle share: judged flights, their rows, paired differences.

A cell is one policy in one way of deployment, judged start by start; a row is a cell over its training seeds; a
comparison is one cell beside another, paired by seed and start.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ... import __version__
from ...evaluation import Comparison, Estimate, crossed, over_seeds, rate
from ...schema import to_plain
from .world import QuadrotorWorld, digest_of_world, make_world, read_world

__all__ = [
    "Judged",
    "Preset",
    "Verdict",
    "compared",
    "digest_of",
    "geometric",
    "judged",
    "kept_world",
    "ratio",
    "row_of",
    "share",
    "verdict",
    "world_digest",
    "world_of",
]

Preset: TypeAlias = Literal["quick", "full"]
Verdict: TypeAlias = Literal["above", "below", "not told apart"]

QUICK_WORLD, FULL_WORLD = (20, 32), (50, 64)
"""Demonstrations to choose from, held-out starts."""

# A distance of nothing at all has no logarithm; flights are never nearer than rounding.
_NEAREST = 1e-9


@dataclass(frozen=True)
class Judged:
    """Flights beside the expert's, start by start: the fields of `evaluate.Comparison` as plain numbers."""

    score: list[float]
    distance: list[float]
    diverged: list[bool]


def judged(comparison: Comparison) -> Judged:
    """A comparison in the form that is kept."""
    return Judged(
        score=[float(value) for value in comparison.score],
        distance=[float(value) for value in comparison.distance],
        diverged=[bool(value) for value in comparison.diverged],
    )


def kept_world(folder: Path, preset: Preset, size: tuple[int, int] | None = None) -> QuadrotorWorld:
    """The world that a study keeps in its folder, made if it is not there; smaller in `quick`."""
    demonstrations, starts = size or (QUICK_WORLD if preset == "quick" else FULL_WORLD)
    return make_world(folder / "world", demonstrations=demonstrations, starts=starts)


@cache
def world_of(folder: Path) -> QuadrotorWorld:
    """The world in a study's folder, read once a process."""
    return read_world(folder / "world")


def world_digest(folder: Path) -> str:
    """What tells a study's world from another."""
    return digest_of_world(folder / "world")


def digest_of(*values: Any) -> str:
    """A few letters that change when any of the values does, or holdfast's version."""
    plain = json.dumps([__version__, *map(to_plain, values)], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:10]


def row_of(group: Sequence[Judged]) -> dict[str, Any]:
    """Numbers of one cell over its seeds, flat.

    `score`: mean over starts, then over seeds, with Student's interval over seeds. `distance`: median over starts, then
    geometric mean over seeds, the same interval on its logarithm: distances of a policy that runs away differ by
    factors. `diverged`: see `share`.
    """
    score = over_seeds(_table(group, "score").mean(dim=1))
    distance = geometric(_table(group, "distance").quantile(0.5, dim=1))
    diverged = share(_table(group, "diverged") > 0)
    return {
        **_flat("score", score),
        **_flat("distance", distance),
        **_flat("diverged", diverged),
        "runs": len(group),
    }


def compared(group: Sequence[Judged], base: Sequence[Judged]) -> dict[str, Any]:
    """One cell beside another, paired by seed and start.

    `score_difference` is the mean of the scores' differences, `distance_ratio` the geometric mean of the distances'
    ratios. Each interval is the wider of Student's over seeds and a bootstrap over seeds and starts.
    """
    score = _paired(_table(group, "score") - _table(base, "score"))
    distance = ratio(_table(group, "distance"), _table(base, "distance"))
    return {
        **_flat("score_difference", score),
        "score_verdict": verdict(score, 0.0),
        **_flat("distance_ratio", distance),
        "distance_verdict": verdict(distance, 1.0),
    }


def ratio(values: Float[Tensor, "seeds starts"], base: Float[Tensor, "seeds starts"]) -> Estimate:
    """Geometric mean of paired ratios `values / base`, with the interval of `compared`."""
    return _exp(_paired(values.clamp(min=_NEAREST).log() - base.clamp(min=_NEAREST).log()))


def geometric(values: Float[Tensor, " seeds"]) -> Estimate:
    """Geometric mean over seeds, with Student's interval of the logarithms."""
    return _exp(over_seeds(values.clamp(min=_NEAREST).log()))


def share(events: Bool[Tensor, "seeds starts"]) -> Estimate:
    """Share of true events: the wider of the exact binomial interval and Student's over seeds, within [0, 1].

    The first alone would take all flights for independent, which those of one training are not; the second alone is
    empty where all seeds agree.
    """
    pooled, seeds = rate(events.flatten()), over_seeds(events.double().mean(dim=1))
    return Estimate(pooled.mean, max(0.0, min(pooled.low, seeds.low)), min(1.0, max(pooled.high, seeds.high)))


def verdict(estimate: Estimate, nought: float) -> Verdict:
    """Which side of `nought` the whole interval lies on, if it lies on one."""
    if estimate.low > nought:
        return "above"
    return "below" if estimate.high < nought else "not told apart"


def _table(group: Sequence[Judged], name: str) -> Float[Tensor, "seeds starts"]:
    return torch.tensor([getattr(one, name) for one in group], dtype=torch.float64)


def _paired(table: Float[Tensor, "seeds starts"]) -> Estimate:
    both, seeds = crossed(table), over_seeds(table.mean(dim=1))
    return Estimate(both.mean, min(both.low, seeds.low), max(both.high, seeds.high))


def _exp(estimate: Estimate) -> Estimate:
    # an interval of two wild seeds can be wider than floats are
    return Estimate(*(math.exp(min(value, 700.0)) for value in (estimate.mean, estimate.low, estimate.high)))


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
