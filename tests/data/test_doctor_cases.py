"""Every planted cause of the shared cases that the data show is named, and the controls are quiet."""

import os
from pathlib import Path

import pytest

from holdfast.data import read
from holdfast.data.doctor import inspect_episodes

CASES = Path(os.environ.get("HOLDFAST_CASES", Path(__file__).resolve().parents[2].parent / "shared" / "cases")) / "data"

if not CASES.is_dir():  # beside the repository, or beside the folder of its work trees
    CASES = Path(__file__).resolve().parents[3].parent / "shared" / "cases" / "data"


def findings(name):
    path = CASES / name
    if not path.exists():
        pytest.skip(f"the planted cases are not at {path}")
    return inspect_episodes(read(path)).findings


def blamed(name):
    return {f.check: f for f in findings(name) if f.severity in ("error", "warning")}


def told(name, check):
    return next(f for f in findings(name) if f.check == check)


@pytest.mark.parametrize("name", ["base.npz", "push.npz", "goal_right_order.npz", "noisy.npz"])
def test_controls_are_quiet(name):
    assert blamed(name) == {}


@pytest.mark.parametrize("name", ["base.npz", "goal_right_order.npz", "noisy.npz", "swapped.npz"])
def test_the_arm_is_a_servo_of_one_step(name):
    finding = told(name, "semantics")
    assert finding.values["kind"] == "target"
    assert [one["first"] for one in finding.values["coordinates"]] == [1, 1]
    assert "first effect 1 step" in finding.what


@pytest.mark.parametrize("name", ["push.npz", "push_k2.npz", "push_novel.npz"])
def test_push_is_a_force_and_the_goal_is_nobodys_servo(name):
    assert [one["kind"] for one in told(name, "semantics").values["coordinates"]] == ["force"]


@pytest.mark.parametrize("name", ["obs_late2.npz", "push_k2.npz"])
def test_late_observations(name):
    found = blamed(name)
    assert set(found) == {"lag"}
    assert (found["lag"].values["steps"], found["lag"].values["direction"]) == (2, "late observation")
    assert "--shift-actions -2" in found["lag"].remedy


def test_actions_that_are_readings():
    found = blamed("act_is_state.npz")
    assert set(found) == {"reading"}
    assert (found["reading"].severity, found["reading"].values["steps"]) == ("error", 0)
    assert "--shift-actions 1" in found["reading"].remedy
    assert "emove" not in found["reading"].remedy


def test_an_offset_of_the_leader():
    found = blamed("calib.npz")
    assert set(found) == {"offset"}
    assert found["offset"].values["offsets"] == {"action[0]": pytest.approx(0.3, abs=1e-3)}


def test_idle_starts():
    finding = blamed("idle.npz")["idle"]
    start = finding.values["steps"]["start"]
    # planted: 15 to 30 first steps in each of 60 episodes
    assert start["episodes"] == 60
    assert 15 <= start["median"] <= 30
    assert "--drop-idle start" in finding.remedy


def test_a_missing_velocity():
    found = blamed("push_novel.npz")
    assert set(found) == {"history"}
    assert found["history"].values["r2_one"] < 0.85
    assert found["history"].values["r2_two"] > 0.99


@pytest.mark.parametrize(("name", "noisy"), [("prev_action.npz", False), ("prev_action_noisy.npz", True)])
def test_previous_actions_in_the_observation(name, noisy):
    found = blamed(name)
    assert set(found) == {"leaks"}
    assert found["leaks"].values["coordinates"] == ["state[6]", "state[7]"]
    assert found["leaks"].values["noisy"] == [noisy, noisy]
    # nothing is built on what is condemned
    assert [one["state"] for one in told(name, "semantics").values["coordinates"]] == ["state[0]", "state[1]"]


def test_copycat_risk():
    finding = blamed("car.npz")["copycat"]
    assert 1 - finding.values["r2_one"] > 5 * (1 - finding.values["r2_previous"])


def test_wraps():
    assert blamed("roll.npz")["wraps"].values["coordinates"] == ["state[6]"]
    turned = blamed("quat_within.npz")
    assert turned["wraps"].values["coordinates"] == ["state[6] to state[9]"]
    # the flips are no motion at the end of an episode, and no jumps
    assert set(turned) == {"wraps", "constants"}


def test_a_noisy_hand_is_one_way():
    assert told("noisy.npz", "modes").values["share"] < 0.01
