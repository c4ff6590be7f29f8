"""robosuite's tasks: starts, actions, observations as in robomimic's file, sets that do not fit."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast import read
from holdfast.data.robosuite_task import RobosuiteTask
from holdfast.envs import PlainPolicy, make_environment, rollout
from holdfast.errors import DataError, InterfaceError, InterfaceWarning, RecipeError, ShapeError, WorkerError

robosuite = pytest.importorskip("robosuite", reason="robosuite is not installed (make setup EXTRAS=robosuite)")

from holdfast.envs.robosuite.environment import Robosuite  # noqa: E402
from holdfast.envs.robosuite.recorded import check_observations, differences, task_of, warn_of_versions  # noqa: E402

DATA = Path(os.environ.get("HOLDFAST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SQUARE = DATA / "robomimic_square" / "square_ph_low_dim.hdf5"
REST = torch.zeros(2, 7, dtype=torch.float64)


@pytest.fixture(scope="module")
def square():
    made = Robosuite(RobosuiteTask(task="NutAssemblySquare"), 2, processes=0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def demonstrations():
    if not SQUARE.is_file():
        pytest.skip(f"{SQUARE} is absent")
    return read(SQUARE)


def equal(first, second) -> bool:
    return torch.equal(first.observation.vector, second.observation.vector) and torch.equal(first.state, second.state)


def test_seeds_repeat_and_differ_also_after_other_random_numbers(square):
    first = square.reset([1, 2])
    torch.manual_seed(0)
    square.step(REST)
    again = square.reset([1, 2])
    assert equal(first, again)
    assert not torch.equal(again.state[0], again.state[1])
    assert equal(square.step(REST), square.step(REST)) is False
    nut = again.observation.environment_state[:, :3]
    # the range of robomimic's starts
    assert bool(((nut[:, 0] >= -0.115) & (nut[:, 0] <= -0.11) & (nut[:, 1] >= 0.11) & (nut[:, 1] <= 0.225)).all())


def test_a_delta_moves_the_hand_and_a_goal_is_reached(square):
    before = square.reset([1, 2]).state[:, :3]
    action = REST.clone()
    action[0, 0], action[1, 2] = 1.0, 1.0
    for _ in range(4):
        after = square.step(action)
    moved = after.state[:, :3] - before
    # 4 steps of at most 5 cm, of which the controller does about a quarter in a step
    assert 0.02 < float(moved[0, 0]) < 0.2
    assert 0.02 < float(moved[1, 2]) < 0.2
    assert float(moved[0, 1:].abs().max()) < 0.01


def test_states_restore_with_what_they_do_not_show(square):
    """The fingers' target, the preferred posture and the goal of the orientation are part of `get_state`."""
    square.reset([1, 2])
    closing = REST + torch.tensor([0.3, 0, -0.2, 0, 0.1, 0, 1.0], dtype=torch.float64)
    for _ in range(3):
        square.step(closing)
    state = square.get_state()
    expected = square.step(closing)
    square.reset([5, 6])
    square.set_state(state)
    again = square.step(closing)
    torch.testing.assert_close(again.state, expected.state, rtol=0, atol=1e-6)
    assert state.shape[1] == square.state_width + 2 + 7 + 9


def test_worker_processes_give_the_same_numbers(square):
    first, action = square.reset([3, 4]), REST + 0.1
    step = square.step(action)
    made = Robosuite(RobosuiteTask(task="NutAssemblySquare"), 2, processes=2)
    try:
        assert equal(made.reset([3, 4]), first)
        assert equal(made.step(action), step)
        with pytest.raises(ShapeError, match="has states of 45 numbers"):
            made.reset(torch.zeros(2, 44, dtype=torch.float64))
        made._simulators._workers[1]._process.kill()
        with pytest.raises(WorkerError, match="a worker process of the simulators ended"):
            made.reset([3, 4])
    finally:
        made.close()


def test_a_rollout_records_simulator_states(square):
    found = rollout(PlainPolicy(lambda seen: torch.zeros(7)), square, starts=[1, 2], steps=2)
    states = found.episodes.columns["simulator_state"]
    assert states.shape == (4, 45)
    assert torch.equal(states[0], torch.cat([torch.zeros(1, dtype=torch.float64), states[0, 1:]]))
    shown = square.reset(states[[1, 3]])
    torch.testing.assert_close(shown.observation.vector, found.observed[:, 1], rtol=0, atol=1e-9)


def test_it_refuses_what_it_cannot_do(square):
    square.reset([1, 2])
    with pytest.raises(RecipeError, match="cannot render"):
        square.render()
    with pytest.raises(ShapeError, match="expected actions of shape"):
        square.step(torch.zeros(2, 10))
    with pytest.raises(ShapeError, match="has states of 45 numbers"):
        square.reset(torch.zeros(2, 7, dtype=torch.float64))
    with pytest.raises(RecipeError, match="no camera overhead; its cameras: frontview"):
        Robosuite(RobosuiteTask(task="Lift"), 1, cameras={"overhead": (8, 8)})
    with pytest.raises(RecipeError, match="at least 1 episode"):
        Robosuite(RobosuiteTask(task="Lift"), 0)


def test_pictures_on_request():
    try:
        made = make_environment("robosuite:Lift", 1, images=True, cameras={"agentview_image": (24, 32)})
    except RecipeError as error:
        pytest.skip(f"nothing can be drawn here: {error}")
    try:
        first, other = made.reset([1]), made.reset([2])
        pictures = first.observation.images["agentview_image"]
        assert (tuple(pictures.shape), pictures.dtype) == ((1, 24, 32, 3), torch.uint8)
        assert not torch.equal(pictures, other.observation.images["agentview_image"])
        assert made.render().shape == (1, 24, 32, 3)
    finally:
        made.close()


def test_goals_are_positions_and_rotation_vectors():
    """Held at its own pose, the hand stays; sent 5 cm upwards, it arrives there."""
    made = Robosuite(RobosuiteTask(task="Lift", absolute=True), 1, processes=0)
    try:
        names = made.names["state"]
        made.reset([1])
        env = made._simulators._all[0]._env
        arm = env.robots[0].composite_controller.part_controllers["right"]
        from scipy.spatial.transform import Rotation

        turn = torch.as_tensor(Rotation.from_matrix(arm.ref_ori_mat).as_rotvec())
        start = torch.as_tensor(arm.ref_pos.copy())
        goal = torch.cat([start + torch.tensor([0, 0, 0.05]), turn, torch.tensor([-1.0], dtype=torch.float64)])
        for _ in range(40):
            step = made.step(goal[None])
        reached = step.state[0, names.index("robot0_eef_pos_0") :][:3]
        torch.testing.assert_close(reached, goal[:3], rtol=0, atol=2e-3)
        assert made.action_bounds[1].tolist() == [torch.inf] * 6 + [1.0]
    finally:
        made.close()


def test_the_cube_of_lift_as_robosuite_14_observed_it():
    """p, q, and the hand's position minus the cube's; robosuite 1.5 has the opposite sign."""
    made = Robosuite(RobosuiteTask(task="Lift"), 1, processes=0)
    newer = Robosuite(RobosuiteTask(task="Lift", version="1.5"), 1, processes=0)
    try:
        seen, other = made.reset([1]), newer.reset([1])
        cube = seen.observation.environment_state[0]
        torch.testing.assert_close(cube[7:], seen.state[0, :3] - cube[:3], rtol=0, atol=1e-12)
        torch.testing.assert_close(other.observation.environment_state[0, :7], cube[:7])
        torch.testing.assert_close(other.observation.environment_state[0, 7:], -cube[7:])
    finally:
        made.close()
        newer.close()


# --- robomimic's file


def test_recorded_observations_follow_from_recorded_states(square, demonstrations):
    assert task_of(demonstrations) == RobosuiteTask(task="NutAssemblySquare")
    found = check_observations(demonstrations, square)
    assert found.rows >= 200
    assert float(found.largest.max()) < 1e-6
    assert len(found.names) == 30


def test_another_order_of_the_object_is_refused_by_name(square, demonstrations):
    """As robosuite 1.5 orders the vector: the pose in the hand first."""
    seen = demonstrations.observed
    turned = replace(seen, environment_state=seen.environment_state.roll(7, dims=1))
    with pytest.raises(DataError, match=r"cannot be rebuilt .* object_\d+ differs by .* in step \d+ of episode \d+"):
        check_observations(replace(demonstrations, observations=turned), square)


def test_other_keys_and_sets_without_states_are_refused(square, demonstrations):
    names = {**demonstrations.names}
    own = names["observation.state"]
    names["observation.state"] = ("robot0_force_0", *own[1:])
    with pytest.raises(DataError, match="observes robot0_force_0, which robosuite:NutAssemblySquare does not show"):
        check_observations(replace(demonstrations, names=names), square)
    with pytest.raises(DataError, match="no simulator states"):
        check_observations(replace(demonstrations, columns={}), square)


def test_what_differs_from_the_recording_is_a_warning(demonstrations):
    with pytest.warns(InterfaceWarning, match="recorded with robosuite 1.4.1, here is 1.5.1.*no model_file"):
        warn_of_versions(demonstrations)
    described = demonstrations.meta["env_args"] | {"env_version": robosuite.__version__}
    same = replace(demonstrations, meta={"env_args": described}, episode_columns={"model_file": ("<xml/>",) * 200})
    assert differences(same) == ["The set's model_file is not used: the models are those of robosuite here."]


def test_a_policy_of_other_readings_is_refused(square):
    class Trained:
        def __init__(self, interface):
            self.interface = interface

        def reset(self, seed):
            pass

        def act(self, observation, state):
            return torch.zeros(len(state), 7)

    from holdfast.policy import Coordinates, PolicyInterface

    def named(*names):
        return Coordinates(low=(0.0,) * len(names), high=(1.0,) * len(names), names=names)

    action = Coordinates(low=(0.0,) * 7, high=(1.0,) * 7)
    some = named("robot0_eef_pos_0", "robot0_eef_pos_1")
    picked = PolicyInterface(observation=some, state=some, action=action, n_robot=2)
    with pytest.warns(InterfaceWarning, match="the coordinates are taken by name"):
        found = rollout(Trained(picked), square, starts=[1, 2], steps=1)
    assert found.observed.shape == (2, 1, 2)
    force = named("robot0_eef_pos_0", "robot0_eef_pos_1", "robot0_ee_force_1")
    with pytest.raises(InterfaceError, match="no robot0_ee_force_1 in its observation"):
        rollout(
            Trained(PolicyInterface(observation=force, state=force, action=action, n_robot=2)), square, starts=[1, 2]
        )
