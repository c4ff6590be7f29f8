"""Episodes that stand apart: in other units, out of order, backwards, with flipped signs, other lags, or padding."""

import math

import numpy as np
import pytest

from holdfast.data.doctor import inspect_episodes

from .cause_robots import Draw, made
from .limited_robots import Plan, planned
from .planted_episodes import flipped, jumped, late, padded, reversed_in_time, scaled, shuffled

NEW = {"units", "order", "signs", "shifted", "unlike", "padding"}
COUNT = 24
SOME, ALTERNATE, HALF = [2, 3, 9, 15], list(range(1, COUNT, 2)), list(range(COUNT // 2, COUNT))


def recorded(robot, *, rates=True):
    """A clean set of one of the robots."""
    if robot in ("arm", "room", "pendulum"):
        return planned(Plan(robot=robot, count=COUNT))[0]
    return made(Draw(robot=robot, seed=3, count=COUNT, rates=rates))[0]


def blamed(episodes):
    found = inspect_episodes(episodes).findings
    return {f.check: f for f in found if f.severity in ("error", "warning") and f.check != "starts covered"}


@pytest.mark.parametrize("robot", ["servo6", "velocity6", "force2", "arm", "room", "pendulum"])
def test_clean_sets_have_no_episodes_apart(robot):
    assert not set(blamed(recorded(robot))) & NEW


@pytest.mark.parametrize(
    ("robot", "factor", "states", "actions", "named"),
    [
        ("servo6", 180 / math.pi, [1], [1], "180/π"),
        ("follower4", 180 / math.pi, [1], [], "180/π"),
        ("arm", 25.4, [0, 1, 2], [], "25.4"),
        ("twist3", 1000.0, [0, 1, 2], [], "1000"),
        ("servo6", 0.1, [], range(6), "10"),
        ("room", 100.0, [0], [], "100"),
    ],
)
def test_mixed_units(robot, factor, states, actions, named):
    found = blamed(scaled(recorded(robot), SOME, factor, states=states, actions=actions))
    assert set(found) <= {"units"}
    values = found["units"].values
    assert (values["named"], values["episodes"]) == (named, SOME)
    assert values["factor"] == pytest.approx(factor)
    assert set(values["columns"]) == {f"state[{n}]" for n in states} | {f"action[{n}]" for n in actions}
    assert "--drop-episodes 2 3 9 15" in found["units"].remedy


def test_all_columns_of_half_of_the_episodes_in_another_unit():
    found = blamed(scaled(recorded("twist3"), HALF, 1000.0, states=range(6), actions=range(3)))
    assert set(found) == {"units"}
    assert (found["units"].values["named"], found["units"].values["episodes"]) == ("1000", HALF)


@pytest.mark.parametrize("robot", ["servo6", "twist3", "pendulum"])
def test_rows_out_of_order_do_not_change_what_actions_mean(robot):
    clean = recorded(robot)
    kinds = [next(f for f in inspect_episodes(e).findings if f.check == "semantics").values["kind"]
             for e in (clean, shuffled(clean, [5]))]  # fmt: skip
    assert kinds[0] == kinds[1]
    found = blamed(shuffled(clean, [5]))
    assert set(found) == {"order"}
    assert found["order"].values == {"kind": "shuffled", "episodes": [5]}


@pytest.mark.parametrize("robot", ["servo6", "force2", "room"])
def test_rows_that_run_backwards(robot):
    found = blamed(reversed_in_time(recorded(robot), [4, 8]))
    assert set(found) == {"order"}
    assert found["order"].values == {"kind": "backwards", "episodes": [4, 8]}


@pytest.mark.parametrize("robot", ["servo6", "velocity6", "force2", "arm", "pendulum"])
@pytest.mark.parametrize("some", [[1, 4, 6, 11, 17], ALTERNATE])
def test_the_sign_of_an_action_in_some_episodes(robot, some):
    found = blamed(flipped(recorded(robot), some, 0))
    assert set(found) == {"signs"}
    assert found["signs"].values == {"column": "action[0]", "episodes": some}


@pytest.mark.parametrize("robot", ["servo6", "velocity6", "force2", "delta3", "arm", "room"])
@pytest.mark.parametrize(("some", "steps"), [(ALTERNATE, 4), (HALF, 3)])
def test_actions_that_are_late_in_some_episodes(robot, some, steps):
    found = blamed(late(recorded(robot), some, steps))
    assert set(found) == {"shifted"}
    right = [e for e in range(COUNT) if e not in some]
    assert found["shifted"].values["groups"] == [
        {"steps": 0, "shift_actions": 0, "episodes": right},
        {"steps": -steps, "shift_actions": steps, "episodes": some},
    ]
    assert f"--shift-actions {steps} fits only" in found["shifted"].remedy


@pytest.mark.parametrize("robot", ["servo6", "twist3", "pendulum"])
def test_a_jump_in_one_episode_is_no_other_response(robot):
    assert set(blamed(jumped(recorded(robot), 3))) == {"jumps"}


def test_a_jump_as_small_as_quick_motion():
    found = blamed(jumped(recorded("follower4"), 3, row=0.5))
    assert set(found) == {"unlike"}
    assert found["unlike"].values["episodes"] == [3]
    length = int(recorded("follower4").lengths[3])
    assert found["unlike"].values["steps"][0] == pytest.approx(length // 2, abs=2)


@pytest.mark.parametrize("robot", ["servo6", "twist3"])
@pytest.mark.parametrize(("value", "kind"), [(np.nan, "nan"), (0.0, "filler")])
def test_padding_is_one_finding(robot, value, kind):
    found = blamed(padded(recorded(robot), SOME, 8, value))
    assert set(found) == {"padding"} | ({"acceptance"} if kind == "nan" else set())
    assert found["padding"].values == {"episodes": SOME, "rows": [8] * 4, "kind": kind}
