"""Constant offsets between the commanded and the measured position at rest, and actions that are readings.

At rest a servo holds its target, so that a[t] − s[t] = 0 up to friction and load. A difference that is the same at
every rest of every episode is no load, but two different zeros, as of a leader and a follower arm.

An action that equals the measured state of the same step commands nothing: a servo stays where it is.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .findings import DataFinding, error, listed, note, warning
from .grippers import switches_of
from .recording import Recording
from .semantics import Meaning

REST = 10
"""Steps over which neither the action nor the state moves at rest."""
STILL = 0.01
"""Largest motion at rest, as a fraction of the standard deviation."""
FEWEST_ROWS, FEWEST_EPISODES = 20, 3
WORTH, STEADY = 0.02, 5.0
"""An offset is reported above this fraction of the action's range, and above this multiple of its own spread."""
SLOPE = 0.1
EQUAL = 0.05
"""Root mean square difference of an action and a reading, as a fraction of the state's steps, that counts as equal."""
REACH = (0, 1, -1, 2, -2, 3, -3)
"""Steps between an action and the reading that it may equal, in the order of preference."""
SOME, ALIKE = 2000, 0.8


def check_offset(recording: Recording, meant: Sequence[Meaning]) -> Iterator[DataFinding]:
    """Offsets at rest of the action coordinates that are targets.

    A switch is left out: ±1 of a gripper commands an end of its reading, 0 or 1, and no position.
    """
    found, switches = list[dict[str, Any]](), {switch.action for switch in switches_of(recording)}
    for meaning in meant:
        if meaning.kind == "target" and meaning.state is not None and meaning.action not in switches:
            action, state = recording.column(meaning.action), recording.column(meaning.state)
            if (numbers := _offset(recording, action, state)) is not None:
                found.append({"action": meaning.action, "state": meaning.state, **numbers})
    if not found:
        return
    texts = [f"{one['action']} − {one['state']} is {one['offset']:.3f} ± {one['spread']:.2g}" for one in found]
    yield warning(
        "offset",
        f"At rest, command and reading differ by a constant: {listed(texts)} ({found[0]['rows']} steps at rest in "
        f"{found[0]['episodes']} episodes).",
        effect="Command and reading have different zeros, as of a leader and a follower that are not aligned. A policy "
        "reproduces the offset; where the robot at deployment has none, it stops beside the goal by this much.",
        remedy="Align the two and record again, or subtract the offset from these actions before training if the "
        "robot at deployment is aligned.",
        values={"coordinates": found, "offsets": {one["action"]: one["offset"] for one in found}},
    )


def _offset(recording: Recording, action: Float[ndarray, " rows"], state: Float[ndarray, " rows"]) -> Any:
    """Offset, its spread and the rows at rest; `None` where there is no constant offset."""
    at_rest = _at_rest(recording, action) & _at_rest(recording, state)
    rows = np.flatnonzero(at_rest)
    owners = recording.owner[rows]
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    if len(rows) < FEWEST_ROWS or len(firsts) < FEWEST_EPISODES:
        return None
    own, places = medians(action[rows] - state[rows], firsts), medians(state[rows], firsts)
    offset = float(np.median(own))
    spread = float(1.4826 * np.median(np.abs(own - offset)))
    # a difference that grows with the position is another scale, not another zero
    slope = float(np.polyfit(places, own, 1)[0]) if np.ptp(places) > 0 else 0.0
    if abs(offset) < max(WORTH * float(np.ptp(action)), STEADY * spread) or abs(slope) > SLOPE:
        return None
    return {"offset": offset, "spread": spread, "rows": len(rows), "episodes": len(firsts)}


def medians(values: Float[ndarray, " rows"], firsts: Int[ndarray, " groups"]) -> Float[ndarray, " groups"]:
    """Median of each group of consecutive rows."""
    counts = np.diff(firsts, append=len(values))
    ordered = values[np.lexsort((values, np.repeat(np.arange(len(firsts)), counts)))]
    return (ordered[firsts + (counts - 1) // 2] + ordered[firsts + counts // 2]) / 2


def _at_rest(recording: Recording, values: Float[ndarray, " rows"]) -> Bool[ndarray, " rows"]:
    """Rows whose last ten values have the mean of the ten before, up to the noise of a hand or a sensor."""
    still = np.zeros(len(values), dtype=bool)
    inside = recording.pairs(2 * REST - 1)
    if not inside.any():
        return still
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    means = (sums[REST:] - sums[:-REST]) / REST
    moved = np.abs(means[REST:] - means[:-REST])
    # second differences show white noise and little of smooth motion; their variance is six times the noise's
    noise = 1.4826 * float(np.median(np.abs(np.diff(values, 2)))) / math.sqrt(6)
    still[2 * REST - 1 :] = inside & (moved <= STILL * values.std() + 3 * noise * math.sqrt(2 / REST))
    return still


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An action coordinate that equals a measured one: a[t] = s[t + steps]."""

    action: str
    state: str
    steps: int
    difference: float


def readings_of(recording: Recording, leaked: Sequence[str]) -> list[Reading]:
    """Action coordinates that equal a coordinate of the state at the same or a neighbouring step."""
    found = list[Reading]()
    inside = recording.pairs()
    alike = _alike(recording)
    for m, action in enumerate(recording.actions.labels):
        wanted = recording.actions.column(m)
        best: Reading | None = None
        for n in np.flatnonzero(alike[m]).tolist():
            state = recording.states.labels[n]
            values = recording.states.column(n)
            values = values * _unit(values, wanted)
            moves = float(np.sqrt((np.diff(values)[inside] ** 2).mean())) if inside.any() else 0.0
            if state in leaked or moves == 0 or abs(float(values.mean() - wanted.mean())) > float(values.std()):
                continue
            for steps in REACH:
                away = _difference(recording, wanted, values, steps) / moves
                if away < EQUAL and (best is None or away < 0.5 * best.difference):
                    best = Reading(action=action, state=state, steps=steps, difference=away)
        found += [] if best is None else [best]
    return found


def _alike(recording: Recording) -> Bool[ndarray, "m n"]:
    """Actions and states that are correlated closely enough for one to be the other a few steps later."""
    rows = np.linspace(0, len(recording.owner) - 1, min(len(recording.owner), SOME)).astype(int)
    x, y = (item.values[rows].astype(np.float64) for item in (recording.actions, recording.states))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt(np.outer((x**2).sum(axis=0), (y**2).sum(axis=0)))
    return (x.T @ y) / np.where(scale > 0, scale, np.inf) >= ALIKE


def _unit(state: ndarray, action: ndarray) -> float:
    """180/π or π/180 where the action is in degrees and the state in radians or the other way round, else 1."""
    ratio = float(action.std()) / max(float(state.std()), 1e-300)
    return next((unit for unit in (180 / math.pi, math.pi / 180) if abs(ratio / unit - 1) < 0.05), 1.0)


def _difference(recording: Recording, action: ndarray, state: ndarray, steps: int) -> float:
    """Root mean square of a[t] − s[t + steps]."""
    if not steps:
        return float(np.sqrt(((action - state) ** 2).mean()))
    inside = recording.pairs(abs(steps))
    if not inside.any():
        return float("inf")
    early, late = (action, state) if steps > 0 else (state, action)
    gaps = late[abs(steps) :][inside] - early[: -abs(steps)][inside]
    return float(np.sqrt((gaps**2).mean()))


def check_readings(found: Sequence[Reading]) -> Iterator[DataFinding]:
    """Actions that are readings of the same or an earlier step, and actions that are the next state."""
    for steps in sorted({reading.steps for reading in found}):
        some = [reading for reading in found if reading.steps == steps]
        pairs = listed([f"{one.action} = {one.state}" for one in some])
        values = {
            "steps": steps,
            "shift_actions": 1 - steps,
            "coordinates": [{"action": one.action, "state": one.state} for one in some],
        }
        if steps <= 0:
            when = "the same step" if steps == 0 else f"{-steps} step{'s' if steps < -1 else ''} before"
            yield error(
                "reading",
                f"The action is the measured state of {when}: {pairs}. It is a reading, not a command.",
                effect="A servo that is given its own position stays there. The policy learns to stand still, with a "
                "low loss.",
                remedy="Record the command that was sent to the robot; or take a later state as the action: "
                f"--shift-actions {1 - steps} takes the next state, for a servo that arrives within a step; one that "
                "lags behind by L steps needs about L. The position is a proper observation and stays.",
                values=values,
            )
        else:
            later = "next state" if steps == 1 else f"state {steps} steps later"
            yield note(
                "reading",
                f"The action is the {later}: {pairs}. Either the servo arrives exactly, or the states that were "
                "reached are recorded as actions.",
                effect="A servo that does not arrive within a step lags behind such targets.",
                remedy="Record the command that was sent to the robot, if there is one.",
                values=values,
            )
