"""How much moves at each step, in units that coordinates of all kinds share; idle stretches and cut endings.

A coordinate's motion at step `t` is how far it gets in the next few steps, over how far it usually gets:

    m[t] = max over coordinates of |x[t + w] − x[t]| / typical

Over a few steps sensor noise averages out against real motion; coordinates that get no farther in `w` steps than in
one are noise and are left out.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .findings import Finding, listed, share
from .limits import longest_run
from .recording import Recording

__all__ = ["check_endings", "check_idle", "idle_steps", "motion"]

WINDOW = 5
STILL = 0.05
"""Less than this share of the usual motion, in every coordinate, is standing still."""
SHORTEST = 10
"""Steps that an idle stretch has at least."""
NOISE = 1.2
"""A coordinate that gets less than so many times as far in a window as in one step is noise."""
PAUSES = 0.05
RESTING, MOVING = 0.2, 0.7
MOST = 0.7


def motion(recording: Recording) -> Float[ndarray, " pairs"]:
    """Motion of each row as a multiple of the usual one; 0 where the window leaves the episode."""
    inside, near = recording.pairs(WINDOW), recording.pairs()
    most = np.zeros(len(inside))
    if not inside.any():
        return most
    for item in recording.quantities:
        steps = list[Float[ndarray, " pairs"]]()
        for index in range(len(item.labels)):
            values = item.column(index)
            span = float(values.max() - values.min())
            far = np.where(inside, np.abs(values[WINDOW:] - values[:-WINDOW]), 0.0)
            short = np.diff(values)[near]
            usual, one = _rms(far[inside]), _rms(short)
            if span > 0 and usual > NOISE * one:
                steps.append(far / span)
        if steps:
            usual = [_rms(step[inside]) for step in steps]
            # a coordinate that hardly ever moves must not count its quiver as motion
            floor = float(np.median(usual))
            for step, own in zip(steps, usual, strict=True):
                np.maximum(most, step / max(own, floor), out=most)
    return most


def _rms(values: Float[ndarray, " k"]) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) else 0.0


def idle_steps(recording: Recording, moved: Float[ndarray, " pairs"]) -> Bool[ndarray, " rows"]:
    """Which rows lie in a stretch of at least `SHORTEST` steps where nothing moves."""
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


def check_idle(recording: Recording, idle: Bool[ndarray, " rows"]) -> list[Finding]:
    """Pauses at the start, in the middle and at the end of episodes."""
    parts = {"start": 0, "middle": 0, "end": 0}
    worst, most = 0, 0.0
    for number, (first, length) in enumerate(zip(recording.starts, recording.lengths, strict=True)):
        own = idle[first : first + length]
        if not own.any():
            continue
        begin, finish = _edge(own), _edge(own[::-1])
        parts["start"] += begin
        parts["end"] += finish if begin < length else 0
        parts["middle"] += max(0, int(own.sum()) - begin - finish)
        if own.mean() > most:
            worst, most = number, float(own.mean())
    shares = {name: count / max(len(idle), 1) for name, count in parts.items()}
    values = {**shares, "episode_most": int(recording.episodes[worst]) if most else None, "most": most}
    if not idle.any():
        return [Finding(check="idle", severity="good", what="Nobody pauses: something moves all the time.")]
    steps, first = longest_run(idle, recording)
    pausing = shares["start"] + shares["middle"]
    said = ", ".join(f"{share(part)} {_WHERE[name]}" for name, part in shares.items() if part)
    return [
        Finding(
            check="idle",
            severity="warning" if pausing >= PAUSES else "note",
            what=f"Nothing moves in {share(float(idle.mean()))} of the steps ({said} of their episode). The longest "
            f"pause lasts {steps} steps, from {recording.say(first)}; episode {recording.episodes[worst]} stands still "
            f"for {share(most)} of its steps.",
            effect="The same observation is followed by staying and, once, by going on: a policy learns to stay, and "
            "may never start."
            if pausing >= PAUSES
            else "Standing still at the end teaches to hold the goal, if that is wanted; elsewhere it teaches to wait.",
            remedy="Cut pauses at the start and in the middle out of the episodes before training; keep those at the "
            "end only if the policy shall hold still there.",
            values=values,
        )
    ]


_WHERE = {"start": "at the start", "middle": "in the middle", "end": "at the end"}


def _edge(mask: Bool[ndarray, " steps"]) -> int:
    """True steps before the first false one."""
    return len(mask) if mask.all() else int(mask.argmin())


def check_endings(recording: Recording, moved: Float[ndarray, " pairs"]) -> list[Finding]:
    """Episodes that end in motion where most others come to rest."""
    long = recording.lengths > 2 * WINDOW
    last = (recording.starts + recording.lengths - 1 - WINDOW)[long]
    numbers, final = recording.episodes[long], moved[np.maximum(last, 0)] if len(moved) else np.zeros(0)
    if len(final) < 5 or (final < RESTING).mean() < MOST:
        return []
    cut = np.flatnonzero(final > MOVING)
    if not len(cut):
        return [Finding(check="endings", severity="good", what="Episodes end at rest, none in the middle of a motion.")]
    return [_cut(numbers[cut].tolist(), final[cut].tolist(), int((final < RESTING).sum()), len(final))]


def _cut(episodes: Sequence[int], speeds: Sequence[float], resting: int, total: int) -> Finding:
    said = listed([f"{e} (at {v:.2g} times the usual speed)" for e, v in zip(episodes, speeds, strict=True)])
    return Finding(
        check="endings",
        severity="warning",
        what=f"{len(episodes)} of {total} episodes end in motion, where {resting} come to rest: episode {said}.",
        effect="They were probably cut off or given up. Their last chunks are padded with the last action, so the "
        "policy learns that this motion goes on for ever.",
        remedy="Look at their ends; drop them with holdfast.data.select(episodes, keep) if the task was not done.",
        values={"episodes": list(episodes), "speeds": list(speeds)},
    )
