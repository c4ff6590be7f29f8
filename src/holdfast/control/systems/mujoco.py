"""MuJoCo tasks of gymnasium as systems: what can be simulated can be linearised and held (extra `mujoco`)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from ...errors import RecipeError, ShapeError
from ..linearization import Linearization
from .mujoco_model import Simulation, open_simulation

__all__ = ["MUJOCO_PREFIX", "MujocoSystem", "mujoco_system"]

MUJOCO_PREFIX = "mujoco:"
"""Data sets and recipes call a task `mujoco:<gymnasium id>`, as in `mujoco:Hopper-v4`."""

# Small enough that two sides of a point seldom lie on two sides of a touchdown, large enough for the solver's rounding.
_SPACING = 1e-6


@dataclass(frozen=True, eq=False)
class MujocoSystem:
    """A gymnasium MuJoCo task: `x' = f(x, u)` over one control step, with `x = (qpos, qvel)` and `u = ctrl`.

    Model, substeps, action range, law of initial states, observation and reward are the task's own. A step begins
    without MuJoCo's warm start, so that it depends on state and action alone; the task's own steps, which carry it
    over, differ from it by rounding. Everything is computed in float64, batched over all cores.

    Steps cannot be differentiated by autograd; `linearize` takes differences instead.

    Attributes:
        task: gymnasium's id.
        simulation: The model and its simulators.
    """

    task: str
    simulation: Simulation

    @property
    def name(self) -> str:
        """The name in data sets and recipes."""
        return MUJOCO_PREFIX + self.task

    @property
    def dt(self) -> float:
        """Seconds a control step [s]: MuJoCo's own step times the task's substeps."""
        return float(self.simulation.model.opt.timestep) * self.simulation.substeps

    @property
    def steps(self) -> int:
        """Control steps after which the task ends an episode; 1000 where it does not say."""
        return self.simulation.steps

    @property
    def n_states(self) -> int:
        """Positions and velocities."""
        return 2 * int(self.simulation.model.nv)

    @property
    def n_actions(self) -> int:
        """Actuators."""
        return int(self.simulation.model.nu)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The joints, then their rates; in metres [m] or radians [rad], and per second."""
        model = self.simulation.model
        joints = [model.joint(index).name or f"joint{index}" for index in range(model.njnt)]
        return (*joints, *(f"{joint}_dot" for joint in joints))

    @property
    def action_names(self) -> tuple[str, ...]:
        """The actuators, by the joints that they drive where they have no names."""
        model = self.simulation.model
        driven = [int(joint) for joint in np.asarray(model.actuator_trnid)[:, 0]]
        names = [model.actuator(index).name for index in range(model.nu)]
        return tuple(name or self.state_names[joint] for name, joint in zip(names, driven, strict=True))

    @property
    def action_low(self) -> Float[Tensor, " m"]:
        """What MuJoCo clips each action to from below."""
        return torch.as_tensor(self.simulation.action_range[0])

    @property
    def action_high(self) -> Float[Tensor, " m"]:
        """What MuJoCo clips each action to from above."""
        return torch.as_tensor(self.simulation.action_range[1])

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """The state one control step later, in the dtype of the state; NaN where the simulation broke down.

        Raises:
            RecipeError: A gradient is asked for.
        """
        after = self.simulation.step(_rows(state, self.n_states), _rows(action, self.n_actions))
        return torch.as_tensor(after).to(state).reshape(state.shape)

    def simulate(self, states: Float[Tensor, "b n"], actions: Float[Tensor, "b t m"]) -> Float[Tensor, "b t+1 n"]:
        """Whole rollouts of given actions: `step`, `t` times, from each initial state."""
        path = [_rows(states, self.n_states)]
        for step in range(actions.shape[1]):
            path.append(self.simulation.step(path[-1], _rows(actions[:, step], self.n_actions)))
        return torch.as_tensor(np.stack(path, axis=1)).to(states)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Jacobians of `step` by central differences of it, spaced 1e-6.

        Not `mjd_transitionFD`, which knows no Runge-Kutta integrator, and that is what most of these tasks have; where
        it does, its product over the substeps is the same. An action at the end of its range is moved inwards alone,
        so that B says what feedback can still do; beyond the range B is zero.
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
        apart = (ahead - behind)[:, index, None]
        rise = self.simulation.step(x, ahead) - self.simulation.step(x, behind)
        return np.divide(rise, apart, out=np.zeros_like(rise), where=apart > 0)

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Independent draws from the task's own law of initial states, in float64."""
        seeds = torch.randint(2**31 - 1, (count,), generator=rng, device=rng.device)
        return torch.as_tensor(np.stack([self.simulation.begin(int(seed)) for seed in seeds]))

    def observation(self, states: Float[Tensor, "*b n"]) -> Float[Tensor, "*b d"]:
        """The task's own observation of each state (the hopper's lacks x and clips velocities at 10)."""
        seen = np.stack([self.simulation.show(state) for state in _rows(states, self.n_states)])
        return torch.as_tensor(seen).to(states).reshape(*states.shape[:-1], -1)

    def rewards(
        self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]
    ) -> tuple[Float[Tensor, "*b"], Bool[Tensor, "*b"]]:
        """The task's own reward of each step, and whether the step ends the episode."""
        pairs = zip(_rows(states, self.n_states), _rows(actions, self.n_actions), strict=True)
        rewards, over = zip(*(self.simulation.judge(state, action) for state, action in pairs), strict=True)
        lead = states.shape[:-1]
        return torch.tensor(rewards).to(states).reshape(lead), torch.tensor(over).reshape(lead)


def mujoco_system(task: str, *, threads: int | None = None) -> MujocoSystem:
    """The system of a gymnasium MuJoCo task, by gymnasium's id (with or without `mujoco:` before it).

    Args:
        task: Such as `Hopper-v4`.
        threads: Simulators at work at the same time; as many as there are cores, if nothing is said.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        UnknownNameError: gymnasium has no such MuJoCo task; the message lists those it has.
        RecipeError: A state of the task is more than one position and one velocity for each degree of freedom.
    """
    bare = task.removeprefix(MUJOCO_PREFIX)
    return MujocoSystem(bare, open_simulation(bare, threads=threads))


def _rows(values: Tensor, size: int) -> NDArray[np.float64]:
    """Rows of float64 on this machine's memory.

    Raises:
        ShapeError: Rows of another length.
        RecipeError: A gradient is asked for.
    """
    if values.shape[-1] != size:
        raise ShapeError(f"expected {size} coordinates, got {values.shape[-1]}.")
    if values.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(values):  # pyright: ignore
        raise RecipeError(
            "MuJoCo's steps cannot be differentiated by autograd. Use `holdfast.control.linearization`, which takes "
            "differences of them, and detach what has a gradient."
        )
    return values.reshape(-1, size).detach().cpu().double().numpy()
