"""What a sweep over demonstrations and noise measured, sorted into lines to draw."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ...errors import UnknownNameError
from ...evaluation.intervals import Estimate
from ...report.palette import GAINS, OTHERS, RAW_ACTIONS, tint

__all__ = ["Arm", "Line", "Published", "Reference", "Row", "by_demonstrations", "by_sigma", "spaced"]

Key = TypeVar("Key", int, float)

# Of one arm, and of all: more lines in a panel cannot be told apart.
_PER_ARM, _ALL = 4, 9


@dataclass(frozen=True, order=True)
class Arm:
    """What is cloned: raw actions, or gains from one way of synthesis."""

    gains: bool
    synthesis: str

    @property
    def name(self) -> str:
        """As written on the picture."""
        return f"gains ({self.synthesis})" if self.gains else "raw actions"

    @property
    def colour(self) -> str:
        """The arm's own in all pictures."""
        if not self.gains:
            return RAW_ACTIONS
        match self.synthesis:
            case "tvlqr":
                return GAINS
            case "dare":
                return OTHERS[0]
            case "receding":
                return OTHERS[1]
            case "none":
                return OTHERS[2]
            case other:
                raise UnknownNameError("synthesis", other, ["dare", "none", "receding", "tvlqr"])


@dataclass(frozen=True)
class Row:
    """One setting of the sweep, over its seeds."""

    setting: str
    arm: Arm
    n_demos: int
    sigma: float
    noise: str
    score: Estimate
    distance: Estimate

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Row":
        """From the flat form that is stored in `result.json`; `null` is read as NaN."""
        return Row(
            setting=values["setting"],
            arm=Arm(gains=values["gains"], synthesis=values["synthesis"]),
            n_demos=values["n_demos"],
            sigma=float(values["sigma"]),
            noise=values["noise"],
            score=Estimate(_number(values["score"]), _number(values["low"]), _number(values["high"])),
            distance=Estimate(
                _number(values["distance"]), _number(values["distance_low"]), _number(values["distance_high"])
            ),
        )


@dataclass(frozen=True)
class Reference:
    """What is reached without learning."""

    name: str
    score: float
    distance: float

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Reference":
        """From its flat form."""
        return Reference(values["name"], _number(values["score"]), _number(values["distance"]))


@dataclass(frozen=True)
class Published:
    """A point read off the published figure."""

    gains: bool
    n_demos: int
    sigma: float
    score: float

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Published":
        """From its flat form."""
        return Published(values["gains"], values["n_demos"], float(values["sigma"]), _number(values["score"]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


@dataclass(frozen=True)
class Line:
    """Rows of one arm that differ in one thing only.

    Attributes:
        arm: Which one.
        key: What they share: σ, or the number of demonstrations.
        name: That, in words.
        rows: In the order of what they differ in.
        colour: The arm's, the darker the larger the key.
        dashed: Whether noise was added in training only.
    """

    arm: Arm
    key: float
    name: str
    rows: tuple[Row, ...]
    colour: str
    dashed: bool = False


def spaced(values: Iterable[Key], count: int) -> list[Key]:
    """At most `count` of the distinct values, the smallest and the largest among them, evenly by rank.

    >>> spaced([1, 2, 3, 4, 5, 10, 20, 30], 4)
    [1, 3, 10, 30]
    """
    ordered = sorted(set(values))
    if len(ordered) <= count:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (count - 1))] for index in range(count)]


def by_sigma(rows: Sequence[Row], prefer: Collection[float] = ()) -> list[Line]:
    """Lines along the number of demonstrations, one an arm and σ; noise in training only is left to the other panel.

    Args:
        rows: Of one setting.
        prefer: Values of σ to choose from where not all can be shown.
    """
    replica = [row for row in rows if row.noise != "train"]
    return _lines(replica, lambda row: row.sigma, lambda row: row.n_demos, "σ {:g}", prefer)


def by_demonstrations(rows: Sequence[Row], prefer: Collection[float] = ()) -> list[Line]:
    """Lines along σ, one an arm and number of demonstrations, and a dashed one where noise was in training only."""
    lines = _lines([row for row in rows if row.noise != "train"], _demos, lambda row: row.sigma, "N {:g}", prefer)
    # At σ = 0 there is no noise to tell the two apart: both lines begin there.
    trained = {(row.arm, row.n_demos) for row in rows if row.noise == "train"}
    train = [row for row in rows if row.noise != "replica" and (row.arm, row.n_demos) in trained]
    dashed = _lines(train, _demos, lambda row: row.sigma, "N {:g}, train only", prefer)
    return lines + [replace(line, dashed=True) for line in dashed]


def _demos(row: Row) -> float:
    return float(row.n_demos)


def _lines(
    rows: Sequence[Row],
    key: Callable[[Row], float],
    along: Callable[[Row], float],
    name: str,
    prefer: Collection[float],
) -> list[Line]:
    arms = sorted({row.arm for row in rows})
    count = max(2, min(_PER_ARM, _ALL // max(len(arms), 1)))
    keys = _chosen({key(row) for row in rows}, prefer, count)
    found: list[Line] = []
    for arm in arms:
        for rank, value in enumerate(keys):
            own = tuple(sorted((row for row in rows if row.arm == arm and key(row) == value), key=along))
            colour = tint(arm.colour, 0.6 * (1 - (rank + 1) / len(keys)))
            if own:
                found.append(Line(arm, value, name.format(value), own, colour))
    return found


def _chosen(keys: Collection[float], prefer: Collection[float], count: int) -> list[float]:
    preferred = [key for key in keys if key in prefer]
    return spaced(preferred if len(keys) > count and len(preferred) >= count else keys, count)
