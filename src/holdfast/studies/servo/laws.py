"""Servos that a policy commands by targets, and their exact inverses.

    point mass   F = k_p (a − p) − k_d v                          a, p, v, F in the plane; |F| ≤ the actuator's limit
    quadrotor    F = m (g + k_p (a_z − z) − k_d ż)                thrust
                 φ* = −(k_p (a_x − x) − k_d ẋ) / g                pitch that accelerates towards the target
                 τ = I (100 (φ* − φ) − 20 φ̇)                      torque of the attitude loop

Each is affine in its target, so that the target which gives a recorded action is found by solving for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import Quadrotor2D, System
from ...envs import Environment, Step
from ...envs.wrapped import Wrapped
from ...errors import positive
from ...types import Episodes

ATTITUDE_STIFFNESS, ATTITUDE_DAMPING = 100.0, 20.0
"""Gains of the quadrotor's attitude loop [1/s², 1/s], critically damped and the same under every servo."""


@dataclass(frozen=True)
class Gains:
    """Gains of a servo per unit of mass.

    Attributes:
        stiffness: k_p [1/s²].
        ratio: Damping ratio ζ; 1 is critical damping.

    Raises:
        RecipeError: A gain is not positive.

    >>> Gains(4.0, 1.5).damping
    6.0
    """

    stiffness: float
    ratio: float

    def __post_init__(self) -> None:
        positive(stiffness=self.stiffness, ratio=self.ratio)

    @property
    def damping(self) -> float:
        """k_d = 2 ζ √k_p [1/s]."""
        return 2 * self.ratio * math.sqrt(self.stiffness)

    @property
    def label(self) -> str:
        return f"k{self.stiffness:g}-z{self.ratio:g}"


class Law(Protocol):
    """A servo as a function of the state and its target, and back."""

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the coordinates of the target."""
        ...

    def action(self, state: Float[Tensor, "*b n"], target: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """Action of the system for a target."""
        ...

    def target(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The target for which the servo gives an action that is within its limits."""
        ...


@dataclass(frozen=True)
class PointServo:
    """Servo of a point mass of 1 kg in the plane; the state begins with position and velocity.

    Attributes:
        gains: Stiffness and damping.
        limit: Largest force along each axis [N].

    >>> servo = PointServo(Gains(4.0, 1.0))
    >>> servo.action(torch.tensor([1.0, 0.0, 0.5, 0.0]), torch.tensor([2.0, 0.0]))  # 4 · 1 − 4 · 0.5
    tensor([2., 0.])
    """

    gains: Gains
    limit: float = math.inf
    target_names = ("target_x", "target_y")

    def action(self, state: Float[Tensor, "*b n"], target: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """Force for a target."""
        position, velocity = state[..., :2], state[..., 2:4]
        force = self.gains.stiffness * (target - position) - self.gains.damping * velocity
        return force.clamp(-self.limit, self.limit)

    def target(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The target for which the servo gives a force below its limit."""
        position, velocity = state[..., :2], state[..., 2:4]
        return position + (action + self.gains.damping * velocity) / self.gains.stiffness


@dataclass(frozen=True)
class CascadeServo:
    """Position servo of the planar quadrotor, around an attitude loop with fixed gains.

    Attributes:
        gains: Stiffness and damping of the position loop.
        task: The quadrotor.
    """

    gains: Gains
    task: Quadrotor2D
    target_names = ("target_x", "target_z")

    def action(self, state: Float[Tensor, "*b n"], target: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """Thrust and torque for a target."""
        (x, z, pitch, *rates), task = state.unbind(-1), self.task
        k, d = self.gains.stiffness, self.gains.damping
        thrust = task.mass * (task.gravity + k * (target[..., 1] - z) - d * rates[1])
        wanted = -(k * (target[..., 0] - x) - d * rates[0]) / task.gravity
        torque = task.inertia * (ATTITUDE_STIFFNESS * (wanted - pitch) - ATTITUDE_DAMPING * rates[2])
        return torch.stack([thrust, torque], -1)

    def target(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The target for which the servo gives a thrust and a torque."""
        (x, z, pitch, *rates), task = state.unbind(-1), self.task
        k, d = self.gains.stiffness, self.gains.damping
        wanted = pitch + (action[..., 1] / task.inertia + ATTITUDE_DAMPING * rates[2]) / ATTITUDE_STIFFNESS
        x_target = x + (d * rates[0] - task.gravity * wanted) / k
        z_target = z + (action[..., 0] / task.mass - task.gravity + d * rates[1]) / k
        return torch.stack([x_target, z_target], -1)


@dataclass(frozen=True, eq=False)
class ServoSystem:
    """A system under a servo: its action is the servo's target.

        x' = f(x, servo(x, a))

    Attributes:
        inner: The system f.
        law: The servo.
    """

    inner: System
    law: Law

    @property
    def name(self) -> str:
        return f"{self.inner.name} under a servo"

    @property
    def dt(self) -> float:
        return self.inner.dt

    @property
    def n_states(self) -> int:
        return self.inner.n_states

    @property
    def n_actions(self) -> int:
        return len(self.law.target_names)

    @property
    def state_names(self) -> tuple[str, ...]:
        return self.inner.state_names

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.law.target_names

    def step(self, state: Float[Tensor, "*b n"], action: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """State after one control step towards a target."""
        return self.inner.step(state, self.law.action(state, action))


class Servoed(Wrapped):
    """An environment whose action is the target of a servo; the targets are not bounded.

    Args:
        inner: Environment whose action the servo computes from the feedback state.
        law: The servo.
    """

    def __init__(self, inner: Environment, law: Law) -> None:
        super().__init__(inner)
        self.law, self.names = law, with_target_names(inner.names, law)
        self.units, self.action_bounds = {}, None
        self._state: Tensor = torch.empty(0)

    def shown(self, step: Step) -> Step:
        """The step itself, whose state the servo uses next."""
        self._state = step.state
        return step

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes that are not over, towards their targets."""
        return self.shown(self.inner.step(self.law.action(self._state, actions.to(self._state))))


def retargeted(episodes: Episodes, law: Law) -> Episodes:
    """The same states with the targets from which a servo gives the recorded actions."""
    targets = law.target(episodes.states.double(), episodes.actions.double())
    return replace(episodes, actions=targets, names=with_target_names(episodes.names, law))


def with_target_names(names: Mapping[str, tuple[str, ...]], law: Law) -> dict[str, tuple[str, ...]]:
    """Coordinate names in which those of the action are the servo's."""
    return {**names, "action": law.target_names}
