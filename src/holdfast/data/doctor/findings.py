"""Results of the doctor: findings, and the numbers for pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from jaxtyping import Bool, Float, Int
from numpy import ndarray

FEW_LEVELS = 32
"""Largest number of distinct values of a discrete coordinate."""

Severity: TypeAlias = Literal["good", "note", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """Result of a check.

    Attributes:
        check: Name of the check.
        severity: `error`: training refuses the data set or fails; `warning`: training suffers; `note`: a property that
            some choices depend on; `good`: no defect found.
        what: The finding with its numbers; episodes, steps and unnamed coordinates count from 0.
        effect: Effect on training.
        remedy: Recommended action.
        values: The numbers, as JSON values.
    """

    check: str
    severity: Severity
    what: str
    effect: str = ""
    remedy: str = ""
    values: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())


def _with(severity: Severity) -> Callable[..., DataFinding]:
    def finding(
        check: str, what: str, effect: str = "", remedy: str = "", values: Mapping[str, Any] | None = None
    ) -> DataFinding:
        """Result of a check, of the severity in the function's name."""
        return DataFinding(check=check, severity=severity, what=what, effect=effect, remedy=remedy, values=values or {})

    return finding


good, note, warning, error = _with("good"), _with("note"), _with("warning"), _with("error")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of one coordinate over its range; quantiles and levels use a sample of the rows.

    Attributes:
        label: Name of the coordinate in sentences.
        low: Smallest value, scaled to -1.
        high: Largest value, scaled to 1.
        counts: Number of steps in equal bins from low to high.
        levels: Number of distinct values.
        constant: Whether it never changes, up to rounding.
        farthest: Row of the value that is farthest from the middle of the quantiles.
    """

    quantity: str
    label: str
    low: float
    high: float
    q01: float
    q99: float
    counts: Int[ndarray, " bins"]
    levels: int
    constant: bool
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


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How well an action explains a state coordinate some steps later.

    Attributes:
        label: Names of the action and of the coordinate.
        steps: Lags, in control steps.
        agreement: Squared correlation at each lag.
        best: Estimated lag.
    """

    label: str
    steps: Sequence[int]
    agreement: Float[ndarray, " lags"]
    best: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Distances between episodes, in normalised units per coordinate (the units of σ).

    Attributes:
        starts: Distance from each start to the nearest state of another episode.
        paths: The same distance for steps along the episodes.
        distances: Distances between observations of different episodes, ascending.
        disagreement: Difference of action chunks at those distances, relative to that of unrelated chunks.
    """

    starts: Float[ndarray, " starts"]
    paths: Float[ndarray, " steps"]
    distances: Float[ndarray, " bins"]
    disagreement: Float[ndarray, " bins"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Result of inspecting a data set.

    Attributes:
        facts: Properties of the data set by name.
        findings: Results of the checks, worst first.
        strips: Distribution of every coordinate.
        lengths: Steps of each episode.
        idle: Steps at which nothing moves, for some episodes: episode → one boolean per step.
        lags: Estimated lag of each action coordinate with a clear response.
        coverage: Coverage of the observations; `None` with fewer than two episodes.
    """

    facts: Mapping[str, Any]
    findings: Sequence[DataFinding]
    strips: Sequence[Summary] = ()
    lengths: Sequence[int] = ()
    idle: Mapping[int, Bool[ndarray, " steps"]] = field(default_factory=lambda: dict[int, Any]())
    lags: Sequence[Lag] = ()
    coverage: Coverage | None = None


def listed(items: Sequence[object], most: int = 4) -> str:
    """The first few items of a list as text.

    >>> listed([3, 8]), listed(list("abcdef"))
    ('3 and 8', 'a, b, c, d and 2 more')
    """
    words = [str(item) for item in items[:most]]
    if len(items) > most:
        return f"{', '.join(words)} and {len(items) - most} more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(number: int, thing: str) -> str:
    """A number with its noun.

    >>> counted(1, "episode"), counted(3, "episode")
    ('1 episode', '3 episodes')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def share(part: float) -> str:
    """A fraction as a percentage.

    >>> share(0.256), share(0.0123), share(0.0004), share(0.0)
    ('26 %', '1.2 %', '0.04 %', '0 %')
    """
    percent = 100 * part
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"
