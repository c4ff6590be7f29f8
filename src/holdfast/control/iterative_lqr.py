"""Iterative LQR: trajectory optimisation for a batch of initial states.

    minimise over u_0 … u_{h−1}    J = Σ_t ℓ(x_t, u_t) + ℓ_h(x_h)     subject to  x_{t+1} = f(x_t, u_t)

Each iteration linearises `f` and expands `ℓ` to second order along the current trajectories, solves the resulting
linear-quadratic problem backward in time, and rolls out the improved actions (Li & Todorov 2004; Tassa, Mansard &
Todorov 2014).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ._typed import cholesky_failures, eigh, gradient_and_hessian, solve
from .linearization import linearize
from .systems.base import System

# Step lengths of the line search if the full step does not lower the cost.
_BACKTRACK = tuple(0.5**k for k in range(1, 15))

Derivatives = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Gradient and Hessian of a scalar function at a batch of points."""


@dataclass(frozen=True)
class Objective:
    """`J = Σ_t stage(x_t, u_t) + final(x_h)`, both terms twice differentiable and batched over any leading axes.

    Attributes:
        stage: Cost of a state and an action.
        final: Cost of the last state.
        stage_derivatives: Gradient `[b, d]` and Hessian `[b, d, d]` of `stage` by `z = (u, x)`, at points `[b, d]`.
            Default: automatic differentiation.
        final_derivatives: Gradient and Hessian of `final` by the state. Default: automatic differentiation.
    """

    stage: Callable[[Tensor, Tensor], Tensor]
    final: Callable[[Tensor], Tensor]
    stage_derivatives: Derivatives | None = None
    final_derivatives: Derivatives | None = None

    def __call__(self, actions: Float[Tensor, "*b h m"], states: Float[Tensor, "*b h+1 n"]) -> Float[Tensor, "*b"]:
        """`J` of each trajectory."""
        return self.stage(states[..., :-1, :], actions).sum(-1) + self.final(states[..., -1, :])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Optimised trajectories.

    Attributes:
        actions: Optimised actions.
        states: States that result from the actions.
        cost: J of each trajectory.
        gradient_norm: Norm of dJ/du at its last evaluation; above the tolerance if the line search failed or the
            maximum number of iterations was reached.
        rounds: Number of successful iterations of each trajectory.
    """

    actions: Float[Tensor, "b h m"]
    states: Float[Tensor, "b h+1 n"]
    cost: Float[Tensor, " b"]
    gradient_norm: Float[Tensor, " b"]
    rounds: Int[Tensor, " b"]


@dataclass(frozen=True)
class _Policy:
    """Affine policy `u = ū + α k + K (x − x̄)` and the gradient of J at α = 0."""

    steps: Float[Tensor, "b h m"]
    gains: Float[Tensor, "b h m n"]
    gradient_norm: Float[Tensor, " b"]


def ilqr(
    system: System,
    objective: Objective,
    state: Float[Tensor, "b n"],
    actions: Float[Tensor, "b h m"],
    *,
    tolerance: float = 1e-5,
    max_rounds: int = 100,
) -> Plan:
    """Locally optimal actions from each initial state; the problems of a batch are independent of one another.

    A problem stops if the norm of its gradient dJ/du is at most `tolerance`, if no step length lowers its cost, or
    after `max_rounds` iterations. Each problem takes its own step length: the longest of 1, ½, ¼, … 2⁻¹⁴ that lowers
    its cost. Hessians of the cost are projected onto the positive semidefinite cone, and second derivatives of `f` are
    omitted (Gauss–Newton).

    Args:
        system: System to control.
        objective: Cost to minimise; the Hessian of `stage` by the action must be positive definite.
        state: Initial states.
        actions: Initial guess.
        tolerance: Gradient norm at which a problem counts as solved.
        max_rounds: Maximum number of iterations.

    >>> from holdfast.control.systems import scalar
    >>> toy = scalar(a=1.0)
    >>> plan = ilqr(toy, Objective(toy.cost, lambda x: x.square().sum(-1)), torch.ones(1, 1), torch.zeros(1, 1, 1))
    >>> plan.actions.flatten(), plan.rounds
    (tensor([-0.5000]), tensor([1]))
    """
    actions, states = actions.clone(), _roll_out(system, state, actions)
    cost = objective(actions, states)
    gradient_norm = torch.full_like(cost, torch.inf)
    rounds = torch.zeros(len(state), dtype=torch.int64, device=state.device)
    active = torch.arange(len(state), device=state.device)
    for _ in range(max_rounds):
        if not len(active):
            break
        policy = _backward(system, objective, states[active], actions[active])
        gradient_norm[active] = policy.gradient_norm
        unsolved = policy.gradient_norm > tolerance
        active = active[unsolved]
        if not len(active):
            break
        policy = _Policy(policy.steps[unsolved], policy.gains[unsolved], policy.gradient_norm[unsolved])
        found = _improve(system, objective, policy, states[active], actions[active], cost[active])
        actions[active], states[active], cost[active], better = found
        rounds[active] += better
        active = active[better]
    return Plan(actions=actions, states=states, cost=cost, gradient_norm=gradient_norm, rounds=rounds)


def _roll_out(system: System, state: Tensor, actions: Tensor) -> Tensor:
    states = [state]
    for action in actions.unbind(-2):
        states.append(system.step(states[-1], action))
    return torch.stack(states, -2)


def _backward(system: System, objective: Objective, states: Tensor, actions: Tensor) -> _Policy:
    """Affine policy that solves the linear-quadratic expansion along trajectories, and the gradient there."""
    m = actions.shape[-1]
    along = linearize(system, states[:, :-1], actions)
    dynamics = torch.cat([along.B, along.A], -1)
    points = torch.cat([actions, states[:, :-1]], -1)
    of_stage = objective.stage_derivatives or gradient_and_hessian(lambda z: objective.stage(z[..., m:], z[..., :m]))
    stage = _expand(of_stage, points)
    value = _expand(objective.final_derivatives or gradient_and_hessian(objective.final), states[:, -1])
    laws, gradients = list[Tensor](), list[Tensor]()
    for t in reversed(range(actions.shape[1])):
        law, gradient, value = _backward_step(dynamics[:, t], stage[:, t], value)
        laws.append(law)
        gradients.append(gradient)
    law = torch.stack(laws[::-1], 1)
    return _Policy(law[..., -1], law[..., :-1], torch.cat(gradients, -1).square().sum(-1).sqrt())


def _backward_step(
    dynamics: Float[Tensor, "b n d"], stage: Float[Tensor, "b d d+2"], value: Float[Tensor, "b n n+2"]
) -> tuple[Float[Tensor, "b m n+1"], Float[Tensor, "b m"], Float[Tensor, "b n n+2"]]:
    """One step of the backward pass: the feedback law `[K, k]`, the gradient by the action, and the preceding value.

    The value is `[V, v, λ]`: Hessian V and gradient v of the cost-to-go `½ xᵀVx + vᵀx` under the new policy, and its
    gradient λ (the costate) under the present actions. `stage` is the same for the stage cost as a function of
    `z = (u, x)`, in this order so that every block is one slice.
    """
    m = dynamics.shape[-1] - dynamics.shape[-2]
    pushed = torch.cat([value[..., :-2] @ dynamics, value[..., -2:]], -1)
    of_actions, of_states = torch.baddbmm(stage, dynamics.mT, pushed).tensor_split([m], -2)
    law = solve(of_actions[..., :m], of_actions[..., m:-1]).neg()
    # At the exact minimiser the value is V = Hxx + Hxu K, v = hx + Hxu k.
    best = torch.baddbmm(of_states[..., m:-1], of_states[..., :m], law)
    V = best[..., :-1]
    # Rounding makes V asymmetric, and an unstable system would amplify the asymmetry.
    return law, of_actions[..., -1], torch.cat([(V + V.mT) / 2, best[..., -1:], of_states[..., -1:]], -1)


def _expand(derivatives: Derivatives, points: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d d+2"]:
    """Second-order expansion of a scalar function at points: `[H, h, h]`, semidefinite Hessian H and gradient h."""
    gradients, hessians = derivatives(points.flatten(0, -2))
    gradients = gradients[..., None]
    both = torch.cat([_semidefinite(hessians), gradients, gradients], -1)
    return both.reshape(*points.shape, -1)


def _semidefinite(matrices: Float[Tensor, "b d d"]) -> Float[Tensor, "b d d"]:
    """Nearest positive semidefinite matrices; eigenvalues are computed only where a Cholesky test fails."""
    shift = 1e-9 * matrices.diagonal(dim1=-2, dim2=-1).abs().amax(-1)[:, None, None]
    failed = cholesky_failures(matrices + shift * torch.eye(matrices.shape[-1]).to(matrices))
    if not failed.any():
        return matrices
    values, vectors = eigh(matrices[failed])
    projected = vectors * values.clamp(min=0)[..., None, :] @ vectors.mT
    return matrices.index_put((failed,), projected)


def _improve(
    system: System, objective: Objective, policy: _Policy, states: Tensor, actions: Tensor, cost: Tensor
) -> tuple[Tensor, Tensor, Tensor, Bool[Tensor, " b"]]:
    """Actions, states and costs after one line search, and which trajectories improved; the others are unchanged."""
    new = _candidates(system, objective, policy, states, actions, (1.0,))
    if not (new[2][0] < cost).all():
        new = _candidates(system, objective, policy, states, actions, (1.0, *_BACKTRACK))
    lower = new[2] < cost
    better = lower.any(0)
    first, each = lower.int().argmax(0), torch.arange(len(cost), device=cost.device)
    chosen_actions, chosen_states, chosen_cost = (x[first, each] for x in new)
    keep = better[:, None, None]
    return (
        torch.where(keep, chosen_actions, actions),
        torch.where(keep, chosen_states, states),
        torch.where(better, chosen_cost, cost),
        better,
    )


def _candidates(
    system: System, objective: Objective, policy: _Policy, states: Tensor, actions: Tensor, lengths: tuple[float, ...]
) -> tuple[Float[Tensor, "a b h m"], Float[Tensor, "a b h+1 n"], Float[Tensor, "a b"]]:
    """Rollouts of the policy for each step length, stacked on a leading axis."""
    scale = states.new_tensor(lengths)[:, None, None]
    state = states[:, 0].expand(len(lengths), -1, -1)
    new_states, new_actions = [state], list[Tensor]()
    for t in range(actions.shape[1]):
        deviation = state - states[:, t]
        feedback = (policy.gains[:, t] @ deviation[..., None]).squeeze(-1)
        new_actions.append(actions[:, t] + scale * policy.steps[:, t] + feedback)
        state = system.step(state, new_actions[-1])
        new_states.append(state)
    found = torch.stack(new_actions, -2), torch.stack(new_states, -2)
    return (*found, objective(*found))
