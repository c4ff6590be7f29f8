"""Experts for MuJoCo tasks: trained networks, a regulator at rest, and the demonstrations that they give."""

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

__all__ = ["Expert", "MlpExpert", "Regulator", "expert_demonstrations", "regulator"]

# Added to the standard deviation that observations are divided by, as in the training of these networks.
_SCALE_FLOOR = 1e-6


@runtime_checkable
class Expert(Protocol):
    """Whoever demonstrates: an action for each observation, or each state."""

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Actions `[b, m]` for observations and states `[b, ·]`."""
        ...


@dataclass(frozen=True, eq=False)
class MlpExpert:
    """The mean action of a Gaussian policy: a network of tanh layers on standardised observations.

        h_0 = (o − mean) / std,   h_{i+1} = tanh(h_i W_i + b_i),   u = h_L W_L + b_L

    Attributes:
        mean: Mean of each observed coordinate.
        std: What each is divided by.
        weights: `W_0 … W_L`, each `[in, out]`.
        biases: `b_0 … b_L`.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]
    weights: tuple[Float[Tensor, "_ _"], ...]
    biases: tuple[Float[Tensor, " _"], ...]

    def __call__(self, observations: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m"]:
        """The mean action of each observation; not clipped to the actuators' range."""
        hidden = (observations.to(self.mean) - self.mean) / self.std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = (hidden @ weight + bias).tanh()
        return (hidden @ self.weights[-1] + self.biases[-1]).to(observations)

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """The mean action of each observation."""
        return self(observation.vector)

    @staticmethod
    def load(path: Path | str) -> "MlpExpert":
        """A network from an .npz file with `obs_mean, obs_meansq, nonlinearity` and `W0, b0, W1, b1, …`.

        Observations are standardised by `obs_mean` and `√(obs_meansq − obs_mean²) + 1e-6`.

        Raises:
            DataError: The file is missing, is no .npz of arrays, or its arrays make no such network.
        """
        arrays = _read(Path(path))
        if missing := {"obs_mean", "obs_meansq", "W0", "b0"} - arrays.keys():
            raise DataError(f"{path}: expected the arrays of a network, lacks {', '.join(sorted(missing))}.")
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
    """One affine law of the state, `u = u* + K (x − x*)`, clipped by whatever the actuators clip.

    Attributes:
        law: The controller.
    """

    law: PrimitiveControllers

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """The law's action in each state."""
        return self.law(state)


def regulator(
    system: System, state: Float[Tensor, " n"], action: Float[Tensor, " m"], *, weights: Dare | None = None
) -> Regulator:
    """The infinite-horizon regulator about a point of rest: of an inverted pendulum upright, say.

    Args:
        system: What to hold.
        state: The point of rest.
        action: What stays in it.
        weights: Of states and actions; all 1 if nothing is said.

    Raises:
        SynthesisError: No feedback holds the system there.

    >>> from holdfast.control.systems import scalar
    >>> hold = regulator(scalar(a=1.0), torch.zeros(1), torch.zeros(1))
    >>> hold.law.gains
    tensor([[-0.6180]])
    """
    still = Trajectory(actions=action[None], states=torch.stack([state, state]))
    return Regulator(synthesize(weights or Dare(), system, still).at(0))


@torch.no_grad()
def expert_demonstrations(
    system: MujocoSystem, expert: Expert, count: int, *, rng: torch.Generator, steps: int | None = None
) -> Episodes:
    """Demonstrations with full states, from the task's own law of initial states.

    The expert sees the task's observation; states are `(qpos, qvel)`, which gains need and observations lack. Recorded
    actions are clipped to the actuators' range, as the simulator clips them. An episode ends where the task ends it.

    Args:
        system: The task.
        expert: Whoever acts.
        count: Episodes.
        rng: Of the initial states.
        steps: Control steps of an episode at most; the task's own limit if nothing is said.

    Raises:
        RecipeError: `count` or `steps` is not positive.
    """
    if count < 1 or (steps is not None and steps < 1):
        raise RecipeError(f"expected at least 1 episode of at least 1 step, got {count} of {steps}.")
    flown = _fly(system, expert, system.initial_states(count, rng=rng), steps or system.steps)
    alive, states, observations, actions, rewards = (torch.stack(parts, 1) for parts in flown[:5])
    return Episodes(
        actions=actions[alive],
        states=states[alive],
        lengths=alive.sum(1),
        final_states=flown[5],
        observations=Observation(state=observations[alive]),
        rewards=rewards[alive],
        names={"state": system.state_names, "action": system.action_names},
        dt=system.dt,
        system=system.name,
    )


_Column: TypeAlias = list[Tensor]


def _fly(
    system: MujocoSystem, expert: Expert, state: Tensor, steps: int
) -> tuple[_Column, _Column, _Column, _Column, _Column, Tensor]:
    """Step by step: who is not over, states, observations, actions, rewards; and the last states.

    An episode that is over stands still, so that the last of all states is every episode's last.
    """
    alive, states, observations, actions, rewards = [list[Tensor]() for _ in range(5)]
    going = torch.ones(len(state), dtype=torch.bool)
    while len(alive) < steps and going.any():
        alive.append(going)
        states.append(state)
        observations.append(system.observation(state))
        chosen = expert.act(Observation(state=observations[-1]), state).to(state)
        actions.append(chosen.clamp(system.action_low, system.action_high))
        reward, over = system.rewards(state, actions[-1])
        rewards.append(reward)
        state = torch.where(going[:, None], system.step(state, actions[-1]), state)
        going = going & ~over
    return alive, states, observations, actions, rewards, state


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file; nothing in it is unpickled."""
    from numpy.lib import format as npy

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            read = cast(Any, npy).read_array
            return {name.removesuffix(".npy"): read(archive.open(name), allow_pickle=False) for name in names}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Give the .npz file of the expert's weights.") from error
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no .npz file of plain arrays: {error}.") from error


def _numbers(array: NDArray[Any]) -> Tensor:
    return torch.as_tensor(np.asarray(array, dtype=np.float64))


def _check_layers(path: Path | str, mean: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...]) -> None:
    """Refuse layers that do not follow from one another."""
    width = mean.shape[0]
    for index, weight in enumerate(weights):
        fits = index < len(biases) and weight.dim() == 2 and weight.shape[0] == width
        if not fits or biases[index].shape != weight.shape[1:]:
            raise DataError(f"{path}: expected W{index} to be [{width}, ·] and b{index} to fit it.")
        width = weight.shape[1]
