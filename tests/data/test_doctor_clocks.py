"""Coordinates of the observation that are clocks: steps to go, progress, or the time since the start."""

import shlex

import numpy as np
import pytest
import torch

from holdfast import write
from holdfast.data import Selection, read
from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.clocks import clocks_of
from holdfast.data.doctor.recording import recording_of
from holdfast.types import Episodes

from .cause_robots import ROBOTS as DRAWN
from .cause_robots import Draw, made
from .consistency_robots import ROBOTS, Setup, parts_of, recorded
from .planted_episodes import beside
from .robot_parts import joined

CLOCKS = {
    "to go": lambda n: np.arange(n)[::-1],
    "root of the steps to go": lambda n: np.sqrt(np.arange(n)[::-1]),
    "discounted": lambda n: 0.97 ** np.arange(n)[::-1],
    "progress": lambda n: np.linspace(0, 1, n),
    "share of all steps": lambda n: np.arange(n) / n,
    "share to go": lambda n: np.arange(n)[::-1] / n,
    "square of the progress": lambda n: np.linspace(0, 1, n) ** 2,
    "root of the progress": lambda n: np.sqrt(np.linspace(0, 1, n)),
    "logistic progress": lambda n: 1 / (1 + np.exp(-10 * (np.arange(n) / n - 0.5))),
    "time": lambda n: 0.05 * np.arange(n),
    "square of the time": lambda n: np.arange(n) ** 2.0,
}
KINDS = dict.fromkeys(["to go", "root of the steps to go", "discounted"], "steps to go")
KINDS |= {"time": "time", "square of the time": "time"}
KINDS = dict.fromkeys(CLOCKS, "progress") | KINDS


def clean(robot, *, hand=0.0, varied=True):
    return recorded(Setup(robot=robot, count=20, hand=hand, varied=varied), seed=5)


def with_clock(robot, clock, *, noise=0.0, hand=0.02, varied=True):
    """A recording that observes a clock, with noise relative to its spread."""
    episodes, rng = clean(robot, hand=hand, varied=varied), np.random.default_rng(2)
    columns = [CLOCKS[clock](len(s)).astype(float) for s, _ in parts_of(episodes)]
    spread = noise * np.concatenate(columns).std()
    return beside(episodes, [column + spread * rng.normal(size=len(column)) for column in columns])


def told(episodes):
    return [f for f in inspect_episodes(episodes).findings if f.check == "clocks"]


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("hand", [0.0, 0.02])
@pytest.mark.parametrize("varied", [True, False])
def test_clean_sets_observe_no_clock(robot, hand, varied):
    assert clocks_of(recording_of(clean(robot, hand=hand, varied=varied))) == []


@pytest.mark.parametrize("robot", DRAWN)
def test_drawn_sets_observe_no_clock(robot):
    assert clocks_of(recording_of(made(Draw(robot=robot, seed=3, hand=0.1, pauses=True))[0])) == []


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_clocks_are_named(robot, clock, noise):
    episodes = with_clock(robot, clock, noise=noise)
    (found,) = told(episodes)
    label = f"state[{episodes.states.shape[1] - 1}]"
    assert (found.values["kind"], found.values["coordinates"]) == (KINDS[clock], [label])
    assert found.severity == ("note" if KINDS[clock] == "time" else "warning")
    assert ("with noise" in found.what) == (noise > 0)


def test_in_episodes_of_one_length_the_time_to_go_is_a_clock_too():
    (found,) = told(with_clock("servo", "to go", varied=False))
    assert found.severity == "note"
    assert "this is also the time to go" in found.what


def swings(noise):
    """Motions along one smooth path to one goal, quick or slow, whose positions are thus functions of the progress."""
    rng, parts = np.random.default_rng(4), []
    for n in rng.integers(40, 90, 20):
        u = np.linspace(0, 1, n)
        states = np.stack([u**2 * (3 - 2 * u), np.sin(7 * u), np.cos(9 * u)], axis=1)
        parts.append((states + noise * rng.normal(size=states.shape), np.stack([u**2, np.sin(7 * u + 0.2)], axis=1)))
    return joined(parts, 0.05)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_path_that_all_episodes_repeat_is_no_clock(noise):
    assert clocks_of(recording_of(swings(noise))) == []


@pytest.mark.parametrize("end", [0.05, 0.1])
def test_the_distance_of_a_steady_approach_is_no_clock(end):
    rng, parts = np.random.default_rng(0), []
    episodes = clean("servo", hand=0.02)
    for _ in parts_of(episodes):
        away = [float(rng.uniform(1, 3))]
        while away[-1] > end:
            away.append(away[-1] * 0.95)
        parts.append(np.array(away))
    lengths = [len(one) for one in parts]
    states = np.concatenate([np.stack([one, rng.normal(size=len(one))], axis=1) for one in parts])
    made = Episodes(states=torch.tensor(states), actions=torch.tensor(states[:, 1:]), lengths=torch.tensor(lengths))
    assert clocks_of(recording_of(made)) == []


def test_the_remedy_can_be_typed(tmp_path):
    episodes = with_clock("servo", "to go")
    (found,) = told(episodes)
    words = shlex.split(found.remedy.partition("holdfast train named ")[2])
    keys = words[1 : words.index("--out")]
    write(episodes, tmp_path / "named")
    left = read(tmp_path / "named", selection=Selection(state=tuple(keys)))
    assert (left.states == episodes.states[:, :-1]).all()
