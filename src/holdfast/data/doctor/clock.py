"""Recorded timestamps: whether they increase evenly, at the recorded rate."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ...types import Episodes
from .findings import DataFinding, error, good, listed, note, share, warning
from .recording import Recording

GAP = 1.5
"""A step longer than this multiple of the median step is a gap."""
RATE = 0.02
JITTER = 0.10
AGAIN = "Write the data set again with the true times, or without timestamps."


def check_clock(episodes: Episodes, recording: Recording) -> list[DataFinding]:
    """Timestamps that do not increase, gaps, a rate other than `dt`, and jitter; no findings without timestamps."""
    if episodes.timestamps is None or len(episodes.timestamps) != len(recording.owner):
        return []
    times = episodes.timestamps.detach().cpu().double().numpy()
    if not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        what = f"The timestamp at {recording.where(row)} is {times[row]}."
        return [error("clock", what, effect="Training refuses the data set.", remedy=AGAIN)]
    inside = recording.pairs()
    steps, rows = np.diff(times)[inside], np.flatnonzero(inside)
    if not len(steps):
        return []
    ahead = steps[steps > 0]
    usual = float(np.median(ahead)) if len(ahead) else 0.0
    # resolution of the timestamps' dtype
    grain = 4 * float(np.finfo(str(episodes.timestamps.dtype).removeprefix("torch.")).eps) * float(np.abs(times).max())
    even = ahead[ahead <= GAP * usual]
    jitter = max(0.0, float(even.std()) - grain) / usual if len(even) else 0.0
    gaps = rows[steps > max(GAP * usual, usual + grain)]
    found = [*_back(recording, rows[steps <= 0]), *_gaps(recording, gaps, times, usual)]
    found += [*_rate(usual, episodes.dt, grain), *_jitter(jitter, usual)]
    what = f"Timestamps increase evenly, {usual:.4g} s per step."
    return found or [good("clock", what, values={"usual": usual, "jitter": jitter})]


def _back(recording: Recording, rows: Int[ndarray, " k"]) -> Iterator[DataFinding]:
    if len(rows):
        yield error(
            "clock",
            f"Timestamps do not increase at {len(rows)} steps: {listed([recording.where(r + 1) for r in rows])}.",
            effect="Steps are out of order or duplicated there, so the network learns transitions that never happened.",
            remedy="Sort or drop these steps when writing the data set. " + AGAIN,
            values={"count": len(rows), "places": recording.places(rows[:100] + 1)},
        )


def _gaps(
    recording: Recording, rows: Int[ndarray, " k"], times: Float[ndarray, " rows"], usual: float
) -> Iterator[DataFinding]:
    if len(rows):
        worst = int(rows[np.argmax(times[rows + 1] - times[rows])])
        lost = float(times[worst + 1] - times[worst])
        yield warning(
            "clock",
            f"{len(rows)} gaps in time; the longest, before {recording.where(worst + 1)}, lasts {lost:.3g} s; "
            f"a step lasts {usual:.3g} s.",
            effect="Frames were dropped, so the motion in between appears as one very large step.",
            remedy="Split these episodes at the gaps, or drop them.",
            values={"count": len(rows), "longest": lost, "places": recording.places(rows[:100] + 1)},
        )


def _rate(usual: float, dt: float | None, grain: float) -> Iterator[DataFinding]:
    if dt is not None and abs(usual - dt) > RATE * dt + grain:
        fast = f"{usual / dt:.3g} times too fast" if usual > dt else f"{dt / max(usual, 1e-12):.3g} times too slowly"
        yield warning(
            "clock",
            f"Timestamps advance by {usual:.4g} s per step, but the recorded dt is {dt:.4g} s.",
            effect=f"Deployed at the recorded rate, the policy moves {fast}.",
            remedy="Write the data set again with the robot's true dt.",
            values={"usual": usual, "dt": dt},
        )


def _jitter(jitter: float, usual: float) -> Iterator[DataFinding]:
    if jitter > JITTER:
        yield note(
            "clock",
            f"The time between steps varies by {share(jitter)} (standard deviation) around {usual:.4g} s.",
            effect="Training assumes steps of equal duration, so speeds appear to vary by the same amount.",
            remedy="Resample the recording to equal steps if speeds matter.",
            values={"jitter": jitter, "usual": usual},
        )
