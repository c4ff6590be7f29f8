"""What learned dynamics learn from: single steps, and how well they then foretell others."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from ..types import Episodes
from ._typed import eigenvalues
from .linearization import linearize
from .systems.base import System

__all__ = ["Foretold", "Transitions", "foretold", "named", "nearest", "transitions"]

# Distances to all rows are held in memory for so many queries at a time.
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Single control steps in float64: `state, action → state + change`.

    Attributes:
        states: Where each step began.
        actions: The action taken.
        changes: Next state minus state.
    """

    states: Float[Tensor, "rows n"]
    actions: Float[Tensor, "rows m"]
    changes: Float[Tensor, "rows n"]

    @property
    def inputs(self) -> Float[Tensor, "rows d"]:
        """State and action as one vector."""
        return torch.cat([self.states, self.actions], -1)


def transitions(episodes: Episodes) -> Transitions:
    """All steps of a set whose next state was recorded: all but the last ones, where final states are missing.

    Raises:
        DataError: None is left.

    >>> walk = Episodes(actions=torch.ones(3, 1), states=torch.tensor([[0.0], [1.0], [3.0]]), lengths=torch.tensor([3]))
    >>> transitions(walk).changes.flatten()
    tensor([1., 2.], dtype=torch.float64)
    """
    following = torch.roll(episodes.states, -1, 0).double()
    last = episodes.starts + episodes.lengths - 1
    kept = torch.ones(len(episodes.states), dtype=torch.bool, device=episodes.states.device)
    if episodes.final_states is None:
        kept[last] = False
    else:
        following[last] = episodes.final_states.double()
    if not kept.any():
        raise DataError("no step has a next state: every episode is one step long and lacks its final state.")
    states = episodes.states.double()
    changes = following - states
    return Transitions(states=states[kept], actions=episodes.actions.double()[kept], changes=changes[kept])


def named(episodes: Episodes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a set calls its states and actions; `x0, x1, …` and `u0, u1, …` where it does not say."""
    n, m = episodes.states.shape[1], episodes.actions.shape[1]
    states = episodes.names.get("state", tuple(f"x{i}" for i in range(n)))
    return states, episodes.names.get("action", tuple(f"u{i}" for i in range(m)))


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """How well a learned system foretells single steps that it has not seen.

    Attributes:
        r2: Share of each coordinate's change that is foretold, `1 − Σ(Δx − Δx̂)² / Σ(Δx − mean Δx)²`; at most 1.
        radius: Spectral radius of A in each state: far above those of the other states, it is an artefact.
    """

    r2: Float[Tensor, " n"]
    radius: Float[Tensor, " rows"]


@torch.no_grad()
def foretold(system: System, episodes: Episodes) -> Foretold:
    """Judge a system on the steps of episodes that were held out.

    Raises:
        DataError: No step has a next state.
    """
    steps = transitions(episodes)
    guessed = system.step(steps.states, steps.actions) - steps.states
    spread = (steps.changes - steps.changes.mean(0)).square().sum(0)
    missed = (steps.changes - guessed).square().sum(0)
    radius = eigenvalues(linearize(system, steps.states, steps.actions).A).abs().amax(-1)
    return Foretold(r2=1 - missed / spread.clamp(min=torch.finfo(spread.dtype).tiny), radius=radius)


def nearest(
    points: Float[Tensor, "rows d"], queries: Float[Tensor, "q d"], count: int
) -> tuple[Int[Tensor, "q count"], Float[Tensor, "q count"]]:
    """Rows of the `count` points nearest to each query, nearest first, and their distances."""
    parts = [
        torch.cdist(queries[first : first + _QUERIES_AT_ONCE], points).topk(count, largest=False)
        for first in range(0, len(queries), _QUERIES_AT_ONCE)
    ]
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])
