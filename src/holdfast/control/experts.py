"""Experts for MuJoCo tasks (trained networks, a regulator about a rest state) and their demonstrations."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, RecipeError
from ..types import Episodes, Observation, PrimitiveControllers, Trajectory
from .synthesis import Dare, synthesize
from .systems.base import System
from .systems.mujoco import MujocoSystem

# Added to the standard deviation of the observations, as in the training of these networks.
_SCALE_FLOOR = 1e-6


@runtime_checkable
class Expert(Protocol):
    """A demonstrator: chooses an action from the observation or the state."""

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Actions `[b, m]` for observations and states, each `[b, ·]`."""
        ...


@dataclass(frozen=True, eq=False)
class MlpExpert:
    """Mean action of a Gaussian policy: a network of tanh layers on standardised observations.

        h_0 = (o − mean) / std,   h_{i+1} = tanh(h_i W_i + b_i),   u = h_L W_L + b_L

    Attributes:
        mean: Mean of each observation coordinate.
        std: Scale of each observation coordinate.
        weights: `W_0 … W_L`, each `[in, out]`.
        biases: `b_0 … b_L`.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]
    weights: tuple[Float[Tensor, "_ _"], ...]
    biases: tuple[Float[Tensor, " _"], ...]

    def __call__(self, observations: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m"]:
        """Mean action for each observation, not clipped to the range of the actuators."""
        hidden = (observations.to(self.mean) - self.mean) / self.std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = (hidden @ weight + bias).tanh()
        return (hidden @ self.weights[-1] + self.biases[-1]).to(observations)

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Mean action for each observation."""
        return self(observation.vector)

    @staticmethod
    def load(path: Path | str) -> "MlpExpert":
        """Load a network from an .npz file with `obs_mean, obs_meansq, nonlinearity` and `W0, b0, W1, b1, …`.

        Observations are standardised by `obs_mean` and `√(obs_meansq − obs_mean²) + 1e-6`.

        Raises:
            DataError: The file is missing, is not an .npz file of arrays, or its arrays do not form such a network.
        """
        arrays = _read(Path(path))
        if missing := {"obs_mean", "obs_meansq", "W0", "b0"} - arrays.keys():
            raise DataError(f"{path}: expected the arrays of a network, missing: {', '.join(sorted(missing))}.")
        if "nonlinearity" in arrays and str(arrays["nonlinearity"]) != "tanh":
            raise DataError(f"{path}: expected tanh layers, got {arrays['nonlinearity']}.")
        mean, meansq = (_numbers(arrays[name]) for name in ("obs_mean", "obs_meansq"))
        layers = range(sum(name.startswith("W") for name in arrays))
        weights, biases = (
            tuple(_numbers(arrays[f"{kind}{i}"]) for i in layers if f"{kind}{i}" in arrays) for kind in "Wb"
        )
        _check_layers(path, mean, weights, biases)
        std = (meansq - mean.square()).clamp(min=0).sqrt() + _SCALE_FLOOR
        return MlpExpert(mean, std, weights, biases)


@dataclass(frozen=True, eq=False)
class Regulator:
    """Affine state feedback `u = u* + K (x − x*)`, not clipped."""

    law: PrimitiveControllers

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Action of the controller in each state."""
        return self.law(state)


def regulator(
    system: System, state: Float[Tensor, " n"], action: Float[Tensor, " m"], *, weights: Dare | None = None
) -> Regulator:
    """Infinite-horizon LQR about a rest state, such as the upright position of an inverted pendulum.

    Args:
        system: System to stabilise.
        state: Rest state.
        action: Action that holds the rest state.
        weights: State and action weights. Default: all 1.

    Raises:
        SynthesisError: No feedback stabilises the system there.
    >>> from holdfast.control.systems import scalar
    >>> hold = regulator(scalar(a=1.0), torch.zeros(1), torch.zeros(1))
    >>> hold.law.gains
    tensor([[-0.6180]])
    """
    rest = Trajectory(actions=action[None], states=torch.stack([state, state]))
    return Regulator(synthesize(weights or Dare(), system, rest).at(0))


@torch.no_grad()
def expert_demonstrations(
    system: MujocoSystem, expert: Expert, count: int, *, rng: torch.Generator, steps: int | None = None
) -> Episodes:
    """Demonstrations with full states, from initial states drawn as the task draws them.

    The expert receives the task's observation. The recorded states are `(qpos, qvel)`, which gains need and
    observations do not contain. Actions are recorded as the simulator clips them. Episodes end when the task ends them.

    Args:
        system: Task.
        expert: Demonstrator.
        count: Number of episodes.
        rng: Random generator for the initial states.
        steps: Maximum number of control steps per episode. Default: the task's limit.

    Raises:
        RecipeError: `count` or `steps` is not positive.
    """
    if count < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 episode of at least 1 step, got {count} of {steps}.")
    columns = _roll_out(system, expert, system.initial_states(count, rng=rng), steps or system.steps)
    alive, states, observations, actions, rewards = (torch.stack(parts, 1) for parts in columns[:5])
    return Episodes(
        actions=actions[alive],
        states=states[alive],
        lengths=alive.sum(1),
        final_states=columns[5],
        observations=Observation(state=observations[alive]),
        rewards=rewards[alive],
        names={"state": system.state_names, "action": system.action_names},
        dt=system.dt,
        system=system.name,
    )


_Column: TypeAlias = list[Tensor]


def _roll_out(
    system: MujocoSystem, expert: Expert, state: Tensor, steps: int
) -> tuple[_Column, _Column, _Column, _Column, _Column, Tensor]:
    """Per step: running episodes, states, observations, actions, rewards; and the final states.

    The state of a finished episode stays constant, so the last state is the final state of every episode.
    """
    alive, states, observations, actions, rewards = [list[Tensor]() for _ in range(5)]
    running = torch.ones(len(state), dtype=torch.bool)
    while len(alive) < steps and running.any():
        alive.append(running)
        states.append(state)
        observations.append(system.observation(state))
        chosen = expert.act(Observation(state=observations[-1]), state).to(state)
        actions.append(chosen.clamp(system.action_low, system.action_high))
        reward, over = system.rewards(state, actions[-1])
        rewards.append(reward)
        state = torch.where(running[:, None], system.step(state, actions[-1]), state)
        running = running & ~over
    return alive, states, observations, actions, rewards, state


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file, read without unpickling."""
    from numpy.lib import format as npy

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            read = cast(Any, npy).read_array
            return {name.removesuffix(".npy"): read(archive.open(name), allow_pickle=False) for name in names}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Give the .npz file with the expert's weights.") from error
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not an .npz file of plain arrays: {error}.") from error


def _numbers(array: NDArray[Any]) -> Tensor:
    return torch.as_tensor(np.asarray(array, dtype=np.float64))


def _check_layers(path: Path | str, mean: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...]) -> None:
    """Raise an error if the shapes of consecutive layers do not match."""
    width = mean.shape[0]
    for index, weight in enumerate(weights):
        fits = index < len(biases) and weight.dim() == 2 and weight.shape[0] == width
        if not fits or biases[index].shape != weight.shape[1:]:
            raise DataError(f"{path}: expected W{index} to be [{width}, ·] and b{index} to fit it.")
        width = weight.shape[1]
