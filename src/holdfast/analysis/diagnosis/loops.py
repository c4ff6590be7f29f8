"""Factors by which the system and the planned feedback change an error per step, along the rollouts.

    open     ‖A_{t+L−1} ⋯ A_t‖^{1/L}                        the system between plans
    closed   ‖(A + BK)_{t+L−1} ⋯ (A + BK)_t‖^{1/L}          with the executed gains

Quantiles over rollouts and windows of L steps. The norm of a short product depends more on the choice of units than on
the loop, so L is as long as the rollout allows, up to 50.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from ...control import System, linearize, products
from ...control.stability import operator_norm
from ...policy import Policy
from ...types import Observation, Trajectory

LONGEST = 50


@dataclass(frozen=True)
class LoopRates:
    """Factors per step by which errors change: 10 %, 50 % and 90 % quantiles over rollouts and windows.

    Attributes:
        steps: Length L of the windows.
        open: Factors without feedback.
        closed: Factors with the executed gains; `None` for a policy without gains.
    """

    steps: int
    open: tuple[float, float, float]
    closed: tuple[float, float, float] | None


@dataclass
class RecordedGains:
    """A policy that records its executed gains.

    Attributes:
        policy: A Holdfast policy.
        gains: Gains of each control step so far.
    """

    policy: Policy
    gains: list[Tensor] = field(default_factory=lambda: list[Tensor]())

    def reset(self, seed: int | None = None) -> None:
        """Reset the policy and the record."""
        self.policy.reset(seed)
        self.gains.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Action of the policy."""
        action = self.policy.act(observation, state)
        executor = self.policy.executor
        if executor.chunk is not None:
            self.gains.append(executor.chunk.gains[:, executor.step - 1])
        return action


def loop_rates(
    system: System, rollouts: Trajectory, gains: Float[Tensor, "b t m n"] | None, completed: Int[Tensor, " k"]
) -> LoopRates:
    """Factors along rollouts.

    Args:
        system: System, linearised along the rollouts.
        rollouts: Rollouts of the policy, `[b, t, ·]`.
        gains: Executed gains at each step.
        completed: Indices of the rollouts that ran to the end.
    """
    states, actions = rollouts.states[completed, :-1].double(), rollouts.actions[completed].double()
    found = linearize(system, states, actions)
    length = min(LONGEST, states.shape[1])
    closed = None if gains is None else found.A + found.B @ gains[completed].double()
    return LoopRates(
        steps=length,
        open=_rate(found.A, length),
        closed=None if closed is None else _rate(closed, length),
    )


def _rate(jacobians: Float[Tensor, "b t n n"], length: int) -> tuple[float, float, float]:
    norms = operator_norm(products(jacobians, length)) ** (1 / length)
    low, middle, high = (float(norms.flatten().quantile(share)) for share in (0.1, 0.5, 0.9))
    return low, middle, high
