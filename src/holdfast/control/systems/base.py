"""Protocols of a controlled system and of a control task.

    state ──action──► next state = step(state, action)

All methods are batched over any leading axes and differentiable in both arguments.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class System(Protocol):
    """A discrete-time system `x' = f(x, u)`.

    Attributes:
        name: Name in data sets and recipes.
        dt: Duration of a control step [s].
        n_states: Dimension of the state.
        n_actions: Dimension of the action.
        state_names: Names of the state coordinates, used in error messages.
        action_names: Names of the action coordinates.
    """

    @property
    def name(self) -> str: ...
    @property
    def dt(self) -> float: ...
    @property
    def n_states(self) -> int: ...
    @property
    def n_actions(self) -> int: ...
    @property
    def state_names(self) -> tuple[str, ...]: ...
    @property
    def action_names(self) -> tuple[str, ...]: ...

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """State after one control step."""
        ...


@runtime_checkable
class Task(System, Protocol):
    """A system with an initial-state distribution and a cost to minimise over `steps` steps."""

    @property
    def steps(self) -> int:
        """Control steps `T` of an episode."""
        ...

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Independent samples from the initial-state distribution, in float64."""
        ...

    def cost(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Stage cost `c(x, u) ≥ 0`, differentiable, zero at the equilibrium."""
        ...

    def equilibrium(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """Goal state and the action that holds it, `f(x*, u*) = x*`, in float64."""
        ...

    def weights(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, "m m"]]:
        """Weights `(Q, R)` of the cost about the equilibrium, `c = δxᵀQ δx + δuᵀR δu` (no ½), in float64."""
        ...
