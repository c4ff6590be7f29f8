"""Steps that no motion explains: wrapped angles, sign changes of quaternions, jumps and one-row glitches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .findings import DataFinding, good, listed, warning
from .recording import Recording
from .rotations import sign_changes

FAR = 10.0
"""Size of a jump as a multiple of the 99 % quantile of the coordinate's steps."""
VISIBLE = 0.05
"""Smallest size of a jump as a fraction of the coordinate's range."""
ENOUGH = 50
"""Number of steps with motion needed to estimate a typical one."""
BACK = 0.3
PERIODS = {2 * math.pi: "2π", 360.0: "360", math.pi: "π", 180.0: "180"}
FAULTS = 0.4
"""Largest share of the steps that may be faults."""
APART = 10.0
"""Jumps are separated from all other steps by at least this factor, if they are too many for a quantile."""
ENDS, EMPTY = 0.15, 0.25
"""Angles of different episodes are on both sides of the cut if they fill both ends of the range, and not its middle."""


@dataclass(frozen=True, kw_only=True)
class Jumps:
    """Rows after which a coordinate jumps; `between`: before episodes that begin on the other side."""

    label: str
    rows: Int[ndarray, " jumps"]
    size: float
    usual: float
    glitches: int = 0
    period: float = 0.0
    between: bool = False


@dataclass(frozen=True, kw_only=True)
class Jumped:
    """Findings on jumps, the coordinates that wrap or change sign, and whether each episode holds another jump."""

    findings: list[DataFinding]
    coordinates: list[str]
    episodes: Bool[ndarray, " episodes"]


def jumps_of(recording: Recording) -> Jumped:
    """Wraps, and jumps in observations (actions may jump)."""
    episodes = np.zeros(len(recording.lengths), dtype=bool)
    rows = np.flatnonzero(recording.pairs())
    if not len(rows):
        return Jumped(findings=[], coordinates=[], episodes=episodes)
    wraps, jumps, flips = list[Jumps](), list[Jumps](), list[Jumps]()
    faulty = list[str]()
    for item in recording.quantities:
        own = list[str]()
        for first, width, before, between in sign_changes(item, recording, rows):
            labels = item.labels[first : first + width]
            period = 0.0 if width == 4 else 2 * math.pi
            label = f"{labels[0]} to {labels[-1]}"
            flips.append(Jumps(label=label, rows=before, size=2.0, usual=0.0, period=period, between=between))
            own += labels
        for index in (i for i, label in enumerate(item.labels) if label not in own):
            values = item.column(index)
            steps = values[rows + 1] - values[rows]
            if wrap := _wrap(item.labels[index], values, steps, rows) or _cut(item.labels[index], values, recording):
                wraps.append(wrap)
                own.append(item.labels[index])
            elif item is not recording.actions and (jump := _jump(item.labels[index], values, steps, rows)):
                jumps.append(jump)
        faulty += own
    for jump in jumps:
        episodes[recording.owner[jump.rows]] = True
    found = [*_report_wraps(recording, wraps), *_report_flips(recording, flips), *_report_jumps(recording, jumps)]
    found = found or [good("jumps", "No coordinate jumps, wraps or changes sign.")]
    return Jumped(findings=found, coordinates=faulty, episodes=episodes)


def _wrap(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Jumps | None:
    """Steps of about a full turn, in a coordinate that stays within one turn and otherwise moves less.

    Without the turns the motion must be small, so that the faults themselves do not set the yardstick.
    """
    low, high = float(values.min()), float(values.max())
    for period in PERIODS:
        if not _within_turn(low, high, period) or high - low < 0.9 * period:
            continue
        turned = np.abs(np.abs(steps) - period) < 0.25 * period
        rest = np.abs(steps[~turned])
        calm = len(rest) and 0 < float(np.quantile(rest, 0.99)) < 0.2 * period
        # what turns about is near one end of the range before, and near the other after
        ends = np.minimum(np.abs(values[rows[turned]] - low), np.abs(values[rows[turned]] - high))
        if turned.any() and turned.mean() <= FAULTS and calm and float(ends.max()) < 0.25 * period:
            size = float(np.abs(steps[turned]).max())
            return Jumps(label=label, rows=rows[turned], size=size, usual=float(np.median(rest)), period=period)
    return None


def _within_turn(low: float, high: float, period: float) -> bool:
    around = 0.02 * period
    return (-period / 2 - around <= low and high <= period / 2 + around) or (-around <= low and high <= period + around)


def _cut(label: str, values: Float[ndarray, " rows"], recording: Recording) -> Jumps | None:
    """Angles that lie on both sides of ±π (or 0 and 2π) in different episodes, and nowhere near the middle."""
    low, high = float(values.min()), float(values.max())
    for period in (2 * math.pi, 360.0):
        if not _within_turn(low, high, period) or high - low < 0.9 * period:
            continue
        at_low, at_high = values < low + ENDS * period, values > high - ENDS * period
        middle = np.diff(np.sort(values)).max()
        first = at_low[recording.starts], at_high[recording.starts]
        if (
            middle > EMPTY * period
            and min(float(part.mean()) for part in (at_low, at_high)) > 0.05
            and all(part.sum() >= 2 for part in first)
        ):
            rows = recording.starts[first[0]] - 1
            return Jumps(label=label, rows=rows, size=period, usual=0.0, period=period, between=True)
    return None


def _jump(
    label: str, values: Float[ndarray, " rows"], steps: Float[ndarray, " k"], rows: Int[ndarray, " k"]
) -> Jumps | None:
    sizes = np.abs(steps)
    moving = sizes[sizes > 0]
    if len(moving) < ENOUGH:
        return None
    usual = _usual(moving)
    far = (sizes > FAR * usual) & (sizes > VISIBLE * float(values.max() - values.min()))
    if not far.any():
        return None
    after = np.minimum(rows[far] + 2, len(values) - 1)
    returned = np.abs(values[after] - values[rows[far]]) < BACK * sizes[far]
    return Jumps(label=label, rows=rows[far], size=float(sizes[far].max()), usual=usual, glitches=int(returned.sum()))


def _usual(moving: Float[ndarray, " k"]) -> float:
    """Large steps of the usual motion: the 99 % quantile, or the last step before a gap that only faults are beyond."""
    ordered = np.sort(moving)
    first = int((1 - FAULTS) * len(ordered))
    ratios = ordered[first + 1 :] / np.maximum(ordered[first:-1], 1e-300)
    if len(ratios) and float(ratios.max()) >= APART:
        return float(ordered[first + int(ratios.argmax())])
    return float(np.quantile(moving, 0.99))


def _values(recording: Recording, jumps: Sequence[Jumps]) -> dict[str, object]:
    return {
        "coordinates": [jump.label for jump in jumps],
        "counts": [len(jump.rows) for jump in jumps],
        "between_episodes": [jump.between for jump in jumps],
        "places": [place for jump in jumps for place in recording.places(jump.rows[:50] + 1)],
    }


def _times(recording: Recording, jump: Jumps) -> str:
    if jump.between:
        return f"between episodes ({len(jump.rows)} begin on the other side, first {recording.where(jump.rows[0] + 1)})"
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
        kinds = "quaternion" if all(flip.period == 0 for flip in flips) else "rotation vector or quaternion"
        yield warning(
            "wraps",
            f"A {kinds} changes sign: {listed(places)}.",
            effect="Both are the same rotation (q and -q; r and r (1 - 2π/|r|)), but distant inputs for a network.",
            remedy="Keep the sign continuous within each episode and choose one hemisphere for all starts, or let "
            "the network see two columns of the matrix (train --observation-rotations, --action-rotations).",
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
