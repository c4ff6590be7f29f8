"""What the doctor says: findings, and the numbers that pictures are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from jaxtyping import Bool, Float, Int
from numpy import ndarray

__all__ = ["Coverage", "Diagnosis", "Finding", "Lag", "Severity", "Strip", "counted", "listed", "share"]

Severity: TypeAlias = Literal["good", "note", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: Which check found it.
        severity: `error`: training refuses the set or learns nonsense; `warning`: it learns worse than it could;
            `note`: a property of the set that a choice depends on; `good`: looked for, and not there.
        what: What was found, with numbers; episodes, steps and coordinates without a name count from 0.
        effect: What it does to training.
        remedy: What to do about it.
        values: The numbers, as JSON values.
    """

    check: str
    severity: Severity
    what: str
    effect: str = ""
    remedy: str = ""
    values: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())


@dataclass(frozen=True, kw_only=True)
class Strip:
    """How the values of one coordinate are spread over its range.

    Attributes:
        label: Quantity and name.
        low: Smallest value, which becomes -1.
        high: Largest value, which becomes 1.
        q01: Value that 1 % of the steps lie below.
        q99: Value that 1 % of the steps lie above.
        counts: Steps in each of equal bins from low to high.
    """

    label: str
    low: float
    high: float
    q01: float
    q99: float
    counts: Int[ndarray, " bins"]


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How well an action explains what a coordinate is some steps later.

    Attributes:
        label: Which action, which coordinate.
        steps: Lags, in control steps.
        agreement: Squared correlation at each lag.
        best: The lag that was found.
    """

    label: str
    steps: Sequence[int]
    agreement: Float[ndarray, " lags"]
    best: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How near the episodes come to one another, in normalised units a coordinate (those of σ).

    Attributes:
        starts: From each start to the nearest state of another episode.
        paths: The same from steps along the episodes.
        distances: Distances between observations of different episodes, ascending.
        disagreement: How much the action chunks differ at those distances, as a share of what unrelated ones do.
    """

    starts: Float[ndarray, " starts"]
    paths: Float[ndarray, " steps"]
    distances: Float[ndarray, " bins"]
    disagreement: Float[ndarray, " bins"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that was found.

    Attributes:
        facts: Name → number or text, as a table shows them.
        findings: Worst first.
        strips: Of every coordinate.
        lengths: Steps of each episode.
        idle: For some episodes, at which steps nothing moves: episode → one truth value a step.
        lags: Of each action coordinate whose answer was found.
        coverage: Of the observations, where there are at least two episodes.
    """

    facts: Mapping[str, Any]
    findings: Sequence[Finding]
    strips: Sequence[Strip] = ()
    lengths: Sequence[int] = ()
    idle: Mapping[int, Bool[ndarray, " steps"]] = field(default_factory=lambda: dict[int, Any]())
    lags: Sequence[Lag] = ()
    coverage: Coverage | None = None


def listed(items: Sequence[object], most: int = 4) -> str:
    """The first few of a list, in words.

    >>> listed([3, 8]), listed(list("abcdef"))
    ('3 and 8', 'a, b, c, d and 2 more')
    """
    words = [str(item) for item in items[:most]]
    if len(items) > most:
        return f"{', '.join(words)} and {len(items) - most} more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(number: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "episode"), counted(3, "episode")
    ('1 episode', '3 episodes')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def share(part: float) -> str:
    """A share as one reads it.

    >>> share(0.256), share(0.0123), share(0.0004), share(0.0)
    ('26 %', '1.2 %', '0.04 %', '0 %')
    """
    percent = 100 * part
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"
