"""Rows of study fig5, sorted into the lines of its figure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

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
