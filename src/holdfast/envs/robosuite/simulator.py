"""One simulator of a robosuite task, which executes actions and shows observations as robomimic's files have them.

Physics and controller are those of robosuite 1.5. For files of robosuite up to 1.4 it steps as 1.4 did: all of MuJoCo's
`forward` before each physics step (`lite_physics=False`), the fingers' target moves in each physics step by 0.01, on a
range from -1 to 1, rather than by 0.2 once in each control step, and a command without a rotation keeps the goal of the
orientation, rather than replacing it by the present one.
"""

import importlib
import logging
import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from numpy import ndarray

from ...data.robosuite_task import CONTROLLER, FIXED, RobosuiteTask
from ...errors import MissingExtraError, RecipeError, ShapeError
from .observed import VELOCITIES, object_of, robot_keys

GRIPPER_STEP = 0.01
"""Change of the fingers' target in a physics step, in robosuite up to 1.4."""
ARM, GRIPPER = "right", "right_gripper"
Vector = Float64[ndarray, " d"]


@dataclass(frozen=True)
class Reading:
    """What one simulator shows.

    Attributes:
        robot: Readings of the robot, all keys in one vector.
        object: The vector `object`.
        state: Recorded form of the simulator's state: time, positions, velocities.
        hidden: Rest of what the next step depends on: the fingers' target, the posture that the controller prefers, and
            its goal of the orientation, as a matrix.
        success: Whether the task is solved.
        pictures: Camera name → picture.
    """

    robot: Vector
    object: Vector
    state: Vector
    hidden: Vector
    success: bool
    pictures: Mapping[str, UInt8[ndarray, "height width 3"]]


class Simulator:
    """One robosuite environment.

    Args:
        task: Task, robot and controller.
        cameras: Height and width of the pictures of each camera [px].

    Raises:
        MissingExtraError: robosuite is not installed.
        RecipeError: It cannot make the task, or draw pictures.
    """

    def __init__(self, task: RobosuiteTask, cameras: Mapping[str, tuple[int, int]]) -> None:
        self.task, self.cameras = task, cameras
        self._keys = robot_keys(task)
        suite = robosuite()
        self._transforms: Any = importlib.import_module("robosuite.utils.transform_utils")
        try:
            with _quiet_random(0):
                self._env: Any = suite.make(task.task, **_options(suite, task, pictures=bool(cameras)))
        except Exception as error:  # drivers and models raise errors of many kinds
            raise RecipeError(f"{task.name} cannot be made: {type(error).__name__}: {error}") from error
        known = list(self._env.sim.model.camera_names)
        if missing := [name for name in cameras if camera_of(name) not in known]:
            raise RecipeError(f"{task.name} has no camera {', '.join(missing)}; its cameras: {', '.join(known)}.")

    @property
    def width(self) -> int:
        """Number of values of a recorded state."""
        return 1 + int(self._env.sim.model.nq) + int(self._env.sim.model.nv)

    def reset(self, seed: int) -> Reading:
        """Begin the episode of a seed."""
        with _quiet_random(seed):
            self._env.reset()
        return self.read()

    def place(self, state: Vector) -> Reading:
        """Move to a state of `Reading.state`, followed by `Reading.hidden` or not.

        Without it, the fingers' target is where the fingers are (at time 0 half-way, as after a reset), the preferred
        posture is the arm's own at time 0 and the robot's usual one later, and the goal is the present orientation.

        Raises:
            ShapeError: The state is one of another task, robot or version.
        """
        env, width = self._env, self.width
        robot, gripper = env.robots[0], env.robots[0].gripper[ARM]
        whole = width + len(gripper.actuators) + len(robot.init_qpos) + 9
        if len(state) not in (width, whole):
            raise ShapeError(
                f"{self.task.name} has states of {width} numbers (time, {env.sim.model.nq} positions, "
                f"{env.sim.model.nv} velocities), got {len(state)}. They belong to another task, robot or version "
                "of robosuite."
            )
        env.sim.set_state_from_flattened(np.asarray(state[:width]))
        env.sim.forward()
        arm = robot.composite_controller.part_controllers[ARM]
        arm.update(force=True)
        arm.reset_goal()
        begun = state[0] == 0
        posture = np.array(arm.joint_pos if begun else robot.init_qpos)
        fingers = np.zeros(len(gripper.actuators)) if begun else self._fingers_are_at()
        hidden = np.array(state[width:])
        if len(hidden):
            fingers, posture, goal = np.split(hidden, [len(fingers), len(hidden) - 9])
            arm.goal_ori = goal.reshape(3, 3)
        gripper.current_action, arm.initial_joint = fingers, posture
        return self.read()

    def step(self, action: Vector) -> Reading:
        """One control step."""
        if self.task.version != "1.4":
            self._env.step(action)
            return self.read(fresh=False)
        robot, sim = self._env.robots[0], self._env.sim
        gripper, arm = robot.gripper[ARM], robot.composite_controller.part_controllers[ARM]
        closing, target, goal = _closing(gripper) * np.sign(action[-1]), _target(gripper), arm.goal_ori
        sim.forward()
        robot.composite_controller.update_state()
        robot.composite_controller.set_goal(action)
        if not self.task.absolute and not np.any(action[3:6]):
            arm.goal_ori = goal
        for _ in range(round(self._env.control_timestep / self._env.model_timestep)):
            robot.control(action)  # begins with MuJoCo's `forward`
            target = np.clip(target + closing * GRIPPER_STEP, -1, 1)
            self._command_fingers(gripper, target)
            sim.step()
        gripper.current_action = target
        return self.read()

    def read(self, *, fresh: bool = True) -> Reading:
        """What the simulator shows now; as it showed in its last step, if not fresh."""
        env = self._env
        if fresh:
            env.sim.forward()
        seen = dict(env._get_observations(force_update=fresh))
        robot = env.robots[0]
        hand = robot.robot_model.eef_name[ARM]
        if self.task.version == "1.4":
            seen |= {
                "robot0_eef_vel_lin": env.sim.data.get_body_xvelp(hand),
                "robot0_eef_vel_ang": env.sim.data.get_body_xvelr(hand),
            }
        arm = robot.composite_controller.part_controllers[ARM]
        return Reading(
            robot=np.concatenate([np.asarray(seen[key], dtype=np.float64).reshape(-1) for key in self._keys]),
            object=object_of(self.task, seen, self._pose_in),
            state=np.array(env.sim.get_state().flatten()),
            hidden=np.concatenate([_target(robot.gripper[ARM]), arm.initial_joint, np.ravel(arm.goal_ori)]),
            success=bool(env._check_success()),
            pictures=self.pictures(self.cameras),
        )

    def widths(self) -> dict[str, int]:
        """Number of values of each reading of the robot, and of `object`."""
        seen = self._env._get_observations(force_update=True)
        velocities = {f"robot0_{key}": 3 for key in VELOCITIES}
        sizes = {key: velocities.get(key) or int(np.size(seen[key])) for key in self._keys}
        return sizes | {"object": int(np.size(seen["object-state"]))}

    def pictures(self, cameras: Mapping[str, tuple[int, int]]) -> dict[str, UInt8[ndarray, "height width 3"]]:
        """Pictures of the present state."""
        found = dict[str, UInt8[ndarray, "height width 3"]]()
        for name, (height, width) in cameras.items():
            drawn = self._env.sim.render(camera_name=camera_of(name), height=height, width=width)
            found[name] = np.ascontiguousarray(drawn[::-1])  # MuJoCo's first row is the lowest
        return found

    def close(self) -> None:
        """Release the simulator's resources."""
        self._env.close()

    def _pose_in(self, position: Vector, turn: Vector, hand: Vector, hand_turn: Vector) -> Vector:
        # by robosuite's own functions, whose single precision and sign of quaternions the files have
        t = self._transforms
        inverse = t.pose_inv(t.pose2mat((hand, hand_turn)))
        there, turned = t.mat2pose(t.pose_in_A_to_pose_in_B(t.pose2mat((position, turn)), inverse))
        return np.concatenate([there, turned])

    def _command_fingers(self, gripper: Any, target: Vector) -> None:
        """Set the fingers' actuators to their target."""
        sim = self._env.sim
        numbers = [sim.model.actuator_name2id(name) for name in gripper.actuators]
        low, high = sim.model.actuator_ctrlrange[numbers].T
        sim.data.ctrl[numbers] = (low + high) / 2 + (high - low) / 2 * target

    def _fingers_are_at(self) -> Vector:
        """The target at which the fingers are, from -1 to 1."""
        env, robot = self._env, self._env.robots[0]
        numbers = [env.sim.model.actuator_name2id(name) for name in robot.gripper[ARM].actuators]
        low, high = env.sim.model.actuator_ctrlrange[numbers].T
        found = np.array([env.sim.data.qpos[place] for place in robot._ref_gripper_joint_pos_indexes[ARM]])
        return np.clip((found - (low + high) / 2) / ((high - low) / 2), -1, 1)


def camera_of(name: str) -> str:
    """Robosuite's name of a camera, whose pictures are recorded as `<camera>_image`."""
    return name.removesuffix("_image")


def robosuite() -> Any:
    """The package.

    Raises:
        MissingExtraError: It is not installed.
    """
    before = logging.root.manager.disable
    # at import it warns of packages that only other robots need
    logging.disable(logging.WARNING)
    try:
        found: Any = importlib.import_module("robosuite")
        importlib.import_module("robosuite.utils.log_utils").ROBOSUITE_DEFAULT_LOGGER.setLevel("ERROR")
    except ImportError as error:
        raise MissingExtraError("robosuite", extra="robosuite") from error
    finally:
        logging.disable(before)
    return found


def _target(gripper: Any) -> Vector:
    """Target of each finger, of which robosuite keeps one number for all until the first step."""
    return np.array(np.broadcast_to(gripper.current_action, len(gripper.actuators)), dtype=np.float64)


def _closing(gripper: Any) -> Vector:
    """Direction in which each finger's target moves for an action of 1."""
    before = gripper.current_action
    gripper.current_action = np.zeros(len(gripper.actuators))
    found = np.sign(gripper.format_action(np.ones(gripper.dof)))
    gripper.current_action = before
    return found


def _options(suite: Any, task: RobosuiteTask, *, pictures: bool) -> dict[str, Any]:
    """Arguments of the task's constructor."""
    controllers: Any = importlib.import_module("robosuite.controllers")
    config = controllers.load_composite_controller_config(controller=None, robot=task.robot)
    config["body_parts"][ARM] |= {
        **FIXED,
        "type": CONTROLLER,
        "output_max": [task.reach] * 3 + [task.turn] * 3,
        "output_min": [-task.reach] * 3 + [-task.turn] * 3,
        "kp": task.kp,
        "damping_ratio": task.damping,
        "input_type": "absolute" if task.absolute else "delta",
        "input_ref_frame": "world",
    }
    return {
        "robots": [task.robot],
        "controller_configs": config,
        "has_renderer": False,
        "has_offscreen_renderer": pictures,
        "use_camera_obs": False,
        "use_object_obs": True,
        "control_freq": task.rate,
        "lite_physics": task.version != "1.4",
        "ignore_done": True,
        "reward_shaping": False,
        # the cube of Lift has another size in each episode
        "hard_reset": task.task == "Lift",
    }


@contextmanager
def _quiet_random(seed: int) -> Generator[None]:
    """The global generators, which robosuite draws from, seeded within and as they were afterwards."""
    numbers, plain = np.random.get_state(), random.getstate()
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numbers)
        random.setstate(plain)


def stacked(readings: Sequence[Reading]) -> dict[str, Any]:
    """The readings of several simulators as arrays, to be sent between processes."""
    fields = {name: np.stack([getattr(one, name) for one in readings]) for name in ("robot", "object", "state")}
    pictures = {name: np.stack([one.pictures[name] for one in readings]) for name in readings[0].pictures}
    rest = {
        "hidden": np.stack([one.hidden for one in readings]),
        "success": np.array([one.success for one in readings]),
    }
    return {**fields, **rest, "pictures": pictures}
