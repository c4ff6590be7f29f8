"""Theorem 2 on the quadrotor: chunks of affine controllers along one flight, with constants to first order.

The expert flies to hover from one start, deterministically; its chunks are the flight's own states, actions and gains
(`Tvlqr`). The policy's plans start off by a share of the observation's noise, x̄ + c σ w, and slip with probability p:
a push on the thrust for a chunk. Its error is known: Δ_δ = 1 − (1 − p) P[c σ |w| ≤ δ].

The constants of incremental stability are those of the linearised loops along the flight, widened by a tenth; within
which radius they hold on the true system is measured (`stability_region`), and given to the bound as c_ξ.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from ...analysis.bounds import Bound
from ...analysis.chunk_bounds import AffineLoop, theorem2_bound
from ...analysis.incremental import stability_region
from ...control import Dare, Quadrotor2D, Tvlqr, synthesize
from ...control.incremental import incremental_stability_along
from ...control.stability import operator_norm
from ...envs import SystemEnvironment, rollout
from ...evaluation.intervals import Estimate
from ...seeding import stream
from ...types import PrimitiveControllers, Trajectory
from ..quadrotor.world import HoverRegulator
from .cell import Cell, Flaw, paired
from .laws import away

SLACK = 0.1
SHARE = 0.001
"""Share c of the observation noise in the policy's plans."""
WEIGHT = (0.5, 0.1)
TAIL = 5.0
"""Tolerance δ in units of c σ, which the norm of six normal numbers rarely exceeds."""
CONSTANTS = (SLACK, SHARE, WEIGHT, TAIL)

_chi = cast(Any, stats).chi  # scipy ships no types


@dataclass(frozen=True, eq=False)
class _Flight:
    trajectory: Trajectory
    controllers: PrimitiveControllers
    loop: AffineLoop


@cache
def _flight(chunk: int, steps: int) -> _Flight:
    """One flight of the regulator, its gains, and their stability constants."""
    task = Quadrotor2D()
    start = 0.2 * task.initial_states(1, rng=stream(0, "theorems", "quadrotor"))
    regulator = HoverRegulator(task, Dare(action_weight=WEIGHT)).policy()
    flown = rollout(regulator, SystemEnvironment(task, steps=steps), starts=start).trajectory
    trajectory = Trajectory(actions=flown.actions[0], states=flown.states[0])
    controllers = synthesize(Tvlqr(action_weight=WEIGHT), task, trajectory)
    stability = incremental_stability_along(task, controllers, trajectory).widened(SLACK)
    region = stability_region(task, controllers, trajectory, stability, start_radius=1.0, input_radius=1.0, samples=60)
    loop = AffineLoop(
        float(stability.c_beta),
        float(stability.L_beta),
        float(stability.c_gamma),
        chunk=chunk,
        gain_radius=float(operator_norm(controllers.gains).amax()),
        same_gains=True,
        c_xi=region.c_xi,
        input_radius=region.c_gamma,
    )
    return _Flight(trajectory, controllers, loop)


def quadrotor_cell(flaw: Flaw, sigma: float, chunks: int, *, chunk: int, longest: int, count: int, seed: int) -> Cell:
    """Rollouts over the first `chunks` chunks of the flight, and their bound."""
    flight = _flight(chunk, longest)
    flown = _fly(flight, flaw, sigma, chunks, chunk, count, stream(seed, "theorems", "quadrotor", str(sigma), chunks))
    steps = chunks * chunk
    expert = Trajectory(
        actions=flight.trajectory.actions[:steps].expand(count, -1, -1),
        states=flight.trajectory.states[: steps + 1].expand(count, -1, -1),
    )
    tolerance = TAIL * SHARE * sigma
    missed = 1 - (1 - flaw.slip) * float(_chi.cdf(TAIL, flight.trajectory.states.shape[-1]))

    def bound(eps: float, measured: Estimate | None) -> Bound:
        return theorem2_bound(
            eps,
            loop=flight.loop,
            chunks=chunks,
            sigma=sigma,
            n_states=flight.trajectory.states.shape[-1],
            tolerance=tolerance,
            policy_error=chunks * missed,
            measured=measured,
        )

    apart = (flown.states[:, -1] - expert.states[:, -1]).square().sum(dim=-1).sqrt()
    return Cell(
        f"quadrotor, τ = {chunk}",
        "Theorem 2",
        str(flaw),
        sigma,
        chunks,
        paired(expert, flown, chunk),
        bound,
        # the expert flies once from one start, so that a rollout farther than ε from it is unmatched
        lambda eps: away(apart > eps),
    )


def _fly(
    flight: _Flight, flaw: Flaw, sigma: float, chunks: int, chunk: int, count: int, rng: torch.Generator
) -> Trajectory:
    """The smoothed policy: `u = ū + slip + K (x − x̄ − c σ w)`, with new w and slip for every chunk."""
    task, size = Quadrotor2D(), flight.trajectory.states.shape[-1]
    state = flight.trajectory.states[0].expand(count, -1)
    states, actions = [state], list[Tensor]()
    off, push = torch.zeros_like(state), torch.zeros(count, 2, dtype=state.dtype)
    for step in range(chunks * chunk):
        if step % chunk == 0:
            off = SHARE * sigma * torch.randn(count, size, dtype=state.dtype, generator=rng)
            slips = torch.rand(count, dtype=torch.float64, generator=rng) < flaw.slip
            push = flaw.far * slips[:, None].to(state) * torch.tensor([1.0, 0.0]).to(state)
        law = flight.controllers.at(step)
        deviation = state - law.states - off
        actions.append(law.actions + push + deviation @ law.gains.mT)
        state = task.step(state, actions[-1])
        states.append(state)
    return Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))
