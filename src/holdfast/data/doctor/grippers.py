"""Action coordinates with two positions: held states, as of a gripper that is open or closed, and one-step triggers.

Both ends of the range hold nearly all values. A *held* coordinate keeps its value until it changes; a *trigger* rests
at one value and leaves it for a step or two, as a button does that toggles something.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .findings import DataFinding, listed, note, warning
from .recording import Recording

AT_END, BOTH = 0.05, 0.97
"""Width of the ends as a fraction of the range, and the share of the steps in them."""
RARE, SHORT = 0.2, 2
"""A trigger is away from its rest in at most this share of the steps, usually for at most this many steps."""
FEWEST = 3
EQUAL = 0.5
"""Smallest share of a trigger's steps away from rest that are at an end of its range: pulses have one height. Where a
regulator corrects each start once, the heights are those of the errors."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A coordinate with two (or, for triggers in both directions, three) values."""

    action: str
    trigger: bool
    low: float
    high: float
    rest: float
    run: float
    pulses: int
    share: float


def switches_of(recording: Recording) -> list[Switch]:
    """Action coordinates whose values are nearly all at the ends of their range, or at rest between pulses."""
    found = [_switch(label, recording.column(label), recording) for label in recording.actions.labels]
    return [switch for switch in found if switch is not None]


def _switch(label: str, values: Float[ndarray, " rows"], recording: Recording) -> Switch | None:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return None
    rest = _rest(values, low, high)
    width = AT_END * (high - low)
    at_ends = (values <= low + width) | (values >= high - width)
    away = np.abs(values - rest) > width
    if float((at_ends | ~away).mean()) < BOTH or not away.any():
        return None
    runs = _run_lengths(away, recording)
    usual, part = float(np.median(runs)), float(away.mean())
    middle = bool(low + width < rest < high - width)
    brief = part <= RARE and usual <= SHORT and len(runs) >= FEWEST
    trigger = brief and float(at_ends[away].mean()) >= EQUAL
    if (middle or brief) and not trigger:
        return None
    return Switch(action=label, trigger=trigger, low=low, high=high, rest=rest, run=usual, pulses=len(runs), share=part)


def _rest(values: Float[ndarray, " rows"], low: float, high: float) -> float:
    """The value near which most steps are: an end of the range, or the median if it is between them."""
    return min((low, high, float(np.median(values))), key=lambda at: float(np.median(np.abs(values - at))))


def _run_lengths(mask: Bool[ndarray, " rows"], recording: Recording) -> ndarray:
    """Lengths of the stretches of true steps within episodes."""
    owner = recording.owner
    edges = np.flatnonzero((np.diff(mask.astype(np.int8)) != 0) | (np.diff(owner) != 0)) + 1
    firsts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([firsts, [len(mask)]]))
    return lengths[mask[firsts]]


def check_switches(found: list[Switch]) -> Iterator[DataFinding]:
    """Held states, as a note, and triggers, as a warning."""
    if held := [switch for switch in found if not switch.trigger]:
        names = listed([f"{one.action} ({one.low:g} or {one.high:g}, held for {one.run:g} steps)" for one in held])
        yield note(
            "gripper",
            f"{len(held)} action coordinate{'s hold' if len(held) > 1 else ' holds'} one of two states: {names}.",
            effect="Each step repeats the state, so a missed step does no harm. A regression predicts values "
            "in between where the state changes.",
            remedy="Keep the held state as the action. Where the gripper takes two values only, apply the nearer one: "
            f"compare with {(held[0].low + held[0].high) / 2:g}.",
            values={"kind": "held", "coordinates": [_numbers(one) for one in held]},
        )
    if triggers := [switch for switch in found if switch.trigger]:
        names = listed(
            [f"{one.action} (rests at {one.rest:g}, {one.pulses} pulses of {one.run:g} steps)" for one in triggers]
        )
        yield warning(
            "gripper",
            f"{len(triggers)} action coordinate{'s are triggers' if len(triggers) > 1 else ' is a trigger'}: {names}.",
            effect=f"The pulse fills {100 * triggers[0].share:.1f} % of the steps, and its exact step varies from "
            "episode to episode: a policy that is one step early or late, or predicts a mean, misses it or gives two.",
            remedy="Record the state that the pulse switches (open or closed, held until the next pulse) as the "
            "action, and make the robot send the pulse when that state changes; show the state in the observation.",
            values={"kind": "trigger", "coordinates": [_numbers(one) for one in triggers]},
        )


def _numbers(one: Switch) -> dict[str, float | str]:
    return {
        "action": one.action,
        "low": one.low,
        "high": one.high,
        "rest": one.rest,
        "run": one.run,
        "share": one.share,
    }
