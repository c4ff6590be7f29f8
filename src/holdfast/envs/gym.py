"""Any gymnasium environment whose observations and actions are real numbers, as an `Environment`.

    gym("Hopper-v5", 20)                          what a policy sees is also what gains feed back
    gym("Hopper-v5", 20, state="physics")         gains feed back MuJoCo's own state (qpos, qvel)
    gym_vector(gymnasium.make_vec("Hopper-v5", 20, "async"), name="gym:Hopper-v5", steps=1000)

How observations are read is said in `gym_layout`; an episode counts as solved only where the environment says so
(`info["is_success"]`, `info["success"]`, `is_success()`).
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..cores import usable_cores
from ..errors import HoldfastError, MissingExtraError, RecipeError, UnknownNameError
from ..types import Observation
from .environment import Seen, Step
from .gym_instances import Instances, Shown, Singles, Vectorised, success_of
from .gym_layout import check_actions, layout_of

__all__ = ["Gym", "gym", "gym_vector"]

State = Literal["observation", "physics"]

WORTH_THREADS = 12
"""Degrees of freedom from which MuJoCo takes longer than what Python does around it (benchmarks/environments.py)."""


class Gym:
    """Episodes of a gymnasium environment in step.

    Args:
        instances: Who steps them.
        name: Under which data sets and recipes know the environment.
        dt: Seconds a control step [s].
        steps: Control steps after which an episode is over at the latest.
        state: What gains feed back: `observation.state`, or the simulator's own state.
        images: Show the cameras' pictures too.

    Raises:
        RecipeError: Observations or actions that are no real numbers.
    """

    def __init__(
        self,
        instances: Instances,
        *,
        name: str,
        dt: float,
        steps: int,
        state: State = "observation",
        images: bool = False,
    ) -> None:
        self.name, self.dt, self.steps, self.state = name, dt, steps, state
        self._instances = instances
        check_actions(instances.action_space, name)
        self._layout = layout_of(instances.observation_space, images=images, name=name)
        self._shown = list[Shown]()

    @property
    def n_actions(self) -> int:
        """Coordinates of an action."""
        return math.prod(self._instances.action_space.shape)

    @property
    def action_bounds(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Smallest and largest action of each coordinate."""
        space = self._instances.action_space
        low, high = (torch.as_tensor(bound.astype(np.float64).reshape(-1)) for bound in (space.low, space.high))
        return low, high

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the coordinates are called, where observations are dicts."""
        return self._layout.names

    def reset(self, seeds: Sequence[int]) -> Seen:
        """Begin one episode for each seed."""
        self._shown = self._instances.reset(seeds)
        self._step = 0
        self._over = np.zeros(len(seeds), dtype=np.bool_)
        self._solved = np.zeros(len(seeds), dtype=np.bool_)
        self._says = False
        return self._seen()

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes that are not over."""
        space = self._instances.action_space
        given = actions.detach().cpu().numpy().reshape(-1, *space.shape).astype(space.dtype)
        following = self._instances.step(list(given), self._over)
        self._step += 1
        reward = np.zeros(len(following))
        for i, shown in enumerate(following):
            if shown is None:
                continue
            self._shown[i], reward[i] = shown, shown.reward
            said = success_of(shown.info)
            self._says |= said is not None
            self._solved[i] |= bool(said)
            self._over[i] = shown.ended or self._step >= self.steps
        return Step(
            seen=self._seen(),
            reward=torch.as_tensor(reward),
            over=torch.as_tensor(self._over.copy()),
            success=torch.as_tensor(self._solved.copy()) if self._says else None,
        )

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y`, coordinate by coordinate."""
        return x - y

    def frames(self) -> UInt8[ndarray, "b height width 3"]:
        """A picture of each episode, where the environment was made with `render=True`."""
        pictures = self._instances.frames()
        if any(picture is None for picture in pictures):
            raise RecipeError(f"{self.name} draws nothing. Make it with render=True.")
        return np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])

    def close(self) -> None:
        """Give back what the simulators hold."""
        self._instances.close()

    def _seen(self) -> Seen:
        layout, observations = self._layout, [shown.observation for shown in self._shown]
        own, rest = ([layout.vector(seen, keys) for seen in observations] for keys in (layout.state, layout.rest))
        pictures = [layout.pictures(seen) for seen in observations]
        seen = Observation(
            state=_stacked(own),
            environment_state=_stacked(rest) if layout.rest else None,
            images={name: torch.as_tensor(np.stack([p[name] for p in pictures])) for name in layout.cameras},
        )
        return Seen(observation=seen, state=self._physics() if self.state == "physics" else seen.state)

    def _physics(self) -> Float[Tensor, "b n"]:
        from .gym_report import PHYSICS  # imports gymnasium

        if any(PHYSICS not in shown.info for shown in self._shown):
            raise RecipeError(f"{self.name} does not tell its simulator's state. Make it with gym(…, state='physics').")
        return _stacked([shown.info[PHYSICS] for shown in self._shown])


def gym(
    environment: str,
    count: int,
    *,
    state: State = "observation",
    images: bool = False,
    vectorized: Literal["sync", "async"] | None = None,
    steps: int | None = None,
    dt: float | None = None,
    render: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Gym:
    """Episodes of a registered gymnasium environment.

    Args:
        environment: Its id; `module:Id-v0` imports the module that registers it first.
        count: How many episodes at once.
        state: What gains feed back: `observation.state`, or MuJoCo's own state (qpos, qvel).
        images: Show pictures that are among the observations too.
        vectorized: Step the episodes as gymnasium's vectorised environment, in this process or one process each;
            single instances, which stand still when they are over, if nothing is said.
        steps: Time limit in control steps; the registered one if nothing is said.
        dt: Seconds a control step [s]; if nothing is said MuJoCo's own, or what the frame rate or the environment says,
            or 1.
        render: Make pictures for `frames`.
        options: What the environment's constructor takes.

    Raises:
        UnknownNameError: No such id; the message lists those that are near.
        MissingExtraError: MuJoCo is not installed.
        RecipeError: Discrete spaces, no time limit, or a constructor that refuses.
    """
    import gymnasium  # heavy

    if count < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 episode and 1 step, got {count} and {steps}.")
    _check_known(environment)
    given = dict(options or {}) | ({"render_mode": "rgb_array"} if render else {})
    name = f"{'mujoco' if state == 'physics' else 'gym'}:{environment}"

    def one() -> Any:
        from .gym_report import Report  # imports gymnasium

        made = gymnasium.make(environment, max_episode_steps=steps, disable_env_checker=True, **given)
        return Report(made, physics=state == "physics")

    first = _made(one, name)
    limit, seconds = steps or _time_limit(first, name), dt or _dt(first)
    if vectorized is None:
        instances = Singles([first, *(one() for _ in range(count - 1))], threads=_threads_for(first))
    else:
        first.close()
        vector = gymnasium.vector.SyncVectorEnv if vectorized == "sync" else gymnasium.vector.AsyncVectorEnv
        instances = Vectorised(vector([one] * count))
    return Gym(instances, name=name, dt=seconds, steps=limit, state=state, images=images)


def gym_vector(environments: Any, *, name: str, steps: int, dt: float = 1.0, images: bool = False) -> Gym:
    """Episodes of a vectorised environment that was made elsewhere, in whichever autoreset mode.

    Args:
        environments: A `gymnasium.vector.VectorEnv`.
        name: Under which data sets and recipes know it.
        steps: Control steps after which an episode is over at the latest.
        dt: Seconds a control step [s].
        images: Show pictures that are among the observations too.

    Raises:
        RecipeError: Observations or actions that are no real numbers.
    """
    return Gym(Vectorised(environments), name=name, dt=dt, steps=steps, images=images)


def _stacked(vectors: Sequence[Any]) -> Float[Tensor, "b n"]:
    return torch.as_tensor(np.stack(vectors).astype(np.float64))


def _check_known(environment: str) -> None:
    import gymnasium  # heavy

    module, _, name = environment.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except ImportError as error:
        raise RecipeError(f"gym:{environment} is registered by {module}, which cannot be imported: {error}.") from error
    known = {known.lower(): known for known in cast("dict[str, Any]", gymnasium.registry)}
    if name not in known.values():
        near = get_close_matches(name.lower(), known, n=6, cutoff=0.4)
        others = "of other packages module:Name-v0"
        raise UnknownNameError("gymnasium environment", environment, [*(known[key] for key in near), others])


def _made(one: Any, name: str) -> Any:
    """The first instance; whatever its constructor raises becomes one of our errors."""
    import gymnasium  # heavy

    try:
        return one()
    except HoldfastError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        if "mujoco" in str(error).lower():
            raise MissingExtraError("mujoco", extra="mujoco") from error
        raise RecipeError(f"{name} needs a package that is not installed: {error}") from error
    except Exception as error:  # a constructor of another package may raise anything
        raise RecipeError(f"{name} cannot be made: {type(error).__name__}: {error}") from error


def _threads_for(environment: Any) -> int:
    """In how many threads its instances are stepped: MuJoCo's share nothing, and let other threads run meanwhile."""
    inner = environment.unwrapped
    simulated = all(type(getattr(inner, part, None)).__module__.startswith("mujoco") for part in ("model", "data"))
    return usable_cores() if simulated and int(inner.model.nv) >= WORTH_THREADS else 1


def _time_limit(environment: Any, name: str) -> int:
    limit = environment.spec.max_episode_steps if environment.spec else None
    if limit is None:
        raise RecipeError(f"{name} is registered without a time limit. Give steps=….")
    return int(limit)


def _dt(environment: Any) -> float:
    """Seconds a control step.

    An attribute `dt` is that of the physics in some environments, so the frame rate goes first, except for MuJoCo's own
    environments, where it is rounded.
    """
    inner, rate = environment.unwrapped, environment.metadata.get("render_fps")
    own = getattr(inner, "dt", None)
    if own is not None and (rate is None or hasattr(inner, "frame_skip")):
        return float(own)
    return 1.0 / float(rate) if rate else 1.0
