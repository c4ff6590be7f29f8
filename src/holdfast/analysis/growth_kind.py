"""Classification of a growth curve: selection among the models of `growth_fit`, with agreement over resamples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from ..evaluation.intervals import LEVEL, Estimate
from .growth_fit import Fit, criterion, effective_steps, fit_laws

Kind = Literal["contracting", "bounded", "linear", "exponential", "floor", "unclear"]

AGREEMENT = 0.8
"""Share of the resamples that must have the same kind."""
LEVEL_RANGE = 1.25
"""A curve whose values vary by a smaller factor over the window counts as constant."""
DOUBLING = 0.7
"""A recursion that compounds to a factor below e^0.7 = 2 over the window counts as linear."""
CONVERGED = 2.0
"""A recursion has converged when its distance from the limit has decayed by e^−2."""

_stats = cast(Any, stats)  # scipy ships no types


@dataclass(frozen=True)
class Verdict:
    """Kind of growth of a curve.

    Attributes:
        kind: Kind of growth.
        rate: Factor ρ per step if contracting or exponential; slope c per step if linear.
        level: Level of a constant curve, or limit of a converging one.
        agreement: Share of the resamples of the same kind.
        law: Model from which the rate is taken.
        fitted: Fitted curve of this model.
        deviation: Root mean square deviation of logarithms from the recursion, the most general model.
        criteria: Akaike's criterion of each model, relative to the smallest.
    """

    kind: Kind
    rate: Estimate | None
    level: Estimate | None
    agreement: float
    law: str
    fitted: Float64[ndarray, " t"]
    deviation: float
    criteria: Mapping[str, float]


def classify(curves: Float64[ndarray, "r t"], *, episodes: int) -> Verdict:
    """Kind of growth of the first curve; the other curves are its resamples.

    Args:
        curves: Positive values.
        episodes: Number of independent episodes, for Student's t correction of the intervals.
    """
    laws, steps = fit_laws(curves), curves.shape[1]
    effective = effective_steps(curves[0], laws["recursion"].curve[0])
    values = {name: criterion(fit, steps, effective) for name, fit in laws.items()}
    names = list(laws)
    best = np.stack([values[name] for name in names]).argmin(0)
    kinds: list[Kind] = [_kind(laws[names[int(chosen)]], names[int(chosen)], row) for row, chosen in enumerate(best)]
    agreement = kinds[1:].count(kinds[0]) / max(len(kinds) - 1, 1)
    kind: Kind = kinds[0] if agreement >= AGREEMENT else "unclear"
    law = _law_of(kinds[0], laws, values)
    return Verdict(
        kind=kind,
        rate=_rate(kinds[0], laws[law], episodes),
        level=_level(kinds[0], laws[law], law, episodes),
        agreement=agreement,
        law=law,
        fitted=laws[law].curve[0],
        deviation=float(np.sqrt(laws["recursion"].residual[0] / steps)),
        criteria={name: float(value[0] - min(v[0] for v in values.values())) for name, value in values.items()},
    )


def _kind(fit: Fit, law: str, row: int) -> Kind:
    curve, growth = fit.curve[row], float(np.log(fit.factor[row])) * (fit.curve.shape[1] - 1)
    rising = bool(curve[-1] > curve[0])
    if _range(curve) < LEVEL_RANGE:
        return "bounded"
    if law == "exponential":
        return "exponential" if rising else "contracting"
    if law == "linear" or (abs(growth) < DOUBLING and rising):
        return "linear"
    if growth > 0:
        return "exponential"
    if not rising:
        return "contracting"
    return "bounded" if growth < -CONVERGED else "unclear"


def _range(curve: Float64[ndarray, " t"]) -> float:
    return float(max(curve[-1] / curve[0], curve[0] / curve[-1]))


def _law_of(kind: Kind, laws: Mapping[str, Fit], values: Mapping[str, Float64[ndarray, " r"]]) -> str:
    """The best among the models that can have this kind."""
    match kind:
        case "exponential" | "contracting":
            able = ["exponential", "recursion"]
        case "linear":
            able = ["linear"]
        case "bounded":
            able = ["flat"] if _range(laws["recursion"].curve[0]) < LEVEL_RANGE else ["flat", "recursion"]
        case "floor" | "unclear":
            able = ["recursion"]
    return min(able, key=lambda name: float(values[name][0]))


def _rate(kind: Kind, fit: Fit, episodes: int) -> Estimate | None:
    match kind:
        case "exponential" | "contracting":
            logs = _interval(np.log(fit.factor), episodes)
            return Estimate(*(float(np.exp(value)) for value in (logs.mean, logs.low, logs.high)))
        case "linear":
            return _interval(fit.drift, episodes)
        case _:
            return None


def _level(kind: Kind, fit: Fit, law: str, episodes: int) -> Estimate | None:
    if kind == "bounded" and law == "flat":
        return _interval(fit.start, episodes)
    if kind not in ("bounded", "contracting") or law != "recursion":
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = fit.drift / (1 - fit.factor)
    return _interval(np.where(fit.factor < 1, rest, np.inf), episodes)


def _interval(values: Float64[ndarray, " r"], episodes: int) -> Estimate:
    """Percentiles of the resamples, widened about the first value for few episodes (Hesterberg 2015)."""
    widening = float(_stats.t.ppf((1 + LEVEL) / 2, episodes - 1) / _stats.norm.ppf((1 + LEVEL) / 2))
    widening *= (episodes / (episodes - 1)) ** 0.5
    mean, rest = values[0], values[1:] if len(values) > 1 else values
    low, high = (float(np.quantile(rest, q, method="nearest")) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    if not np.isfinite([mean, low, high]).all():
        return Estimate(float(mean), min(low, float(mean)), max(high, float(mean)))
    low, high = mean - widening * (mean - low), mean + widening * (high - mean)
    return Estimate(float(mean), min(float(low), float(mean)), max(float(high), float(mean)))
