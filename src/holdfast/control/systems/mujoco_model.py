"""The model of a gymnasium MuJoCo task: parallel simulators and steps on plain arrays."""

import copy
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from ...cores import usable_cores
from ...errors import MissingExtraError, RecipeError, UnknownNameError

# Maximum number of rows per call: the states of all substeps are held in memory.
_ROWS_AT_ONCE = 16_384

# mjMAXVAL: MuJoCo rejects larger coordinates.
_LARGEST = 1e10

_QUATERNIONS = {0: "free", 1: "ball"}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A gymnasium task's environment, a copy of its MuJoCo model, and one simulator for each thread."""

    environment: Any
    model: Any
    workers: tuple[Any, ...]
    steps: int

    @property
    def substeps(self) -> int:
        """Number of MuJoCo time steps in one control step."""
        return int(self.environment.frame_skip)

    @property
    def action_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Limits to which MuJoCo clips actions; infinite for actuators without limits."""
        limited = np.asarray(self.model.actuator_ctrllimited, dtype=bool)
        low, high = np.asarray(self.model.actuator_ctrlrange, dtype=np.float64).T
        return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)

    def step(self, states: Float64[np.ndarray, "b n"], actions: Float64[np.ndarray, "b m"]) -> NDArray[np.float64]:
        """One control step from each state; NaN where MuJoCo rejected the state, the action or the accelerations."""
        # MuJoCo would replace an action that is NaN by zero, and log each bad state to a file
        valid = (np.abs(states) < _LARGEST).all(axis=1) & np.isfinite(actions).all(axis=1)
        after, rows = np.full_like(states, np.nan), np.flatnonzero(valid)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[first : first + _ROWS_AT_ONCE]
            after[part] = self._step(states[part], actions[part])
        return after

    def _step(self, states: NDArray[np.float64], actions: NDArray[np.float64]) -> NDArray[np.float64]:
        from mujoco import rollout  # optional dependency  # pyright: ignore[reportMissingTypeStubs]

        start = np.concatenate([np.zeros((len(states), 1)), states], axis=1)
        # each row starts without a warm start, so that it depends on state and action only
        roll = cast(Any, rollout).rollout
        path, _ = roll(
            self.model, list(self.workers), start, actions[:, None], nstep=self.substeps, persistent_pool=True
        )
        after = np.asarray(path)[:, -1]
        # a failed simulation stops, so its clock is behind
        complete = np.isclose(after[:, 0], self.substeps * float(self.model.opt.timestep), rtol=1e-6, atol=0)
        return np.where(complete[:, None] & np.isfinite(after[:, 1:]), after[:, 1:], np.nan)

    def observe(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """The task's observation of a state."""
        self._set_state(state)
        return np.asarray(self.environment._get_obs(), dtype=np.float64)

    def reward(self, state: NDArray[np.float64], action: NDArray[np.float64]) -> tuple[float, bool]:
        """The task's reward of one step, and whether the step ends the episode."""
        self._set_state(state)
        # setting the state leaves a warm start, with which the result would differ from that of `step`
        self.environment.data.qacc_warmstart[:] = 0
        _, reward, over, _, _ = self.environment.step(action)
        return float(reward), bool(over)

    def initial_state(self, seed: int) -> NDArray[np.float64]:
        """A sample from the task's initial-state distribution."""
        self.environment.reset(seed=seed)
        data = self.environment.data
        return np.concatenate([data.qpos, data.qvel]).astype(np.float64)

    def _set_state(self, state: NDArray[np.float64]) -> None:
        positions = int(self.model.nq)
        self.environment.set_state(state[:positions], state[positions:])


def open_simulation(task: str, *, threads: int | None = None) -> Simulation:
    """Open the simulation of a gymnasium task, by default on all cores."""
    cores = usable_cores()
    if threads is not None and threads < 1:
        raise RecipeError(f"expected at least 1 thread, got {threads}. Omit it to use all {cores} cores.")
    environment, steps = _make(task)
    import mujoco  # after _make, which raises an error if it is missing  # pyright: ignore[reportMissingTypeStubs]

    model = copy.deepcopy(environment.model)
    _check_state(task, model)
    workers = tuple(cast(Any, mujoco).MjData(model) for _ in range(threads or cores))
    return Simulation(environment, model, workers, steps)


def _make(task: str) -> tuple[Any, int]:
    """The task's environment without rendering and time limit, and the time limit; 1000 if it has none."""
    if find_spec("mujoco") is None:
        raise MissingExtraError("mujoco", extra="mujoco")
    import gymnasium  # slow to import

    known = _task_names(gymnasium.registry)
    if task not in known:
        raise UnknownNameError("MuJoCo task", task, known)
    with warnings.catch_warnings():
        # gymnasium warns that v4 is outdated, but recorded demonstrations use it
        warnings.simplefilter("ignore")
        try:
            made = gymnasium.make(task)
        except (ImportError, gymnasium.error.Error) as error:
            raise RecipeError(f"gymnasium cannot make {task}: {error}. Choose another version of the task.") from error
    return cast(Any, made.unwrapped), gymnasium.spec(task).max_episode_steps or 1000


def _task_names(registry: Any) -> list[str]:
    """Names of gymnasium's MuJoCo tasks; the two oldest versions, which only raise an error, are excluded."""
    return [
        name
        for name, spec in registry.items()
        if isinstance(spec.entry_point, str) and spec.entry_point.startswith("gymnasium.envs.mujoco.")
    ]


def _check_state(task: str, model: Any) -> None:
    """Raise an error if states are not plain vectors of positions and velocities."""
    for joint in range(model.njnt):
        if (kind := _QUATERNIONS.get(int(model.jnt_type[joint]))) is not None:
            raise RecipeError(
                f"{task}: its joint {model.joint(joint).name!r} is a {kind} joint, whose orientation is a quaternion: "
                f"{model.nq} positions for {model.nv} velocities. Gains need equal numbers. Choose a task with hinges "
                "and slides only, such as Hopper-v4 or HalfCheetah-v4, or clone its actions without gains."
            )
    if model.na:
        raise RecipeError(
            f"{task}: {model.na} of its actuators have an activation state, which (qpos, qvel) does not contain. "
            "Clone its actions without gains."
        )
