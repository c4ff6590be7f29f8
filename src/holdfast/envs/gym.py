"""Any gymnasium environment whose observations and actions are real numbers, as an `Environment`.

    gym_environment("Hopper-v5", 20)                    the observation is also the feedback state
    gym_environment("Hopper-v5", 20, state="physics")   the feedback state is MuJoCo's own (qpos, qvel)
    gym_environment(lambda: MyEnv(), 20, steps=200)     your own environment class
    gym_vector(gymnasium.make_vec("Hopper-v5", 20, "async"), name="gym:Hopper-v5", steps=1000)

`gym_layout` documents how observations are read. An episode counts as solved only if the environment reports it
(`info["is_success"]`, `info["success"]`, `is_success()`).
"""

import importlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, cast

from ..cores import usable_cores
from ..errors import HoldfastError, MissingExtraError, RecipeError, UnknownNameError
from .drawn_depth import Asked
from .gym_episodes import Gym, State
from .gym_instances import Instances, Singles, Vectorised
from .gym_layout import layout_of
from .model_cameras import ModelCameras, is_simulated

WORTH_THREADS = 12
"""Degrees of freedom from which MuJoCo takes longer than the Python code around it (benchmarks/environments.py)."""


def gym_environment(
    environment: str | Callable[[], Any],
    count: int,
    *,
    state: State = "observation",
    images: bool = False,
    cameras: Mapping[str, Asked] | None = None,
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
        cameras: Cameras of a MuJoCo model to observe as well, with the height and width of their pictures [px], or with
            the range of their depth (`DrawnDepth`). Those that are among the observations are taken from there.
        vectorized: Step the episodes as gymnasium's vectorised environment, in this process or one process each.
            Default: single instances, which stand still when they are over.
        steps: Time limit in control steps. Default: the registered one.
        dt: Seconds per control step [s]. Default: MuJoCo's own, else from the frame rate or the environment, else 1.
        render: Allow `render`.
        options: Arguments of a registered environment's constructor.

    Raises:
        UnknownNameError: No such id; the message lists similar ones.
        MissingExtraError: MuJoCo is not installed.
        RecipeError: Discrete spaces, no time limit, a constructor that fails, or cameras that the model does not have.
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
    filmed = None if not cameras else _filmed(instances, cameras, name)
    return Gym(instances, name=name, dt=seconds, steps=limit, state=state, images=images, filmed=filmed)


def _filmed(instances: Instances, cameras: Mapping[str, Asked], name: str) -> ModelCameras | None:
    """The cameras that are not among the observations, in the models of the simulators."""
    shown = layout_of(instances.observation_space, images=True, name=name).cameras
    wanted = {camera: size for camera, size in cameras.items() if camera not in shown}
    simulators = [one.unwrapped for one in instances.environments] if isinstance(instances, Singles) else []
    if not wanted:
        return None
    if simulators and is_simulated(simulators[0]):
        return ModelCameras(simulators, wanted, name=name)
    if shown:
        # a policy is told by name which of its cameras are not shown
        return None
    raise RecipeError(
        f"{name} does not show {', '.join(wanted)}: its observations hold no pictures, and only single instances of "
        "MuJoCo's simulator have cameras of a model. Omit `vectorized`, or wrap it in one that observes pictures."
    )


def gym_vector(environments: Any, *, name: str, steps: int, dt: float | None = None, images: bool = False) -> Gym:
    """Episodes of a vectorised environment that you have made, in any autoreset mode.

    Args:
        environments: A `gymnasium.vector.VectorEnv`.
        name: Name in data sets and recipes.
        steps: Time limit in control steps.
        dt: Seconds per control step [s]. Default: 1, and not compared with the rate of data.
        images: Observe images that are among the observations too.

    Raises:
        RecipeError: Observations or actions that are not real numbers.
    """
    return Gym(Vectorised(environments), name=name, dt=dt, steps=steps, images=images)


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
    """Number of threads that step its instances.

    MuJoCo's instances share nothing and release the interpreter lock while they compute.
    """
    inner = environment.unwrapped
    return usable_cores() if is_simulated(inner) and int(inner.model.nv) >= WORTH_THREADS else 1


def _time_limit(environment: Any, name: str) -> int:
    limit = environment.spec.max_episode_steps if environment.spec else None
    if limit is None:
        raise RecipeError(f"{name} is registered without a time limit. Give steps=….")
    return int(limit)


def _dt(environment: Any) -> float | None:
    """Seconds per control step [s]; `None` if the environment does not tell.

    In some environments the attribute `dt` is the physics step, so the frame rate takes precedence, except in MuJoCo's
    own environments, where it is rounded.
    """
    inner, rate = environment.unwrapped, environment.metadata.get("render_fps")
    own = getattr(inner, "dt", None)
    if own is not None and (rate is None or hasattr(inner, "frame_skip")):
        return float(own)
    return 1.0 / float(rate) if rate else None
