"""The agent of Push-T under servos of any gains: its motion, and the targets that follow a recorded path.

The agent is moved by its servo alone, whatever it pushes, in ten steps of h = 0.01 s for one held target:

    v' = v + h (k_p (a − p) − k_d v),    p' = p + h v'

The recorded paths follow from the recorded targets by the simulator's own gains. One held target has to place ten
positions, so that another servo cannot follow them exactly; its targets minimise the squared deviation of all of them,

    min over a_1 … a_T of  Σ_t Σ_j |p_{t,j} − r_{t,j}|²,    j = 1 … 10,

a linear-quadratic tracking problem, solved backwards in time. With the simulator's own gains the minimum is zero and is
attained by the recorded targets.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...envs.pusht_table import K_P, K_V, PHYSICS_STEP, PHYSICS_STEPS
from ...types import Episodes

OWN_GAINS = (K_P, K_V)
"""Stiffness and damping with which the demonstrations were recorded [1/s², 1/s]."""


def agent_steps(stiffness: float, damping: float) -> tuple[Float[Tensor, "j 2 2"], Float[Tensor, "j 2"]]:
    """(position, velocity) after each physics step of a control step, `x_j = M_j x + N_j a`, along one axis.

    >>> M, N = agent_steps(100.0, 20.0)
    >>> N[0]  # v' = 0.01 · 100 a, p' = 0.01 v'
    tensor([0.0100, 1.0000], dtype=torch.float64)
    """
    h = PHYSICS_STEP
    row = [-h * stiffness, 1 - h * damping]
    one = torch.tensor([[1 + h * row[0], h * row[1]], row], dtype=torch.float64)
    push = torch.tensor([h * h * stiffness, h * stiffness], dtype=torch.float64)
    states, inputs = [one], [push]
    for _ in range(PHYSICS_STEPS - 1):
        states.append(one @ states[-1])
        inputs.append(one @ inputs[-1] + push)
    return torch.stack(states), torch.stack(inputs)


def agent_path(
    start: Float[Tensor, "b 2"], targets: Float[Tensor, "b t"], stiffness: float, damping: float
) -> Float[Tensor, "b t j"]:
    """Positions along one axis at all physics steps, from positions and velocities at the start."""
    M, N = agent_steps(stiffness, damping)
    now, found = start, list[Tensor]()
    for index in range(targets.shape[1]):
        steps = now @ M.mT + targets[:, index, None] * N[:, None]  # [j, b, 2]
        found.append(steps[..., 0].T)
        now = steps[-1]
    return torch.stack(found, 1)


def following_targets(
    start: Float[Tensor, "b 2"],
    path: Float[Tensor, "b t j"],
    inside: Bool[Tensor, "b t"],
    stiffness: float,
    damping: float,
) -> Float[Tensor, "b t"]:
    """Targets whose path is closest to a path, by dynamic programming; 0 where a step is not inside an episode.

    Args:
        start: Position and velocity at the start.
        path: Positions at all physics steps.
        inside: Control steps of each episode, which are its first ones.
        stiffness: Stiffness of the servo [1/s²].
        damping: Damping of the servo [1/s].
    """
    M, N = agent_steps(stiffness, damping)
    last, push, seen, felt = M[-1], N[-1], M[:, 0], N[:, 0]
    # value of the steps to come: xᵀ (curve) x − 2 (slope)ᵀ x
    curve, slope = path.new_zeros(len(path), 2, 2), path.new_zeros(len(path), 2)
    laws = list[tuple[Tensor, Tensor]]()
    for index in range(path.shape[1] - 1, -1, -1):
        wanted = path[:, index]
        size = felt @ felt + (curve @ push) @ push
        cross = felt @ seen + (curve @ push) @ last
        pull = wanted @ felt + slope @ push
        laws.append((pull / size, cross / size[:, None]))
        running = inside[:, index]
        further = seen.T @ seen + last.T @ curve @ last - cross[:, :, None] * cross[:, None] / size[:, None, None]
        curve = torch.where(running[:, None, None], further, curve)
        slope = torch.where(running[:, None], wanted @ seen + slope @ last - cross * (pull / size)[:, None], slope)
    now, found = start, list[Tensor]()
    for offset, feedback in reversed(laws):
        found.append(offset - (feedback * now).sum(-1))
        now = now @ last.T + found[-1][:, None] * push
    return torch.stack(found, 1) * inside


def retargeted_agent(episodes: Episodes, stiffness: float, damping: float) -> tuple[Episodes, Float[Tensor, " rows"]]:
    """Demonstrations of Push-T with the targets of another servo, and the distance of its agent from the recorded one.

    The distance [px] is the root mean square over the ten physics steps of each row.
    """
    inside = torch.arange(int(episodes.lengths.max())) < episodes.lengths[:, None]
    recorded = inside.new_zeros(*inside.shape, 2, dtype=torch.float64)
    recorded[inside] = episodes.actions.double()
    firsts = episodes.lengths.cumsum(0) - episodes.lengths
    found, squares = torch.zeros_like(recorded), recorded.new_zeros(inside.shape)
    for axis in range(2):
        position = episodes.states[firsts, axis].double()
        start = torch.stack([position, torch.zeros_like(position)], -1)
        path = agent_path(start, recorded[..., axis], *OWN_GAINS)
        found[..., axis] = following_targets(start, path, inside, stiffness, damping)
        own = agent_path(start, found[..., axis], stiffness, damping)
        squares += (own - path).square().mean(-1)
    return replace(episodes, actions=found[inside]), squares[inside].sqrt()
