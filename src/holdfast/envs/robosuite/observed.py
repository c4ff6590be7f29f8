"""Observations as robomimic's files hold them, from those of robosuite 1.5.

robosuite 1.5 changed the vector `object` of its tasks; a policy that was trained on files of 1.4 would see other
numbers under the same name. The two orders, p and q (x, y, z, w) being position and orientation in the world, e the
hand:

                              files of robosuite up to 1.4             robosuite 1.5
    PickPlaceCan, Square      p, q, p in the hand, q in the hand       p in the hand, q in the hand, p, q
    Lift                      p, q, p_e − p                            p, q, p − p_e

Moreover, robosuite 1.5 computes the pose in the hand from the object's pose one control step before. For version "1.4"
it is computed from the present one, as 1.4 did; for "1.5" the vector is robosuite's own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ...data.robosuite_task import RobosuiteTask

HAND = ("eef_pos", "eef_quat", "gripper_qpos")
OTHERS = ("gripper_qvel", "joint_pos", "joint_pos_cos", "joint_pos_sin", "joint_vel")
VELOCITIES = ("eef_vel_ang", "eef_vel_lin")
"""Velocities of the hand, which only robosuite up to 1.4 observes."""
BODIES = {"PickPlaceCan": "Can", "NutAssemblySquare": "SquareNut"}
OBJECT = "object"
Seen = Mapping[str, Any]
Vector = Float64[ndarray, " d"]


def robot_keys(task: RobosuiteTask) -> tuple[str, ...]:
    """Readings of the robot, in the order in which robomimic's files are read: the hand first."""
    added = VELOCITIES if task.version == "1.4" else ()
    return tuple(f"robot0_{key}" for key in (*HAND, *added, *OTHERS))


def object_of(task: RobosuiteTask, seen: Seen, pose_in: Callable[[Vector, Vector, Vector, Vector], Vector]) -> Vector:
    """The vector `object`.

    Args:
        task: The task.
        seen: Observations of robosuite 1.5.
        pose_in: Position and orientation of an object in the hand, from those of both in the world.
    """
    if task.version != "1.4":
        return np.asarray(seen["object-state"], dtype=np.float64)
    hand = seen["robot0_eef_pos"], seen["robot0_eef_quat"]
    if task.task == "Lift":
        return np.concatenate([seen["cube_pos"], seen["cube_quat"], hand[0] - seen["cube_pos"]])
    body = BODIES[task.task]
    pose = seen[f"{body}_pos"], seen[f"{body}_quat"]
    return np.concatenate([*pose, pose_in(*pose, *hand)])
