"""Single transitions, from which dynamics are learned, and the accuracy of one-step predictions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes
from ._typed import eigenvalues
from .linearization import linearize
from .systems.base import System

# Number of queries for which the distances to all rows are held in memory.
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Single control steps in float64: `(state, action) → state + change`.

    Attributes:
        states: State at the start of each step.
        actions: Action.
        changes: Next state minus state.
    """

    states: Float[Tensor, "rows n"]
    actions: Float[Tensor, "rows m"]
    changes: Float[Tensor, "rows n"]

    @property
    def inputs(self) -> Float[Tensor, "rows d"]:
        """State and action, concatenated."""
        return torch.cat([self.states, self.actions], -1)


def transitions(episodes: Episodes) -> Transitions:
    """All steps with a recorded next state; without final states, each episode's last step is excluded.

    Raises:
        DataError: No step has a next state.

    >>> walk = Episodes(actions=torch.ones(3, 1), states=torch.tensor([[0.0], [1.0], [3.0]]), lengths=torch.tensor([3]))
    >>> transitions(walk).changes.flatten()
    tensor([1., 2.], dtype=torch.float64)
    """
    following = torch.roll(episodes.states, -1, 0).double()
    last = episodes.starts + episodes.lengths - 1
    valid = torch.ones(len(episodes.states), dtype=torch.bool, device=episodes.states.device)
    if episodes.final_states is None:
        valid[last] = False
    else:
        following[last] = episodes.final_states.double()
    if not valid.any():
        raise DataError("no step has a next state: every episode has one step and no final state.")
    states = episodes.states.double()
    changes = following - states
    return Transitions(states=states[valid], actions=episodes.actions.double()[valid], changes=changes[valid])


def coordinate_names(episodes: Episodes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the state and action coordinates; by default `x0, x1, …` and `u0, u1, …`."""
    n, m = episodes.states.shape[1], episodes.actions.shape[1]
    states = episodes.names.get("state", tuple(f"x{i}" for i in range(n)))
    return states, episodes.names.get("action", tuple(f"u{i}" for i in range(m)))


@dataclass(frozen=True, kw_only=True)
class OneStepPrediction:
    """Accuracy of a learned system's predictions of single steps.

    Attributes:
        r2: Coefficient of determination of each coordinate's change, `1 − Σ(Δx − Δx̂)² / Σ(Δx − mean Δx)²`.
        radius: Spectral radius of A in each state. A value far above those of the other states is an artefact.
    """

    r2: Float[Tensor, " n"]
    radius: Float[Tensor, " rows"]


@torch.no_grad()
def one_step_prediction(system: System, episodes: Episodes) -> OneStepPrediction:
    """Evaluate a learned system on the steps of held-out episodes.

    Raises:
        DataError: No step has a next state.
    """
    steps = transitions(episodes)
    predicted = system.step(steps.states, steps.actions) - steps.states
    spread = (steps.changes - steps.changes.mean(0)).square().sum(0)
    residual = (steps.changes - predicted).square().sum(0)
    radius = eigenvalues(linearize(system, steps.states, steps.actions).A).abs().amax(-1)
    return OneStepPrediction(r2=1 - residual / spread.clamp(min=torch.finfo(spread.dtype).tiny), radius=radius)


def spread_of(values: Float[Tensor, "rows d"]) -> Float[Tensor, " d"]:
    """Standard deviation of each coordinate; 1 for constant ones."""
    spread = values.std(0)
    return torch.where(spread > 0, spread, 1)


def nearest(
    points: Float[Tensor, "rows d"], queries: Float[Tensor, "q d"], count: int
) -> tuple[Int[Tensor, "q count"], Float[Tensor, "q count"]]:
    """Indices of the `count` points nearest to each query, in ascending order of distance, and the distances."""
    parts = [
        torch.cdist(queries[first : first + _QUERIES_AT_ONCE], points).topk(count, largest=False)
        for first in range(0, len(queries), _QUERIES_AT_ONCE)
    ]
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])
