"""Absolute goals: by hand, as robosuite's controller computes them, and what is refused."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.data import Preparation, prepared, read
from holdfast.data.absolute import absolute
from holdfast.errors import DataError
from holdfast.learn import checkpoint
from holdfast.policy import PolicySpec
from holdfast.recipe import Recipe
from holdfast.rotations import matrix_from_quaternion, matrix_from_vector
from holdfast.types import Episodes

from .square_set import SQUARE, needs_square

OLD = {
    "env_name": "Lift",
    "env_version": "1.4.1",
    "type": 1,
    "env_kwargs": {
        "robots": ["Panda"],
        "controller_configs": {
            "type": "OSC_POSE",
            "input_max": 1,
            "input_min": -1,
            "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
            "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
            "control_delta": True,
        },
    },
}
NEW_ARM = {**OLD["env_kwargs"]["controller_configs"], "input_type": "delta", "input_ref_frame": "base"}
del NEW_ARM["control_delta"]
NEW = {
    "env_name": "Lift",
    "env_version": "1.5.1",
    "type": 1,
    "env_kwargs": {
        "robots": "Panda",
        "controller_configs": {"type": "BASIC", "body_parts": {"right": NEW_ARM}},
    },
}
# a hand that is turned by 90° about z, so that the site, turned by −90° against it, has the axes of the world
HAND = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
NAMES = (*(f"robot0_eef_pos_{i}" for i in range(3)), *(f"robot0_eef_quat_{i}" for i in range(4)))


def recorded(actions, *, environment=OLD, lengths=None, hand=HAND):
    rows = len(actions)
    states = torch.tensor([(0.1, 0.2, 1.0, *hand)] * rows, dtype=torch.float64)
    states[:, 0] += torch.arange(rows)
    return Episodes(
        actions=torch.tensor(actions, dtype=torch.float64),
        states=states,
        lengths=torch.tensor(lengths or [rows]),
        names={"state": NAMES},
        meta={"env_args": environment, "action_bounds": [[-1] * 7, [1] * 7]},
    )


@pytest.mark.parametrize("environment", [OLD, NEW])
def test_goals_by_hand(environment):
    """Half of the greatest step along x; a third of the greatest turn about y; both beyond the range, clipped."""
    made = absolute(
        recorded(
            [(0.5, 0, 0, 0, 0, 0, -1), (0, 0, -1, 0, 1 / 3, 0, 1), (1.0000001, 0, 0, 0, 0, -1, 1)],
            environment=environment,
        )
    )
    expected = [
        (0.125, 0.2, 1.0, 0, 0, 0, -1),
        (1.1, 0.2, 0.95, 0, 1 / 6, 0, 1),
        (2.15, 0.2, 1.0, 0, 0, -0.5, 1),
    ]
    assert torch.allclose(made.actions, torch.tensor(expected, dtype=torch.float64), atol=1e-15)
    assert made.names["action"] == ("goal_x", "goal_y", "goal_z", "goal_rx", "goal_ry", "goal_rz", "gripper")
    assert "action_bounds" not in made.meta


def test_the_turn_is_about_the_axes_of_the_world():
    """R* = exp([r]×) R, not R exp([r]×): a site that is turned by 180° about x goes on by 0.5 about the world's z."""
    # R_hand Rz(−90°) = Rx(180°)  ⟸  R_hand = Rx(180°) Rz(90°), quaternion (x, y, z, w) = (s, −s, 0, 0)
    hand = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
    made = absolute(recorded([(0, 0, 0, 0, 0, 1, 1)], hand=hand))
    c, s = math.cos(0.5), math.sin(0.5)
    expected = torch.tensor([[c, s, 0], [s, -c, 0], [0, 0, -1]], dtype=torch.float64)
    assert torch.allclose(matrix_from_vector(made.actions[0, 3:6]), expected, atol=1e-15)


def test_before_version_1_5_a_zero_rotation_keeps_the_last_goal():
    actions = [
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 1, 1),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0.5, 1),
    ]
    for environment, expected in ((OLD, (0, 0.5, 0.5, 0, 0.25)), (NEW, (0, 0.5, 0, 0, 0.25))):
        made = absolute(recorded(actions, environment=environment, lengths=[3, 2]))
        assert torch.allclose(made.actions[:, 5], torch.tensor(expected, dtype=torch.float64), atol=1e-15)
    turned = recorded(actions[:1] * 2, lengths=[2])
    turned.states[1, 3:] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    # the goal of the first state, which the second has left
    assert float(absolute(turned).actions[1, 5]) == pytest.approx(0, abs=1e-15)


def test_other_input_and_output_ranges():
    arm = {
        **OLD["env_kwargs"]["controller_configs"],
        "input_min": 0,
        "input_max": 2,
        "output_min": 0.0,
        "output_max": 0.4,
    }
    environment = {**OLD, "env_kwargs": {**OLD["env_kwargs"], "controller_configs": arm}}
    made = absolute(recorded([(1, 0, 2, 0, 0, 1.5, 1)], environment=environment))
    assert torch.allclose(
        made.actions[0, :3] - torch.tensor([0.1, 0.2, 1.0], dtype=torch.float64),
        torch.tensor([0.2, 0, 0.4], dtype=torch.float64),
        atol=1e-15,
    )
    assert float(made.actions[0, 5]) == pytest.approx(0.3)


def test_the_site_itself_is_used_where_it_is_recorded():
    """Then any robot is converted: its site need not be known."""
    environment = copy.deepcopy(NEW)
    environment["env_kwargs"]["robots"] = ["IIWA"]
    plain = recorded([(0, 0, 0, 0.2, 0, 0, 1)], environment=environment)
    with pytest.raises(DataError, match="site of the controller of IIWA against the hand is not known"):
        absolute(plain)
    names = (*NAMES[:3], *(f"robot0_eef_quat_site_{i}" for i in range(4)))
    half = replace(plain, names={"state": names}, states=torch.tensor([[0, 0, 0, 0, 0, 0, -2.0]], dtype=torch.float64))
    assert torch.allclose(absolute(half).actions[0, 3:6], torch.tensor([0.1, 0, 0], dtype=torch.float64))


def test_the_description_says_that_goals_are_absolute_and_is_a_copy():
    for environment in (OLD, NEW):
        before = copy.deepcopy(environment)
        made = absolute(recorded([(0, 0, 0, 0, 0, 0, 1)], environment=environment))
        assert environment == before
        configs = made.meta["env_args"]["env_kwargs"]["controller_configs"]
        arm = configs["body_parts"]["right"] if "body_parts" in configs else configs
        if environment is OLD:
            assert arm["control_delta"] is False
        else:
            assert (arm["input_type"], arm["input_ref_frame"]) == ("absolute", "world")
        # goals of goals are the goals: a set that is stored as absolute is trained on as it is
        assert absolute(made) is made


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("type", "JOINT_VELOCITY", "with type OSC_POSE; env_args say 'JOINT_VELOCITY'"),
        ("impedance_mode", "variable", "impedance_mode fixed; env_args say 'variable'"),
        ("position_limits", [[-1] * 3, [1] * 3], "with position_limits None"),
        ("goal_update_mode", "desired", "goal_update_mode achieved"),
        ("output_max", "far", "expected output_max of the controller in env_args as one number or six, got 'far'"),
    ],
)
def test_other_controllers_are_refused(path, value, said):
    environment = copy.deepcopy(OLD)
    environment["env_kwargs"]["controller_configs"][path] = value
    with pytest.raises(DataError, match=said):
        absolute(recorded([(0, 0, 0, 0, 0, 0, 1)], environment=environment))


def test_sets_without_what_goals_need_are_refused():
    whole = recorded([(0, 0, 0, 0, 0, 0, 1)])
    with pytest.raises(DataError, match="env_args of robosuite with robots and controller_configs, got none"):
        absolute(replace(whole, meta={}))
    with pytest.raises(DataError, match="robot0_eef_pos and robot0_eef_quat, but the data were read with a, b"):
        absolute(replace(whole, names={"state": tuple("abcdefg")}))
    two = copy.deepcopy(OLD)
    two["env_kwargs"]["robots"] = ["Panda", "Panda"]
    with pytest.raises(DataError, match="of one arm with robots one arm; env_args say"):
        absolute(recorded([(0,) * 7], environment=two))
    with pytest.raises(DataError, match="takes six numbers and the gripper's, but the actions have 4"):
        absolute(replace(whole, actions=whole.actions[:, :4]))


def test_other_units_are_refused():
    """Degrees in place of fractions of the greatest turn: one of two steps is beyond the range."""
    with pytest.raises(DataError, match="50% of the steps have commands beyond the input range of the controller"):
        absolute(recorded([(0, 0, 0, 0, 0, 12.0, 1), (0, 0, 0, 0, 0, 0, 1)]))


def test_a_preparation_makes_goals_before_it_shifts_them():
    whole = recorded([(0, 0, 0, 0, 0, 0.1 * step, 1) for step in range(4)])
    made = prepared(whole, Preparation(absolute_actions=True, shift_actions=1))
    assert torch.equal(made.actions, absolute(whole).actions[1:])


def test_older_runs_with_a_preparation_resume(monkeypatch):
    told = []
    monkeypatch.setattr(checkpoint, "digest_of", lambda plain: str(told.append(plain.get("preparation", {}))))
    spec = PolicySpec(n_states=1, n_actions=1, n_observed=1)
    for preparation in (Preparation(), Preparation(shift_actions=1), Preparation(absolute_actions=True)):
        checkpoint.recipe_digest(Recipe(policy=spec, preparation=preparation))
    assert ["absolute_actions" in preparation for preparation in told] == [False, False, True]


@needs_square
def test_goals_are_those_of_the_controller():
    """robosuite's own goals in 100 recorded states: within 1e-12 m and 1e-6 rad."""
    suite = pytest.importorskip("robosuite")
    controllers = pytest.importorskip("robosuite.controllers")
    configs = controllers.load_composite_controller_config(controller="BASIC", robot="Panda")
    configs["body_parts"] = {"right": {**configs["body_parts"]["right"], "input_ref_frame": "world"}}
    environment = suite.make(
        "NutAssemblySquare",
        robots="Panda",
        controller_configs=configs,
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        lite_physics=False,
    )
    environment.reset()
    controller = environment.robots[0].composite_controller.part_controllers["right"]
    whole = read(SQUARE)
    goals = absolute(whole).actions
    for row in np.linspace(0, len(goals) - 1, 100).astype(int):
        environment.sim.set_state_from_flattened(whole.columns["simulator_state"][row].numpy())
        environment.sim.forward()
        controller.update(force=True)
        controller.set_goal(whole.actions[row, :6].numpy())
        assert np.abs(controller.goal_pos - goals[row, :3].numpy()).max() < 1e-12
        turned = matrix_from_vector(goals[row, 3:6]).T @ torch.as_tensor(controller.goal_ori)
        # sin θ of the rotation between both
        skew = (turned - turned.T) / 2
        assert float(skew.square().sum().div(2).sqrt()) < 1e-6
        assert float(turned.trace()) > 2.9


@needs_square
def test_goals_of_the_square_set_lie_near_the_hand():
    """A goal is at most 5 cm and 0.5 rad, along each axis, from the pose in which it was commanded."""
    whole = read(SQUARE)
    made = absolute(whole)
    assert float((made.actions[:, :3] - whole.states[:, :3]).abs().max()) <= 0.05 + 1e-12
    site = matrix_from_quaternion(whole.states[:, 3:7]) @ matrix_from_vector(
        torch.tensor([0, 0, -math.pi / 2], dtype=torch.float64)
    )
    turn = matrix_from_vector(made.actions[:, 3:6]) @ site.transpose(1, 2)
    angles = torch.acos(((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert torch.allclose(angles, 0.5 * whole.actions[:, 3:6].norm(dim=1), atol=1e-7)
    assert torch.equal(made.actions[:, 6], whole.actions[:, 6])
