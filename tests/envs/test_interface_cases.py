"""The shared cases: data sets compared with the environments that they are flown in. Controls are quiet."""

import os
import sys
from pathlib import Path

import pytest

from holdfast.data import read
from holdfast.envs import compare_interface
from holdfast.envs.contract import fit_of
from holdfast.envs.gym import gym_environment
from holdfast.learn.interfaces import interface_of

ROOT = Path(__file__).resolve().parents[2]
PLACES = [place / "shared" / "cases" for place in (ROOT.parent, ROOT.parent.parent)]
CASES = next((place for place in PLACES if place.is_dir()), PLACES[0])
CASES = Path(os.environ.get("HOLDFAST_CASES", CASES))

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases in HOLDFAST_CASES or ../shared/cases")

QUIET = {
    **dict.fromkeys(["base", "act_is_state", "calib", "idle", "noisy", "obs_late2"], "Arm-v0"),
    **dict.fromkeys(["push", "push_k2"], "Push-v0"),
    "push_novel": "PushNoVel-v0",
    "goal_right_order": "ArmGoal-v0",
    "minari_goal": "ArmGoal-v0",
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.syspath_prepend(str(CASES))
    yield
    sys.modules.pop("mybench", None)


def compared(name, environment, count=32):
    path = CASES / "data" / name
    interface = interface_of(read(path if path.exists() else path.with_suffix(".npz")))
    made = gym_environment(f"mybench:{environment}", count)
    first = made.reset(range(100_000, 100_000 + count))
    found = compare_interface(interface, made, first)

    class Trained:
        """A policy of which only the interface matters."""

    policy = Trained()
    policy.interface = interface
    return found, fit_of(policy, made, first).ordered(first).observation.vector, made


@pytest.mark.parametrize(("name", "environment"), QUIET.items())
@pytest.mark.parametrize("count", [1, 10, 50])
def test_what_is_flown_where_it_was_recorded_is_quiet(name, environment, count):
    assert compared(name, environment, count)[0] == []


def test_a_goal_that_is_named_otherwise_is_put_in_order():
    (found,), seen, _ = compared("goal_named", "ArmGoal-v0")
    assert (found.kind, found.severity) == ("order", "warning")
    # achieved, desired, observation, in which the position is the achieved one
    assert (seen[:, 0:2] == seen[:, 4:6]).all()
    assert (seen[:, 6:8] == 0).all()


def test_minaris_goal_has_the_order_of_the_environment():
    found, seen, made = compared("minari_goal", "ArmGoal-v0")
    assert found == []
    assert (seen == made.reset(range(100_000, 100_032)).observation.vector).all()


def test_swapped_coordinates_lie_outside_every_demonstration():
    (found,), _, _ = compared("swapped", "Arm-v0")
    assert (found.kind, found.values["coordinates"]) == ("range", [4, 5])
    assert found.values["range"] == [[0.0, 0.0]] * 2
    assert "order" in found.remedy


def test_another_rate_is_said_with_its_ratio():
    (found,), _, _ = compared("base", "ArmFast-v0")
    assert (found.kind, found.values) == ("rate", {"trained": 0.05, "given": 0.01, "ratio": pytest.approx(5)})


def test_bounds_that_the_data_exceed_are_said():
    (found,), _, _ = compared("push", "PushWeak-v0")
    assert (found.kind, found.values["given"]) == ("bounds", [[-3.0, 3.0]])
    actions = read(CASES / "data" / "push.npz").actions
    assert found.values["trained"] == [[float(actions.min()), float(actions.max())]]
