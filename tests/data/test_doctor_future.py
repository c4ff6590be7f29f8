"""Observations of a state some steps ahead, and coordinates that lead others without holding the future."""

import numpy as np
import pytest

from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.future import future_of
from holdfast.data.doctor.recording import recording_of

from .cause_robots import ROBOTS as DRAWN
from .cause_robots import Draw, made
from .consistency_robots import ROBOTS, Setup, parts_of, recorded
from .planted_episodes import beside
from .robot_parts import joined

COUNT = 24


def clean(robot, *, hand=0.05, sensor=0.0):
    return recorded(Setup(robot=robot, count=COUNT, hand=hand, sensor=sensor, varied=True), seed=5)


def ahead(episodes, column, steps, *, noise=0.0):
    """The recording that also observes a coordinate some steps ahead; the last value is held at the end."""
    rng = np.random.default_rng(1)
    columns = [
        s[np.minimum(np.arange(len(s)) + steps, len(s) - 1), column].astype(float) for s, _ in parts_of(episodes)
    ]
    spread = noise * np.concatenate(columns).std()
    return beside(episodes, [one + spread * rng.normal(size=len(one)) for one in columns])


def shifted(episodes, steps):
    """The recording that also observes the whole state some steps later (above 0) or before."""
    parts = []
    for s, a in parts_of(episodes):
        other = s[np.clip(np.arange(len(s)) + steps, 0, len(s) - 1)]
        parts.append((np.concatenate([s, other], axis=1), a))
    return joined(parts, episodes.dt)


def blamed(episodes):
    return {f.check: f for f in inspect_episodes(episodes).findings if f.severity in ("error", "warning")}


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(("hand", "sensor"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.002)])
def test_clean_sets_observe_no_future(robot, hand, sensor):
    assert future_of(recording_of(clean(robot, hand=hand, sensor=sensor))) == []


@pytest.mark.parametrize("robot", DRAWN)
def test_drawn_sets_observe_no_future(robot):
    assert future_of(recording_of(made(Draw(robot=robot, seed=3, hand=0.1, pauses=True))[0])) == []


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_coordinate_ahead(robot, steps, noise):
    episodes = ahead(clean(robot), 0, steps, noise=noise)
    found = blamed(episodes)["future"]
    label = f"state[{episodes.states.shape[1] - 1}]"
    assert (found.values["coordinates"], found.values["of"], found.values["steps"]) == ([label], ["state[0]"], [steps])
    assert found.values["noisy"] == [noise > 0]
    assert f"{label} is state[0] {steps} steps ahead" in found.what
    assert "holdfast train named --state state_0" in found.remedy
    assert "rates" not in blamed(episodes)


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "pendulum"])
@pytest.mark.parametrize("steps", [1, 3])
def test_past_observations_beside_the_present_one_are_no_future(robot, steps):
    assert future_of(recording_of(shifted(clean(robot), -steps))) == []


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_late_sensor_is_the_past_and_not_the_future(robot, steps):
    episodes = clean(robot)
    late = [s[np.maximum(np.arange(len(s)) - steps, 0), 0] for s, _ in parts_of(episodes)]
    assert future_of(recording_of(beside(episodes, late))) == []


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "pendulum"])
def test_commands_that_are_observed_are_no_future(robot):
    columns = [np.concatenate([a[:1, 0], a[:-1, 0]]) for _, a in parts_of(clean(robot))]
    assert future_of(recording_of(beside(clean(robot), columns))) == []
