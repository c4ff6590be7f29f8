"""Steps that no motion explains: wrapped angles, sign changes of quaternions, jumps and one-row glitches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .findings import DataFinding, good, listed, warning
from .recording import Quantity, Recording

FAR = 10.0
"""Size of a jump as a multiple of the 99 % quantile of the coordinate's steps."""
VISIBLE = 0.05
"""Smallest size of a jump as a fraction of the coordinate's range."""
ENOUGH = 50
"""Number of steps with motion needed to estimate a typical one."""
BACK = 0.3
PERIODS = {2 * math.pi: "2π", 360.0: "360"}


@dataclass(frozen=True, kw_only=True)
class Jumps:
    """Rows after which a coordinate jumps."""

    label: str
    rows: Int[ndarray, " jumps"]
    size: float
    usual: float
    glitches: int = 0
    period: float = 0.0


def check_jumps(recording: Recording) -> list[DataFinding]:
    """Wraps in all quantities; jumps in observations (actions may jump)."""
    rows = np.flatnonzero(recording.pairs())
    if not len(rows):
        return []
    wraps, jumps, flips = list[Jumps](), list[Jumps](), list[Jumps]()
    for item in recording.quantities:
        turned = _flips(item, rows)
        flips += turned.values()
        flipped = {first + place for first in turned for place in range(4)}
        for index in (i for i in range(len(item.labels)) if i not in flipped):
            values = item.column(index)
            steps = values[rows + 1] - values[rows]
            if wrap := _wrap(item.labels[index], values, steps, rows):
                wraps.append(wrap)
            elif item is not recording.actions and (jump := _jump(item.labels[index], values, steps, rows)):
                jumps.append(jump)
    found = [*_report_wraps(recording, wraps), *_report_flips(recording, flips), *_report_jumps(recording, jumps)]
    return found or [good("jumps", "No coordinate jumps, wraps or changes sign.")]


def _wrap(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Jumps | None:
    """Steps of about a full turn, in a coordinate that stays within one turn and otherwise moves less."""
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
            return Jumps(label=label, rows=rows[turned], size=size, usual=float(np.median(rest)), period=period)
    return None


def _jump(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Jumps | None:
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
    return Jumps(label=label, rows=rows[far], size=float(sizes[far].max()), usual=usual, glitches=int(returned.sum()))


def _flips(item: Quantity, rows: Int[ndarray, " k"]) -> dict[int, Jumps]:
    """Four neighbouring coordinates of norm 1 whose next row is nearly their negative, by the first of them."""
    found = dict[int, Jumps]()
    for first in range(len(item.labels) - 3):
        some = item.values[rows[:: max(1, len(rows) // 1000)], first : first + 4].astype(np.float64)
        if np.abs(np.linalg.norm(some, axis=1) - 1).max() > 1e-3:
            continue
        four = item.values[:, first : first + 4].astype(np.float64)
        turned = (four[rows] * four[rows + 1]).sum(axis=1) < -0.8
        if turned.any():
            label = f"{item.labels[first]} to {item.labels[first + 3]}"
            found[first] = Jumps(label=label, rows=rows[turned], size=2.0, usual=0.0)
    return found


def _values(recording: Recording, jumps: Sequence[Jumps]) -> dict[str, object]:
    return {
        "coordinates": [jump.label for jump in jumps],
        "counts": [len(jump.rows) for jump in jumps],
        "places": [place for jump in jumps for place in recording.places(jump.rows[:50] + 1)],
    }


def _times(recording: Recording, jump: Jumps) -> str:
    return f"({len(jump.rows)} times, first at {recording.where(jump.rows[0] + 1)})"


def _report_wraps(recording: Recording, wraps: Sequence[Jumps]) -> Iterator[DataFinding]:
    if wraps:
        places = [f"{wrap.label} by {PERIODS[wrap.period]} {_times(recording, wrap)}" for wrap in wraps]
        yield warning(
            "wraps",
            f"Angles wrap: {listed(places)}.",
            effect="Both ends are the same direction, but they are scaled to -1 and 1: equal angles are as far apart "
            "as possible, and their mean points in the opposite direction.",
            remedy="Write the angle as its sine and cosine, or unwrap it within each episode (numpy.unwrap).",
            values=_values(recording, wraps),
        )


def _report_flips(recording: Recording, flips: Sequence[Jumps]) -> Iterator[DataFinding]:
    if flips:
        places = [f"{flip.label} {_times(recording, flip)}" for flip in flips]
        yield warning(
            "wraps",
            f"A quaternion changes sign from one step to the next: {listed(places)}.",
            effect="q and -q are the same rotation, but distant inputs for a network.",
            remedy="Keep the sign continuous within each episode and choose one hemisphere for all starts, or write "
            "rotations as two columns of their matrix.",
            values=_values(recording, flips),
        )


def _report_jumps(recording: Recording, jumps: Sequence[Jumps]) -> Iterator[DataFinding]:
    if not jumps:
        return
    places = [
        f"{jump.label} moves by {jump.size:.3g} at {recording.where(jump.rows[0] + 1)}, "
        f"{jump.size / jump.usual:.0f} times its usual large steps"
        + (f" ({len(jump.rows)} such)" if len(jump.rows) > 1 else "")
        for jump in jumps
    ]
    glitches, total = sum(jump.glitches for jump in jumps), sum(len(jump.rows) for jump in jumps)
    kind = f" {glitches} of {total} jumps are reversed in the next step, as by glitches." if glitches else ""
    more = f"; and {len(places) - 4} more coordinates." if len(places) > 4 else "."
    yield warning(
        "jumps",
        f"Jumps that no motion explains: {'; '.join(places[:4])}{more}{kind}",
        effect="Training attributes the step to the action; a reset or a tracking failure inside an episode "
        "teaches impossible motion.",
        remedy="Split the episode at a reset, repair a glitch by interpolation, or drop the episode.",
        values={**_values(recording, jumps), "glitches": glitches},
    )
