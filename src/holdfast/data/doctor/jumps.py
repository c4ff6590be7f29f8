"""Steps that no motion explains: angles that wrap, quaternions that change sign, teleports and one-row glitches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .findings import Finding, listed
from .recording import Quantity, Recording

__all__ = ["check_jumps"]

FAR = 10.0
"""Times the 99 % quantile of a coordinate's own steps."""
VISIBLE = 0.05
"""A jump is at least this share of the coordinate's range."""
ENOUGH = 50
"""Steps with motion that a usual one can be judged from."""
BACK = 0.3
PERIODS = {2 * math.pi: "2π", 360.0: "360"}


@dataclass(frozen=True, kw_only=True)
class Leaps:
    """Rows after which a coordinate leaps."""

    label: str
    rows: Int[ndarray, " leaps"]
    size: float
    usual: float
    glitches: int = 0
    period: float = 0.0


def check_jumps(recording: Recording) -> list[Finding]:
    """Wraps in all quantities; jumps in what is observed (actions may leap)."""
    rows = np.flatnonzero(recording.pairs())
    if not len(rows):
        return []
    wraps, leaps, flips = list[Leaps](), list[Leaps](), list[Leaps]()
    for item in recording.quantities:
        turned = _flips(item, rows)
        flips += turned
        flipped = {index for leap in turned for index in _block(item, leap)}
        for index in (i for i in range(len(item.labels)) if i not in flipped):
            values = item.column(index)
            steps = values[rows + 1] - values[rows]
            if (wrap := _wrap(item.labels[index], values, steps, rows)) is not None:
                wraps.append(wrap)
            elif item is not recording.actions and (leap := _leap(item.labels[index], values, steps, rows)):
                leaps.append(leap)
    found = [*_say_wraps(recording, wraps), *_say_flips(recording, flips), *_say_leaps(recording, leaps)]
    return found or [Finding(check="jumps", severity="good", what="No coordinate jumps, wraps or changes sign.")]


def _wrap(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Leaps | None:
    """Steps of about a whole turn, in a coordinate that stays within one turn and otherwise moves by less."""
    low, high = float(values.min()), float(values.max())
    for period in PERIODS:
        around = 0.02 * period
        within = (-period / 2 - around <= low and high <= period / 2 + around) or (
            -around <= low and high <= period + around
        )
        if not within or high - low < 0.9 * period:
            continue
        turned = np.abs(np.abs(steps) - period) < 0.25 * period
        rest = np.abs(steps[~turned])
        if turned.any() and len(rest) and float(np.quantile(rest, 0.99)) < 0.2 * period:
            size = float(np.abs(steps[turned]).max())
            return Leaps(label=label, rows=rows[turned], size=size, usual=float(np.median(rest)), period=period)
    return None


def _leap(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Leaps | None:
    sizes = np.abs(steps)
    moving = sizes[sizes > 0]
    if len(moving) < ENOUGH:
        return None
    usual = float(np.quantile(moving, 0.99))
    far = (sizes > FAR * usual) & (sizes > VISIBLE * float(values.max() - values.min()))
    if not far.any():
        return None
    after = np.minimum(rows[far] + 2, len(values) - 1)
    returned = np.abs(values[after] - values[rows[far]]) < BACK * sizes[far]
    return Leaps(label=label, rows=rows[far], size=float(sizes[far].max()), usual=usual, glitches=int(returned.sum()))


def _flips(item: Quantity, rows: Int[ndarray, " k"]) -> list[Leaps]:
    """Four neighbouring columns of length one whose next row is nearly their negative."""
    found = list[Leaps]()
    for first in range(len(item.labels) - 3):
        some = item.values[rows[:: max(1, len(rows) // 1000)], first : first + 4].astype(np.float64)
        if np.abs(np.linalg.norm(some, axis=1) - 1).max() > 1e-3:
            continue
        four = item.values[:, first : first + 4].astype(np.float64)
        product = (four[rows] * four[rows + 1]).sum(axis=1)
        turned = product < -0.8
        if turned.any():
            label = f"{item.labels[first]} to {item.labels[first + 3]}"
            found.append(Leaps(label=label, rows=rows[turned], size=2.0, usual=0.0))
    return found


def _block(item: Quantity, leap: Leaps) -> range:
    first = next(i for i, label in enumerate(item.labels) if leap.label.startswith(f"{label} to "))
    return range(first, first + 4)


def _values(recording: Recording, leaps: Sequence[Leaps]) -> dict[str, object]:
    return {
        "coordinates": [leap.label for leap in leaps],
        "counts": [len(leap.rows) for leap in leaps],
        "places": [recording.place(int(row) + 1) for leap in leaps for row in leap.rows[:50]],
    }


def _first(recording: Recording, leap: Leaps) -> str:
    return recording.say(int(leap.rows[0]) + 1)


def _say_wraps(recording: Recording, wraps: Sequence[Leaps]) -> list[Finding]:
    if not wraps:
        return []
    said = [f"{w.label} by {PERIODS[w.period]} ({len(w.rows)} times, first at {_first(recording, w)})" for w in wraps]
    return [
        Finding(
            check="wraps",
            severity="warning",
            what=f"Angles wrap: {listed(said)}.",
            effect="The two ends are one direction, but scaled they are -1 and 1: neighbours look as far apart as can "
            "be, and the mean of the two points backwards.",
            remedy="Write the angle as its sine and cosine, or unwrap it within each episode (numpy.unwrap).",
            values=_values(recording, wraps),
        )
    ]


def _say_flips(recording: Recording, flips: Sequence[Leaps]) -> list[Finding]:
    if not flips:
        return []
    said = [f"{f.label} ({len(f.rows)} times, first at {_first(recording, f)})" for f in flips]
    return [
        Finding(
            check="wraps",
            severity="warning",
            what=f"A quaternion changes sign from one step to the next: {listed(said)}.",
            effect="q and -q are one rotation, but two far points for a network.",
            remedy="Choose one sign along each episode and one half-sphere for all, or write rotations as two columns "
            "of their matrix.",
            values=_values(recording, flips),
        )
    ]


def _say_leaps(recording: Recording, leaps: Sequence[Leaps]) -> list[Finding]:
    if not leaps:
        return []
    said = [
        f"{leap.label} moves by {leap.size:.3g} at {_first(recording, leap)}, {leap.size / leap.usual:.0f} times its "
        f"large steps" + (f" ({len(leap.rows)} such)" if len(leap.rows) > 1 else "")
        for leap in leaps
    ]
    glitches, total = sum(leap.glitches for leap in leaps), sum(len(leap.rows) for leap in leaps)
    kind = f" {glitches} of {total} leaps are taken back at once, as glitches are." if glitches else ""
    return [
        Finding(
            check="jumps",
            severity="warning",
            what=f"Jumps that no motion explains: {'; '.join(said[:4])}"
            + (f"; and {len(said) - 4} more coordinates." if len(said) > 4 else ".")
            + kind,
            effect="The step is taken for something that an action did; a reset or a lost tracker inside an episode "
            "teaches impossible motion.",
            remedy="Cut the episode in two at a reset; repair a glitch by interpolation; or drop the episode.",
            values={**_values(recording, leaps), "glitches": glitches},
        )
    ]
