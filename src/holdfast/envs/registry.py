"""Environments by name: to add one, write its file and its line in `_MADE`."""

from collections.abc import Callable, Mapping

from ..control import SYSTEMS, system
from ..errors import UnknownNameError
from .avoid import AvoidEnvironment
from .environment import Environment
from .obstacle import ObstacleEnvironment
from .particle import ParticleEnvironment
from .pusht import PUSHT_FIRST_TEST_SEED, PushT
from .system import SystemEnvironment

FIRST_TEST_SEED = PUSHT_FIRST_TEST_SEED
"""Seeds from here on are for testing, in every environment; those below belong to demonstrations and tuning."""

_MADE: Mapping[str, Callable[[int], Environment]] = {
    "pusht": PushT,
    "pusht-state": lambda count: PushT(count, observation="state"),
    "pusht-pixels": lambda count: PushT(count, observation="pixels"),
    "avoid": AvoidEnvironment,
    "obstacle": ObstacleEnvironment,
    "particle": ParticleEnvironment,
}
ENVIRONMENTS = (*SYSTEMS, *_MADE, "particle:<dims>", "gym:<id>", "mujoco:<id>")
"""Built-in systems; Push-T with keypoints, with the block's pose, or with pixels; D3IL's obstacle avoidance; a single
obstacle, to be passed on the left or on the right; IBC's particle, in the plane or in any number of dimensions; any
gymnasium environment of real numbers; the same with MuJoCo's state as the feedback state."""


def make_environment(name: str, count: int) -> Environment:
    """Episodes of the environment of a name.

    Args:
        name: One of `ENVIRONMENTS`, for example `pusht`, `gym:Hopper-v5`, `gym:package:Name-v0`.
        count: Number of episodes stepped together; a built-in system takes any number.

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: Its package is not installed.
        RecipeError: The environment cannot be used.
    """
    match name.partition(":"):
        case (built_in, "", _) if built_in in SYSTEMS:
            return SystemEnvironment(system(built_in))
        case (simple, "", _) if simple in _MADE:
            return _MADE[simple](count)
        case ("particle", ":", dims) if dims.isdecimal():
            return ParticleEnvironment(count, dims=int(dims))
        case (("gym" | "mujoco") as kind, ":", registered):
            from .gym import gym_environment

            return gym_environment(registered, count, state="physics" if kind == "mujoco" else "observation")
        case _:
            raise UnknownNameError("environment", name, ENVIRONMENTS)


def episode_steps(environment: str) -> int:
    """Time limit of an episode in control steps.

    Raises:
        UnknownNameError: No such environment.
    """
    made = make_environment(environment, 1)
    try:
        return made.steps
    finally:
        made.close()
