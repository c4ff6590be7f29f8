"""Names of coordinates: spellings, orders, units."""

import pytest

from holdfast.policy.coordinate_names import keys_of, matched, named_vector, positional, ratio_of, split_unit


@pytest.mark.parametrize(
    ("wanted", "offered", "index"),
    [
        (["x", "y", "z"], ["z", "x", "y"], (1, 2, 0)),
        (["pose/position_0", "pose/position_1", "grip_0"], ["grip", "pose.position.0", "pose.position.1"], (1, 2, 0)),
        (["q[0]", "q[1]"], ["q_1", "q_0"], (1, 0)),
        (["Shoulder [deg]", "elbow"], ["elbow", "shoulder"], (1, 0)),
        (["a_1", "a_10", "a_2"], ["a.1", "a.2", "a.10"], (0, 2, 1)),
        (["x", "y"], ["goal", "y", "x"], (2, 1)),
    ],
)
def test_the_same_coordinates_are_found_in_every_spelling(wanted, offered, index):
    found = matched(wanted, offered)
    assert found.index == index
    assert found.missing == ()
    assert [offered[place] for place in range(len(offered)) if place not in index] == list(found.extra)


def test_missing_and_further_names_are_listed_as_they_were_given():
    found = matched(["Arm.x", "arm_y"], ["arm/x", "hand/y"])
    assert (found.index, found.missing, found.extra) == ((), ("arm_y",), ("hand/y",))


def test_names_that_differ_only_in_spelling_are_compared_as_they_are():
    assert matched(["x_1", "x.1"], ["x.1", "x_1"]).index == (1, 0)
    assert matched(["x", "x"], ["x", "y"]) is None


def test_an_index_of_zero_stays_where_there_are_others():
    assert keys_of(["force_0"]) == [("force",)]
    assert keys_of(["force_0", "force_1"]) == [("force", "0"), ("force", "1")]


def test_positions_are_told_from_names():
    assert positional(["motor_0", "motor_1", "motor_2"])
    assert positional(["0", "1"])
    assert not positional(["motor_1", "motor_0"])
    assert not positional(["pos_0", "pos_1", "vel_0"])
    assert not positional(["x"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("angle [rad]", ("angle", "rad")), ("grip (%)", ("grip", "%")), ("q[3]", ("q[3]", "")), ("(x)", ("(x)", ""))],
)
def test_units_follow_names_in_brackets(name, expected):
    assert split_unit(name) == expected


@pytest.mark.parametrize(
    ("unit", "other", "ratio"),
    [
        ("deg", "rad", 3.141592653589793 / 180),
        ("m", "mm", 1000),
        ("cm", "m", 0.01),
        ("Radians", "rad", 1),
        ("s", "ms", 1000),
    ],
)
def test_ratios_of_units(unit, other, ratio):
    assert ratio_of(unit, other) == pytest.approx(ratio, rel=1e-14)


def test_units_of_different_kinds_have_no_ratio():
    assert ratio_of("m", "rad") is None
    assert ratio_of("N", "Nm") is None


def test_a_vector_is_named_only_if_all_its_parts_are():
    names = {"observation.state": ("x", "y"), "observation.environment_state": ("g",)}
    widths = {"observation.state": 2, "observation.environment_state": 1}
    assert named_vector(names, widths) == ("x", "y", "g")
    assert named_vector(names, {**widths, "observation.environment_state": 2}) is None
    assert named_vector({"observation.state": ("x", "y")}, widths) is None
