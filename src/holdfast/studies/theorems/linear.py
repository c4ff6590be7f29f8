"""Linear systems on which every ingredient of the bounds has a closed form, and rollouts of expert and policy on them.

    contractive   x' = x/2 + u from x_1 = 1; the expert acts by u = k (x + σw), k = 1/5, the policy by the same + bias
    plain plans   a double integrator under LQR, chunks u = ū + K x with ū = N x_1 + s z; the policy's ū is biased
    consistent    plans x̄ along a nominal loop M₀ = A + BK₀ from what was observed, held by stiffer gains K:
                  u = K₀x̄ + K(x − x̄); the policy plans from a draw of the expert's state given x̂ + σw, which is
                  exactly the expert's law given the noised observation, but for a flaw

The flaws: a bias of the plan's first state, whose d_max is known, so that Δ = 0 at that tolerance; or a slip, a plan
that starts far off with probability p, so that Δ = p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ...analysis.bounds import Bound, tvc_bound
from ...analysis.chunk_bounds import AffineLoop, theorem1_bound, theorem2_bound
from ...control import double_integrator
from ...control.incremental import incremental_stability
from ...control.riccati import dare, gain
from ...control.stability import operator_norm
from ...evaluation.intervals import Estimate
from ...seeding import stream
from ...types import Trajectory
from .cell import Cell, Flaw, paired
from .laws import beyond, largest_shift, plain_gaps, shifted

_linalg = cast(Any, torch.linalg)  # its functions carry no types


def contractive_cell(flaw: Flaw, sigma: float, steps: int, *, count: int, seed: int) -> Cell:
    """The talk's theorem on a scalar system; the law of every state and action is Gaussian."""
    a, k = 0.5, 0.2
    spread, rng = k * sigma, stream(seed, "theorems", "contractive", str(flaw), str(sigma), steps)
    expert, policy = (_contractive_runs(a, k, bias, spread, steps, count, rng) for bias in (0.0, flaw.bias))
    gaps = _contractive_gaps(a, k, flaw.bias, spread, steps)

    def bound(eps: float, measured: Estimate | None) -> Bound:
        return tvc_bound(
            eps,
            alpha=a,
            beta=1.0,
            steps=steps,
            modulus=lambda radius: shifted(k * radius, 0.0, spread),
            policy_error=lambda tolerance: steps * shifted(flaw.bias, tolerance, spread),
            measured=measured,
        )

    name, surely = "talk: TVC, contractive", largest_shift([(abs(gap), spread) for gap, spread in gaps])
    return Cell("scalar", name, str(flaw), sigma, steps, paired(expert, policy, 1), bound, surely)


def _contractive_runs(
    a: float, k: float, bias: float, spread: float, steps: int, count: int, rng: torch.Generator
) -> Trajectory:
    """Rollouts of u = k x + bias + spread w on x' = a x + u."""
    states, actions = [torch.ones(count, 1, dtype=torch.float64)], list[Tensor]()
    for _ in range(steps):
        drawn = k * states[-1] + bias + spread * torch.randn(count, 1, dtype=torch.float64, generator=rng)
        actions.append(drawn)
        states.append(a * states[-1] + drawn)
    return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))


def _contractive_gaps(a: float, k: float, bias: float, spread: float, steps: int) -> list[tuple[float, float]]:
    """Difference of means of policy and expert, and common std, of each action and each state."""
    gaps, gap, variance = list[tuple[float, float]](), 0.0, 0.0
    for _ in range(steps):
        gaps.append((k * gap + bias, math.sqrt(k**2 * variance + spread**2)))
        gap, variance = (a + k) * gap + bias, (a + k) ** 2 * variance + spread**2
        gaps.append((gap, math.sqrt(variance)))
    return gaps


def plain_cell(flaw: Flaw, sigma: float, chunks: int, *, count: int, seed: int) -> Cell:
    """Theorem 1 on a double integrator; `sigma` is the std of the plans' ū."""
    chunk, system = 60, double_integrator()
    A, B = system.A, system.B
    K = lqr_gain(A, B, 1.0)
    loop = affine_loop(A, B, K, chunk)
    rng = stream(seed, "theorems", "plain", str(flaw), str(sigma), chunks)
    off = flaw.bias * torch.tensor([0.6, 0.8], dtype=torch.float64)
    N = torch.tensor([[0.02, 0, 0, 0], [0, 0.01, 0, 0.0]], dtype=torch.float64)

    def runs(bias: Tensor) -> Trajectory:
        state = torch.tensor([1.0, -0.5, 0.0, 0.0], dtype=torch.float64).expand(count, 4)
        states, actions, plan = [state], list[Tensor](), state[:, :2]
        for step in range(chunks * chunk):
            if step % chunk == 0:
                plan = state @ N.mT + sigma * torch.randn(count, 2, dtype=torch.float64, generator=rng) + bias
            actions.append(plan + state @ K.mT)
            state = state @ A.mT + actions[-1] @ B.mT
            states.append(state)
        return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))

    rollouts = paired(runs(torch.zeros_like(off)), runs(off), chunk)

    def bound(eps: float, measured: Estimate | None) -> Bound:
        return theorem1_bound(
            eps,
            loop=loop,
            chunks=chunks,
            modulus=lambda radius: shifted(0.02 * radius, 0.0, sigma),
            policy_error=lambda tolerance: chunks * shifted(flaw.bias, tolerance, sigma),
            measured=measured,
        )

    surely = largest_shift(plain_gaps(A, B, K, N, off, sigma, chunk, chunks))
    return Cell("double integrator", "Theorem 1", str(flaw), sigma, chunks, rollouts, bound, surely)


@dataclass(frozen=True, eq=False)
class _Consistent:
    """A linear system with consistent plans; starts are normal about `mean`, along the line of `spread`."""

    name: str
    A: Float[Tensor, "n n"]
    B: Float[Tensor, "n m"]
    nominal: Float[Tensor, "m n"]
    held: Float[Tensor, "m n"]
    chunk: int
    mean: Float[Tensor, " n"]
    spread: Float[Tensor, " n"]

    def plan_gap(self, off: Tensor) -> float:
        """d_max of two plans that start `off` apart."""
        largest, gap, M = 0.0, off, self.A + self.B @ self.nominal
        for _ in range(self.chunk):
            largest = max(largest, float((self.nominal @ gap).norm() + gap.norm()))
            gap = M @ gap
        return largest


@cache
def _scalar() -> _Consistent:
    """Unstable in open loop: x' = 1.1 x + u."""
    one = torch.ones(1, 1, dtype=torch.float64)
    return _Consistent("scalar", 1.1 * one, one, -0.1 * one, -0.8 * one, 10, one[0], 0.5 * one[0])


@cache
def _integrator() -> _Consistent:
    system = double_integrator()
    A, B = system.A, system.B
    mean = torch.tensor([1.0, -0.5, 0.0, 0.0], dtype=torch.float64)
    # samples of a four-dimensional law match badly, whatever the policy
    line = torch.tensor([0.2, 0.2, 0.0, 0.0], dtype=torch.float64)
    return _Consistent("double integrator", A, B, lqr_gain(A, B, 100.0), lqr_gain(A, B, 1.0), 100, mean, line)


def consistent_cell(system: str, flaw: Flaw, sigma: float, chunks: int, *, count: int, seed: int) -> Cell:
    """Theorem 2; initial states are drawn, and pooled: it does not pair them."""
    of = _scalar() if system == "scalar" else _integrator()
    rng = stream(seed, "theorems", "consistent", system, str(flaw), str(sigma), chunks)
    loop = affine_loop(of.A, of.B, of.held, of.chunk)
    expert = _fly(of, None, sigma, chunks, count, rng)
    policy = _fly(of, flaw, sigma, chunks, count, rng)
    unit = torch.ones(len(of.A), dtype=torch.float64) / len(of.A) ** 0.5

    def bound(eps: float, measured: Estimate | None) -> Bound:
        return theorem2_bound(
            eps,
            loop=loop,
            chunks=chunks,
            sigma=sigma,
            n_states=len(of.A),
            tolerance=of.plan_gap(flaw.bias * unit),
            policy_error=chunks * flaw.slip,
            measured=measured,
        )

    surely = _beyond_the_expert(of, policy, flaw.far * unit, chunks)
    rollouts = paired(expert, policy, of.chunk, pool=True)
    return Cell(of.name, "Theorem 2", str(flaw), sigma, chunks, rollouts, bound, surely)


def _beyond_the_expert(of: _Consistent, policy: Trajectory, off: Tensor, chunks: int) -> Callable[[float], float]:
    """Lower bound on the loss at the last state, along the way in which a slip in the last chunk moves it."""
    M, held = of.A + of.B @ of.nominal, of.A + of.B @ of.held
    moved = (_linalg.matrix_power(M, of.chunk) - _linalg.matrix_power(held, of.chunk)) @ off
    way, whole = moved / moved.norm(), _linalg.matrix_power(M, of.chunk * chunks)
    places = (policy.states[:, -1] - whole @ of.mean) @ way
    spread = abs(float(way @ whole @ of.spread))
    return lambda eps: beyond(places, spread, float(moved.norm()) / 2, eps)


def _fly(of: _Consistent, flaw: Flaw | None, sigma: float, chunks: int, count: int, rng: torch.Generator) -> Trajectory:
    """Rollouts of the expert, whose plans start at its state, or of the smoothed policy."""
    size = len(of.A)
    eye, unit = torch.eye(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64) / size**0.5
    M, mean, law = of.A + of.B @ of.nominal, of.mean, torch.outer(of.spread, of.spread)

    def noise() -> Tensor:
        return torch.randn(count, size, dtype=torch.float64, generator=rng)

    state = mean + noise()[:, :1] * of.spread
    states, actions, plan = [state], list[Tensor](), state
    for step in range(chunks * of.chunk):
        if step % of.chunk == 0:
            plan = state
            if flaw is not None:
                shrink = law @ _linalg.inv(law + sigma**2 * eye)
                seen = state + sigma * noise()
                drawn = _root(law - shrink @ law)
                slips = torch.rand(count, 1, dtype=torch.float64, generator=rng) < flaw.slip
                plan = mean + (seen - mean) @ shrink.mT + noise() @ drawn.mT + (flaw.bias + flaw.far * slips) * unit
            whole = _linalg.matrix_power(M, of.chunk)
            mean, law = whole @ mean, whole @ law @ whole.mT
        actions.append(plan @ of.nominal.mT + (state - plan) @ of.held.mT)
        state = state @ of.A.mT + actions[-1] @ of.B.mT
        plan = plan @ M.mT
        states.append(state)
    return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))


def _root(covariance: Tensor) -> Tensor:
    """Square root of a covariance that rounding may have made slightly indefinite."""
    values, vectors = _linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()


def lqr_gain(A: Tensor, B: Tensor, action_weight: float) -> Tensor:
    """LQR gain with Q = I and R = weight · I."""
    R = action_weight * torch.eye(B.shape[1], dtype=torch.float64)
    P = dare(A, B, torch.eye(len(A), dtype=torch.float64), R)
    return gain(A, B, R, P)


def affine_loop(A: Tensor, B: Tensor, K: Tensor, chunk: int) -> AffineLoop:
    """Exact constants of one affine loop; learned gains are the expert's."""
    steps = (chunk, -1, -1)
    stability = incremental_stability((A + B @ K).expand(*steps), B.expand(*steps))
    return AffineLoop.of(stability, chunk=chunk, gain_radius=float(operator_norm(K)), same_gains=True)
