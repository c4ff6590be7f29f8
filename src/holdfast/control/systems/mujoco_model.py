"""MuJoCo itself, and the tasks that gymnasium makes of it: a task's model, its threads, its steps on plain arrays."""

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

__all__ = ["Simulation", "open_simulation"]

# So many rows are stepped by one call at most: their substeps' states are all held in memory.
_ROWS_AT_ONCE = 16_384

# mjMAXVAL: beyond it MuJoCo calls a coordinate bad.
_LARGEST = 1e10

_QUATERNIONS = {0: "free", 1: "ball"}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A gymnasium task's model, with one simulator for each thread.

    Attributes:
        environment: The gymnasium environment: its reset law, observation and reward.
        model: Its MuJoCo model, a copy of its own.
        workers: One simulator a thread.
        steps: Control steps after which the task ends an episode.
    """

    environment: Any
    model: Any
    workers: tuple[Any, ...]
    steps: int

    @property
    def substeps(self) -> int:
        """MuJoCo's steps in one control step."""
        return int(self.environment.frame_skip)

    @property
    def action_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What MuJoCo clips each action to; infinite where it does not."""
        limited = np.asarray(self.model.actuator_ctrllimited, dtype=bool)
        low, high = np.asarray(self.model.actuator_ctrlrange, dtype=np.float64).T
        return np.where(limited, low, -np.inf), np.where(limited, high, np.inf)

    def step(self, states: Float64[np.ndarray, "b n"], actions: Float64[np.ndarray, "b m"]) -> NDArray[np.float64]:
        """One control step from each state; NaN where MuJoCo refused state, action or accelerations."""
        # MuJoCo itself would take an action that is no number for none, and note each bad state in a file
        sound = (np.abs(states) < _LARGEST).all(axis=1) & np.isfinite(actions).all(axis=1)
        after, rows = np.full_like(states, np.nan), np.flatnonzero(sound)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[first : first + _ROWS_AT_ONCE]
            after[part] = self._step(states[part], actions[part])
        return after

    def _step(self, states: NDArray[np.float64], actions: NDArray[np.float64]) -> NDArray[np.float64]:
        from mujoco import rollout  # here, because it is an extra  # pyright: ignore[reportMissingTypeStubs]

        start = np.concatenate([np.zeros((len(states), 1)), states], axis=1)
        # without a warm start given, rollout begins each row from none, so that rows depend on state and action alone
        roll = cast(Any, rollout).rollout
        path, _ = roll(
            self.model, list(self.workers), start, actions[:, None], nstep=self.substeps, persistent_pool=True
        )
        after = np.asarray(path)[:, -1]
        # a simulation that went astray stands still from then on, which its clock tells
        whole = np.isclose(after[:, 0], self.substeps * float(self.model.opt.timestep), rtol=1e-6, atol=0)
        return np.where(whole[:, None] & np.isfinite(after[:, 1:]), after[:, 1:], np.nan)

    def show(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """The task's own observation of a state."""
        self._place(state)
        return np.asarray(self.environment._get_obs(), dtype=np.float64)

    def judge(self, state: NDArray[np.float64], action: NDArray[np.float64]) -> tuple[float, bool]:
        """The task's own reward for one step, and whether it ends the episode."""
        self._place(state)
        # the warm start that placing left behind would make this another step than `step`'s
        self.environment.data.qacc_warmstart[:] = 0
        _, reward, over, _, _ = self.environment.step(action)
        return float(reward), bool(over)

    def begin(self, seed: int) -> NDArray[np.float64]:
        """A draw from the task's own law of initial states."""
        self.environment.reset(seed=seed)
        data = self.environment.data
        return np.concatenate([data.qpos, data.qvel]).astype(np.float64)

    def _place(self, state: NDArray[np.float64]) -> None:
        positions = int(self.model.nq)
        self.environment.set_state(state[:positions], state[positions:])


def open_simulation(task: str, *, threads: int | None = None) -> Simulation:
    """The simulation of a gymnasium task, on all cores if nothing is said.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        UnknownNameError: There is no such MuJoCo task.
        RecipeError: The model's state is more than one position and one velocity for each degree of freedom, or
            `threads` is not positive.
    """
    cores = usable_cores()
    if threads is not None and threads < 1:
        raise RecipeError(f"expected at least 1 thread, got {threads}. Leave it out to use all {cores} cores.")
    environment, steps = _make(task)
    import mujoco  # after _make, which says if it is missing  # pyright: ignore[reportMissingTypeStubs]

    model = copy.deepcopy(environment.model)
    _check_state(task, model)
    workers = tuple(cast(Any, mujoco).MjData(model) for _ in range(threads or cores))
    return Simulation(environment, model, workers, steps)


def _make(task: str) -> tuple[Any, int]:
    """The task's bare environment, without rendering and time limit, and that limit, 1000 where it does not say."""
    if find_spec("mujoco") is None:
        raise MissingExtraError("mujoco", extra="mujoco")
    import gymnasium  # here, because it is slow to import

    known = _known(gymnasium.registry)
    if task not in known:
        raise UnknownNameError("MuJoCo task", task, known)
    with warnings.catch_warnings():
        # whoever asks for v4 means v4: recorded demonstrations are of it
        warnings.simplefilter("ignore")
        try:
            made = gymnasium.make(task)
        except (ImportError, gymnasium.error.Error) as error:
            raise RecipeError(f"gymnasium cannot make {task}: {error}. Choose another version of it.") from error
    return cast(Any, made.unwrapped), gymnasium.spec(task).max_episode_steps or 1000


def _known(registry: Any) -> list[str]:
    """Tasks of gymnasium's own MuJoCo family; of the two oldest versions only a message is left."""
    return [
        name
        for name, spec in registry.items()
        if isinstance(spec.entry_point, str) and spec.entry_point.startswith("gymnasium.envs.mujoco.")
    ]


def _check_state(task: str, model: Any) -> None:
    """Refuse states that are no plain vectors of positions and velocities."""
    for joint in range(model.njnt):
        if (kind := _QUATERNIONS.get(int(model.jnt_type[joint]))) is not None:
            raise RecipeError(
                f"{task}: its joint {model.joint(joint).name!r} is a {kind} joint, whose orientation is a quaternion: "
                f"{model.nq} positions for {model.nv} velocities. Gains need one of each. Choose a task of hinges and "
                "slides, such as Hopper-v4 or HalfCheetah-v4, or clone its actions without gains."
            )
    if model.na:
        raise RecipeError(
            f"{task}: {model.na} of its actuators have an activation of their own, which (qpos, qvel) lacks. "
            "Clone its actions without gains."
        )
