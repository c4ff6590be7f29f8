"""The robot arm of D3IL's obstacle avoidance, seen from above: desired position, actual position and velocity."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Linearization


@dataclass(frozen=True)
class Avoid:
    """A rod moved by a Panda arm in the plane between obstacles: D3IL's avoiding task, as a linear tracker.

        d' = d + u
        p' = p + pull (d − p) + lead u + carry dt v
        v' = (p' − p) / dt

    State: desired position d [m], actual position p [m], velocity v [m/s], each (x, y); v is the displacement of the
    last step divided by dt, so recorded positions determine it, and it is 0 at rest. Action: change u of the desired
    position per step [m]. In the demonstrations x is within ±0.0125 and y within [0, 0.0125]; the system does not clip.

    The three constants, for x and for y, replace D3IL's arm, its inverse kinematics and 35 substeps of 1 ms. They are
    fitted to open-loop simulations of the 96 human demonstrations by least squares of the position, under the
    constraint that no demonstration touches an obstacle, as none did. One-step predictions explain 97.9 % (x) and
    98.6 % (y) of the movement, with errors of 1.1 and 0.7 mm; open-loop simulations have root-mean-square errors of 7
    and 9 mm. A tracker without velocity explains 88 % and 50 %.
    (Jia et al. 2024, D3IL, arXiv 2402.14606; ALRhub/d3il: gym_avoiding.)

    Attributes:
        pull: Share of the distance to the desired position that is closed in one step.
        lead: Share of a change of the desired position that is followed in the same step.
        carry: Share of the last step's displacement that persists.
        dt: Duration of a control step [s].

    >>> arm = Avoid()
    >>> rest = torch.tensor([0.5, 0.1, 0.5, 0.1, 0.0, 0.0])
    >>> bool((arm.step(rest, torch.zeros(2)) == rest).all())
    True
    """

    name = "avoid"
    n_states = 6
    n_actions = 2
    state_names = ("desired_x", "desired_y", "x", "y", "x_dot", "y_dot")
    action_names = ("desired_dx", "desired_dy")

    pull: tuple[float, float] = (0.0888, 0.0459)
    lead: tuple[float, float] = (0.3379, 0.0997)
    carry: tuple[float, float] = (0.6407, 0.8702)
    dt: float = 0.035

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the coordinates of each quantity, as in `Episodes.names`."""
        return {"action": self.action_names, "state": self.state_names, "observation.state": self.state_names[:4]}

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """One control step of `dt`."""
        desired, actual, velocity = state[..., 0:2], state[..., 2:4], state[..., 4:6]
        pull, lead, carry = (state.new_tensor(share) for share in (self.pull, self.lead, self.carry))
        moved = pull * (desired - actual) + lead * action + carry * self.dt * velocity
        return torch.cat([desired + action, actual + moved, moved / self.dt], dim=-1)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Jacobians of `step`, the same at each point.

            A = [1 0 0; pull, 1 − pull, carry dt; pull/dt, −pull/dt, carry],    B = [1; lead; lead/dt]

        for x and for y.
        """
        pull, lead, carry = (states.new_tensor(share).diag() for share in (self.pull, self.lead, self.carry))
        eye, none = torch.eye(2).to(states), states.new_zeros(2, 2)
        moved = torch.cat([pull, -pull, self.dt * carry], -1)
        A = torch.cat([torch.cat([eye, none, none], -1), torch.cat([none, eye, none], -1) + moved, moved / self.dt])
        B = torch.cat([eye, lead, lead / self.dt])
        batch = states.shape[:-1]
        return Linearization(A.repeat(*batch, 1, 1), B.repeat(*batch, 1, 1))

    def states_along(
        self, desired: Float[Tensor, "*b t 2"], actual: Float[Tensor, "*b t 2"]
    ) -> Float[Tensor, "*b t 6"]:
        """States of a recorded episode that starts at rest; velocities are backward differences.

        >>> path = torch.tensor([[0.5, 0.0], [0.5, 0.007]])
        >>> Avoid().states_along(path, path)[1]
        tensor([0.5000, 0.0070, 0.5000, 0.0070, 0.0000, 0.2000])
        """
        velocity = actual.diff(dim=-2, prepend=actual[..., :1, :]) / self.dt
        return torch.cat([desired, actual, velocity], dim=-1)
