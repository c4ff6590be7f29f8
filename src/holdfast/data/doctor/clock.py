"""Recorded timestamps: do they go on, evenly, and at the rate that the set claims?"""

import numpy as np

from ...types import Episodes
from .findings import Finding, listed, share
from .recording import Recording

__all__ = ["check_clock"]

GAP = 1.5
"""A step of more than so many usual ones is a gap."""
RATE = 0.02
JITTER = 0.10


def check_clock(episodes: Episodes, recording: Recording) -> list[Finding]:
    """Timestamps that stand or run back, gaps, another rate than `dt`, jitter; nothing where none were recorded."""
    if episodes.timestamps is None or len(episodes.timestamps) != len(recording.owner):
        return []
    times = episodes.timestamps.detach().cpu().double().numpy()
    if not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        what = f"The timestamp at {recording.say(row)} is {times[row]}."
        return [Finding(check="clock", severity="error", what=what, effect="Training refuses the set.", remedy=AGAIN)]
    inside = recording.pairs()
    steps, rows = np.diff(times)[inside], np.flatnonzero(inside)
    if not len(steps):
        return []
    back = rows[steps <= 0]
    ahead = steps[steps > 0]
    usual = float(np.median(ahead)) if len(ahead) else 0.0
    # a float32 clock is no finer than its last place
    grain = 4 * float(np.finfo(str(episodes.timestamps.dtype).removeprefix("torch.")).eps) * float(np.abs(times).max())
    gaps = rows[steps > max(GAP * usual, usual + grain)]
    found = [*_back(recording, back), *_gaps(recording, gaps, times, usual)]
    found += _rate(usual, episodes.dt, grain)
    even = ahead[ahead <= GAP * usual]
    jitter = max(0.0, float(even.std()) - grain) / usual if len(even) else 0.0
    if jitter > JITTER:
        found.append(
            Finding(
                check="clock",
                severity="note",
                what=f"The time between steps varies by {share(jitter)} (standard deviation) about {usual:.4g} s.",
                effect="Training takes steps as equally long, so speeds seem to vary that much.",
                remedy="Resample the recording to equal steps if speeds matter.",
                values={"jitter": jitter, "usual": usual},
            )
        )
    if not found:
        what = f"Timestamps go on evenly, {usual:.4g} s a step."
        found.append(Finding(check="clock", severity="good", what=what, values={"usual": usual, "jitter": jitter}))
    return found


AGAIN = "Write the set again with the true times, or without timestamps."


def _back(recording: Recording, rows: np.ndarray) -> list[Finding]:
    if not len(rows):
        return []
    places = listed([recording.say(int(row) + 1) for row in rows])
    return [
        Finding(
            check="clock",
            severity="error",
            what=f"Time does not go on at {len(rows)} steps: {places}.",
            effect="Steps are out of order or doubled there: the network learns transitions that never happened.",
            remedy="Sort or drop those steps when writing the set. " + AGAIN,
            values={"count": len(rows), "places": [recording.place(int(row) + 1) for row in rows[:100]]},
        )
    ]


def _gaps(recording: Recording, rows: np.ndarray, times: np.ndarray, usual: float) -> list[Finding]:
    if not len(rows):
        return []
    worst = int(rows[np.argmax(times[rows + 1] - times[rows])])
    lost = float(times[worst + 1] - times[worst])
    return [
        Finding(
            check="clock",
            severity="warning",
            what=f"{len(rows)} gaps in time; the longest, before {recording.say(worst + 1)}, lasts {lost:.3g} s where "
            f"a step is {usual:.3g} s.",
            effect="Frames were dropped: what moved on meanwhile looks like one giant step.",
            remedy="Cut those episodes in two at the gaps, or drop them.",
            values={"count": len(rows), "longest": lost, "places": [recording.place(int(r) + 1) for r in rows[:100]]},
        )
    ]


def _rate(usual: float, dt: float | None, grain: float) -> list[Finding]:
    if dt is None or abs(usual - dt) <= RATE * dt + grain:
        return []
    return [
        Finding(
            check="clock",
            severity="warning",
            what=f"Timestamps run at {usual:.4g} s a step, but the set claims dt = {dt:.4g} s.",
            effect="Deployed at the claimed rate the policy moves "
            + (
                f"{usual / dt:.3g} times too fast." if usual > dt else f"{dt / max(usual, 1e-12):.3g} times too slowly."
            ),
            remedy="Write the set again with the dt that the robot runs at.",
            values={"usual": usual, "dt": dt},
        )
    ]
