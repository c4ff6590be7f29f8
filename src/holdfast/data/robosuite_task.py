"""Tasks of robosuite as robomimic's files describe them, and as names of environments.

    robosuite:Square                                    robomimic's settings: Panda, delta actions, 20 Hz, kp 150
    robosuite:PickPlaceCan:absolute,kp=50               another action and another stiffness

`RobosuiteTask.of` reads `env_args` of a file (robomimic, arXiv 2108.03298), in the form of robosuite 1.4 or of 1.5;
`RobosuiteTask.parse` reads a name. Both are closed: what is not known is refused, because a controller with other
settings moves the arm differently.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

from ..errors import RecipeError, UnknownNameError

PREFIX = "robosuite:"
ALIASES = {"Can": "PickPlaceCan", "Square": "NutAssemblySquare"}
TASKS = ("Lift", "PickPlaceCan", "NutAssemblySquare")
ROBOTS = ("Panda", "Sawyer", "IIWA", "UR5e", "Kinova3", "Jaco")
CONTROLLER = "OSC_POSE"
# of the arm's controller: what the actions are is said by the fields of the task, the rest must be as here
FIXED: Mapping[str, Any] = {
    "input_max": 1,
    "input_min": -1,
    "impedance_mode": "fixed",
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "interpolation": None,
}
# of the task's constructor: settings of pictures, of rewards and of ends, which the environment chooses itself
IGNORED = (
    *("has_renderer", "has_offscreen_renderer", "ignore_done", "use_object_obs", "use_camera_obs", "camera_depths"),
    *("camera_names", "camera_heights", "camera_widths", "camera_segmentations", "reward_shaping", "reward_scale"),
    *("render_gpu_device_id", "render_camera", "horizon", "hard_reset", "renderer", "renderer_config", "lite_physics"),
    *("render_collision_mesh", "render_visual_mesh", "env_name"),
)
READ = ("robots", "control_freq", "controller_configs")


@dataclass(frozen=True, kw_only=True)
class RobosuiteTask:
    """A task, its robot, and the controller that executes the actions.

    Attributes:
        task: Name in robosuite; one of `TASKS`.
        robot: Robot; one of `ROBOTS`.
        absolute: Actions are goal poses in the world (position [m], rotation vector [rad]), not changes of the pose.
        version: Version of robosuite whose observations, physics steps and gripper commands are kept: "1.4" for files
            of that version and older ones, "1.5" for newer ones.
        rate: Control steps per second [Hz].
        kp: Stiffness of the controller [1/s²].
        damping: Damping ratio of the controller.
        reach: Change of the position by a delta action of 1 [m].
        turn: Rotation by a delta action of 1 [rad].

    Raises:
        UnknownNameError: Another task or robot.
        RecipeError: A number that is not positive.
    """

    task: str
    robot: str = "Panda"
    absolute: bool = False
    version: Literal["1.4", "1.5"] = "1.4"
    rate: float = 20.0
    kp: float = 150.0
    damping: float = 1.0
    reach: float = 0.05
    turn: float = 0.5

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UnknownNameError("robosuite task", self.task, [*TASKS, *ALIASES])
        if self.robot not in ROBOTS:
            raise UnknownNameError("robot", self.robot, ROBOTS)
        if self.version not in ("1.4", "1.5"):
            raise UnknownNameError("version of robosuite", self.version, ("1.4", "1.5"))
        for name in NUMBERS:
            if not (0 < getattr(self, name) < math.inf):
                raise RecipeError(f"expected {name} of a robosuite task above 0, got {getattr(self, name)}.")

    @property
    def name(self) -> str:
        """Name of the environment, with the settings that are not robomimic's.

        >>> RobosuiteTask(task="Lift", kp=50.0, absolute=True).name
        'robosuite:Lift:absolute,kp=50'
        """
        usual, given = RobosuiteTask(task=self.task), list[str]()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "absolute":
                given += ["absolute"] * value
            elif value != getattr(usual, field.name):
                given.append(f"{field.name}={value:.9g}" if field.name in NUMBERS else f"{field.name}={value}")
        return f"{PREFIX}{self.task}" + (f":{','.join(given)}" if given else "")

    @staticmethod
    def parse(name: str) -> "RobosuiteTask":
        """The task of a name.

        Raises:
            UnknownNameError: Another task, robot or setting.
            RecipeError: A number that is not written as one.

        >>> RobosuiteTask.parse("robosuite:Can:damping=2").name
        'robosuite:PickPlaceCan:damping=2'
        """
        task, _, options = name.removeprefix(PREFIX).partition(":")
        given: dict[str, Any] = {"task": ALIASES.get(task, task)}
        for option in filter(None, options.split(",")):
            key, _, value = option.partition("=")
            if option == "absolute":
                given["absolute"] = True
            elif key == "controller":
                raise RecipeError(_other_controller(value))
            elif key in NUMBERS:
                given[key] = _number(key, value)
            elif key in ("robot", "version"):
                given[key] = value
            else:
                raise UnknownNameError("setting of a robosuite task", key, ("absolute", "robot", "version", *NUMBERS))
        return RobosuiteTask(**given)

    @staticmethod
    def of(env_args: Mapping[str, Any]) -> "RobosuiteTask":
        """The task that `env_args` of a file describe.

        Raises:
            UnknownNameError: Another task or robot.
            RecipeError: Another controller, or other settings of it than the fields of this class.
        """
        options = mapping_of(env_args.get("env_kwargs"))
        robots: Any = options.get("robots", "Panda")
        robots = [robots] if isinstance(robots, str) else list(robots or ())
        if len(robots) != 1:
            raise RecipeError(f"expected one robot in env_args, got {', '.join(map(str, robots)) or 'none'}.")
        arm = arm_of(mapping_of(options.get("controller_configs")))
        if (kind := arm.get("type", CONTROLLER)) != CONTROLLER:
            raise RecipeError(_other_controller(str(kind)))
        for key, usual in FIXED.items():
            if arm.get(key, usual) != usual:
                raise RecipeError(_other_controller(f"{CONTROLLER} with {key} {arm[key]!r}"))
        absolute = _is_absolute(arm)
        reach, turn = _unit(arm)
        task = str(env_args.get("env_name"))
        return RobosuiteTask(
            task=ALIASES.get(task, task),
            robot=str(robots[0]),
            absolute=absolute,
            version=version_of(env_args),
            rate=_number("rate", options.get("control_freq", 20)),
            kp=_single(arm, "kp", 150.0),
            damping=_single(arm, "damping_ratio" if "damping_ratio" in arm else "damping", 1.0),
            reach=reach,
            turn=turn,
        )

    def env_args(self) -> dict[str, Any]:
        """`env_args` for a file, in the form of robosuite 1.5, which `of` reads back."""
        arm = {
            **FIXED,
            "type": CONTROLLER,
            "output_max": [self.reach] * 3 + [self.turn] * 3,
            "output_min": [-self.reach] * 3 + [-self.turn] * 3,
            "kp": self.kp,
            "damping_ratio": self.damping,
            "kp_limits": [0, 300],
            "damping_ratio_limits": [0, 10],
            "input_type": "absolute" if self.absolute else "delta",
            "input_ref_frame": "world",
            "ramp_ratio": 0.2,
            "gripper": {"type": "GRIP"},
        }
        options: dict[str, Any] = {
            "robots": [self.robot],
            "control_freq": self.rate,
            "controller_configs": {"type": "BASIC", "body_parts": {"right": arm}},
            "lite_physics": self.version != "1.4",
        }
        version = "1.4.1" if self.version == "1.4" else "1.5.1"
        return {"env_name": self.task, "env_version": version, "type": 1, "env_kwargs": options}


NUMBERS = ("rate", "kp", "damping", "reach", "turn")


def robosuite_name(env_args: Mapping[str, Any]) -> str:
    """Name of the environment of a file; one that says why, where Holdfast cannot make it.

    >>> robosuite_name({"env_name": "Lift", "env_kwargs": {"controller_configs": {"type": "JOINT_POSITION"}}})
    'robosuite:Lift:controller=JOINT_POSITION'
    """
    try:
        return RobosuiteTask.of(env_args).name
    except (RecipeError, UnknownNameError, TypeError, ValueError):
        arm = arm_of(mapping_of(mapping_of(env_args.get("env_kwargs")).get("controller_configs")))
        # a name without settings would stand for robomimic's
        other = f":controller={arm.get('type')}" if arm else ""
        return f"{PREFIX}{env_args.get('env_name')}{other}"


def with_goals(name: str) -> str:
    """Name of the same environment with absolute actions; other environments' names as they are.

    >>> with_goals("robosuite:Lift:kp=50"), with_goals("pusht"), with_goals("robosuite:Libero_Kitchen")
    ('robosuite:Lift:absolute,kp=50', 'pusht', 'robosuite:Libero_Kitchen')
    """
    if not name.startswith(PREFIX):
        return name
    try:
        return replace(RobosuiteTask.parse(name), absolute=True).name
    except (RecipeError, UnknownNameError):
        return name


def left_out(env_args: Mapping[str, Any]) -> list[str]:
    """Settings of the task in `env_args` that are neither read nor the environment's own choice."""
    return sorted(set(mapping_of(env_args.get("env_kwargs"))) - {*READ, *IGNORED})


def version_of(env_args: Mapping[str, Any]) -> Literal["1.4", "1.5"]:
    """Version of robosuite whose observations a file has: by its number, else by the form of the controller."""
    config = mapping_of(mapping_of(env_args.get("env_kwargs")).get("controller_configs"))
    parts = str(env_args.get("env_version") or ("1.5" if "body_parts" in config else "1.4")).split(".")
    numbers = tuple(int(part) for part in parts[:2] if part.isdecimal())
    return "1.5" if numbers >= (1, 5) else "1.4"


def arm_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the arm's controller, in the form of robosuite 1.4 or of 1.5."""
    parts = mapping_of(config.get("body_parts"))
    parts = mapping_of(parts.get("arms")) or parts
    return mapping_of(parts.get("right")) if parts else config


def _is_absolute(arm: Mapping[str, Any]) -> bool:
    if "control_delta" in arm:
        return not arm["control_delta"]
    absolute = arm.get("input_type", "delta") == "absolute"
    if absolute and arm.get("input_ref_frame", "base") != "world":
        raise RecipeError(_other_controller(f"{CONTROLLER} with goals in the frame of the robot's base"))
    return absolute


def _unit(arm: Mapping[str, Any]) -> tuple[float, float]:
    """Displacement and rotation by a delta action of 1."""
    high = _six(arm.get("output_max", [0.05] * 3 + [0.5] * 3))
    low = _six(arm.get("output_min", [-0.05] * 3 + [-0.5] * 3))
    alike = len(high) == 6 and len({*high[:3]}) == len({*high[3:]}) == 1 and low == [-value for value in high]
    if not alike:
        given = f"output_max {arm.get('output_max')} and output_min {arm.get('output_min')}"
        raise RecipeError(_other_controller(f"{CONTROLLER} with {given}"))
    return high[0], high[3]


def _six(value: Any) -> list[float]:
    """Limits of position and rotation, of which one number stands for all six; none if these are not numbers."""
    values = cast("list[Any]", value) if isinstance(value, list | tuple) else [value] * 6
    return [float(one) for one in values] if all(isinstance(one, int | float) for one in values) else []


def _single(arm: Mapping[str, Any], key: str, usual: float) -> float:
    value: Any = arm.get(key, usual)
    if not isinstance(value, int | float):
        raise RecipeError(_other_controller(f"{CONTROLLER} with {key} {value}"))
    return float(value)


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"expected a number for {key} of a robosuite task, got {value!r:.40}.") from error


def _other_controller(what: str) -> str:
    return (
        f"the environment's controller is {what}. Holdfast executes actions of {CONTROLLER} with one fixed stiffness "
        "for all axes, as in robomimic's files. Convert the actions, or run the policy in your own environment."
    )


def mapping_of(value: Any) -> Mapping[str, Any]:
    """A part of `env_args`; empty where it is missing or no mapping."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
