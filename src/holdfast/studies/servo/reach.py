"""A point mass that goes to a goal and stops there: the double integrator with the goal in its state, and its expert.

    p' = p + 0.1 v + 0.005 u,    v' = v + 0.1 u,    g' = g

Mass 1 kg, position p and goal g in a square of 2 m, velocity up to 0.5 m/s along each axis at the start. The expert's
force tracks a velocity towards the goal that falls with the distance:

    u = 8 / s (v* − v),    v* = e min(3 / s, 0.9 m/s / |e|),    e = g − p,    |u| ≤ 4 N along each axis
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...control.systems.linear import Linear, double_integrator
from ...seeding import stream
from ...types import Episodes, Trajectory

FORCE = 4.0
"""Largest force along each axis [N]."""
REACH_STEPS = 60
"""Control steps of an episode, 6 s."""
NEAR = 0.005
"""Largest distance to the goal at the end of a solved episode [m]; chosen with seeds and starts of no evaluation, so
that servos differ."""
_SPEED, _APPROACH, _BRAKING, _START_SPEED = 0.9, 3.0, 8.0, 0.5


def reach_system() -> Linear:
    """The double integrator over steps of 0.1 s, with a goal that stays where it is.

    >>> reach_system().step(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.5, 0.5]), torch.tensor([0.0, 2.0]))
    tensor([0.1000, 0.0100, 1.0000, 0.2000, 0.5000, 0.5000])
    """
    mass = double_integrator(0.1)
    A, B = torch.eye(6, dtype=torch.float64), torch.zeros(6, 2, dtype=torch.float64)
    A[:4, :4], B[:4] = mass.A, mass.B
    names = (*mass.state_names, "goal_x", "goal_y")
    return Linear(A, B, dt=mass.dt, name="reach", steps=REACH_STEPS, state_names=names, action_names=mass.action_names)


def reach_states(seeds: Sequence[int]) -> Float[Tensor, "b 6"]:
    """Initial states, one for each seed."""
    unit = torch.stack(
        [2 * torch.rand(6, dtype=torch.float64, generator=stream(seed, "study servo", "reach")) - 1 for seed in seeds]
    )
    return unit * unit.new_tensor([1.0, 1.0, _START_SPEED, _START_SPEED, 1.0, 1.0])


def reach_force(state: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 2"]:
    """Force of the expert.

    >>> reach_force(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.1, 0.0]))  # 8 · 3 · 0.1
    tensor([2.4000, 0.0000])
    """
    error, velocity = state[..., 4:] - state[..., :2], state[..., 2:4]
    distance = error.square().sum(dim=-1, keepdim=True).sqrt().clamp(min=1e-9)
    wanted = error * torch.minimum(torch.full_like(distance, _APPROACH), _SPEED / distance)
    return (_BRAKING * (wanted - velocity)).clamp(-FORCE, FORCE)


@cache
def reach_demonstrations(count: int, seed: int) -> Episodes:
    """Motions of the expert from starts that no evaluation has; those of different seeds are independent."""
    system = reach_system()
    now = reach_states([count * seed + index for index in range(count)])
    states, forces = [now], list[Tensor]()
    for _ in range(REACH_STEPS):
        forces.append(reach_force(now))
        now = system.step(now, forces[-1])
        states.append(now)
    made = Episodes.of(
        Trajectory(actions=torch.stack(forces, 1), states=torch.stack(states, 1)), dt=system.dt, system=system.name
    )
    return replace(made, names={"action": system.action_names, "state": system.state_names})
