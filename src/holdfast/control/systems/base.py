"""Protocols of a controlled system and of a control task.

    state ──action──► next state = step(state, action)

All methods are batched over any leading axes and differentiable in both arguments.

A system may know its derivatives in closed form (`Linearizable`), and a task that its cost is quadratic
(`QuadraticTask`). A subclass that replaces the differentiated method without its derivatives is differentiated again:
`knows` compares where the two were defined.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Linearization:
    """Jacobians of a system at a set of points.

    Attributes:
        A: Derivative of the next state by the state.
        B: Derivative of the next state by the action.
    """

    A: Float[Tensor, "*b n n"]
    B: Float[Tensor, "*b n m"]


@runtime_checkable
class Linearizable(Protocol):
    """A system with its own Jacobians: in closed form, estimated, or because it cannot be differentiated."""

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Jacobians `A = ∂f/∂x`, `B = ∂f/∂u` at each point."""
        ...


@runtime_checkable
class QuadraticTask(Task, Protocol):
    """A task whose cost is `δxᵀQ δx + δuᵀR δu` at every point, with its `weights()` about its `equilibrium()`."""

    @property
    def cost_is_quadratic(self) -> bool:
        """Whether this holds."""
        ...


def knows(system: object, derivative: str, *of: str) -> bool:
    """Whether a derivative belongs to the methods that an object has, and not to some that a subclass replaced.

    >>> class Doubling:
    ...     def step(self): ...
    ...     def linearize(self): ...
    >>> class Halving(Doubling):
    ...     def step(self): ...
    >>> knows(Doubling(), "linearize", "step"), knows(Halving(), "linearize", "step")
    (True, False)
    """
    return _depth(system, derivative) <= min(_depth(system, method) for method in of)


def _depth(system: object, name: str) -> int:
    """Place of the definition of an attribute in the order in which Python looks it up."""
    if name in getattr(system, "__dict__", {}):
        return -1
    classes = type(system).__mro__
    return next((place for place, kind in enumerate(classes) if name in vars(kind)), len(classes))
