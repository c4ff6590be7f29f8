"""Recorded timestamps: whether they increase evenly, at the recorded rate."""

import numpy as np

from ...types import Episodes
from .findings import DataFinding, listed, share
from .recording import Recording

__all__ = ["check_clock"]

GAP = 1.5
"""A step longer than this multiple of the median step is a gap."""
RATE = 0.02
JITTER = 0.10


def check_clock(episodes: Episodes, recording: Recording) -> list[DataFinding]:
    """Timestamps that do not increase, gaps, a rate other than `dt`, and jitter; no findings without timestamps."""
    if episodes.timestamps is None or len(episodes.timestamps) != len(recording.owner):
        return []
    times = episodes.timestamps.detach().cpu().double().numpy()
    if not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        what = f"The timestamp at {recording.where(row)} is {times[row]}."
        return [
            DataFinding(
                check="clock", severity="error", what=what, effect="Training refuses the data set.", remedy=AGAIN
            )
        ]
    inside = recording.pairs()
    steps, rows = np.diff(times)[inside], np.flatnonzero(inside)
    if not len(steps):
        return []
    back = rows[steps <= 0]
    ahead = steps[steps > 0]
    usual = float(np.median(ahead)) if len(ahead) else 0.0
    # resolution of the timestamps' dtype
    grain = 4 * float(np.finfo(str(episodes.timestamps.dtype).removeprefix("torch.")).eps) * float(np.abs(times).max())
    gaps = rows[steps > max(GAP * usual, usual + grain)]
    found = [*_back(recording, back), *_gaps(recording, gaps, times, usual)]
    found += _rate(usual, episodes.dt, grain)
    even = ahead[ahead <= GAP * usual]
    jitter = max(0.0, float(even.std()) - grain) / usual if len(even) else 0.0
    if jitter > JITTER:
        found.append(
            DataFinding(
                check="clock",
                severity="note",
                what=f"The time between steps varies by {share(jitter)} (standard deviation) around {usual:.4g} s.",
                effect="Training assumes steps of equal duration, so speeds appear to vary by the same amount.",
                remedy="Resample the recording to equal steps if speeds matter.",
                values={"jitter": jitter, "usual": usual},
            )
        )
    if not found:
        what = f"Timestamps increase evenly, {usual:.4g} s per step."
        found.append(DataFinding(check="clock", severity="good", what=what, values={"usual": usual, "jitter": jitter}))
    return found


AGAIN = "Write the data set again with the true times, or without timestamps."


def _back(recording: Recording, rows: np.ndarray) -> list[DataFinding]:
    if not len(rows):
        return []
    places = listed([recording.where(int(row) + 1) for row in rows])
    return [
        DataFinding(
            check="clock",
            severity="error",
            what=f"Timestamps do not increase at {len(rows)} steps: {places}.",
            effect="Steps are out of order or duplicated there, so the network learns transitions that never happened.",
            remedy="Sort or drop these steps when writing the data set. " + AGAIN,
            values={"count": len(rows), "places": [recording.place(int(row) + 1) for row in rows[:100]]},
        )
    ]


def _gaps(recording: Recording, rows: np.ndarray, times: np.ndarray, usual: float) -> list[DataFinding]:
    if not len(rows):
        return []
    worst = int(rows[np.argmax(times[rows + 1] - times[rows])])
    lost = float(times[worst + 1] - times[worst])
    return [
        DataFinding(
            check="clock",
            severity="warning",
            what=f"{len(rows)} gaps in time; the longest, before {recording.where(worst + 1)}, lasts {lost:.3g} s; "
            f"a step lasts {usual:.3g} s.",
            effect="Frames were dropped, so the motion in between appears as one very large step.",
            remedy="Split these episodes at the gaps, or drop them.",
            values={"count": len(rows), "longest": lost, "places": [recording.place(int(r) + 1) for r in rows[:100]]},
        )
    ]


def _rate(usual: float, dt: float | None, grain: float) -> list[DataFinding]:
    if dt is None or abs(usual - dt) <= RATE * dt + grain:
        return []
    return [
        DataFinding(
            check="clock",
            severity="warning",
            what=f"Timestamps advance by {usual:.4g} s per step, but the recorded dt is {dt:.4g} s.",
            effect="Deployed at the recorded rate, the policy moves "
            + (
                f"{usual / dt:.3g} times too fast." if usual > dt else f"{dt / max(usual, 1e-12):.3g} times too slowly."
            ),
            remedy="Write the data set again with the robot's true dt.",
            values={"usual": usual, "dt": dt},
        )
    ]
