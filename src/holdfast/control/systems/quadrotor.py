"""The planar quadrotor on which Block et al. compare cloning with and without synthesised gains."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Linearization

# Half-widths of the uniform initial-state distribution, in the order of `state_names`.
_SPREAD = (2.0, 2.0, 1.0, 3.0, 3.0, 0.3)


@dataclass(frozen=True)
class Quadrotor2D:
    """A quadrotor in a vertical plane that must come to rest at the origin.

        ẍ = −F sin(φ)/m,    z̈ = F cos(φ)/m − g,    φ̈ = τ/I

    discretised by explicit Euler steps. State: position x, z [m], pitch φ [rad] and their rates [m/s, rad/s]; action:
    thrust F [N] and torque τ [N m], both unconstrained. Stage cost:

        c = |state|² + ½ ((F − m g)² + 0.2 τ²),    so Q = I₆ and R = diag(½, 0.1) about hover.

    Initial states are independent and uniform: |x|, |z| ≤ 2; |φ| ≤ 1; |ẋ|, |ż| ≤ 3; |φ̇| ≤ 0.3.
    (Constants as in the code of Block et al. 2023, arXiv 2307.14619: pfrommerd/stanza at b962d80.)

    Attributes:
        gravity: g [m/s²].
        mass: m [kg].
        inertia: I [kg m²].
        dt: Duration of a control step [s].
        steps: Control steps of an episode; the expert reaches the goal within 100 steps (5 s).

    >>> drone = Quadrotor2D()
    >>> state, action = drone.equilibrium()
    >>> bool((drone.step(state, action) == state).all())
    True
    """

    name = "quadrotor2d"
    n_states = 6
    n_actions = 2
    state_names = ("x", "z", "phi", "x_dot", "z_dot", "phi_dot")
    action_names = ("thrust", "torque")
    cost_is_quadratic = True

    gravity: float = 9.8
    mass: float = 0.8
    inertia: float = 0.5
    dt: float = 0.05
    steps: int = 100

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """One explicit Euler step of `dt`."""
        rates = state[..., 3:]
        thrust, torque = action.unbind(-1)
        lift = thrust / self.mass
        pitch = state[..., 2]
        accelerations = [-lift * pitch.sin(), lift * pitch.cos() - self.gravity, torque / self.inertia]
        return state + self.dt * torch.cat([rates, torch.stack(accelerations, -1)], -1)

    def linearize(self, states: Float[Tensor, "*b n"], actions: Float[Tensor, "*b m"]) -> Linearization:
        """Jacobians of `step` at each point.

        The column of φ in A is that of the identity plus −dt F/m (cos φ, sin φ, 0) in the rows of the rates; B is
        dt [−sin(φ)/m 0; cos(φ)/m 0; 0 1/I] in these rows.
        """
        pitch, lift = states[..., 2], actions[..., 0] / self.mass
        still, sin, cos = torch.zeros_like(pitch), pitch.sin(), pitch.cos()
        by_pitch = torch.stack([still, still, still, -lift * cos, -lift * sin, still], -1)
        by_thrust = torch.stack([still, still, still, -sin / self.mass, cos / self.mass, still], -1)
        by_torque = states.new_tensor([0, 0, 0, 0, 0, 1 / self.inertia]).expand_as(by_thrust)
        eye = torch.eye(self.n_states).to(states)
        # x, z and φ follow their rates
        A = eye + self.dt * (eye.roll(3, 1).triu() + by_pitch[..., None] * eye[2])
        B = self.dt * torch.stack([by_thrust, by_torque], -1)
        return Linearization(A, B)

    def initial_states(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "count n"]:
        """Independent uniform samples, in float64."""
        unit = torch.rand(count, self.n_states, dtype=torch.float64, generator=rng, device=rng.device)
        return (2 * unit - 1) * unit.new_tensor(_SPREAD)

    def cost(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """`|state|² + ½ ((F − m g)² + 0.2 τ²)`."""
        thrust, torque = action.unbind(-1)
        return state.square().sum(-1) + 0.5 * ((thrust - self.mass * self.gravity).square() + 0.2 * torque.square())

    def equilibrium(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """Hover at the origin: thrust m g, zero torque."""
        hover = torch.tensor([self.mass * self.gravity, 0.0], dtype=torch.float64)
        return torch.zeros(self.n_states, dtype=torch.float64), hover

    def weights(self) -> tuple[Float[Tensor, "n n"], Float[Tensor, "m m"]]:
        """`Q = I₆`, `R = diag(½, 0.1)`."""
        return torch.eye(self.n_states, dtype=torch.float64), torch.tensor([0.5, 0.1], dtype=torch.float64).diag()
