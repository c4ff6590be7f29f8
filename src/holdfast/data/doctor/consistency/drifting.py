"""Offsets of single coordinates that grow or step over the episodes, as of one joint whose calibration drifts.

With the residuals y − ŷ of one regression on all episodes, the mean of each episode,

    m_e = (1/T_e) Σ_t (y − ŷ)

is compared with the order of the episodes: by the correlation r with a ramp, and with a step at each place. Errors
within an episode depend on one another, so that the episodes are the sample: z = artanh(r) √(E − 3) is normal without a
drift. It is compared with the quantile for as many trials as there are coordinates and places. One joint of many is
found so, whose share of the squared error of all rows is small. Where neither the response nor the demonstrator depends
on a reading, the distance at which it ends from its goal is compared in the same way.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..columns import goals
from ..recording import Recording
from .changes import Changed, from_on, ramp
from .moments import FEWEST, Moments

LEVEL = 0.002
"""Probability of a false drift in a set, over all coordinates and places."""
SHARE, STEP = 0.3, 0.5
"""Smallest fractions of the variance of the means of the episodes that a ramp and a step explain: in sets that were
recorded way by way, neighbouring episodes are alike, which looks like a step more than like a ramp."""
BETTER = 0.06
"""Additional fraction that a step must explain, because it is chosen among many places."""
EPISODES = 10
LAST, ENDS = 5, 0.8
"""Rows at the end of an episode, and correlation of the final values with those of a goal."""
OFFSET = 0.01
"""Smallest shift that is reported, as a fraction of the range of the coordinate."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """How far the means of the episodes of one coordinate follow a ramp or a step."""

    trend: float
    step: float
    first: int

    @property
    def best(self) -> float:
        """Fraction of the variance that a ramp or a step explains."""
        return max(self.trend, self.step)

    @property
    def large(self) -> bool:
        """Whether a ramp or a step explains enough."""
        return self.trend >= SHARE or self.step >= STEP

    @property
    def stepped(self) -> bool:
        """Whether a step explains more than a ramp."""
        return self.step > self.trend + BETTER


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A coordinate that ends at another distance from its goal in later episodes.

    Attributes:
        first: The first changed episode (of the recording); 0 for a trend.
        shift: Its change from the first episode to the last, or at the step.
    """

    state: str
    goal: str
    kind: Literal["trend", "step"]
    first: int
    shift: float


def drift_of(moments: Moments) -> Changed | None:
    """Coordinates of a regression whose constant drifts over the episodes; `None` if there are none."""
    count = len(moments.rows)
    if count < EPISODES:
        return None
    weights = moments.fit(np.ones(count, dtype=bool))
    means = (moments.cross[:, -1] - moments.gram[:, -1] @ weights) / np.maximum(moments.rows, 1)[:, None]
    found = [series_of(means[:, target]) for target in range(means.shape[1])]
    clear = _clear(found, count)
    if not clear:
        return None
    main = max(clear, key=lambda n: found[n].best)
    steps = found[main].stepped
    over = from_on(count, found[main].first).astype(float) if steps else ramp(count)
    fitted = moments.with_input(over).fit(np.ones(count, dtype=bool))
    return Changed(
        kind="step" if steps else "trend",
        first=found[main].first if steps else 0,
        targets=tuple(clear),
        gain=tuple(found[n].best for n in clear),
        shift=tuple(float(fitted[-2, n]) for n in clear),
        before=weights,
        after=weights,
    )


def series_of(means: Float[ndarray, " episodes"]) -> Series:
    """How far numbers of the episodes follow a ramp or a step."""
    count = len(means)
    total = float(((means - means.mean()) ** 2).sum())
    if total <= 0:
        return Series(trend=0.0, step=0.0, first=0)
    along = ramp(count)
    trend = float(along @ (means - means.mean())) ** 2 / (float(along @ along) * total)
    places = np.arange(FEWEST, count - FEWEST + 1)
    sums = np.cumsum(means - means.mean())[places - 1]
    # between-group variance of two groups whose sums are s and −s
    steps = sums**2 * (1 / places + 1 / (count - places)) / total
    best = int(steps.argmax())
    return Series(trend=trend, step=float(steps[best]), first=int(places[best]))


def _clear(found: list[Series], count: int) -> list[int]:
    trials = len(found) * (1 + max(count - 2 * FEWEST, 0))
    return [n for n, one in enumerate(found) if one.large and significant(one.best, count, trials)]


def significant(share: float, count: int, trials: int) -> bool:
    """Whether a fraction of the variance is larger than chance gives in the best of these trials."""
    z = math.atanh(min(math.sqrt(share), 1 - 1e-12)) * math.sqrt(count - 3)
    return trials * math.erfc(z / math.sqrt(2)) < LEVEL


def missing_of(recording: Recording) -> Missing | None:
    """The coordinate whose final distance from its goal drifts most clearly; `None` if none does."""
    count, states = len(recording.lengths), recording.states.values.astype(np.float64)
    held = goals(states, recording)
    pairs = list(_paired(states, held, recording)) if count >= EPISODES else []
    away = [_final(states[:, moving] - states[:, goal], recording) for moving, goal in pairs]
    found = [series_of(values) for values in away]
    clear = _clear(found, count)
    if not clear:
        return None
    at = max(clear, key=lambda n: found[n].best)
    over = from_on(count, found[at].first).astype(float) if found[at].stepped else ramp(count)
    shift = float(np.polyfit(over, away[at], 1)[0])
    labels, (moving, goal) = recording.states.labels, pairs[at]
    if abs(shift) < OFFSET * float(np.ptp(states[:, moving])):
        return None
    return Missing(
        state=labels[moving],
        goal=labels[goal],
        kind="step" if found[at].stepped else "trend",
        first=found[at].first if found[at].stepped else 0,
        shift=shift,
    )


def _final(values: Float[ndarray, " rows"], recording: Recording) -> Float[ndarray, " episodes"]:
    """Mean of the last rows of each episode."""
    ends = recording.starts + recording.lengths
    return np.array(
        [values[max(start, end - LAST) : end].mean() for start, end in zip(recording.starts, ends, strict=True)]
    )


def _paired(
    states: Float[ndarray, "rows n"], held: Bool[ndarray, " n"], recording: Recording
) -> Iterator[tuple[int, int]]:
    """Coordinates and the goals that they end at."""
    final = states[recording.starts + recording.lengths - 1]
    final = (final - final.mean(axis=0)) / np.maximum(final.std(axis=0), 1e-300)
    moving = np.flatnonzero(~held & (np.abs(final).max(axis=0) > 0))
    for goal in np.flatnonzero(held & (np.abs(final).max(axis=0) > 0)):
        alike = final[:, moving].T @ final[:, goal] / len(final)
        if len(moving) and alike.max() >= ENDS:
            yield int(moving[alike.argmax()]), int(goal)
