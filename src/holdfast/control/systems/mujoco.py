"""MuJoCo tasks of gymnasium as systems that can be linearised and stabilised (extra `mujoco`)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ...errors import RecipeError, ShapeError
from ..linearization import Linearization
from .mujoco_model import Simulation, open_simulation

MUJOCO_PREFIX = "mujoco:"
"""Prefix of task names in data sets and recipes: `mujoco:<gymnasium id>`, as in `mujoco:Hopper-v4`."""

# Small enough that a touchdown seldom falls between the two sides, large compared to the solver's rounding error.
_SPACING = 1e-6


@dataclass(frozen=True, eq=False)
class MujocoSystem:
    """A gymnasium MuJoCo task: `x' = f(x, u)` over one control step, with `x = (qpos, qvel)` and `u = ctrl`.

    Model, substeps, action range, initial-state distribution, observation and reward are those of the task. A step
    starts without MuJoCo's warm start and therefore depends on state and action only; the task's own steps keep the
    warm start and differ by rounding. All computations are in float64 and parallel over all cores.

    Steps cannot be differentiated by autograd; `linearize` uses finite differences.

    Attributes:
        task: Gymnasium id.
        simulation: Model and its simulators.
    """

    task: str
    simulation: Simulation

    @property
    def name(self) -> str:
        return MUJOCO_PREFIX + self.task

    @property
    def dt(self) -> float:
        """Duration of a control step [s]: MuJoCo's time step times the number of substeps."""
        return float(self.simulation.model.opt.timestep) * self.simulation.substeps

    @property
    def steps(self) -> int:
        """Control steps after which the task ends an episode; 1000 if the task has no limit."""
        return self.simulation.steps

    @property
    def n_states(self) -> int:
        """Number of positions and velocities."""
        return 2 * int(self.simulation.model.nv)

    @property
    def n_actions(self) -> int:
        return int(self.simulation.model.nu)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Joint names, then their rates; in metres [m] or radians [rad], and per second."""
        model = self.simulation.model
        joints = [model.joint(index).name or f"joint{index}" for index in range(model.njnt)]
        return (*joints, *(f"{joint}_dot" for joint in joints))

    @property
    def action_names(self) -> tuple[str, ...]:
        """Actuator names; unnamed actuators are called after the joints they drive."""
        model = self.simulation.model
        driven = [int(joint) for joint in np.asarray(model.actuator_trnid)[:, 0]]
        names = [model.actuator(index).name for index in range(model.nu)]
        return tuple(name or self.state_names[joint] for name, joint in zip(names, driven, strict=True))

    @property
    def action_low(self) -> Float[Tensor, " m"]:
        """Lower limits to which MuJoCo clips actions."""
        return torch.as_tensor(self.simulation.action_range[0])

    @property
    def action_high(self) -> Float[Tensor, " m"]:
        """Upper limits to which MuJoCo clips actions."""
        return torch.as_tensor(self.simulation.action_range[1])

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """State after one control step, in the dtype of the input; NaN where the simulation failed.

        Raises:
            RecipeError: A gradient is required.
        """
        after = self.simulation.step(_rows(state, self.n_states), _rows(action, self.n_actions))
        return torch.as_tensor(after).to(state).reshape(state.shape)

    def simulate(self, states: Float[Tensor, "b n"], actions: Float[Tensor, "b t m"]) -> Float[Tensor, "b t+1 n"]:
        """Open-loop rollouts: `step`, `t` times, from each initial state."""
        path = [_rows(states, self.n_states)]
        for step in range(actions.shape[1]):
            path.append(self.simulation.step(path[-1], _rows(actions[:, step], self.n_actions)))
        return torch.as_tensor(np.stack(path, axis=1)).to(states)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Jacobians of `step` by central differences with a spacing of 1e-6.

        `mjd_transitionFD` does not support the Runge-Kutta integrator, which most of these tasks use; where it does
        apply, its product over the substeps is the same. At the limits of the action range the differences are
        one-sided, so that B describes what feedback can still do; beyond the range B is zero.
        """
        x, u = _rows(states, self.n_states), _rows(actions, self.n_actions)
        A = np.stack([self._slope_by_state(x, u, index) for index in range(self.n_states)], axis=-1)
        B = np.stack([self._slope_by_action(x, u, index) for index in range(self.n_actions)], axis=-1)
        lead = states.shape[:-1]
        return Linearization(*(torch.as_tensor(J).to(states).reshape(*lead, *J.shape[1:]) for J in (A, B)))

    def _slope_by_state(self, x: NDArray[np.float64], u: NDArray[np.float64], index: int) -> NDArray[np.float64]:
        shift = _SPACING * np.eye(self.n_states)[index]
        return (self.simulation.step(x + shift, u) - self.simulation.step(x - shift, u)) / (2 * _SPACING)

    def _slope_by_action(self, x: NDArray[np.float64], u: NDArray[np.float64], index: int) -> NDArray[np.float64]:
        shift = _SPACING * np.eye(self.n_actions)[index]
        ahead, behind = (np.clip(u + sign * shift, *self.simulation.action_range) for sign in (1, -1))
        spacing = (ahead - behind)[:, index, None]
        rise = self.simulation.step(x, ahead) - self.simulation.step(x, behind)
        return np.divide(rise, spacing, out=np.zeros_like(rise), where=spacing > 0)

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Independent samples from the task's initial-state distribution, in float64."""
        seeds = torch.randint(2**31 - 1, (count,), generator=rng, device=rng.device)
        return torch.as_tensor(np.stack([self.simulation.initial_state(int(seed)) for seed in seeds]))

    def observation(self, states: Float[Tensor, "*b n"]) -> Float[Tensor, "*b d"]:
        """The task's observation of each state (the hopper's omits x and clips velocities at 10)."""
        observations = np.stack([self.simulation.observe(state) for state in _rows(states, self.n_states)])
        return torch.as_tensor(observations).to(states).reshape(*states.shape[:-1], -1)

    def rewards(
        self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]
    ) -> tuple[Float[Tensor, "*b"], Bool[Tensor, "*b"]]:
        """The task's reward of each step, and whether the step ends the episode."""
        pairs = zip(_rows(states, self.n_states), _rows(actions, self.n_actions), strict=True)
        rewards, over = zip(*(self.simulation.reward(state, action) for state, action in pairs), strict=True)
        lead = states.shape[:-1]
        return torch.tensor(rewards).to(states).reshape(lead), torch.tensor(over).reshape(lead)


def mujoco_system(task: str, *, threads: int | None = None) -> MujocoSystem:
    """System of a gymnasium MuJoCo task, by gymnasium id, with or without the prefix `mujoco:`.

    Args:
        task: Gymnasium id, such as `Hopper-v4`.
        threads: Number of parallel simulators. Default: number of cores.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        UnknownNameError: gymnasium has no such MuJoCo task; the message lists the available ones.
        RecipeError: A state of the task is more than one position and one velocity per degree of freedom.
    """
    bare = task.removeprefix(MUJOCO_PREFIX)
    return MujocoSystem(bare, open_simulation(bare, threads=threads))


def _rows(values: Tensor, size: int) -> NDArray[np.float64]:
    """Rows as a float64 array on the CPU."""
    if values.shape[-1] != size:
        raise ShapeError(f"expected {size} coordinates, got {values.shape[-1]}.")
    if values.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(values):  # pyright: ignore
        raise RecipeError(
            "MuJoCo steps cannot be differentiated by autograd. Use `holdfast.control.linearization`, which computes "
            "finite differences, and detach tensors that require a gradient."
        )
    return values.reshape(-1, size).detach().cpu().double().numpy()
