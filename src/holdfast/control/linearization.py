"""Linearisation of a system at the points of a trajectory.

f(x̄ + δx, ū + δu) ≈ f(x̄, ū) + A δx + B δu
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ._typed import jacobians
from .systems.base import Linearizable, Linearization, System, knows

__all__ = ["Linearizable", "Linearization", "finite_differences", "linearize"]


def linearize(system: System, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
    """Jacobians `A = ∂f/∂x`, `B = ∂f/∂u` at each point, by automatic differentiation in one batched call.

    A `Linearizable` system, such as a built-in one, computes its own Jacobians, unless a subclass replaced its `step`
    alone.

    >>> from holdfast.control.systems import scalar
    >>> point = linearize(scalar(a=0.9), torch.zeros(1), torch.zeros(1))
    >>> point.A, point.B
    (tensor([[0.9000]]), tensor([[1.]]))
    """
    if isinstance(system, Linearizable) and knows(system, "linearize", "step"):
        return system.linearize(states, actions)
    lead = states.shape[:-1]
    A, B = jacobians(system.step)(states.reshape(-1, states.shape[-1]), actions.reshape(-1, actions.shape[-1]))
    return Linearization(A.reshape(*lead, *A.shape[1:]), B.reshape(*lead, *B.shape[1:]))


def finite_differences(
    system: System, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"], *, spacing: float = 1e-5
) -> Linearization:
    """Jacobians by central differences with error `O(spacing²)`, for systems that cannot be differentiated.

        A e_i ≈ (f(x + h e_i, u) − f(x − h e_i, u)) / 2h

    Args:
        system: System; only its `step` is called.
        states: States at which to linearise.
        actions: Action in each state.
        spacing: `h`, in the units of each coordinate; the default suits float64.
    """
    A = _central(lambda shift: system.step(states + shift, actions.expand(len(shift), *actions.shape)), states, spacing)
    B = _central(lambda shift: system.step(states.expand(len(shift), *states.shape), actions + shift), actions, spacing)
    return Linearization(A, B)


def _central(shifted: Callable[[Tensor], Tensor], points: Tensor, spacing: float) -> Tensor:
    """Central differences along every coordinate, all shifts stacked on a new leading axis."""
    size = points.shape[-1]
    shifts = spacing * torch.eye(size).to(points).reshape(size, *[1] * (points.dim() - 1), size)
    return ((shifted(shifts) - shifted(-shifts)) / (2 * spacing)).movedim(0, -1)
