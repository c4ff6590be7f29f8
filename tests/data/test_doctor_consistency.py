"""Causes that show as inconsistency within a set: each planted in several robots, and none reported in clean sets."""

import numpy as np
import pytest
import torch

from holdfast.data.doctor import inspect_episodes
from holdfast.data.doctor.consistency import (
    check_consistency,
    check_frozen,
    check_outcomes,
    check_views,
    contradiction_of,
    frozen_of,
)
from holdfast.data.doctor.recording import recording_of
from holdfast.data.pictures import Frames

from .consistency_robots import Setup, changed, episode, parts_of, recorded
from .robot_parts import joined

SINCE = 25


def blamed(made):
    """Warnings of the checks of consistency alone, by name."""
    recording = recording_of(made)
    found = [*check_consistency(made, recording), *check_frozen(frozen_of(recording), len(made))]
    return {f.check: f for f in [*found, *check_outcomes(contradiction_of(made, recording))]}


def inspected(made):
    """Names of the warnings of the whole inspection."""
    return {f.check for f in inspect_episodes(made).findings if f.severity in ("error", "warning")}


CLEAN = {
    "servo": Setup(),
    "servo, noisy hand": Setup(hand=0.05, sensor=0.002),
    "servo, float64, ten episodes": Setup(count=10, dtype=np.float64),
    "servo, slow, long": Setup(speed=0.4, length=160, count=25),
    "force": Setup(robot="force"),
    "force, noisy, of varied length": Setup(robot="force", hand=0.3, sensor=0.001, varied=True),
    "velocity": Setup(robot="velocity"),
    "velocity, smooth hand": Setup(robot="velocity", hand=0.1, smooth=0.9, sensor=0.001),
    "velocity, fast, at 50 Hz": Setup(robot="velocity", speed=1.5, dt=0.02, length=150),
    "pendulum": Setup(robot="pendulum"),
    "pendulum, noisy": Setup(robot="pendulum", hand=0.3, sensor=0.002, count=80),
    "gripper": Setup(robot="gripper"),
    "gripper, noisy hand": Setup(robot="gripper", hand=0.03, sensor=0.002),
    "several ways": Setup(robot="ways"),
    "several ways, noisy": Setup(robot="ways", hand=0.1, sensor=0.002, count=80),
}
CHECKS = {"response", "exchanged", "drift", "saturation", "stiction", "backlash", "dropped", "frozen", "mislabelled"}
CHECKS |= {"styles", "lag", "leaks", "reading", "offset", "copycat", "history"}


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("seed", [1, 2])
def test_clean_sets_raise_nothing(name, seed):
    assert blamed(recorded(CLEAN[name], seed=seed)) == {}


@pytest.mark.parametrize("name", CLEAN)
def test_no_other_check_blames_a_clean_set(name):
    assert not inspected(recorded(CLEAN[name], seed=1)) & CHECKS


def test_the_inspection_holds_the_checks_of_consistency():
    setup = Setup(robot="velocity")
    made = recorded(setup, later=changed(setup, gain=0.7), since=SINCE)
    assert "response" in inspected(made)


NOISES = [(0.0, 0.0), (0.03, 0.001)]


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "pendulum", "gripper"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_another_gain(robot, hand, sensor):
    setup = Setup(robot=robot, hand=hand, sensor=sensor)
    finding = blamed(recorded(setup, later=changed(setup, gain=0.7), since=SINCE))["response"]
    assert finding.values["first_episode"] == SINCE
    first = finding.values["coordinates"][0]
    assert first["after"] / first["before"] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("robot", ["servo", "force", "velocity"])
def test_another_lag(robot):
    setup = Setup(robot=robot)
    found = blamed(recorded(setup, later=changed(setup, lag=1), since=15))
    assert found["response"].values["first_episode"] == 15


@pytest.mark.parametrize("robot", ["servo", "velocity", "pendulum", "gripper", "ways"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
@pytest.mark.parametrize("kind", ["state", "action"])
def test_exchanged_columns(robot, hand, sensor, kind):
    setup = Setup(robot=robot, hand=hand, sensor=sensor)
    parts = parts_of(recorded(setup))
    for states, actions in parts[22:]:
        values = states if kind == "state" else actions
        values[:, [0, 1]] = values[:, [1, 0]]
    finding = blamed(joined(parts, setup.dt))["exchanged"]
    assert finding.values["first_episode"] == 22
    if robot != "ways":  # without goals, exchanging both positions is exchanging both commands
        assert finding.values["columns"] == [f"{kind}[0]", f"{kind}[1]"]


@pytest.mark.parametrize("robot", ["servo", "velocity", "ways"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_drifting_calibration_of_commands(robot, hand, sensor):
    setup = Setup(robot=robot, hand=hand, sensor=sensor)
    parts = parts_of(recorded(setup))
    for e, (_, actions) in enumerate(parts):
        actions[:, 1] += 0.2 * e / (len(parts) - 1)
    finding = blamed(joined(parts, setup.dt))["drift"]
    assert finding.values["kind"] == "trend"
    assert finding.values["offsets"] == {"action[1]": pytest.approx(0.2, abs=0.02)}


@pytest.mark.parametrize("robot", ["servo", "gripper"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_drifting_calibration_of_readings(robot, hand, sensor):
    setup = Setup(robot=robot, hand=hand, sensor=sensor)
    parts = parts_of(recorded(setup))
    for e, (states, _) in enumerate(parts):
        states[:, 0] -= 0.2 * e / (len(parts) - 1)
    assert blamed(joined(parts, setup.dt))["drift"].values["offsets"] == {"action[0]": pytest.approx(0.2, abs=0.02)}


@pytest.mark.parametrize(
    ("robot", "limit", "level"),
    # a servo with gain 40 is limited to a force of 8 at a distance of 0.2
    [("servo", 8, 0.2), ("force", 3, 3), ("velocity", 0.8, 0.8), ("pendulum", 4, 4), ("gripper", 0.15, 0.15)],
)
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_saturation(robot, limit, level, hand, sensor):
    made = recorded(Setup(robot=robot, hand=hand, sensor=sensor, limit=limit))
    finding = blamed(made)["saturation"]
    assert finding.values["coordinates"][0]["level"] == pytest.approx(level, rel=0.25)


@pytest.mark.parametrize("robot", ["servo", "velocity"])
@pytest.mark.parametrize("play", [0.06, 0.12])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_backlash(robot, play, hand, sensor):
    finding = blamed(recorded(Setup(robot=robot, hand=hand, sensor=sensor, play=play)))["backlash"]
    assert finding.values["coordinates"][0]["width"] == pytest.approx(play, rel=0.2)


@pytest.mark.parametrize(
    ("robot", "stiction", "size"),
    [("servo", 3, 3 / 40), ("force", 2, 2), ("velocity", 0.1, 0.1), ("velocity", 0.3, 0.3)],
)
def test_stiction(robot, stiction, size):
    finding = blamed(recorded(Setup(robot=robot, stiction=stiction)))["stiction"]
    assert finding.values["coordinates"][0]["size"] == pytest.approx(size, rel=0.4)


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "ways"])
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_dropped_frames(robot, share):
    setup, rng = Setup(robot=robot), np.random.default_rng(1)
    parts, lost = [], 0
    for states, actions in parts_of(recorded(setup)):
        kept = rng.uniform(size=len(states)) >= share
        kept[:2] = True
        parts.append((states[kept], actions[kept]))
        lost += int((~kept).sum())
    finding = blamed(joined(parts, setup.dt))["dropped"]
    assert 0.4 * lost <= finding.values["missing"] <= lost
    assert finding.values["share"] == pytest.approx(share, rel=0.4)


@pytest.mark.parametrize("robot", ["servo", "force", "velocity"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_a_sensor_that_dies(robot, hand, sensor):
    setup = Setup(robot=robot, hand=hand, sensor=sensor)
    parts = parts_of(recorded(setup))
    parts[28][0][20:, 0] = last = parts[28][0][20, 0]
    for states, _ in parts[29:]:
        states[:, 0] = last
    finding = blamed(joined(parts, setup.dt))["frozen"]
    assert finding.values["coordinate"] == "state[0]"
    assert set(finding.values["episodes"]) <= set(range(28, 40))
    assert len(finding.values["episodes"]) >= 8


def failing(setup, seed=0):
    """Episodes of which a third misses the goal, and which do."""
    rng = np.random.default_rng(seed)
    bad = rng.permutation(setup.count) < 12
    return [episode(changed(setup, miss=rng.uniform(0.3, 0.8) if b else 0), rng) for b in bad], bad


@pytest.mark.parametrize("robot", ["servo", "force", "velocity", "gripper"])
@pytest.mark.parametrize(("hand", "sensor"), NOISES)
def test_mislabelled_success(robot, hand, sensor):
    setup = Setup(robot=robot, hand=hand, sensor=sensor, length=120)
    parts, bad = failing(setup)
    right = joined(parts, setup.dt, episode_columns={"success": torch.tensor(~bad)})
    assert "mislabelled" not in blamed(right)
    lost, won = np.flatnonzero(bad)[:3].tolist(), np.flatnonzero(~bad)[:2].tolist()
    labels = ~bad
    labels[lost], labels[won] = True, False
    finding = blamed(joined(parts, setup.dt, episode_columns={"success": torch.tensor(labels)}))["mislabelled"]
    # episodes at the edge of the failures are not reported
    found = finding.values["labelled_success_but_failed"]
    assert set(found) <= set(lost)
    assert len(found) >= 2
    assert set(finding.values["labelled_failure_but_solved"]) <= set(won)


@pytest.mark.parametrize(
    ("robot", "style"), [("servo", {"speed": 0.6}), ("servo", {"turn": 0.5}), ("force", {"speed": 0.6})]
)
@pytest.mark.parametrize("known", [True, False])
def test_two_demonstrators(robot, style, known):
    setup, rng = Setup(robot=robot), np.random.default_rng(3)
    second = rng.uniform(size=setup.count) < 0.5
    parts = [episode(changed(setup, **style) if other else setup, rng) for other in second]
    who = {"operator": tuple("BA"[int(not other)] for other in second)} if known else {}
    finding = blamed(joined(parts, setup.dt, episode_columns=who))["styles"]
    assert finding.values["column"] == ("operator" if known else "")
    assert np.flatnonzero(second).tolist() in list(finding.values["groups"].values())


@pytest.mark.parametrize("robot", ["servo", "force", "velocity"])
def test_another_demonstrator_from_an_episode_on(robot):
    setup = Setup(robot=robot)
    finding = blamed(recorded(setup, later=changed(setup, speed=0.5), since=18))["styles"]
    assert finding.values["first_episode"] == 18


@pytest.mark.parametrize("since", [None, 7, 12])
def test_exchanged_cameras(since):
    rng = torch.Generator().manual_seed(0)
    scenes = torch.randint(0, 200, (2, 24, 24, 3), generator=rng)
    count, length = 20, 3
    noise = torch.randint(0, 40, (2, count * length, 24, 24, 3), generator=rng)
    front, wrist = (scenes[:, None] + noise).to(torch.uint8)
    if since is not None:
        rows = slice(since * length, None)
        front[rows], wrist[rows] = wrist[rows].clone(), front[rows].clone()
    zeros = np.zeros((length, 1), dtype=np.float32)
    made = joined([(zeros, zeros)] * count, Setup().dt, cameras={"front": Frames(front), "wrist": Frames(wrist)})
    found = list(check_views(made))
    assert [f.values["first_episode"] for f in found] == ([] if since is None else [since])
