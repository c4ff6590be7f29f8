"""Rows of study fig5, sorted into the lines of its figure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ...report.palette import tint
from ..engine.tables import Row
from ..quadrotor.labels import arm_colour

Key = TypeVar("Key", int, float)

# Number of lines per arm and per panel: more cannot be distinguished.
_PER_ARM, _ALL = 4, 9


@dataclass(frozen=True)
class Line:
    """Rows of one arm that differ in one setting only.

    Attributes:
        key: The setting that all rows share: σ, or the number of demonstrations.
        rows: Rows in the order of the setting in which they differ.
        colour: The arm's colour, darker for larger keys.
        dashed: Whether noise was added in training only.
    """

    gains: str
    key: float
    name: str
    rows: tuple[Row, ...]
    colour: str
    dashed: bool = False


def spaced(values: Iterable[Key], count: int) -> list[Key]:
    """At most `count` of the distinct values, evenly by rank, including the smallest and the largest.

    >>> spaced([1, 2, 3, 4, 5, 10, 20, 30], 4)
    [1, 3, 10, 30]
    """
    ordered = sorted(set(values))
    if len(ordered) <= count:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (count - 1))] for index in range(count)]


def by_sigma(rows: Sequence[Row], prefer: Collection[float] = ()) -> list[Line]:
    """Lines over the number of demonstrations, one per arm and σ, without noise in training only."""
    return _lines([row for row in rows if row["noise"] != "train"], "sigma", "n_demos", "σ {:g}", prefer)


def by_demonstrations(rows: Sequence[Row], prefer: Collection[float] = ()) -> list[Line]:
    """Lines over σ, one per arm and number of demonstrations; a dashed one for noise in training only."""
    lines = _lines([row for row in rows if row["noise"] != "train"], "n_demos", "sigma", "N {:g}", prefer)
    # at σ = 0 the two coincide: both lines begin there
    trained = {(row["gains"], row["n_demos"]) for row in rows if row["noise"] == "train"}
    train = [row for row in rows if row["noise"] != "replica" and (row["gains"], row["n_demos"]) in trained]
    dashed = _lines(train, "n_demos", "sigma", "N {:g}, train only", prefer)
    return lines + [replace(line, dashed=True) for line in dashed]


def _lines(rows: Sequence[Row], key: str, along: str, name: str, prefer: Collection[float]) -> list[Line]:
    arms = sorted({row["gains"] for row in rows}, key=lambda gains: (gains != "none", gains))
    count = max(2, min(_PER_ARM, _ALL // max(len(arms), 1)))
    keys = _chosen({float(row[key]) for row in rows}, prefer, count)
    found = list[Line]()
    for gains in arms:
        for rank, value in enumerate(keys):
            own = [row for row in rows if row["gains"] == gains and row[key] == value]
            colour = tint(arm_colour(gains), 0.6 * (1 - (rank + 1) / len(keys)))
            if own:
                ordered = tuple(sorted(own, key=lambda row: row[along]))
                found.append(Line(gains, value, name.format(value), ordered, colour))
    return found


def _chosen(keys: Collection[float], prefer: Collection[float], count: int) -> list[float]:
    preferred = [key for key in keys if key in prefer]
    return spaced(preferred if len(keys) > count and len(preferred) >= count else keys, count)


def best_of(rows: Iterable[Row], metric: str) -> Row | None:
    """The row with the highest score or the smallest distance, among those with finite numbers."""
    finite = [row for row in rows if _finite(row)]
    return min(finite, key=lambda row: row[metric] if metric == "distance" else -row[metric], default=None)


def score_title(rows: Sequence[Row]) -> str:
    """The best score with and without gains at the fewest demonstrations."""
    fewest = min(row["n_demos"] for row in rows)
    gains, raw = _sides([row for row in rows if row["n_demos"] == fewest and row["noise"] != "train"])
    best, base = best_of(gains, "score"), best_of(raw, "score")
    if best is None or base is None:
        return "Score against the number of demonstrations"
    count = "1 demonstration" if fewest == 1 else f"{fewest} demonstrations"
    return f"From {count}: gains {best['score']:.2f}, raw actions {base['score']:.2f}"


def noise_title(rows: Sequence[Row]) -> str:
    """The effect of the strongest noise with and without gains, each where it is largest."""
    gains, raw = _sides([row for row in rows if row["noise"] != "train"])
    told = [part for part in (_change(gains, "gains"), _change(raw, "raw actions")) if part]
    most = max(row["sigma"] for row in rows)
    return f"Noise of σ {most:g} takes {', '.join(told)}" if told else "Score against noise"


def _change(rows: Sequence[Row], name: str) -> str:
    without = {(row["gains"], row["n_demos"]): row["score"] for row in rows if row["sigma"] == 0}
    most = max((row["sigma"] for row in rows), default=0.0)
    pairs = [
        (without[row["gains"], row["n_demos"]], row)
        for row in rows
        if row["sigma"] == most > 0 and (row["gains"], row["n_demos"]) in without
    ]
    if not pairs:
        return ""
    before, row = max(pairs, key=lambda pair: abs(pair[1]["score"] - pair[0]))
    return f"{name} (N {row['n_demos']}) from {before:.2f} to {row['score']:.2f}"


def distance_title(rows: Sequence[Row]) -> str:
    """The smallest distance with and without gains."""
    pairs = zip((best_of(side, "distance") for side in _sides(rows)), ("gains", "raw actions"), strict=True)
    told = [f"{name} {best['distance']:.2g}" for best, name in pairs if best is not None]
    return f"Nearest to the expert: {', '.join(told)}" if told else "Distance to the expert"


def trade_title(rows: Sequence[Row], references: Sequence[Row]) -> str:
    """A reference without learning that scores like the best policies but stays far from the expert."""
    nearest = best_of(rows, "distance")
    if nearest is not None:
        far = [r for r in references if r["distance"] > 1.3 * nearest["distance"] and r["score"] > 0.9]
        if far:
            best = max(far, key=lambda reference: reference["score"])
            return (
                f"A high score is not imitation: {best['name']} has {best['score']:.2f} at distance "
                f"{best['distance']:.2f}"
            )
    return "Score against distance to the expert"


def _sides(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with gains and rows without, those with finite numbers."""
    finite = [row for row in rows if _finite(row)]
    return [row for row in finite if row["gains"] != "none"], [row for row in finite if row["gains"] == "none"]


def _finite(row: Row) -> bool:
    return bool(np.isfinite(row["score"]) and np.isfinite(row["distance"]))
