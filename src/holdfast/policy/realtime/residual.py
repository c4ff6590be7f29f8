"""A learned correction of every executed action: the learned rival of gains.

    u_t = κ_i(x_t) + r(o_t, κ_i(x_t), i / H),      i the index of the step in its chunk

r is fitted to demonstrations with the policy frozen: it maps the newest observation and the planned action to what the
demonstrator did. (A2C2: arXiv 2509.23224. With gains, K (x − x̄) has this form without a second network.)
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ...types import Observation, PrimitiveControllers
from .way import Question, Way


@runtime_checkable
class Corrects(Protocol):
    """Learned correction of planned actions."""

    def correction(
        self, observation: Observation, action: Float[Tensor, "b m"], phase: Float[Tensor, " b"]
    ) -> Float[Tensor, "b m"]:
        """What to add to each action; the phase is the index of the step in its chunk over the horizon."""
        ...


@dataclass(frozen=True)
class Residual(Way):
    """As `Naive`, with a learned correction of every action.

    Attributes:
        corrections: Learned correction.
    """

    corrections: Corrects

    def plan(self, question: Question) -> PrimitiveControllers:
        return question.plans.plan(question.window, rng=question.rng)
