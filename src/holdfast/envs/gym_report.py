"""A wrapper by which a gymnasium environment reports success and simulator state with every step.

Asking afterwards would be too late: a vectorised environment may already have begun the next episode. Imported only
when an environment is made, because gymnasium takes a moment to import.
"""

from collections.abc import Mapping
from typing import Any, SupportsFloat, cast

import gymnasium
import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from ..errors import RecipeError

PHYSICS = "holdfast.physics"
"""Key of the simulator's state (qpos, qvel) in `info`."""


class Report(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds `is_success` to `info` if there is a method of this name, and with `physics` MuJoCo's state (qpos, qvel)."""

    def __init__(self, env: gymnasium.Env[Any, Any], *, physics: bool) -> None:
        super().__init__(env)
        self.physics = physics
        data = getattr(env.unwrapped, "data", None)
        if physics and not (hasattr(data, "qpos") and hasattr(data, "qvel")):
            raise RecipeError(
                f"{env.spec.id if env.spec else env} is not a MuJoCo environment (it has no data.qpos and data.qvel). "
                "Omit state='physics', or use gym:… instead of mujoco:…."
            )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._reported(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One control step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._reported(info)

    def place(self, state: Float64[ndarray, " n"]) -> tuple[Any, dict[str, Any]]:
        """Observation and info after moving MuJoCo's simulator to a state, up to the warm start of its solver."""
        inner = cast("Any", self.env.unwrapped)
        if not self.physics or not all(callable(getattr(inner, name, None)) for name in ("set_state", "_get_obs")):
            raise RecipeError(f"{self.env} cannot restore simulator states. Give seeds instead of states.")
        n_positions = len(inner.data.qpos)
        inner.set_state(state[:n_positions], state[n_positions:])
        return inner._get_obs(), self._reported({})

    def _reported(self, info: Mapping[str, Any]) -> dict[str, Any]:
        info = dict(info)
        ask = getattr(self.env.unwrapped, "is_success", None)
        if callable(ask) and not {"is_success", "success"} & set(info):
            info["is_success"] = ask()
        if self.physics:
            data = cast("Any", self.env.unwrapped).data
            info[PHYSICS] = np.concatenate([data.qpos, data.qvel]).astype(np.float64)
        return info
