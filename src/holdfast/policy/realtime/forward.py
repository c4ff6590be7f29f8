"""Plan for the state at which the plan will arrive: the running plan is rolled forward through a model of the dynamics.

    x̂_{t+k+1} = f(x̂_{t+k}, κ_{t+k}(x̂_{t+k})),   k = 0 … d − 1,   x̂_t = x_t;        plan for x̂_{t+d}

VLASH (arXiv 2512.01031) takes the last action of the running plan for the future state; with dynamics, known or
learned, the state itself is predicted.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...types import Observation, PrimitiveControllers
from .way import Question, Way


@runtime_checkable
class Rolls(Protocol):
    """Model of one control step of the robot and its surroundings."""

    def following(
        self, observation: Observation, state: Float[Tensor, "b n"], action: Float[Tensor, "b m"]
    ) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observations and feedback states after an action."""
        ...


@dataclass(frozen=True)
class Forward(Way):
    """The plan is made for the state that a model of the dynamics predicts for its arrival.

    Attributes:
        dynamics: Model of one control step.
        low: Lower limits of the actions, or `None`.
        high: Upper limits of the actions, or `None`.
    """

    starts = "forecast"

    dynamics: Rolls
    low: Tensor | None = None
    high: Tensor | None = None

    def plan(self, question: Question) -> PrimitiveControllers:
        window = question.window
        if question.held is not None and question.running is not None:
            window = self._rolled(window, question.state, question.running, question.held.delay)
        return question.plans.plan(window, rng=question.rng)

    def _rolled(
        self, window: Observation, state: Float[Tensor, "b n"], running: PrimitiveControllers, delay: Tensor
    ) -> Observation:
        """The windows at which the plans will arrive."""
        for step in range(int(delay.max())):
            now = window.map(lambda values: values[:, -1])
            action = running.at(step)(state)
            if self.low is not None or self.high is not None:
                action = action.clamp(
                    None if self.low is None else self.low.to(action),
                    None if self.high is None else self.high.to(action),
                )
            following, moved = self.dynamics.following(now, state, action)
            moves = step < delay
            window = _appended(window, following, moves)
            state = torch.where(moves[:, None], moved, state)
        return window


def _appended(window: Observation, newest: Observation, moves: Bool[Tensor, " b"]) -> Observation:
    """The windows with a further observation in place of the oldest one, in some episodes."""
    vector = torch.cat([window.vector[:, 1:], newest.vector[:, None].to(window.vector)], dim=1)
    return window.with_vector(torch.where(moves[:, None, None], vector, window.vector))
