"""Environments of gymnasium in rollouts: instances, vectorised ones, and classes or functions that make one."""

import copy
from collections.abc import Callable
from typing import Any

from ..errors import RecipeError
from .environment import Environment
from .gym import gym_environment, gym_vector


def as_environment(environment: Any, count: int) -> Environment:
    """An environment of Holdfast for a number of episodes; one that is already is returned as it is.

    Args:
        environment: An `Environment`; a gymnasium environment, of which every episode gets a copy, so that yours stays
            as it is; a vectorised one of `count` episodes; or a class or function that makes one.
        count: Number of episodes stepped together.

    Raises:
        RecipeError: The environment has no time limit, cannot be copied, or has another number of episodes.
    """
    if _steps_single_episodes(environment):
        return gym_environment(_copies(environment), count, steps=_limit(environment))
    if hasattr(environment, "single_action_space"):
        return _vectorised(environment, count)
    if callable(environment) and not isinstance(environment, Environment):
        return gym_environment(environment, count, steps=_limit_of_made(environment))
    return environment


def _steps_single_episodes(environment: Any) -> bool:
    """Whether it is an instance of gymnasium's `Env`, or of a class that is used as one."""
    if isinstance(environment, type) or hasattr(environment, "single_action_space"):
        return False
    return all(hasattr(environment, name) for name in ("observation_space", "action_space", "reset", "step"))


def _copies(environment: Any) -> Callable[[], Any]:
    """A function that makes independent copies of an instance; its constructor's arguments may be unknown."""

    def copied() -> Any:
        try:
            return copy.deepcopy(environment)
        except Exception as error:  # a simulator may hold anything, such as a window
            raise RecipeError(
                f"every episode needs its own {name}, and this one cannot be copied ({type(error).__name__}: {error}). "
                f"Give what makes it: holdfast.gym_environment(lambda: {name}(…), count, steps=…)."
            ) from error

    name = copied.__name__ = _name(environment)
    return copied


def _name(environment: Any) -> str:
    spec = getattr(environment, "spec", None)
    return str(getattr(spec, "id", None) or type(getattr(environment, "unwrapped", environment)).__name__)


def _vectorised(environments: Any, count: int) -> Environment:
    if environments.num_envs != count:
        raise RecipeError(
            f"the vectorized environment has {environments.num_envs} episodes, but {count} were requested. Request "
            f"{environments.num_envs}, or make it with {count}."
        )
    steps = _registered_limit(environments)
    if steps is None:
        raise RecipeError(_no_limit(type(environments).__name__))
    return gym_vector(environments, name=f"gym:{_name(environments)}", steps=steps)


def _limit_of_made(make: Callable[[], Any]) -> int:
    """The time limit of what a function makes; the instance is closed."""
    made = make()
    if not _steps_single_episodes(made):
        raise RecipeError(
            f"expected an environment, or a class or function that makes a gymnasium environment, got "
            f"{getattr(make, '__name__', type(make).__name__)}, which made {type(made).__name__}."
        )
    try:
        return _limit(made)
    finally:
        made.close()


def _limit(environment: Any) -> int:
    """Time limit in control steps: that of a `TimeLimit` wrapper, else the registered one."""
    layer: Any = environment
    while layer is not None:
        limit = getattr(layer, "_max_episode_steps", None)
        if isinstance(limit, int):
            return limit
        inner: dict[str, Any] = getattr(layer, "__dict__", {})
        layer = inner.get("env")
    limit = _registered_limit(environment)
    if limit is None:
        raise RecipeError(_no_limit(_name(environment)))
    return limit


def _registered_limit(environment: Any) -> int | None:
    limit = getattr(getattr(environment, "spec", None), "max_episode_steps", None)
    return None if limit is None else int(limit)


def _no_limit(name: str) -> str:
    return (
        f"{name} has no time limit. Wrap it in gymnasium.wrappers.TimeLimit(environment, max_episode_steps=…), or use "
        "holdfast.gym_environment(make, count, steps=…)."
    )
