"""Findings on changes over the episodes in recorded order: drift, exchanged columns, another gain, another style."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..findings import DataFinding, listed, share, warning
from ..recording import Recording
from .changes import Changed, change_of, from_on, ramp
from .drifting import drift_of, missing_of
from .exchanges import exchanged_pair
from .habits import Habits
from .steps import Steps

RATIO = 0.08
"""Smallest relative change of a gain that is reported."""
OFFSET = 0.01
"""Smallest offset that is reported, as a fraction of the range of an action."""
DELAYS = 0.5
"""Smallest change of the share of the previous action in the effect, by which a delay shows."""
DIFFERS = 0.3
"""Smallest gain on held-out episodes for which demonstrators differ."""


_DRIFT = (
    "Early and late episodes place the same pose at different numbers. A policy averages over them and misses by a "
    "part of the offset.",
    "Calibrate and record again, subtract the offset by episode before converting, or leave {late} out "
    "if the robot at deployment is calibrated as in the others.",
)


def check_response_over_time(steps: Steps | None, habits: Habits | None) -> Iterator[DataFinding]:
    """Changes of the one-step model: what the robot does in response to the actions."""
    if steps is None:
        return
    moments = steps.moments()
    if (changed := change_of(moments, seed_words="response")) is None:
        if (slow := drift_of(moments)) is not None:
            yield from _offset(steps, slow)
        return
    if changed.kind != "trend" and (pair := exchanged_pair(steps, changed, habits)) is not None:
        yield _exchanged(pair, _first(steps, changed), changed)
    elif changed.kind == "response":
        yield from _response(steps, changed)
    else:
        yield from _offset(steps, changed)


def check_habits_over_time(habits: Habits | None) -> Iterator[DataFinding]:
    """Changes of the action given the observation, where the robot's response is the same throughout."""
    if habits is None:
        return
    moments = habits.moments()
    if (changed := change_of(moments, seed_words="habits")) is None:
        if (slow := drift_of(moments)) is not None:
            yield from _habit_offset(habits, slow)
        return
    if changed.kind != "trend" and (pair := exchanged_pair(habits, changed)) is not None:
        yield _exchanged(pair, _first(habits, changed), changed)
    elif changed.kind == "response" and max(changed.gain) >= DIFFERS:
        yield _style(habits, changed)
    elif changed.kind != "response":
        yield from _habit_offset(habits, changed)


def check_ends_over_time(recording: Recording) -> Iterator[DataFinding]:
    """Coordinates that end at another distance from their goal in later episodes."""
    if (found := missing_of(recording)) is None:
        return
    first = int(recording.episodes[found.first])
    when = (
        "grows steadily from the first episode to the last" if found.kind == "trend" else f"changes at episode {first}"
    )
    yield warning(
        "drift",
        f"The calibration drifts: the distance of {found.state} from {found.goal} at the end of the episodes {when}, "
        f"by {found.shift:+.3g}.",
        effect=_DRIFT[0],
        remedy=_DRIFT[1].format(
            late="the later ones" if found.kind == "trend" else f"those from {first} on (--drop-episodes {first}-)"
        ),
        values={
            "kind": found.kind,
            "first_episode": first,
            "offsets": {found.state: found.shift},
            "coordinates": [{"action": "", "state": found.state, "goal": found.goal, "offset": found.shift}],
        },
    )


def _late(first: int, *, grows: bool) -> str:
    """The episodes to leave out after a change."""
    return "the later ones" if grows else f"those from {first} on (--drop-episodes {first}-)"


def _first(model: Steps | Habits, changed: Changed) -> int:
    """The first changed episode, as numbered in the data set."""
    return int(model.recording.episodes[changed.first])


def _exchanged(pair: tuple[str, str], first: int, changed: Changed) -> DataFinding:
    return warning(
        "exchanged",
        f"The columns {pair[0]} and {pair[1]} are exchanged from episode {first} on: with the two exchanged back, the "
        "model of the earlier episodes holds for the later ones too.",
        effect="The same number means two things. A policy averages over both and is right for neither.",
        remedy=f"Exchange the two columns in the episodes from {first} on and convert again; or train with "
        f"--drop-episodes {first}-, or with --drop-episodes 0-{first - 1}.",
        values={"columns": list(pair), "first_episode": first, "gain": max(changed.gain)},
    )


def _response(steps: Steps, changed: Changed) -> Iterator[DataFinding]:
    first = _first(steps, changed)
    found = _gains(steps, changed)
    if not found:
        return
    texts = [f"{one['action']} → {one['state']}: {one['before']:.3g} before, {one['after']:.3g} after" for one in found]
    delayed = [one for one in found if abs(one["previous_after"] - one["previous_before"]) >= DELAYS]
    delay = (
        " The delay has changed: the previous action has {previous_before:.0%} of the effect before and "
        "{previous_after:.0%} after.".format(**delayed[0])
        if delayed
        else ""
    )
    yield warning(
        "response",
        f"From episode {first} on, the robot responds differently to the same actions. Effect of an action on the next "
        f"change of the state: {listed(texts)}. A separate model from there on reduces the error of the prediction by "
        f"{share(max(changed.gain))} on held-out episodes.{delay}",
        effect="A controller gain, a delay, a payload or a rate has changed. Actions that were right for one robot are "
        "learned for the other too.",
        remedy=f"Train on the episodes that were recorded with the controller of the deployment: leave the others out "
        f"with --drop-episodes 0-{first - 1}, or with --drop-episodes {first}- those from {first} on.",
        values={"first_episode": first, "coordinates": found},
    )


def _gains(steps: Steps, changed: Changed) -> list[dict[str, Any]]:
    """Effects of the actions before and after, of the coordinates where they differ, the clearest first."""
    moments, late = steps.newest(), from_on(len(steps.recording.lengths), changed.first)
    before, after = steps.gains(moments.fit(~late)), steps.gains(moments.fit(late))
    found = list[dict[str, Any]]()
    for gain, target in sorted(zip(changed.gain, changed.targets, strict=True), reverse=True):
        action = _main(steps, before + after, target)
        one, two = float(before[action, target]), float(after[action, target])
        later = _later(steps, changed, action, target)
        if abs(two - one) >= RATIO * max(abs(one), abs(two)) or abs(later[1] - later[0]) >= DELAYS:
            names = {"action": steps.actions[action], "state": steps.labels[target]}
            shares = {"previous_before": later[0], "previous_after": later[1]}
            found.append(names | {"before": one, "after": two, "explained": gain} | shares)
    return found


def _later(steps: Steps, changed: Changed, action: int, target: int) -> tuple[float, float]:
    """Share of the previous action in the effect of the last two, before and after: a delay moves it to 1."""
    n, m = len(steps.moving), len(steps.acting)
    both = steps.moments().only(np.array([*range(n), *range(2 * n, 2 * (n + m))]))
    late = from_on(len(steps.recording.lengths), changed.first)
    found = list[float]()
    for chosen in (~late, late):
        weights = np.abs(both.fit(chosen)[:, target])
        found.append(float(weights[n + m + action] / max(weights[n + action] + weights[n + m + action], 1e-300)))
    return found[0], found[1]


def _main(steps: Steps, gains: Float[ndarray, "m p"], target: int) -> int:
    """The action that moves a coordinate most."""
    first = 2 * len(steps.moving)
    return int(np.abs(gains[:, target] * steps.scale[first : first + len(steps.acting)]).argmax())


def _offset(steps: Steps, changed: Changed) -> Iterator[DataFinding]:
    """A constant of the one-step model, as an offset of the action that would have the same effect."""
    moments, count = steps.newest(), len(steps.recording.lengths)
    over = ramp(count) if changed.kind == "trend" else from_on(count, changed.first).astype(float)
    # moments.only keeps the constant 1 last, and the further input stands before it
    weights = moments.with_input(over).fit(np.ones(count, dtype=bool))
    gains, shift = steps.gains(weights), weights[-2] * steps.size
    found = list[dict[str, Any]]()
    for target in changed.targets:
        action = _main(steps, gains, target)
        gain = float(gains[action, target])
        size = -float(shift[target]) / gain if gain else 0.0
        values = steps.recording.column(steps.actions[action])
        if abs(size) >= OFFSET * float(values.max() - values.min()):
            found.append({"action": steps.actions[action], "state": steps.labels[target], "offset": size})
    if found:
        yield _drifting(found, _first(steps, changed), changed)


def _habit_offset(habits: Habits, changed: Changed) -> Iterator[DataFinding]:
    found = list[dict[str, Any]]()
    for target, shift in zip(changed.targets, changed.shift, strict=True):
        values = habits.recording.column(habits.actions[target])
        size = float(shift * habits.scale[target])
        if abs(size) >= OFFSET * float(values.max() - values.min()):
            found.append({"action": habits.actions[target], "state": "", "offset": size})
    if found:
        yield _drifting(found, _first(habits, changed), changed)


def _drifting(found: list[dict[str, Any]], first: int, changed: Changed) -> DataFinding:
    # the coordinate whose model explains most comes first in `found`
    largest = {one["action"]: one["offset"] for one in reversed(found)}
    texts = listed([f"{action} {size:+.3g}" for action, size in largest.items()])
    grows = changed.kind == "trend"
    when = "shifts steadily from the first episode to the last" if grows else f"shifts at episode {first}"
    return warning(
        "drift",
        f"The calibration drifts: the command relative to the reading {when}: {texts}.",
        effect=_DRIFT[0],
        remedy=_DRIFT[1].format(late=_late(first, grows=grows)),
        values={"kind": changed.kind, "first_episode": first, "offsets": largest, "coordinates": found},
    )


def _style(habits: Habits, changed: Changed) -> DataFinding:
    first = _first(habits, changed)
    actions = [habits.actions[target] for target in changed.targets]
    return warning(
        "styles",
        f"From episode {first} on, the demonstrations differ in style: given the observation, {listed(actions)} are "
        f"others; a separate regression from there on reduces the error by {share(max(changed.gain))} on held-out "
        "episodes. The robot's response is the same.",
        effect="Two demonstrators, or one who changed. A policy mixes two ways to act for one observation.",
        remedy=f"Compare training on one part with --drop-episodes 0-{first - 1}, or with --drop-episodes {first}-, or "
        "record who demonstrated as an observation.",
        values={"first_episode": first, "actions": actions, "gain": max(changed.gain)},
    )
