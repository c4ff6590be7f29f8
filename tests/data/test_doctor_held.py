"""Samples of the observation that are held for some steps: all coordinates or some, in all episodes or some."""

import numpy as np
import pytest

from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.held import held_of
from holdfast.data.doctor.recording import recording_of

from .cause_robots import ROBOTS as DRAWN
from .cause_robots import Draw, made
from .consistency_robots import ROBOTS, Setup, recorded
from .planted_episodes import changed_in, held

COUNT = 16
QUICK = {"semantics", "dropped", "history", "lag", "stale", "repeats", "jumps", "stiction", "response", "offset"}
QUICK |= {"frozen"}


def blamed(episodes):
    found = inspect_episodes(episodes).findings
    return {f.check: f for f in found if f.severity in ("error", "warning") and f.check != "starts covered"}


def clean(robot, *, hand=0.02, sensor=0.0):
    return recorded(Setup(robot=robot, count=COUNT, hand=hand, sensor=sensor, varied=True), seed=5)


def slow(episodes, factor, *, columns=slice(None), some=range(COUNT), phase=0):
    """The recording with some columns of some episodes read at a fraction of the rate."""

    def change(s, a):
        rows = np.maximum((np.arange(len(s)) - phase) // factor * factor + phase, 0)
        s[:, columns] = s[rows][:, columns]
        return s, a

    return changed_in(episodes, some, change)


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(("hand", "sensor"), [(0.0, 0.0), (0.02, 0.002)])
def test_clean_sets_are_not_held(robot, hand, sensor):
    assert held_of(recording_of(clean(robot, hand=hand, sensor=sensor))) is None


@pytest.mark.parametrize("robot", DRAWN)
def test_drawn_sets_are_not_held(robot):
    assert held_of(recording_of(made(Draw(robot=robot, seed=3, hand=0.1, pauses=True))[0])) is None


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_all_observations_at_a_fraction_of_the_rate(robot, factor):
    found = blamed(held(clean(robot), factor))
    assert "held" in found
    assert not set(found) & QUICK
    values = found["held"].values
    assert (values["factor"], values["all_columns"], values["actions"]) == (factor, True, False)
    assert values["episodes"] == list(range(COUNT))
    assert f"held for {factor} steps in all episodes: all moving coordinates" in found["held"].what


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "pendulum", "gripper"])
def test_one_coordinate_at_a_third_of_the_rate(robot):
    found = blamed(slow(clean(robot), 3, columns=[0], phase=1))
    assert not set(found) & QUICK
    assert (found["held"].values["factor"], found["held"].values["columns"]) == (3, ["state[0]"])


@pytest.mark.parametrize("robot", ROBOTS)
def test_some_episodes_at_a_third_of_the_rate(robot):
    some = [1, 4, 11]
    found = blamed(slow(clean(robot), 3, some=some))
    assert not set(found) & QUICK
    assert (found["held"].values["factor"], found["held"].values["episodes"]) == (3, some)
    assert "--drop-episodes 1 4 11" in found["held"].remedy


def test_whole_rows_that_are_repeated():
    every = range(COUNT)
    episodes = changed_in(clean("servo"), every, lambda s, a: tuple(v[np.arange(len(v)) // 3 * 3] for v in (s, a)))
    found = blamed(episodes)
    assert found["held"].values["actions"] is True
    assert "repeats" not in found


def test_a_coarse_sensor_is_not_held():
    episodes = changed_in(clean("velocity"), range(COUNT), lambda s, a: (np.round(s / 0.1) * np.float32(0.1), a))
    assert held_of(recording_of(episodes)) is None


def test_a_few_regular_changes_by_chance_are_not_held():
    episodes = slow(clean("velocity"), 3, columns=[0], some=[5])
    assert held_of(recording_of(episodes)) is None
