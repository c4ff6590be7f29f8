"""Ways without any conditioning: wait, switch when the plan is there, average overlapping plans."""

from dataclasses import dataclass, field

from ...types import PrimitiveControllers
from ..overlap import Ensemble
from .way import Question, Way


@dataclass(frozen=True)
class Wait(Way):
    """The robot stands still while the next plan is made: the last executed controller is held, then all of the new
    plan's steps are executed.
    """

    starts = "arrival"
    waits = True

    def plan(self, question: Question) -> PrimitiveControllers:
        return question.plans.plan(question.window, rng=question.rng)


@dataclass(frozen=True)
class Naive(Way):
    """The old plan runs until the new one arrives, which then goes on at the same step, whatever was executed."""

    def plan(self, question: Question) -> PrimitiveControllers:
        return question.plans.plan(question.window, rng=question.rng)


@dataclass(frozen=True)
class Ensembled(Way):
    """Average of all plans that have arrived and reach the current step (Zhao et al. 2023).

    Attributes:
        weights: Weights of plans by age.
    """

    averages = True

    weights: Ensemble = field(default_factory=Ensemble)

    def plan(self, question: Question) -> PrimitiveControllers:
        return question.plans.plan(question.window, rng=question.rng)
