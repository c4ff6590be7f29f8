"""Which environments there are, by name."""

from ..control import SYSTEMS, system
from ..errors import RecipeError, UnknownNameError
from . import Environment
from .obstacle import obstacle
from .particle import particle
from .pusht import PUSHT_FIRST_TEST_SEED, PUSHT_STEPS, PushT

__all__ = ["ENVIRONMENTS", "FIRST_TEST_SEED", "episode_steps", "make_environment"]

FIRST_TEST_SEED = PUSHT_FIRST_TEST_SEED
"""Seeds from here on are for testing, in every environment; those below belong to demonstrations and tuning."""

ENVIRONMENTS = (
    *SYSTEMS,
    "pusht",
    "pusht-state",
    "pusht-pixels",
    "avoid",
    "obstacle",
    "particle",
    "particle:<dims>",
    "gym:<id>",
    "mujoco:<id>",
)
"""Built-in systems, whose expert flies beside the policy, and environments: Push-T with keypoints, with the block's
pose, or with pictures; D3IL's obstacle avoidance; a single obstacle, to be passed on the left or on the right; IBC's
particle, in the plane or in any number of dimensions; any gymnasium environment of real numbers; the same with MuJoCo's
state as that of the gains."""


def make_environment(name: str, count: int) -> Environment:
    """Episodes of the environment of a name.

    Args:
        name: One of `ENVIRONMENTS` that is no built-in system; `gym:Hopper-v5`, `gym:package:Name-v0`.
        count: How many episodes at once.

    Raises:
        UnknownNameError: No such environment.
        MissingExtraError: Its package is not installed.
        RecipeError: A built-in system, which is no environment, or an environment that cannot be used.
    """
    match name.partition(":"):
        case ("pusht", "", _):
            return PushT(count)
        case ("pusht-state", "", _):
            return PushT(count, observation="state")
        case ("pusht-pixels", "", _):
            return PushT(count, observation="pixels")
        case ("avoid", "", _):
            from .avoid import avoid

            return avoid(count)
        case ("obstacle", "", _):
            return obstacle(count)
        case ("particle", "", _):
            return particle(count)
        case ("particle", ":", dims) if dims.isdecimal():
            return particle(count, dims=int(dims))
        case (("gym" | "mujoco") as kind, ":", registered):
            from .gym import gym

            return gym(registered, count, state="physics" if kind == "mujoco" else "observation")
        case _:
            if name in SYSTEMS:
                raise RecipeError(f"{name} is a built-in system, not an environment. Use holdfast.control.system.")
            raise UnknownNameError("environment", name, ENVIRONMENTS)


def episode_steps(environment: str) -> int:
    """Control steps of an episode.

    Raises:
        UnknownNameError: No such environment.
    """
    if environment in SYSTEMS:
        return system(environment).steps
    if environment.startswith("pusht") and environment in ENVIRONMENTS:
        return PUSHT_STEPS
    made = make_environment(environment, 1)
    try:
        return made.steps
    finally:
        made.close()
