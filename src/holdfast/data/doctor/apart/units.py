"""Columns that are in another unit in some episodes: degrees among radians, millimetres among metres.

For a column and an episode, with quantiles over its rows,

    level = log Q₀.₉(|x[t]|)        step = log Q₀.₉(|x[t + 1] − x[t]|)

Another unit multiplies both by the same factor. A quicker motion changes the steps alone, another place the level
alone. A factor is reported where the episodes form two groups that no episode lies between.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..findings import DataFinding, counted, listed, warning
from ..recording import Recording
from .factors import factor_of

KNOWN = {
    180 / math.pi: ("180/π", "degrees and radians"),
    1000.0: ("1000", "millimetres and metres, or grams and kilograms"),
    100.0: ("100", "centimetres and metres, or percent and fractions"),
    10.0: ("10", "millimetres and centimetres"),
    25.4: ("25.4", "millimetres and inches"),
}
NAMED, ERRORS = 1.1, 2.0
"""Largest ratio of an estimated factor to a known one, or largest distance in standard errors of the estimate."""
CLEAR = 2.0
"""Smallest distance of the second nearest known factor, as a multiple of that of the nearest."""
LEAST, APART, AGREE = 6.0, 2.0, 2.0
"""Smallest factor, smallest ratio between the two groups, and largest ratio of the factors of level and step."""
REACH = 1.0
"""Part of its range by which a column, in the common unit, may exceed the range of the other episodes."""
SURE, SEPARATE, SEVERAL, MANY = 2.5, 5.0, 2, 0.3
"""Largest ratio of the estimates by other columns and by sizes; without other columns, the smallest distance of the two
groups in standard deviations of one, and the fewest episodes, or the smallest share of those with small numbers: some
motion is small, and some starts are near 0."""
FEWEST = 3

Sizes: TypeAlias = tuple[Float[ndarray, " episodes"], Float[ndarray, " episodes"]]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Columns in another unit in some episodes.

    Attributes:
        labels: Names of the columns.
        factor: Their size relative to the other episodes.
        known: Whether the factor is one between two usual units.
        episodes: Those episodes, as numbered in the data set.
    """

    labels: tuple[str, ...]
    factor: float
    known: bool
    episodes: tuple[int, ...]


def units_of(recording: Recording) -> list[Unit]:
    """Columns in another unit, by groups of episodes."""
    if len(recording.lengths) < FEWEST or int(recording.lengths.max()) < 2:
        return []
    groups = dict[bytes, list[float]]()
    sizes = {label: _sizes(recording, label) for item in recording.quantities for label in item.labels}
    for label, (level, step) in sizes.items():
        group = _group(level, step)
        if group is not None and _fits(recording.by_episode(recording.column(label)), group[0], group[1]):
            groups.setdefault(group[0].tobytes(), []).append(group[1])
    found = [_unit(recording, np.frombuffer(key, dtype=bool), own, sizes) for key, own in groups.items()]
    return [unit for unit in found if unit is not None]


def _sizes(recording: Recording, label: str) -> Sizes:
    """Level and step of a column in each episode; −∞ where it is 0."""
    parts = recording.by_episode(recording.column(label))
    level = [float(np.quantile(np.abs(part), 0.9)) for part in parts]
    step = [float(np.quantile(np.abs(np.diff(part)), 0.9)) if len(part) > 1 else 0.0 for part in parts]
    with np.errstate(divide="ignore"):
        return np.log(level), np.log(step)


def _group(
    level: Float[ndarray, " episodes"], step: Float[ndarray, " episodes"]
) -> tuple[Bool[ndarray, " episodes"], float] | None:
    """The smaller group of episodes, and its factor; `None` if there are not two."""
    both = (level + step) / 2
    if not np.isfinite(both).all():
        return None
    order = np.argsort(both)
    gaps = np.diff(both[order])
    at = int(gaps.argmax())
    if gaps[at] < math.log(APART):
        return None
    large = both > both[order[at]]
    # of two halves, the one without the first episode is called the other unit
    small = large if (large.sum(), large[0]) < ((~large).sum(), not large[0]) else ~large
    if (~small).sum() < 2:
        return None
    by_level, by_step = (float(np.median(x[small]) - np.median(x[~small])) for x in (level, step))
    factor = (by_level + by_step) / 2
    if abs(factor) < math.log(LEAST) or abs(by_level - by_step) > math.log(AGREE):
        return None
    return small, math.exp(factor)


def _fits(parts: list[ndarray], small: Bool[ndarray, " episodes"], factor: float) -> bool:
    """Whether the column, in the common unit, stays near the range that it has in the other episodes."""
    own = np.concatenate([part for part, chosen in zip(parts, small, strict=True) if chosen]) / factor
    others = np.concatenate([part for part, chosen in zip(parts, small, strict=True) if not chosen])
    room = REACH * float(np.ptp(others))
    return bool(others.min() - room <= own.min() and own.max() <= others.max() + room)


def _unit(
    recording: Recording, small: Bool[ndarray, " episodes"], own: list[float], sizes: Mapping[str, Sizes]
) -> Unit | None:
    """All columns of a group of episodes that differ by about the same factor, and the factor."""
    rough = float(np.median(np.log(own)))
    labels = tuple(label for label, size in sizes.items() if _differs(*size, small, rough))
    spread = float(np.median([_spread(sizes[label][0][~small]) for label in labels]))
    exact = factor_of(recording, labels, small)
    # where other columns tell the factor, motion that is merely small has the factor 1
    if exact is not None and not math.exp(rough) / SURE < exact < SURE * math.exp(rough):
        return None
    fewest = SEVERAL if rough > 0 else max(SEVERAL, MANY * len(small))
    if exact is None and (small.sum() < fewest or abs(rough) < SEPARATE * spread):
        return None
    factor = rough if exact is None else math.log(exact)
    error = ERRORS * spread / math.sqrt(small.sum()) if exact is None else 0.0
    near = named(math.exp(factor), math.log(NAMED) + error)
    numbers = tuple(int(e) for e in recording.episodes[small])
    return Unit(labels=labels, factor=near or math.exp(factor), known=near is not None, episodes=numbers)


def _spread(level: Float[ndarray, " episodes"]) -> float:
    return 1.4826 * float(np.median(np.abs(level - np.median(level))))


def _differs(
    level: Float[ndarray, " episodes"],
    step: Float[ndarray, " episodes"],
    small: Bool[ndarray, " episodes"],
    factor: float,
) -> bool:
    """Whether a column differs by about a factor: by level and steps, or by level alone if it stands still."""
    away = [float(np.median(x[small]) - np.median(x[~small])) for x in (level, step) if np.isfinite(x).all()]
    return len(away) > 0 and bool(np.isfinite(level).all()) and all(abs(one - factor) < math.log(APART) for one in away)


def named(factor: float, room: float) -> float | None:
    """The known factor, or inverse of one, within a distance of the logarithm, if no other one is nearly as near."""
    size = abs(math.log(factor))
    first, second = sorted(KNOWN, key=lambda known: abs(size - math.log(known)))[:2]
    away = abs(size - math.log(first))
    if away > room or abs(size - math.log(second)) < CLEAR * away:
        return None
    return first if factor > 1 else 1 / first


def check_units(found: list[Unit], recording: Recording) -> Iterator[DataFinding]:
    """Columns that are in another unit in some episodes."""
    for one in found:
        numbers = list(one.episodes)
        size = max(one.factor, 1 / one.factor)
        text, unit = KNOWN[min(KNOWN, key=lambda known: abs(known - size))] if one.known else (f"about {size:.2g}", "")
        how = f"{text} times {'larger' if one.factor > 1 else 'smaller'}"
        undo = f"{'divide' if one.factor > 1 else 'multiply'} these columns by {text} there"
        yield warning(
            "units",
            f"The units are mixed: in {counted(len(numbers), 'episode')} of {len(recording.lengths)}, values and steps "
            f"of {listed(one.labels)} are {how} than in the others"
            + (f", as between {unit}" if unit else "")
            + f": episode {listed(numbers, 12)}.",
            effect="The same pose has two numbers. Scaling to [-1, 1] compresses the episodes with small numbers to a "
            "point, and a policy is right for neither.",
            remedy=f"Convert to one unit before training ({undo}), or leave these episodes out: "
            f"--drop-episodes {' '.join(map(str, numbers))}.",
            values={
                "columns": list(one.labels),
                "factor": one.factor,
                "named": text if one.known else "",
                "episodes": numbers,
            },
        )
