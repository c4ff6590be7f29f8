"""Absolute goals in place of the commands of robosuite's operational-space controller, without a replay.

    p* = p + s(a₀…₂),      R* = exp([s(a₃…₅)]×) R,      gripper as recorded
    s(a)   from [input_min, input_max], to which it is clipped, to [output_min, output_max]
    p, R   position and orientation of the controller's site at the recorded state

The absolute action is [p*, log R*, gripper], robomimic's convention: position [m] and rotation vector [rad] in the
axes of the world. `robot0_eef_quat` is the orientation of the hand; the site of the Panda's gripper is turned against
it by −90° about its z axis. Before version 1.5, robosuite keeps the goal orientation of the step before where the
commanded rotation is zero, and that of the first state before any was commanded; so do these goals.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import DataError
from ..rotations import Rotation, matrix_from_quaternion, matrix_from_vector, vector_from_matrix
from ..types import Episodes
from .coordinates import coordinates_of
from .robosuite_task import PREFIX, arm_of, mapping_of, robosuite_name, version_of

ROTATIONS = (Rotation(3, "axis-angle"),)
"""Coordinates of an absolute action that are a rotation."""
GOALS = ("goal_x", "goal_y", "goal_z", "goal_rx", "goal_ry", "goal_rz")

POSITION, HAND, SITE = "robot0_eef_pos", "robot0_eef_quat", "robot0_eef_quat_site"
TURNED = {"Panda": -math.pi / 2}
"""Angle of the controller's site about the z axis of the hand [rad]."""
OUTSIDE = 0.01
"""Largest share of the steps whose commands may be beyond the controller's input range, which it clips."""
WAY_OUT = "Train on the recorded actions (without --absolute-actions)."


@dataclass(frozen=True)
class Controller:
    """robosuite's controller of an arm, as `env_args` describes it.

    Attributes:
        options: Its configuration.
        robot: Name of the robot.
        keeps: Whether a zero rotation keeps the goal orientation, as before version 1.5.
    """

    options: Mapping[str, Any]
    robot: str
    keeps: bool

    @property
    def is_absolute(self) -> bool:
        """Whether its actions are goals already."""
        return self.options.get("input_type") == "absolute" or self.options.get("control_delta") is False

    def scaled(self, commands: Float[Tensor, "rows 6"]) -> Float[Tensor, "rows 6"]:
        """Commanded changes [m, rad]."""
        low, high = (self._limits(f"input_{end}", commands, default) for end, default in (("min", -1), ("max", 1)))
        out_low, out_high = (self._limits(f"output_{end}", commands, None) for end in ("min", "max"))
        unit = (torch.maximum(torch.minimum(commands, high), low) - (high + low) / 2) / (high - low)
        return unit * (out_high - out_low) + (out_high + out_low) / 2

    def outside(self, commands: Float[Tensor, "rows 6"]) -> Bool[Tensor, " rows"]:
        """Steps with a command beyond the input range, by more than rounding."""
        low, high = (self._limits(f"input_{end}", commands, default) for end, default in (("min", -1), ("max", 1)))
        slack = 1e-6 * (high - low)
        return ((commands < low - slack) | (commands > high + slack)).any(1)

    def _limits(self, name: str, like: Tensor, default: float | None) -> Float[Tensor, " 6"]:
        value = self.options.get(name, default)
        try:
            found = torch.as_tensor(value, dtype=like.dtype).expand(6)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"expected {name} of the controller in env_args as one number or six, got {value!r:.80}. {WAY_OUT}"
            ) from error
        return found


def absolute(episodes: Episodes) -> Episodes:
    """Demonstrations with absolute goals as actions; sets whose actions are absolute already stay as they are.

    The description of the environment (`meta["env_args"]`) then says that its controller takes absolute actions.

    Raises:
        DataError: The data do not say that the actions are changes for one arm under OSC_POSE, or lack the pose of its
            hand, or their commands are beyond the controller's input range.
    """
    controller = controller_of(episodes)
    if controller.is_absolute:
        return episodes
    actions = episodes.actions
    commands, rest = actions[:, :6].double(), actions[:, 6:]
    if (share := float(controller.outside(commands).double().mean())) > OUTSIDE:
        raise DataError(
            f"{share:.0%} of the steps have commands beyond the input range of the controller in env_args, which clips "
            f"them: the actions are in other units, or of another controller. {WAY_OUT}"
        )
    position, site = _pose(episodes, controller.robot)
    change = controller.scaled(commands)
    orientation = matrix_from_vector(change[:, 3:]) @ site
    if controller.keeps:
        orientation = _kept(orientation, site, change[:, 3:], episodes)
    goals = torch.cat([position + change[:, :3], vector_from_matrix(orientation)], dim=1)
    described = _described(episodes.meta)
    of_robosuite = (episodes.system or "").startswith(PREFIX)
    # float32 cannot hold the goals as exactly as the commands, but their readers asked for it
    return replace(
        episodes,
        system=robosuite_name(described["env_args"]) if of_robosuite else episodes.system,
        actions=torch.cat([goals.to(actions), rest], dim=1),
        names={**episodes.names, "action": (*GOALS, *_gripper_names(episodes, rest.shape[1]))},
        meta=described,
    )


def controller_of(episodes: Episodes) -> Controller:
    """The arm's controller by `meta["env_args"]`.

    Raises:
        DataError: It is not described, or it is not OSC_POSE of one arm with fixed gains and goals relative to the
            reached pose.
    """
    environment = mapping_of(episodes.meta.get("env_args"))
    options = mapping_of(environment.get("env_kwargs"))
    robots: Any = options.get("robots")
    robots = [robots] if isinstance(robots, str) else robots
    arm = arm_of(mapping_of(options.get("controller_configs")))
    if not isinstance(robots, list) or not arm:
        raise DataError(
            "absolute actions need the robot and its controller, but the data do not describe them: expected "
            f"env_args of robosuite with robots and controller_configs, got {_short(environment) or 'none'}. {WAY_OUT}"
        )
    names = cast("list[Any]", robots)
    expected = {
        "type": (arm.get("type"), "OSC_POSE"),
        "robots": (names if len(names) > 1 else "one arm", "one arm"),
        "impedance_mode": (arm.get("impedance_mode", "fixed"), "fixed"),
        "position_limits": (arm.get("position_limits"), None),
        "orientation_limits": (arm.get("orientation_limits"), None),
        "goal_update_mode": (arm.get("goal_update_mode", "achieved"), "achieved"),
    }
    for name, (found, usual) in expected.items():
        if found != usual:
            raise DataError(
                f"absolute actions are computed for the controller OSC_POSE of one arm with {name} {usual}; env_args "
                f"say {found!r:.80}. {WAY_OUT}"
            )
    if episodes.actions.shape[1] < 6:
        raise DataError(
            f"OSC_POSE takes six numbers and the gripper's, but the actions have {episodes.actions.shape[1]}. Read the "
            "whole action (--action actions)."
        )
    return Controller(arm, str(names[0]), keeps=version_of(environment) == "1.4")


def _pose(episodes: Episodes, robot: str) -> tuple[Float[Tensor, "rows 3"], Float[Tensor, "rows 3 3"]]:
    """Position and orientation of the controller's site at each step."""
    position = _columns(episodes, POSITION, 3)
    site, hand = _columns(episodes, SITE, 4), _columns(episodes, HAND, 4)
    if position is None or (site is None and hand is None):
        held = ", ".join(coordinates_of(episodes).values())
        raise DataError(
            f"absolute actions need the observations {POSITION} and {HAND}, but the data were read with {held:.400}. "
            f"Read them too (--state). {WAY_OUT}"
        )
    if site is not None:
        return position, matrix_from_quaternion(site)
    if robot not in TURNED or hand is None:
        raise DataError(
            f"the site of the controller of {robot} against the hand is not known, only that of "
            f"{', '.join(TURNED)}. Record {SITE}, which robosuite 1.5 observes. {WAY_OUT}"
        )
    turned = torch.tensor([0.0, 0.0, TURNED[robot]], dtype=torch.float64)
    return position, matrix_from_quaternion(hand) @ matrix_from_vector(turned)


def _columns(episodes: Episodes, key: str, count: int) -> Tensor | None:
    """Coordinates `key_0` and so on of the observation in float64, if it has them."""
    names = list(coordinates_of(episodes).values())
    wanted = [f"{key}_{index}" for index in range(count)]
    if not all(name in names for name in wanted):
        return None
    return episodes.observed.vector[:, [names.index(name) for name in wanted]].double()


def _kept(
    goals: Float[Tensor, "rows 3 3"],
    site: Float[Tensor, "rows 3 3"],
    rotation: Float[Tensor, "rows 3"],
    episodes: Episodes,
) -> Float[Tensor, "rows 3 3"]:
    """Goal orientations in which steps without a commanded rotation keep the last one of their episode."""
    commanded = (rotation != 0).any(1)
    rows = torch.arange(len(goals))
    starts = episodes.starts.repeat_interleave(episodes.lengths)
    last = torch.where(commanded, rows, -1).cummax(0).values
    goals = torch.where(commanded[:, None, None], goals, site)
    return goals[torch.where(last >= starts, last, starts)]


def _described(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a set with absolute actions."""
    found = {name: value for name, value in meta.items() if name != "action_bounds"}
    found["env_args"] = deepcopy(found["env_args"])
    arm = cast("dict[str, Any]", arm_of(found["env_args"]["env_kwargs"]["controller_configs"]))
    if "control_delta" in arm or "input_type" not in arm:
        arm["control_delta"] = False
    else:
        arm |= {"input_type": "absolute", "input_ref_frame": "world"}
    return found


def _gripper_names(episodes: Episodes, count: int) -> tuple[str, ...]:
    own = episodes.names.get("action", ())[6:]
    return own or (("gripper",) if count == 1 else tuple(f"gripper_{index}" for index in range(count)))


def _short(environment: Mapping[str, Any]) -> str:
    return ", ".join(environment)[:80]
