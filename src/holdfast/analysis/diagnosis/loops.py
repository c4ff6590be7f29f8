"""How the system and the planned feedback carry an error from step to step, along the flights themselves.

    open     ‖A_{t+L−1} ⋯ A_t‖^{1/L}                        what the system does to an error between plans
    closed   ‖(A + BK)_{t+L−1} ⋯ (A + BK)_t‖^{1/L}          the same under the gains that were executed

Factors a step; medians over flights and windows of L steps. A norm of a product of few matrices says more of the choice
of units than of the loop, so L is as long as the flight allows, up to 50.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from ...control import System, linearize, products
from ...control.stability import operator_norm
from ...policy import Policy
from ...types import Observation, Trajectory

__all__ = ["LoopRates", "RecordedGains", "loop_rates"]

LONGEST = 50


@dataclass(frozen=True)
class LoopRates:
    """Factors a step by which errors are carried, 10 %, 50 % and 90 % quantiles over flights and windows.

    Attributes:
        steps: Length L of the windows.
        open: Without feedback.
        closed: With the gains that were executed; `None` for a policy without gains.
    """

    steps: int
    open: tuple[float, float, float]
    closed: tuple[float, float, float] | None


@dataclass
class RecordedGains:
    """A policy whose executed gains are kept, step by step.

    Attributes:
        policy: Holdfast's own.
        gains: Of each control step so far.
    """

    policy: Policy
    gains: list[Tensor] = field(default_factory=lambda: list[Tensor]())

    def reset(self, seed: int | None = None) -> None:
        """Forget the past."""
        self.policy.reset(seed)
        self.gains.clear()

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The policy's action."""
        action = self.policy.act(observation, state)
        executor = self.policy.executor
        if executor.chunk is not None:
            self.gains.append(executor.chunk.gains[:, executor.step - 1])
        return action


def loop_rates(
    system: System, flights: Trajectory, gains: Float[Tensor, "b t m n"] | None, kept: Int[Tensor, " k"]
) -> LoopRates:
    """The factors along flights.

    Args:
        system: Gives the Jacobians.
        flights: Of the policy, `[b, t, ·]`.
        gains: Executed at each step.
        kept: Indices of the flights that were followed to the end.
    """
    states, actions = flights.states[kept, :-1].double(), flights.actions[kept].double()
    found = linearize(system, states, actions)
    length = min(LONGEST, states.shape[1])
    closed = None if gains is None else found.A + found.B @ gains[kept].double()
    return LoopRates(
        steps=length,
        open=_rate(found.A, length),
        closed=None if closed is None else _rate(closed, length),
    )


def _rate(jacobians: Float[Tensor, "b t n n"], length: int) -> tuple[float, float, float]:
    norms = operator_norm(products(jacobians, length)) ** (1 / length)
    low, middle, high = (float(norms.flatten().quantile(share)) for share in (0.1, 0.5, 0.9))
    return low, middle, high
