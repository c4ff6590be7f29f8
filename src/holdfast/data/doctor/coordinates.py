"""Single coordinates: not finite, constant, discrete, or with outliers that dominate their range."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .findings import DataFinding, Strip, counted, good, listed, share
from .recording import Quantity, Recording

__all__ = ["Summary", "check_coordinates", "check_finite", "not_finite", "strips_of", "summarise"]

BINS = 61
SAMPLED = 200_000
"""Rows used for quantiles and levels; bounds use all rows."""
ROUNDING, NEGLIGIBLE = 16.0, 1e-12
"""A range below this many units in the last place, or below 1e-12, is rounding, as in `data.scale`."""
NEARLY = 1e-4
"""A coordinate is nearly constant if its range is below this fraction of its largest magnitude, as in `data.scale`, or
below `SIBLINGS` times the typical range of its quantity."""
SIBLINGS = 1e-3
FEW_LEVELS = 32
"""Largest number of distinct values of a discrete coordinate."""
BULK, THIN = 0.25, 0.10
"""Fractions of the range that 98 % of the steps should cover."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of one coordinate; quantiles and levels use a sample of the rows."""

    quantity: str
    label: str
    low: float
    high: float
    q01: float
    q99: float
    levels: int
    constant: bool
    counts: Int[ndarray, " bins"]
    farthest: int

    @property
    def span(self) -> float:
        """Difference between the largest and the smallest value."""
        return self.high - self.low

    @property
    def bulk(self) -> float:
        """Fraction of the range between the 1 % and 99 % quantiles."""
        return (self.q99 - self.q01) / self.span if self.span > 0 else 1.0

    @property
    def discrete(self) -> bool:
        """Whether it has few distinct values: a switch, a mode, a coarse sensor."""
        return self.levels <= FEW_LEVELS


def not_finite(recording: Recording) -> dict[str, Bool[ndarray, "rows d"]]:
    """Mask of NaN and infinite numbers, for each quantity that has any."""
    masks = {item.name: ~np.isfinite(item.values) for item in recording.quantities}
    return {name: mask for name, mask in masks.items() if mask.any()}


def check_finite(recording: Recording, masks: dict[str, Bool[ndarray, "rows d"]]) -> list[DataFinding]:
    """NaN and infinities by coordinate, with the first place."""
    if not masks:
        return [good("finite", "All numbers are finite.")]
    found = list[DataFinding]()
    for item in recording.quantities:
        for index in np.flatnonzero(masks[item.name].any(axis=0)) if item.name in masks else ():
            rows = np.flatnonzero(masks[item.name][:, index])
            episodes = np.unique(recording.episodes[recording.owner[rows]])
            value = float(item.values[rows[0], index])
            found.append(
                DataFinding(
                    check="finite",
                    severity="error",
                    what=f"{item.labels[index]} is {value} at {recording.where(int(rows[0]))}: "
                    f"{counted(len(rows), 'such number')} in {len(episodes)} of {len(recording.episodes)} episodes "
                    f"(episode {listed(episodes.tolist())}).",
                    effect="Training refuses the data set: one NaN makes every weight NaN within one update.",
                    remedy="Repair the recording, or drop these episodes with holdfast.data.select(episodes, keep). "
                    "The other checks continue without them.",
                    values={"coordinate": item.labels[index], "count": len(rows), "episodes": episodes.tolist()},
                )
            )
    return found


def summarise(recording: Recording) -> list[Summary]:
    """Statistics of every coordinate of every quantity."""
    return [
        _summary(item, index) for item in recording.quantities for index in range(len(item.labels)) if len(item.values)
    ]


def _summary(item: Quantity, index: int) -> Summary:
    values = item.column(index)
    low, high = float(values.min()), float(values.max())
    middle = low + (high - low) / 2
    rounding = ROUNDING * float(np.finfo(item.values.dtype).eps) * max(abs(low), abs(high))
    some = values[:: max(1, len(values) // SAMPLED)]
    q01, q99 = (float(q) for q in np.quantile(some, [0.01, 0.99]))
    top = high if high > low else low + 1.0
    return Summary(
        quantity=item.name,
        label=item.labels[index],
        low=low,
        high=high,
        q01=q01,
        q99=q99,
        levels=len(np.unique(some)),
        constant=high - low <= max(rounding, NEGLIGIBLE),
        counts=np.histogram(some, bins=BINS, range=(low, top))[0],
        farthest=int(np.abs(values - (q01 + q99) / 2).argmax())
        if high > low
        else int(np.abs(values - middle).argmax()),
    )


def strips_of(summaries: Sequence[Summary]) -> list[Strip]:
    """Distributions for the picture."""
    return [Strip(label=s.label, low=s.low, high=s.high, q01=s.q01, q99=s.q99, counts=s.counts) for s in summaries]


def check_coordinates(recording: Recording, summaries: Sequence[Summary]) -> list[DataFinding]:
    """Constant, nearly constant and discrete coordinates, and those with outliers."""
    nearly = _nearly_constant(recording, summaries)
    known = {finding.values["coordinate"] for finding in nearly}
    rest = [s for s in summaries if not s.constant and s.label not in known]
    spread = _outliers(recording, rest)
    found = [*_constant(summaries), *nearly, *_discrete(rest), *spread]
    if not nearly and not _constant(summaries):
        found.append(good("constants", "No coordinate is constant or nearly constant."))
    if not spread and rest:
        worst = min(rest, key=lambda s: 1.0 if s.discrete else s.bulk)
        what = f"Ranges are well used: 98 % of the steps cover at least {share(worst.bulk)} of each ({worst.label})."
        found.append(good("range", what))
    return found


def _constant(summaries: Sequence[Summary]) -> list[DataFinding]:
    constant = [s for s in summaries if s.constant]
    if not constant:
        return []
    seen = [s for s in constant if s.quantity != "action"]
    examples = listed([f"{s.label} ({s.low:g})" for s in constant])
    effect = "A constant coordinate is scaled to 0 and carries no information."
    if seen:
        effect += " It is shifted but not scaled: if it differs at deployment, the network sees the raw difference."
    if len(seen) < len(constant):
        effect += " A constant action is reproduced exactly."
    return [
        DataFinding(
            check="constants",
            severity="warning" if seen else "note",
            what=f"{len(constant)} of {len(summaries)} coordinates never change: {examples}.",
            effect=effect,
            remedy="Remove them from the data set, unless they are certain to stay the same at deployment.",
            values={"coordinates": [s.label for s in constant], "at": [s.low for s in constant]},
        )
    ]


def _nearly_constant(recording: Recording, summaries: Sequence[Summary]) -> list[DataFinding]:
    found = list[DataFinding]()
    for s in (s for s in summaries if not s.constant):
        siblings = [other.span for other in summaries if other.quantity == s.quantity and not other.constant]
        typical = float(np.median(siblings))
        if s.span >= max(NEARLY * max(abs(s.low), abs(s.high)), SIBLINGS * typical if len(siblings) > 2 else 0.0):
            continue
        wiggle = _is_noise(recording, s.label)
        found.append(
            DataFinding(
                check="constants",
                severity="warning",
                what=f"{s.label} is nearly constant: it varies by {s.span:.3g} around {(s.low + s.high) / 2:.4g}"
                + (", and consecutive steps are uncorrelated, as in sensor noise." if wiggle else "."),
                effect=f"Scaling to [-1, 1] multiplies it by {2 / s.span:.3g} (a typical coordinate of the same "
                f"quantity by {2 / typical:.3g}), so its noise or rounding has the same weight as real motion.",
                remedy="Remove the coordinate from the data set if it is noise or rounding.",
                values={"coordinate": s.label, "span": s.span, "factor": 2 / s.span, "noise": wiggle},
            )
        )
    return found


def _is_noise(recording: Recording, label: str) -> bool:
    """Whether consecutive steps of a coordinate are nearly uncorrelated."""
    item, index = next((q, q.labels.index(label)) for q in recording.quantities if label in q.labels)
    values, inside = item.column(index), recording.pairs()
    now, later = values[:-1][inside] - values.mean(), values[1:][inside] - values.mean()
    scale = float(np.sqrt((now**2).sum() * (later**2).sum()))
    return scale > 0 and abs(float((now * later).sum())) / scale < 0.3


def _discrete(summaries: Sequence[Summary]) -> list[DataFinding]:
    found = list[DataFinding]()
    two = [s for s in summaries if s.levels == 2 and s.quantity == "action"]
    if two:
        found.append(
            DataFinding(
                check="discrete",
                severity="note",
                what=f"{len(two)} action coordinates are switches with only two values: "
                f"{listed([f'{s.label} ({s.low:g} or {s.high:g})' for s in two])}.",
                effect="A regression would predict values in between; a generative model samples close to one of the "
                "two values, not exactly on it.",
                remedy="Use the default generative model, and round these coordinates before applying the action.",
                values={"coordinates": [s.label for s in two]},
            )
        )
    coarse = [s for s in summaries if 2 < s.levels <= FEW_LEVELS]
    if coarse:
        examples = listed([f"{s.label} ({s.levels} values)" for s in coarse])
        found.append(
            DataFinding(
                check="discrete",
                severity="note",
                what=f"{len(coarse)} coordinates have few distinct values: {examples}.",
                effect="A coarse coordinate moves in jumps: it hides motion between them, and exaggerates motion at "
                "them.",
                remedy="Record it at the full resolution of the sensor, if that is higher.",
                values={"coordinates": [s.label for s in coarse], "levels": [s.levels for s in coarse]},
            )
        )
    return found


def _outliers(recording: Recording, summaries: Sequence[Summary]) -> list[DataFinding]:
    thin = sorted((s for s in summaries if not s.discrete and s.bulk < BULK), key=lambda s: s.bulk)
    if not thin:
        return []
    worst = thin[0]
    value = _value_at(recording, worst)
    examples = listed([f"{s.label} ({share(s.bulk)})" for s in thin])
    return [
        DataFinding(
            check="range",
            severity="warning" if worst.bulk < THIN else "note",
            what=f"98 % of the steps cover little of the range of {examples}. The most distant value of "
            f"{worst.label} is {value(worst.farthest):.4g}, at {recording.where(worst.farthest)}; 98 % are in "
            f"[{worst.q01:.4g}, {worst.q99:.4g}].",
            effect=f"Scaling uses the smallest and largest value, so 98 % of {worst.label} cover "
            f"{share(worst.bulk)} of [-1, 1]: noise of σ = 0.1 is {0.2 / max(worst.bulk, 1e-9):.2g} times that "
            "width, and errors of the network are magnified likewise.",
            remedy="If these values are errors, drop or repair the episodes. If they are real (a start, an "
            "impact), train with a smaller --sigma-train.",
            values={"coordinates": [s.label for s in thin], "bulk": [s.bulk for s in thin], "row": worst.farthest},
        )
    ]


def _value_at(recording: Recording, summary: Summary) -> Callable[[int], float]:
    item = next(q for q in recording.quantities if summary.label in q.labels)
    column: Float[ndarray, " rows"] = item.values[:, item.labels.index(summary.label)]
    return lambda row: float(column[row])
