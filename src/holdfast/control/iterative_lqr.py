"""Iterative LQR: trajectory optimisation for many initial states at once.

    minimise over u_0 … u_{h−1}    J = Σ_t ℓ(x_t, u_t) + ℓ_h(x_h)     subject to  x_{t+1} = f(x_t, u_t)

Each round linearises `f` and expands `ℓ` to second order along the current trajectories, solves that linear-quadratic
problem backward in time, and rolls the improved actions out forward (Li & Todorov 2004; Tassa, Mansard & Todorov 2014).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ._typed import cholesky_failures, eigh, slope_and_curvature, solve
from .linearization import linearize
from .systems.base import System

__all__ = ["Objective", "Plan", "ilqr"]

# Step lengths that are tried when the full step does not lower the cost.
_BACKTRACK = tuple(0.5**k for k in range(1, 15))


@dataclass(frozen=True)
class Objective:
    """`J = Σ_t stage(x_t, u_t) + final(x_h)`, both differentiable twice and batched over any leading axes.

    Attributes:
        stage: ℓ(x, u).
        final: ℓ_h(x).
    """

    stage: Callable[[Tensor, Tensor], Tensor]
    final: Callable[[Tensor], Tensor]

    def __call__(self, actions: Float[Tensor, "*b h m"], states: Float[Tensor, "*b h+1 n"]) -> Float[Tensor, "*b"]:
        """`J` of trajectories."""
        return self.stage(states[..., :-1, :], actions).sum(-1) + self.final(states[..., -1, :])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Optimised trajectories.

    Attributes:
        actions: The actions found.
        states: Where they lead.
        cost: J of each trajectory.
        gradient_norm: Norm of dJ/du when a round last looked; above the tolerance where no better actions were found,
            or where rounds ran out.
        rounds: Rounds of improvement that each trajectory took.
    """

    actions: Float[Tensor, "b h m"]
    states: Float[Tensor, "b h+1 n"]
    cost: Float[Tensor, " b"]
    gradient_norm: Float[Tensor, " b"]
    rounds: Int[Tensor, " b"]


@dataclass(frozen=True)
class _Policy:
    """`u = ū + α k + K (x − x̄)`, and the gradient of J at α = 0."""

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
    """Locally optimal actions from each initial state; the problems of a batch do not influence one another.

    A problem stops when the norm of its gradient dJ/du is at most `tolerance`, when no step length lowers its cost, or
    after `max_rounds`; the others go on without it. Each takes its own step length: the longest of 1, ½, ¼, … 2⁻¹⁴
    that lowers its cost. Hessians of the cost are projected onto the positive semidefinite ones, and second
    derivatives of `f` are left out.

    Args:
        system: What is to be controlled.
        objective: What is to be minimised; the Hessian of `stage` by the action must be positive definite.
        state: Initial states.
        actions: First guess.
        tolerance: Gradient norm at which a problem counts as solved.
        max_rounds: Limit on the rounds of improvement.

    >>> from holdfast.control.systems import scalar
    >>> toy = scalar(a=1.0)
    >>> plan = ilqr(toy, Objective(toy.cost, lambda x: x.square().sum(-1)), torch.ones(1, 1), torch.zeros(1, 1, 1))
    >>> plan.actions.flatten(), plan.rounds
    (tensor([-0.5000]), tensor([1]))
    """
    actions, states = actions.clone(), _roll_out(system, state, actions)
    cost = objective(actions, states)
    slope = torch.full_like(cost, torch.inf)
    rounds = torch.zeros(len(state), dtype=torch.int64, device=state.device)
    todo = torch.arange(len(state), device=state.device)
    for _ in range(max_rounds):
        if not len(todo):
            break
        policy = _backward(system, objective, states[todo], actions[todo])
        slope[todo] = policy.gradient_norm
        steep = policy.gradient_norm > tolerance
        todo = todo[steep]
        if not len(todo):
            break
        policy = _Policy(policy.steps[steep], policy.gains[steep], policy.gradient_norm[steep])
        found = _improve(system, objective, policy, states[todo], actions[todo], cost[todo])
        actions[todo], states[todo], cost[todo], better = found
        rounds[todo] += better
        todo = todo[better]
    return Plan(actions=actions, states=states, cost=cost, gradient_norm=slope, rounds=rounds)


def _roll_out(system: System, state: Tensor, actions: Tensor) -> Tensor:
    states = [state]
    for action in actions.unbind(-2):
        states.append(system.step(states[-1], action))
    return torch.stack(states, -2)


def _backward(system: System, objective: Objective, states: Tensor, actions: Tensor) -> _Policy:
    """The affine policy that solves the linear-quadratic expansion along trajectories, and the gradient there."""
    m = actions.shape[-1]
    along = linearize(system, states[:, :-1], actions)
    dynamics = torch.cat([along.B, along.A], -1)
    points = torch.cat([actions, states[:, :-1]], -1)
    own = _expand(lambda z: objective.stage(z[..., m:], z[..., :m]), points)
    value = _expand(objective.final, states[:, -1])
    laws, gradients = list[Tensor](), list[Tensor]()
    for t in reversed(range(actions.shape[1])):
        law, gradient, value = _pull_back(dynamics[:, t], own[:, t], value)
        laws.append(law)
        gradients.append(gradient)
    law = torch.stack(laws[::-1], 1)
    return _Policy(law[..., -1], law[..., :-1], torch.cat(gradients, -1).square().sum(-1).sqrt())


def _pull_back(
    dynamics: Float[Tensor, "b n d"], own: Float[Tensor, "b d d+2"], value: Float[Tensor, "b n n+2"]
) -> tuple[Float[Tensor, "b m n+1"], Float[Tensor, "b m"], Float[Tensor, "b n n+2"]]:
    """One step backward: the law `[K, k]`, the gradient by the action, and the value before the step.

    The value is `[V, v, λ]`: curvature and slope, `½ xᵀVx + vᵀx`, of the cost to go under the new policy, and its slope
    λ (the costate) under the present actions. `own` is the same of the stage cost, over `z = (u, x)`, in this order so
    that every part is one slice.
    """
    m = dynamics.shape[-1] - dynamics.shape[-2]
    pushed = torch.cat([value[..., :-2] @ dynamics, value[..., -2:]], -1)
    of_actions, of_states = torch.baddbmm(own, dynamics.mT, pushed).tensor_split([m], -2)
    law = solve(of_actions[..., :m], of_actions[..., m:-1]).neg()
    # At the exact minimiser the value is V = Hxx + Hxu K, v = hx + Hxu k.
    best = torch.baddbmm(of_states[..., m:-1], of_states[..., :m], law)
    V = best[..., :-1]
    # Rounding makes V asymmetric, and an unstable system would amplify that.
    return law, of_actions[..., -1], torch.cat([(V + V.mT) / 2, best[..., -1:], of_states[..., -1:]], -1)


def _expand(function: Callable[[Tensor], Tensor], points: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d d+2"]:
    """Second-order expansion of a scalar function at points: `[H, h, h]`, its semidefinite Hessian and its slope."""
    slopes, curvatures = slope_and_curvature(function)(points.flatten(0, -2))
    slopes = slopes[..., None]
    both = torch.cat([_semidefinite(curvatures), slopes, slopes], -1)
    return both.reshape(*points.shape, -1)


def _semidefinite(matrices: Float[Tensor, "b d d"]) -> Float[Tensor, "b d d"]:
    """The nearest positive semidefinite matrices; eigenvalues are computed only where a cheap test fails."""
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
    """Actions, states and costs after one step, and where there is an improvement; elsewhere all stays."""
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
    """Roll-outs of the policy at each step length, as an extra leading axis."""
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
