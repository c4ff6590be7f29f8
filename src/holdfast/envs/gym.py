"""Any gymnasium environment whose observations and actions are real numbers, as an `Environment`.

    gym_environment("Hopper-v5", 20)                    the observation is also the feedback state
    gym_environment("Hopper-v5", 20, state="physics")   the feedback state is MuJoCo's own (qpos, qvel)
    gym_environment(lambda: MyEnv(), 20, steps=200)     your own environment class
    gym_vector(gymnasium.make_vec("Hopper-v5", 20, "async"), name="gym:Hopper-v5", steps=1000)

`gym_layout` documents how observations are read. An episode counts as solved only if the environment reports it
(`info["is_success"]`, `info["success"]`, `is_success()`).
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..cores import usable_cores
from ..errors import HoldfastError, MissingExtraError, RecipeError, UnknownNameError
from ..types import Observation
from .environment import Environment, Starts, Step, is_states
from .gym_instances import Instances, Shown, Singles, Vectorised, success_of
from .gym_layout import check_actions, layout_of

State = Literal["observation", "physics"]

WORTH_THREADS = 12
"""Degrees of freedom from which MuJoCo takes longer than the Python code around it (benchmarks/environments.py)."""


class Gym(Environment):
    """Episodes of a gymnasium environment, stepped together; made by `gym` or `gym_vector`.

    Args:
        instances: The episodes.
        name: Name in data sets and recipes.
        dt: Seconds per control step [s].
        steps: Time limit in control steps.
        state: Feedback state: `observation.state`, or the simulator's own state.
        images: Observe camera images too.

    Raises:
        RecipeError: Observations or actions that are not real numbers.
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
        space = instances.action_space
        check_actions(space, name)
        self.n_actions = math.prod(space.shape)
        low, high = (torch.as_tensor(bound.astype(np.float64).reshape(-1)) for bound in (space.low, space.high))
        self.action_bounds = (low, high)
        self._layout = layout_of(instances.observation_space, images=images, name=name)
        self.names = self._layout.names
        self.restorable = state == "physics" and isinstance(instances, Singles)
        self._shown = list[Shown]()

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or, with `state="physics"`, per simulator state (qpos, qvel)."""
        states = isinstance(starts, Tensor) and is_states(starts)
        self._shown = self._instances.reset(range(len(starts)) if states else [int(seed) for seed in starts])
        self._step = 0
        self._terminated, self._truncated, self._solved = np.zeros((3, len(starts)), dtype=np.bool_)
        self._reports_success = False
        return self.set_state(starts) if isinstance(starts, Tensor) and states else self._read()

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """Advance all episodes that are not over by one control step."""
        space = self._instances.action_space
        given = actions.detach().cpu().numpy().reshape(-1, *space.shape).astype(space.dtype)
        following = self._instances.step(list(given), self._terminated | self._truncated)
        self._step += 1
        reward = np.zeros(len(following))
        for i, shown in enumerate(following):
            if shown is None:
                continue
            self._shown[i], reward[i] = shown, shown.reward
            success = success_of(shown.info)
            self._reports_success |= success is not None
            self._solved[i] |= bool(success)
            self._terminated[i] = shown.terminated
            self._truncated[i] = shown.truncated or (self._step >= self.steps and not shown.terminated)
        return replace(self._read(), reward=torch.as_tensor(reward))

    def get_state(self) -> Float[Tensor, "b n"]:
        """MuJoCo's states (qpos, qvel); needs `state="physics"`."""
        return self._physics() if self.restorable else super().get_state()

    def set_state(self, states: Float[Tensor, "b n"]) -> Step:
        """Move MuJoCo's simulators to states (qpos, qvel), up to the warm start of its solver."""
        if not self.restorable:
            return super().set_state(states)
        self._shown = self._instances.place(states.double().cpu().numpy())
        return self._read()

    def render(self) -> UInt8[ndarray, "b height width 3"]:
        """One picture per episode, for environments made with `render=True`."""
        pictures = self._instances.frames()
        if any(picture is None for picture in pictures):
            raise RecipeError(f"{self.name} cannot render. Make it with render=True.")
        return np.stack([np.asarray(picture, dtype=np.uint8) for picture in pictures])

    def close(self) -> None:
        """Release the simulators' resources."""
        self._instances.close()

    def _read(self) -> Step:
        layout, observations = self._layout, [shown.observation for shown in self._shown]
        own, rest = ([layout.vector(seen, keys) for seen in observations] for keys in (layout.state, layout.rest))
        pictures = [layout.pictures(seen) for seen in observations]
        observation = Observation(
            state=_stacked(own),
            environment_state=_stacked(rest) if layout.rest else None,
            images={name: torch.as_tensor(np.stack([p[name] for p in pictures])) for name in layout.cameras},
        )
        ends = (torch.as_tensor(flags.copy()) for flags in (self._terminated, self._truncated, self._solved))
        terminated, truncated, solved = ends
        return replace(
            Step.first(observation, self._physics() if self.state == "physics" else observation.state),
            terminated=terminated,
            truncated=truncated,
            success=solved if self._reports_success else None,
        )

    def _physics(self) -> Float[Tensor, "b n"]:
        from .gym_report import PHYSICS  # imports gymnasium

        if any(PHYSICS not in shown.info for shown in self._shown):
            raise RecipeError(
                f"{self.name} does not report its simulator's state. Make it with gym_environment(…, state='physics')."
            )
        return _stacked([shown.info[PHYSICS] for shown in self._shown])


def gym_environment(
    environment: str | Callable[[], Any],
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
    """Episodes of a gymnasium environment.

    Args:
        environment: Id of a registered environment (`module:Id-v0` imports the module that registers it first), or a
            function that makes one instance.
        count: Number of episodes stepped together.
        state: Feedback state: `observation.state`, or MuJoCo's own state (qpos, qvel).
        images: Observe images that are among the observations too.
        vectorized: Step the episodes as gymnasium's vectorised environment, in this process or one process each.
            Default: single instances, which stand still when they are over.
        steps: Time limit in control steps. Default: the registered one.
        dt: Seconds per control step [s]. Default: MuJoCo's own, else from the frame rate or the environment, else 1.
        render: Allow `render`.
        options: Arguments of a registered environment's constructor.

    Raises:
        UnknownNameError: No such id; the message lists similar ones.
        MissingExtraError: MuJoCo is not installed.
        RecipeError: Discrete spaces, no time limit, or a constructor that fails.
    """
    import gymnasium  # heavy

    if count < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 episode and 1 step, got {count} and {steps}.")
    if isinstance(environment, str):
        _check_known(environment)
        given = dict(options or {}) | ({"render_mode": "rgb_array"} if render else {})
        make = partial(gymnasium.make, environment, max_episode_steps=steps, disable_env_checker=True, **given)
        name = f"{'mujoco' if state == 'physics' else 'gym'}:{environment}"
    else:
        make, name = environment, f"gym:{getattr(environment, '__name__', 'environment')}"

    def one() -> Any:
        from .gym_report import Report  # imports gymnasium

        return Report(make(), physics=state == "physics")

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
    """Episodes of a vectorised environment that you have made, in any autoreset mode.

    Args:
        environments: A `gymnasium.vector.VectorEnv`.
        name: Name in data sets and recipes.
        steps: Time limit in control steps.
        dt: Seconds per control step [s].
        images: Observe images that are among the observations too.

    Raises:
        RecipeError: Observations or actions that are not real numbers.
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
    """The first instance; any error of its constructor becomes a Holdfast error."""
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
    """Number of threads for its instances:

    MuJoCo's share nothing and release the interpreter lock while they compute.
    """
    inner = environment.unwrapped
    simulated = all(type(getattr(inner, part, None)).__module__.startswith("mujoco") for part in ("model", "data"))
    return usable_cores() if simulated and int(inner.model.nv) >= WORTH_THREADS else 1


def _time_limit(environment: Any, name: str) -> int:
    limit = environment.spec.max_episode_steps if environment.spec else None
    if limit is None:
        raise RecipeError(f"{name} is registered without a time limit. Give steps=….")
    return int(limit)


def _dt(environment: Any) -> float:
    """Seconds per control step [s].

    In some environments the attribute `dt` is the physics step, so the frame rate takes precedence, except in MuJoCo's
    own environments, where it is rounded.
    """
    inner, rate = environment.unwrapped, environment.metadata.get("render_fps")
    own = getattr(inner, "dt", None)
    if own is not None and (rate is None or hasattr(inner, "frame_skip")):
        return float(own)
    return 1.0 / float(rate) if rate else 1.0
