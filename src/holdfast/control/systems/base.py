"""What the rest of the house asks of a controlled system and of a task in it.

    state ──action──► next state = step(state, action)

Everything is batched over any leading axes and differentiable in both arguments.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["System", "Task"]


@runtime_checkable
class System(Protocol):
    """A discrete-time system `x' = f(x, u)`."""

    @property
    def name(self) -> str:
        """The name under which data sets and recipes know the system."""
        ...

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        ...

    @property
    def n_states(self) -> int:
        """Coordinates of a state."""
        ...

    @property
    def n_actions(self) -> int:
        """Coordinates of an action."""
        ...

    @property
    def state_names(self) -> tuple[str, ...]:
        """What each state coordinate is, in order; error messages speak of them."""
        ...

    @property
    def action_names(self) -> tuple[str, ...]:
        """What each action coordinate is, in order."""
        ...

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """The state one control step later."""
        ...


@runtime_checkable
class Task(System, Protocol):
    """A system, a law of initial states, and a cost to keep low for `steps` steps."""

    @property
    def steps(self) -> int:
        """Control steps `T` of an episode."""
        ...

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Independent draws from the law of initial states, in float64."""
        ...

    def cost(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Stage cost `c(x, u) ≥ 0`, differentiable, zero at the equilibrium."""
        ...

    def equilibrium(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """The goal: a state and the action that stays in it, `f(x*, u*) = x*`, in float64."""
        ...

    def weights(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, "m m"]]:
        """`(Q, R)` of the cost about the equilibrium, `c = δxᵀQ δx + δuᵀR δu` (no ½), in float64."""
        ...
