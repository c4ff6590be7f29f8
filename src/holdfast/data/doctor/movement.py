"""Motion at each step, comparable between coordinates; idle stretches and cut-off endings.

The motion of a coordinate at step `t` is its displacement over the next few steps, relative to its typical one:

    m[t] = max over coordinates of |x[t + w] − x[t]| / typical

Over a few steps sensor noise averages out against real motion; coordinates whose displacement in `w` steps is no
larger than in one step are noise and are omitted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..choosing import dropping
from .findings import DataFinding, counted, good, listed, note, share, warning
from .limits import longest_run
from .recording import Recording

WINDOW = 5
STILL = 0.05
"""Motion below this fraction of the typical motion, in every coordinate, is standing still."""
SHORTEST = 10
"""Smallest number of steps of an idle stretch."""
NOISE = 1.2
"""A coordinate is noise if its displacement in a window is less than this multiple of that in one step."""
PAUSES = 0.05
RESTING, MOVING = 0.2, 0.7
WORTH = 0.5
"""Motion from which on a pause before it is in the middle of an episode, not at its end."""
MOST = 0.7


def motion(recording: Recording) -> Float[ndarray, " pairs"]:
    """Motion of each row as a multiple of the typical one; 0 where the window leaves the episode."""
    inside, near = recording.pairs(WINDOW), recording.pairs()
    most = np.zeros(len(inside))
    if not inside.any():
        return most
    for item in recording.quantities:
        moving = list[tuple[Float[ndarray, " pairs"], float]]()
        for index in range(len(item.labels)):
            values = item.column(index)
            span = float(values.max() - values.min())
            far = np.where(inside, np.abs(values[WINDOW:] - values[:-WINDOW]), 0.0)
            if span > 0 and _rms(far[inside]) > NOISE * _rms(np.diff(values)[near]):
                moving.append((far / span, _rms((far / span)[inside])))
        # small fluctuations of a coordinate that hardly moves are no motion
        floor = float(np.median([usual for _, usual in moving])) if moving else 0.0
        for step, usual in moving:
            np.maximum(most, step / max(usual, floor), out=most)
    return most


def _rms(values: Float[ndarray, " k"]) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) else 0.0


def idle_steps(recording: Recording, moved: Float[ndarray, " pairs"]) -> Bool[ndarray, " rows"]:
    """Whether each row is in a stretch of at least `SHORTEST` steps in which nothing moves."""
    still = recording.pairs(WINDOW) & (moved < STILL)
    total = len(recording.owner)
    idle = np.zeros(total, dtype=bool)
    for offset in range(WINDOW + 1):
        idle[offset : offset + len(still)] |= still
    return _long_runs(idle, recording.owner)


def _long_runs(mask: Bool[ndarray, " rows"], owner: ndarray) -> Bool[ndarray, " rows"]:
    change = np.flatnonzero((np.diff(mask.astype(np.int8)) != 0) | (np.diff(owner) != 0)) + 1
    edges = np.concatenate([[0], change, [len(mask)]])
    lengths = np.diff(edges)
    return np.repeat((lengths >= SHORTEST) & mask[edges[:-1]], lengths)


@dataclass(frozen=True)
class Pause:
    """A stretch of idle rows of one episode.

    Attributes:
        first: First row of the recording.
        last: Last row, included.
        place: At the start of its episode, in the middle, or at the end: after the last motion worth the name.
    """

    episode: int
    first: int
    last: int
    place: Literal["start", "middle", "end"]


def pauses(recording: Recording, moved: Float[ndarray, " pairs"], idle: Bool[ndarray, " rows"]) -> Iterator[Pause]:
    """Every idle stretch with its place."""
    for episode, (start, length) in enumerate(zip(recording.starts.tolist(), recording.lengths.tolist(), strict=True)):
        own = idle[start : start + length]
        if not own.any():
            continue
        quick = np.flatnonzero(moved[start : start + length - WINDOW] >= WORTH)
        rest = start + (int(quick[-1]) + 1 if len(quick) else 0)
        edges = np.flatnonzero(np.diff(own.astype(np.int8), prepend=0, append=0))
        for first, after in zip((start + edges[::2]).tolist(), (start + edges[1::2]).tolist(), strict=True):
            place = "start" if first == start else "end" if first >= rest or after == start + length else "middle"
            yield Pause(episode, first, after - 1, place)


def check_idle(recording: Recording, moved: Float[ndarray, " pairs"], idle: Bool[ndarray, " rows"]) -> DataFinding:
    """Pauses at the start, in the middle and at the end of episodes."""
    if not idle.any():
        return good("idle", "There are no pauses: something moves at every step.")
    counts = {place: [0] * len(recording.lengths) for place in ("start", "middle", "end")}
    for pause in pauses(recording, moved, idle):
        counts[pause.place][pause.episode] += pause.last - pause.first + 1
    still = [float(own.mean()) for own in recording.by_episode(idle)]
    worst = int(np.argmax(still))
    most = still[worst]
    shares = {name: sum(count) / len(idle) for name, count in counts.items()}
    longest, first = longest_run(idle, recording)
    pausing = shares["start"] + shares["middle"] >= PAUSES
    cut = [name for name in ("start", "middle") if shares[name] >= PAUSES / 2]
    what = (
        f"Nothing moves in {share(float(idle.mean()))} of the steps ({_places(counts, shares)}). The longest pause "
        f"lasts {longest} steps, from {recording.where(first)}; episode {recording.episodes[worst]} is still in "
        f"{share(most)} of its steps."
    )
    per_episode = {name: {"episodes": _number(count), "median": _usual(count)} for name, count in counts.items()}
    values = {**shares, "episode_most": int(recording.episodes[worst]), "most": most, "steps": per_episode}
    if not pausing:
        effect = "Standing still at the end teaches a policy to hold the final state; elsewhere it teaches to wait."
        return note("idle", what, effect, "Leave pauses at the end if the policy should hold still there.", values)
    return warning(
        "idle",
        what,
        effect="During a pause nearly all demonstrated actions stay in place, so a policy may learn to stay.",
        remedy=f"Train with --drop-idle {' '.join(cut)}, which cuts these steps; leave pauses at the end if the policy "
        "should hold still there.",
        values=values,
    )


_WHERE = {"start": "at the start", "middle": "in the middle", "end": "at the end"}


def _places(counts: Mapping[str, Sequence[int]], shares: Mapping[str, float]) -> str:
    """Share of the steps in each place, the episodes that pause there, and for how long."""
    return ", ".join(
        f"{share(shares[name])} {_WHERE[name]} of {counted(_number(count), 'episode')}, median {_usual(count):g} steps"
        for name, count in counts.items()
        if _number(count)
    )


def _number(counts: Sequence[int]) -> int:
    return sum(count > 0 for count in counts)


def _usual(counts: Sequence[int]) -> float:
    """Median length of the pauses that there are."""
    return float(np.median([count for count in counts if count] or [0]))


def check_endings(recording: Recording, moved: Float[ndarray, " pairs"]) -> list[DataFinding]:
    """Episodes that end in motion although most others come to rest."""
    long = recording.lengths > 2 * WINDOW
    last = (recording.starts + recording.lengths - 1 - WINDOW)[long]
    final = moved[np.maximum(last, 0)] if len(moved) else np.zeros(0)
    resting = final < RESTING
    if len(final) < 5 or resting.mean() < MOST:
        return []
    cut = final > MOVING
    if not cut.any():
        return [good("endings", "All episodes end at rest.")]
    episodes, speeds = recording.episodes[long][cut].tolist(), final[cut].tolist()
    examples = listed([f"{e} (at {v:.2g} times the typical speed)" for e, v in zip(episodes, speeds, strict=True)])
    return [
        warning(
            "endings",
            f"{len(episodes)} of {len(final)} episodes end in motion, while {resting.sum()} come to rest: episode "
            f"{examples}.",
            effect="They were probably cut off or abandoned. Their last chunks are padded with the last action, so the "
            "policy learns to continue this motion indefinitely.",
            remedy=f"Look at their ends; drop those that did not complete the task, all with {dropping(episodes)}.",
            values={"episodes": episodes, "speeds": speeds},
        )
    ]
