"""A learned correction of every executed action: the learned rival of gains.

    u_t = κ_i(x_t) + r(o_t, κ_i(x_t), i / H),      i the index of the step in its chunk

r is fitted to demonstrations with the policy frozen (`learn.fit_correction`): it maps the newest observation, the
planned action and its place in the chunk to the difference between what the demonstrator did and what was planned.
(A2C2: arXiv 2509.23224. With gains, K (x − x̄) has this form without a second network; r then corrects what is left of
the controller's action.)
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ...errors import RecipeError
from ...models import ChunkModel
from ...types import Observation, PrimitiveControllers
from ..base import PolicySpec
from .correction import Correction, CorrectionSizes
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

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        expected = CorrectionSizes.of(spec)
        if isinstance(self.corrections, Correction) and self.corrections.sizes != expected:
            raise RecipeError(
                f"this correction is for {self.corrections.sizes}, but the policy has {expected}. Load the correction "
                "of the policy's own run: load_correction(RUN, policy.planner)."
            )
