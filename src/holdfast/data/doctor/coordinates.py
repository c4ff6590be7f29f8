"""Each coordinate by itself: finite, constant, discrete, or spread so thinly that scaling wastes its range."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .findings import Finding, Strip, counted, listed, share
from .recording import Quantity, Recording

__all__ = ["Summary", "check_coordinates", "check_finite", "not_finite", "strips_of", "summarise"]

BINS = 61
SAMPLED = 200_000
"""Rows that quantiles and levels are taken from; bounds are of all rows."""
ROUNDING, NEGLIGIBLE = 16.0, 1e-12
"""As `data.scale`: a range of so many units in the last place, or below 1e-12, is rounding."""
NEARLY = 1e-4
"""A range below this share of the largest magnitude (as `data.scale`), or below a tenth of it a sibling's range."""
SIBLINGS = 1e-3
FEW_LEVELS = 32
"""A coordinate with no more distinct values than this counts as discrete."""
BULK, THIN = 0.25, 0.10
"""Shares of the range that 98 % of the steps should fill at least."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One coordinate in numbers; quantiles and levels are of a sample of the rows."""

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
        """From the smallest to the largest value."""
        return self.high - self.low

    @property
    def bulk(self) -> float:
        """Share of the range between the 1 % and 99 % quantiles."""
        return (self.q99 - self.q01) / self.span if self.span > 0 else 1.0

    @property
    def discrete(self) -> bool:
        """Few distinct values: a switch, a mode, a coarse sensor."""
        return self.levels <= FEW_LEVELS


def not_finite(recording: Recording) -> dict[str, Bool[ndarray, "rows d"]]:
    """Quantity → which numbers are NaN or infinite, for quantities that hold any."""
    masks = {item.name: ~np.isfinite(item.values) for item in recording.quantities}
    return {name: mask for name, mask in masks.items() if mask.any()}


def check_finite(recording: Recording, masks: dict[str, Bool[ndarray, "rows d"]]) -> list[Finding]:
    """NaN and infinities, by coordinate and first place."""
    if not masks:
        return [Finding(check="finite", severity="good", what="All numbers are finite.")]
    found = list[Finding]()
    for item in recording.quantities:
        for index in np.flatnonzero(masks[item.name].any(axis=0)) if item.name in masks else ():
            rows = np.flatnonzero(masks[item.name][:, index])
            episodes = np.unique(recording.episodes[recording.owner[rows]])
            value = float(item.values[rows[0], index])
            found.append(
                Finding(
                    check="finite",
                    severity="error",
                    what=f"{item.labels[index]} is {value} at {recording.say(int(rows[0]))}: "
                    f"{counted(len(rows), 'such number')} in {len(episodes)} of {len(recording.episodes)} episodes "
                    f"(episode {listed(episodes.tolist())}).",
                    effect="Training refuses the set: one NaN makes every weight NaN within a step.",
                    remedy="Repair the recording, or drop these episodes with holdfast.data.select(episodes, keep). "
                    "The other checks here go on without them.",
                    values={"coordinate": item.labels[index], "count": len(rows), "episodes": episodes.tolist()},
                )
            )
    return found


def summarise(recording: Recording) -> list[Summary]:
    """Every coordinate of every quantity in numbers."""
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
    """What a picture shows of them."""
    return [Strip(label=s.label, low=s.low, high=s.high, q01=s.q01, q99=s.q99, counts=s.counts) for s in summaries]


def check_coordinates(recording: Recording, summaries: Sequence[Summary]) -> list[Finding]:
    """Constant, nearly constant, discrete and thinly spread coordinates."""
    nearly = _nearly_constant(recording, summaries)
    known = {finding.values["coordinate"] for finding in nearly}
    rest = [s for s in summaries if not s.constant and s.label not in known]
    spread = _thinly_spread(recording, rest)
    found = [*_constant(summaries), *nearly, *_discrete(rest), *spread]
    if not nearly and not _constant(summaries):
        found.append(Finding(check="constants", severity="good", what="No coordinate is constant or nearly so."))
    if not spread and rest:
        worst = min(rest, key=lambda s: 1.0 if s.discrete else s.bulk)
        what = f"Ranges are well filled: 98 % of the steps use at least {share(worst.bulk)} of each ({worst.label})."
        found.append(Finding(check="range", severity="good", what=what))
    return found


def _constant(summaries: Sequence[Summary]) -> list[Finding]:
    constant = [s for s in summaries if s.constant]
    if not constant:
        return []
    seen = [s for s in constant if s.quantity != "action"]
    said = listed([f"{s.label} ({s.low:g})" for s in constant])
    effect = "A constant coordinate becomes 0 and carries nothing."
    if seen:
        effect += " It is only shifted, not scaled: if it differs in deployment, the network sees that difference raw."
    if len(seen) < len(constant):
        effect += " A constant action is played back as it is."
    return [
        Finding(
            check="constants",
            severity="warning" if seen else "note",
            what=f"{len(constant)} of {len(summaries)} coordinates never change: {said}.",
            effect=effect,
            remedy="Leave them out of the set, unless they are certain to stay as they are in deployment.",
            values={"coordinates": [s.label for s in constant], "at": [s.low for s in constant]},
        )
    ]


def _nearly_constant(recording: Recording, summaries: Sequence[Summary]) -> list[Finding]:
    found = list[Finding]()
    for s in (s for s in summaries if not s.constant):
        siblings = [other.span for other in summaries if other.quantity == s.quantity and not other.constant]
        typical = float(np.median(siblings))
        if s.span >= max(NEARLY * max(abs(s.low), abs(s.high)), SIBLINGS * typical if len(siblings) > 2 else 0.0):
            continue
        wiggle = _steps_forget(recording, s.label)
        found.append(
            Finding(
                check="constants",
                severity="warning",
                what=f"{s.label} is nearly constant: it varies by {s.span:.3g} about {(s.low + s.high) / 2:.4g}"
                + (", and one step tells nothing of the next, as in sensor noise." if wiggle else "."),
                effect=f"Scaling to [-1, 1] blows it up {2 / s.span:.3g} times (a typical coordinate beside it "
                f"{2 / typical:.3g} times), so noise or rounding in it weighs as much as real motion.",
                remedy="Leave the coordinate out of the set if it is noise or rounding.",
                values={"coordinate": s.label, "span": s.span, "factor": 2 / s.span, "noise": wiggle},
            )
        )
    return found


def _steps_forget(recording: Recording, label: str) -> bool:
    """Whether neighbouring steps of a coordinate are all but uncorrelated."""
    item, index = next((q, q.labels.index(label)) for q in recording.quantities if label in q.labels)
    values, inside = item.column(index), recording.pairs()
    now, later = values[:-1][inside] - values.mean(), values[1:][inside] - values.mean()
    scale = float(np.sqrt((now**2).sum() * (later**2).sum()))
    return scale > 0 and abs(float((now * later).sum())) / scale < 0.3


def _discrete(summaries: Sequence[Summary]) -> list[Finding]:
    found = list[Finding]()
    two = [s for s in summaries if s.levels == 2 and s.quantity == "action"]
    if two:
        found.append(
            Finding(
                check="discrete",
                severity="note",
                what=f"{len(two)} action coordinates are switches, with two values only: "
                f"{listed([f'{s.label} ({s.low:g} or {s.high:g})' for s in two])}.",
                effect="A regression would answer with values in between; a generative model draws near one of the "
                "two, not on it.",
                remedy="Keep the default generative model, and round these coordinates where the action is applied.",
                values={"coordinates": [s.label for s in two]},
            )
        )
    coarse = [s for s in summaries if 2 < s.levels <= FEW_LEVELS]
    if coarse:
        said = listed([f"{s.label} ({s.levels} values)" for s in coarse])
        found.append(
            Finding(
                check="discrete",
                severity="note",
                what=f"{len(coarse)} coordinates take few distinct values: {said}.",
                effect="A coarse coordinate moves in jumps: between them it hides motion, and at them it seems to "
                "leap.",
                remedy="Record it at the sensor's full resolution, if there is more to be had.",
                values={"coordinates": [s.label for s in coarse], "levels": [s.levels for s in coarse]},
            )
        )
    return found


def _thinly_spread(recording: Recording, summaries: Sequence[Summary]) -> list[Finding]:
    thin = sorted((s for s in summaries if not s.discrete and s.bulk < BULK), key=lambda s: s.bulk)
    if not thin:
        return []
    worst = thin[0]
    value = _value_at(recording, worst)
    said = listed([f"{s.label} ({share(s.bulk)})" for s in thin])
    return [
        Finding(
            check="range",
            severity="warning" if worst.bulk < THIN else "note",
            what=f"98 % of the steps fill little of the range of {said}. The farthest value of {worst.label} is "
            f"{value(worst.farthest):.4g}, at {recording.say(worst.farthest)}; 98 % lie in [{worst.q01:.4g}, "
            f"{worst.q99:.4g}].",
            effect=f"Scaling goes by the smallest and largest value, so the bulk of {worst.label} uses "
            f"{share(worst.bulk)} of [-1, 1]: noise of σ = 0.1 there is {0.2 / max(worst.bulk, 1e-9):.2g} times that "
            "width, and errors of the network grow alike.",
            remedy="If the far values are faults, drop or repair those episodes. If they are real (a start, an "
            "impact), train with a smaller --sigma-train and look at what the far steps teach.",
            values={"coordinates": [s.label for s in thin], "bulk": [s.bulk for s in thin], "row": worst.farthest},
        )
    ]


def _value_at(recording: Recording, summary: Summary) -> Callable[[int], float]:
    item = next(q for q in recording.quantities if summary.label in q.labels)
    column: Float[ndarray, " rows"] = item.values[:, item.labels.index(summary.label)]
    return lambda row: float(column[row])
