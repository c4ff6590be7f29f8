"""Environments by name: to add one, write its file and its line in `_MADE`."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from ..control import SYSTEMS, system
from ..errors import RecipeError, UnknownNameError
from .avoid import AvoidEnvironment
from .avoid_rewards import RewardedAvoid
from .courier import CourierEnvironment
from .drawn_depth import Asked, check_no_depth, size_of
from .environment import Environment
from .fork import ForkEnvironment
from .maze import MazeEnvironment
from .obstacle import ObstacleEnvironment
from .particle import ParticleEnvironment
from .pusht import PushT
from .system import SystemEnvironment

FIRST_TEST_SEED = 100_000
"""Seeds from here on are for testing, in every environment; those below are for demonstrations and tuning, as in
Diffusion Policy."""
FIRST_UNTOUCHED_SEED = 400_000
"""First seed of the episodes that no choice may rest on: reported once, beside the published test seeds."""

_MADE: Mapping[str, Callable[[int], Environment]] = {
    "pusht": PushT,
    "pusht-state": lambda count: PushT(count, observation="state"),
    "pusht-pixels": lambda count: PushT(count, observation="pixels"),
    "avoid": AvoidEnvironment,
    "avoid-m1": lambda count: RewardedAvoid(count, "m1"),
    "avoid-m2": lambda count: RewardedAvoid(count, "m2"),
    "avoid-m3": lambda count: RewardedAvoid(count, "m3"),
    "courier": CourierEnvironment,
    "fork": ForkEnvironment,
    "obstacle": ObstacleEnvironment,
    "maze": MazeEnvironment,
    "particle": ParticleEnvironment,
}
_PATTERNS = ("pusht:<x>,<y>,<angle>", "particle:<dims>", "gym:<id>", "mujoco:<id>", "robosuite:<task>")
ENVIRONMENTS = (*SYSTEMS, *_MADE, *_PATTERNS)
"""Built-in systems; Push-T with keypoints, with the block's pose, with pixels, or with another goal (x, y [px], angle
[rad]); D3IL's obstacle avoidance, also with the rewards of DPPO; a courier's errand of three skills; a single obstacle,
to be passed on the left or on the right (obstacle), also at speed, in wind and gusts (fork); a maze, whose goal no
demonstration was told; IBC's particle, in the plane or in any number of dimensions; any gymnasium environment of real
numbers; the same with MuJoCo's state as the feedback state; robosuite's Lift, Can and Square with robomimic's
observations."""

# more dimensions than this many digits are a mistake, and would exhaust the memory
PARTICLE_DIGITS = 4
_NUMBER = r"(-?\d{1,4}(?:\.\d{1,9})?)"
_GOAL = re.compile(rf"{_NUMBER},{_NUMBER},{_NUMBER}", re.ASCII)
_TAME = re.compile(r"[\w:./@+-]+", re.ASCII)


def with_pictures(name: str) -> str:
    """The name of the variant of an environment that shows pictures, or the name itself where there is none.

    >>> with_pictures("pusht"), with_pictures("pusht:256,256,0.5"), with_pictures("gym:Hopper-v5")
    ('pusht-pixels', 'pusht-pixels:256,256,0.5', 'gym:Hopper-v5')
    """
    kind, separator, rest = name.partition(":")
    return f"pusht-pixels{separator}{rest}" if kind == "pusht" else name


def make_environment(
    name: str, count: int, *, images: bool = False, cameras: Mapping[str, Asked] | None = None
) -> Environment:
    """Episodes of the environment of a name.

    Args:
        name: One of `ENVIRONMENTS`, for example `pusht`, `gym:Hopper-v5`, `gym:package:Name-v0`.
        count: Number of episodes stepped together; a built-in system takes any number.
        images: Observe pictures: those that a gymnasium environment has among its observations; of `pusht`, the variant
            `pusht-pixels` with the same goal.
        cameras: With images, cameras of a MuJoCo model that are drawn as well, with the height and width of their
            pictures [px], or with the range of their depth (`DrawnDepth`).

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: Its package is not installed.
        RecipeError: The environment cannot be used.
    """
    if not name.startswith(("gym:", "mujoco:")):
        check_no_depth(cameras or {}, name)
    match (with_pictures(name) if images else name).partition(":"):
        case ("pusht-pixels", ":", goal) if _GOAL.fullmatch(goal):
            return PushT(count, observation="pixels", goal=_goal(goal))
        case (built_in, "", _) if built_in in SYSTEMS:
            return SystemEnvironment(system(built_in))
        case (simple, "", _) if simple in _MADE:
            return _MADE[simple](count)
        case ("pusht", ":", goal) if _GOAL.fullmatch(goal):
            return PushT(count, goal=_goal(goal))
        case ("particle", ":", dims) if dims.isdecimal() and len(dims) <= PARTICLE_DIGITS:
            return ParticleEnvironment(count, dims=int(dims))
        case (("gym" | "mujoco") as kind, ":", registered):
            from .gym import gym_environment

            state = "physics" if kind == "mujoco" else "observation"
            return gym_environment(registered, count, state=state, images=images, cameras=cameras if images else None)
        case ("robosuite", ":", _):
            from .robosuite.environment import robosuite_environment

            sizes = None if cameras is None else {camera: size_of(asked) for camera, asked in cameras.items()}
            return robosuite_environment(name, count, images=images, cameras=sizes)
        case _:
            raise UnknownNameError("environment", name, ENVIRONMENTS)


def _goal(text: str) -> tuple[float, float, float]:
    x, y, angle = map(float, text.split(","))
    return x, y, angle


def named_by_data(name: str) -> str:
    """The name of an environment that a file gives, if it may be made without a decision of the user.

    A data set or a downloaded recipe may name what comes with Holdfast or with gymnasium. Any other name would import
    a module, which runs its code, so it must be typed: pass the name itself to `make_environment`.

    Raises:
        UnknownNameError: No such environment.
        RecipeError: The environment is another package's; the message gives the option to type.

    >>> named_by_data("gym:Pendulum-v1")
    'gym:Pendulum-v1'
    >>> named_by_data("gym:module:Name-v0")
    Traceback (most recent call last):
    ...
    holdfast.errors.RecipeError: the data were recorded in the environment 'gym:module:Name-v0', which would import ...
    """
    kind, _, registered = name.partition(":")
    if kind not in ("gym", "mujoco"):
        return name
    module = registered.rpartition(":")[0] or _foreign_module(registered)
    if module:
        # a name from a file is repeated as a command only where a shell would not run a part of it
        typed = f"--environment {name}" if _TAME.fullmatch(name) else "--environment"
        raise RecipeError(
            f"the data were recorded in the environment {name!r}, which would import the module {module!r} and run its "
            f"code. Only what you type is imported. If you trust that module, give {typed}; in Python, pass the name "
            "yourself."
        )
    return name


def _foreign_module(registered: str) -> str:
    """The module that gymnasium would import for an id, if it is neither its own nor imported already."""
    import gymnasium  # heavy

    spec = cast("dict[str, Any]", gymnasium.registry).get(registered)
    entry = getattr(spec, "entry_point", None)
    module = entry.partition(":")[0] if isinstance(entry, str) else ""
    return "" if module.startswith("gymnasium.") or module in sys.modules else module
