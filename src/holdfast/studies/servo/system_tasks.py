"""Tasks of study servo on control systems: the double integrator and the quadrotor."""

from abc import abstractmethod
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...control import MpcExpert, Quadrotor2D, System, linearize
from ...envs import FIRST_UNTOUCHED_SEED, Environment, Rollout, SystemEnvironment
from ...envs.environment import Starts
from ...seeding import stream
from ...types import Episodes
from .laws import CascadeServo, Gains, Law, PointServo, Servoed, ServoSystem, retargeted
from .reach import FORCE, NEAR, REACH_STEPS, reach_demonstrations, reach_states, reach_system
from .tasks import Loop, Retargeted, ServoTask, lengths, padded, shifted

AT_REST = 0.1
"""Largest norm of the quadrotor's state at the end of a solved episode [SI]; chosen as `reach.NEAR`."""


class SystemTask(ServoTask):
    """A task on a control system whose state begins with the position, and whose servo has an exact inverse."""

    steps: int

    @abstractmethod
    def inner(self) -> System:
        """The system."""

    @abstractmethod
    def law(self, gains: Gains) -> Law:
        """The servo."""

    @abstractmethod
    def unlimited(self, gains: Gains) -> ServoSystem:
        """The system under the servo, without limits of the actuators."""

    @abstractmethod
    def still(self, gains: Gains) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """State and target about which the loop is linearized."""

    def retargeted(self, episodes: Episodes, gains: Gains) -> Retargeted:
        made = retargeted(episodes, self.law(gains))
        system, wanted = ServoSystem(self.inner(), self.law(gains)), padded(made.states, made)
        now, squares = wanted[:, 0], list[Tensor]()
        for index, target in enumerate(padded(made.actions, made).unbind(1)):
            squares.append((now - wanted[:, index])[index < made.lengths, :2].square().sum(-1))
            now = system.step(now, target)
        return Retargeted(made, float(torch.cat(squares).mean().sqrt()))

    def environment(self, gains: Gains, count: int) -> Environment:
        return Servoed(SystemEnvironment(self.inner(), steps=self.steps), self.law(gains))

    def loop(self, gains: Gains) -> Loop:
        state, target = self.still(gains)
        along = linearize(self.unlimited(gains), state[None], target[None])
        return Loop(along.A[0], along.B[0], torch.eye(len(state), dtype=torch.float64)[:2])

    def displaced(self, episodes: Episodes, gains: Gains, size: float, steps: int) -> Float[Tensor, "b steps"]:
        system = ServoSystem(self.inner(), self.law(gains))
        # after the first quarter, where no force is at its limit
        begun = self.steps // 4
        one = padded(episodes.states, episodes)[:, begun]
        other, found = shifted(one, size), list[Tensor]()
        for target in padded(episodes.actions, episodes)[:, begun : begun + steps].unbind(1):
            one, other = system.step(one, target), system.step(other, target)
            found.append(lengths((other - one)[:, :2]))
        return torch.stack(found, 1)


class ReachTask(SystemTask):
    """The double integrator: a point mass goes to a goal and stops there; the servo holds its force for 0.1 s."""

    name, unit, stiffness, executed, steps = "reach", "m", (1.0, 4.0, 16.0), 4, REACH_STEPS

    def demonstrations(self, count: int, seed: int) -> Episodes:
        return reach_demonstrations(count, seed)

    def inner(self) -> System:
        return reach_system()

    def law(self, gains: Gains) -> Law:
        return PointServo(gains, limit=FORCE)

    def unlimited(self, gains: Gains) -> ServoSystem:
        return ServoSystem(self.inner(), PointServo(gains))

    def still(self, gains: Gains) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        return torch.zeros(6, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)

    def starts(self, count: int) -> Starts:
        return reach_states(range(FIRST_UNTOUCHED_SEED, FIRST_UNTOUCHED_SEED + count))

    def solved(self, found: Rollout) -> list[float]:
        last = found.trajectory.states[:, -1]
        near = lengths(last[:, :2] - last[:, 4:]) <= NEAR
        return [float(value) for value in near & ~found.escaped]


class QuadrotorTask(SystemTask):
    """The planar quadrotor under a position servo around its attitude loop."""

    name, unit, stiffness, executed, steps = "quadrotor2d", "m", (0.25, 1.0, 4.0), 4, Quadrotor2D.steps

    def demonstrations(self, count: int, seed: int) -> Episodes:
        return _flights(count, seed)

    def inner(self) -> System:
        return Quadrotor2D()

    def law(self, gains: Gains) -> Law:
        return CascadeServo(gains, Quadrotor2D())

    def unlimited(self, gains: Gains) -> ServoSystem:
        return ServoSystem(self.inner(), self.law(gains))

    def still(self, gains: Gains) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        state, action = Quadrotor2D().equilibrium()
        return state, self.law(gains).target(state, action)

    def starts(self, count: int) -> Starts:
        return Quadrotor2D().initial_states(count, rng=stream(0, "study servo", "starts"))

    def solved(self, found: Rollout) -> list[float]:
        rests = lengths(found.trajectory.states[:, -1]) <= AT_REST
        return [float(value) for value in rests & ~found.escaped]


@cache
def _flights(count: int, seed: int) -> Episodes:
    """Flights of the quadrotor's model-predictive expert, a set for each seed."""
    task = Quadrotor2D()
    starts = task.initial_states(count, rng=stream(seed, "study servo", "demonstrations"))
    return Episodes.of(MpcExpert(task).rollout(starts, task.steps), dt=task.dt, system=task.name)
