"""Single coordinates: not finite, constant, discrete, or with outliers that dominate their range."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..choosing import dropping
from .findings import FEW_LEVELS, DataFinding, Summary, counted, error, good, listed, note, share, warning
from .recording import Quantity, Recording

BINS = 61
SAMPLED = 200_000
"""Rows used for quantiles and levels; bounds use all rows."""
ROUNDING, NEGLIGIBLE = 16.0, 1e-12
"""A range below this many units in the last place, or below 1e-12, is rounding, as in `data.scale`."""
NEARLY = 1e-4
"""A coordinate is nearly constant if its range is below this fraction of its largest magnitude, as in `data.scale`, or
below `SIBLINGS` times the typical range of its quantity."""
SIBLINGS = 1e-3
BULK, THIN = 0.25, 0.10
"""Fractions of the range that 98 % of the steps should cover."""


def not_finite(recording: Recording) -> dict[str, Bool[ndarray, "rows d"]]:
    """Mask of NaN and infinite numbers, for each quantity that has any."""
    masks = {item.name: ~np.isfinite(item.values) for item in recording.quantities}
    return {name: mask for name, mask in masks.items() if mask.any()}


def check_finite(recording: Recording, masks: Mapping[str, Bool[ndarray, "rows d"]]) -> Iterator[DataFinding]:
    """NaN and infinities by coordinate, with the first place."""
    if not masks:
        yield good("finite", "All numbers are finite.")
    for item in (item for item in recording.quantities if item.name in masks):
        for index in np.flatnonzero(masks[item.name].any(axis=0)):
            rows = np.flatnonzero(masks[item.name][:, index])
            episodes = np.unique(recording.episodes[recording.owner[rows]])
            yield error(
                "finite",
                f"{item.labels[index]} is {float(item.values[rows[0], index])} at {recording.where(rows[0])}: "
                f"{counted(len(rows), 'such number')} in {len(episodes)} of {len(recording.episodes)} episodes "
                f"(episode {listed(episodes.tolist())}).",
                effect="Training refuses the data set: one NaN makes every weight NaN within one update.",
                remedy=f"Repair the recording, or train without these episodes: {dropping(map(int, episodes))}. "
                "The other checks continue without them.",
                values={"coordinate": item.labels[index], "count": len(rows), "episodes": episodes.tolist()},
            )


def summarise(recording: Recording) -> list[Summary]:
    """Statistics of every coordinate of every quantity."""
    return [
        _summary(item, index) for item in recording.quantities for index in range(len(item.labels)) if len(item.values)
    ]


def _summary(item: Quantity, index: int) -> Summary:
    values = item.column(index)
    low, high = float(values.min()), float(values.max())
    rounding = ROUNDING * float(np.finfo(item.values.dtype).eps) * max(abs(low), abs(high))
    some = values[:: max(1, len(values) // SAMPLED)]
    q01, q99 = (float(q) for q in np.quantile(some, [0.01, 0.99]))
    return Summary(
        quantity=item.name,
        label=item.labels[index],
        low=low,
        high=high,
        q01=q01,
        q99=q99,
        levels=len(np.unique(some)),
        constant=high - low <= max(rounding, NEGLIGIBLE),
        counts=np.histogram(_places(some, low, high), bins=BINS, range=(0.0, 1.0))[0],
        farthest=int(np.abs(values - (q01 + q99) / 2).argmax()),
    )


def _places(values: Float[ndarray, " rows"], low: float, high: float) -> Float[ndarray, " rows"]:
    """Places of values in their range, from 0 to 1; halves, because the difference of extreme numbers overflows."""
    span = high / 2 - low / 2
    return (values.astype(np.float64) / 2 - low / 2) / (span if span > 0 else 1.0)


def check_coordinates(recording: Recording, summaries: Sequence[Summary]) -> Iterator[DataFinding]:
    """Constant, nearly constant and discrete coordinates, and those with outliers."""
    constant = list(_constant(summaries))
    nearly = list(_nearly_constant(recording, summaries))
    known = {finding.values["coordinate"] for finding in nearly}
    rest = [s for s in summaries if not s.constant and s.label not in known]
    spread = list(_outliers(recording, rest))
    yield from (*constant, *nearly, *_discrete(rest), *spread)
    if not nearly and not constant:
        yield good("constants", "No coordinate is constant or nearly constant.")
    if not spread and rest:
        worst = min(rest, key=lambda s: 1.0 if s.discrete else s.bulk)
        what = f"Ranges are well used: 98 % of the steps cover at least {share(worst.bulk)} of each ({worst.label})."
        yield good("range", what)


def _constant(summaries: Sequence[Summary]) -> Iterator[DataFinding]:
    constant = [s for s in summaries if s.constant]
    if not constant:
        return
    seen = [s for s in constant if s.quantity != "action"]
    effect = "A constant coordinate is scaled to 0 and carries no information."
    if seen:
        effect += " It is shifted but not scaled: if it differs at deployment, the network sees the raw difference."
    if len(seen) < len(constant):
        effect += " A constant action is reproduced exactly."
    yield (warning if seen else note)(
        "constants",
        f"{len(constant)} of {len(summaries)} coordinates never change: "
        f"{listed([f'{s.label} ({s.low:g})' for s in constant])}.",
        effect=effect,
        remedy="Remove them from the data set, unless they are certain to stay the same at deployment.",
        values={"coordinates": [s.label for s in constant], "at": [s.low for s in constant]},
    )


def _nearly_constant(recording: Recording, summaries: Sequence[Summary]) -> Iterator[DataFinding]:
    for s in (s for s in summaries if not s.constant):
        siblings = [other.span for other in summaries if other.quantity == s.quantity and not other.constant]
        typical = float(np.median(siblings))
        if s.span >= max(NEARLY * max(abs(s.low), abs(s.high)), SIBLINGS * typical if len(siblings) > 2 else 0.0):
            continue
        noise = _is_noise(recording, s.label)
        yield warning(
            "constants",
            f"{s.label} is nearly constant: it varies by {s.span:.3g} around {(s.low + s.high) / 2:.4g}"
            + (", and consecutive steps are uncorrelated, as in sensor noise." if noise else "."),
            effect=f"Scaling to [-1, 1] multiplies it by {2 / s.span:.3g} (a typical coordinate of the same "
            f"quantity by {2 / typical:.3g}), so its noise or rounding has the same weight as real motion.",
            remedy="Remove the coordinate from the data set if it is noise or rounding.",
            values={"coordinate": s.label, "span": s.span, "factor": 2 / s.span, "noise": noise},
        )


def _is_noise(recording: Recording, label: str) -> bool:
    """Whether consecutive steps of a coordinate are nearly uncorrelated."""
    values, inside = recording.column(label), recording.pairs()
    now, later = values[:-1][inside] - values.mean(), values[1:][inside] - values.mean()
    scale = float(np.sqrt((now**2).sum() * (later**2).sum()))
    return scale > 0 and abs(float((now * later).sum())) / scale < 0.3


def _discrete(summaries: Sequence[Summary]) -> Iterator[DataFinding]:
    if two := [s for s in summaries if s.levels == 2 and s.quantity == "action"]:
        yield note(
            "discrete",
            f"{len(two)} action coordinates are switches with only two values: "
            f"{listed([f'{s.label} ({s.low:g} or {s.high:g})' for s in two])}.",
            effect="A regression would predict values in between; a generative model samples close to one of the "
            "two values, not exactly on it.",
            remedy="Use the default generative model, and round these coordinates before applying the action.",
            values={"coordinates": [s.label for s in two]},
        )
    if coarse := [s for s in summaries if 2 < s.levels <= FEW_LEVELS]:
        yield note(
            "discrete",
            f"{len(coarse)} coordinates have few distinct values: "
            f"{listed([f'{s.label} ({s.levels} values)' for s in coarse])}.",
            effect="A coarse coordinate moves in jumps: it hides motion between them, and exaggerates motion at them.",
            remedy="Record it at the full resolution of the sensor, if that is higher.",
            values={"coordinates": [s.label for s in coarse], "levels": [s.levels for s in coarse]},
        )


def _outliers(recording: Recording, summaries: Sequence[Summary]) -> Iterator[DataFinding]:
    thin = sorted((s for s in summaries if not s.discrete and s.bulk < BULK), key=lambda s: s.bulk)
    for worst in thin[:1]:
        yield (warning if worst.bulk < THIN else note)(
            "range",
            f"98 % of the steps cover little of the range of {listed([f'{s.label} ({share(s.bulk)})' for s in thin])}. "
            f"The most distant value of {worst.label} is {recording.column(worst.label)[worst.farthest]:.4g}, at "
            f"{recording.where(worst.farthest)}; 98 % are in [{worst.q01:.4g}, {worst.q99:.4g}].",
            effect=f"Scaling uses the smallest and largest value, so 98 % of {worst.label} cover "
            f"{share(worst.bulk)} of [-1, 1]: noise of σ = 0.1 is {0.2 / max(worst.bulk, 1e-9):.2g} times that "
            "width, and errors of the network are magnified likewise.",
            remedy="If these values are errors, repair or drop the episodes; real values stay.",
            values={"coordinates": [s.label for s in thin], "bulk": [s.bulk for s in thin], "row": worst.farthest},
        )
