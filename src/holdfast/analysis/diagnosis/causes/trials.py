"""Rollouts that test a cause: the policy, altered, from the same starts as the unchanged one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ....envs import Actor
from ....errors import HoldfastError
from ....evaluation import Estimate, Evaluation, mean_over_starts, over_starts
from ..instruments import Subject
from .cause import Confirmation

WORTH = 0.1
"""Smallest improvement that confirms a cause, as a share of the score of a perfect rollout."""
SHORT = 0.5
"""Share of the shortest demonstration below which no rollout can be expected to solve the task."""
SOLVED = 0.9
"""Score from which nothing is left to explain, where 1 is the best."""


def outcome_of(evaluation: Evaluation) -> Float[Tensor, " b"]:
    """Whether each episode was solved, or its score where the task does not say."""
    success = evaluation.rollout.success
    return evaluation.scores.double() if success is None else success.double()


@dataclass(frozen=True)
class Trials:
    """The tests of one diagnosis.

    Attributes:
        subject: Policy under diagnosis and its rollouts.
    """

    subject: Subject

    @property
    def before(self) -> Float[Tensor, " b"]:
        """Outcome of the unchanged policy from each start."""
        return outcome_of(self.subject.evaluation)

    @property
    def bounded(self) -> bool:
        """Whether 1 is the outcome of a perfect rollout."""
        return self.subject.rollout.success is not None or self.subject.evaluation.comparison is not None

    @property
    def room(self) -> float:
        """What a perfect policy would gain; without a known best score, the size of the policy's own score."""
        mean = float(self.before.mean())
        return max(1 - mean, 0.0) if self.bounded else abs(mean)

    @property
    def holds(self) -> bool:
        """Whether nothing is left to explain."""
        return self.solves(self.before)

    def solves(self, outcome: Float[Tensor, " b"]) -> bool:
        """Whether an outcome leaves nothing to explain."""
        return self.bounded and float(outcome.mean()) >= SOLVED

    @property
    def too_short(self) -> str:
        """Why rollouts cannot tell whether anything helps: they end before any demonstration did; else empty."""
        shown, steps = self.subject.demonstrations, self.subject.rollout.trajectory.steps
        shortest = 0 if shown is None or not len(shown) else int(shown.lengths.min())
        if self.subject.rollout.success is None or steps >= SHORT * shortest:
            return ""
        return (
            f"the rollouts last {steps} step{'s' if steps > 1 else ''}, and the shortest demonstration {shortest}. "
            "Diagnose with more --steps."
        )

    def run(self, policy: Actor) -> Evaluation:
        """Rollouts of another policy from the same starts."""
        return self.subject.starts.evaluate(policy, seed=self.subject.seed)

    def confirm(self, test: str, policy: Actor) -> Confirmation:
        """Whether a policy in which the cause is undone scores higher.

        Args:
            test: Beginning of a sentence that describes the altered policy.
            policy: The altered policy.
        """
        if self.holds:
            return Confirmation(test=f"{test}: not run, because the policy already scores {self._mean()}.")
        if self.too_short:
            return Confirmation(test=f"{test}: not run, because {self.too_short}")
        try:
            after = outcome_of(self.run(policy))
        except HoldfastError as reason:
            return Confirmation(test=f"{test}: it could not be run. {reason}")
        return self.compared(test, after, self.before)

    def compared(self, test: str, after: Float[Tensor, " b"], before: Float[Tensor, " b"]) -> Confirmation:
        """Whether one outcome is higher than another from the same starts."""
        change = mean_over_starts(after - before)
        values = self._values(after, before, change)
        mean = float(before.mean())
        # the mean return is −∞ if an episode was lost; then any policy that loses none is better
        unit = 1.0 if self.bounded else abs(mean) if math.isfinite(mean) else 0.0
        better = change.low > 0 and change.mean > WORTH * unit
        name = "share of solved rollouts" if self.subject.rollout.success is not None else "score"
        said = f"{test}: the {name} goes from {values['before'].mean:.2f} to {values['after']}."
        return Confirmation(answer="yes" if better else "no", test=said, values=values)

    def _mean(self) -> str:
        return f"{float(self.before.mean()):.2f}"

    def _values(self, after: Tensor, before: Tensor, change: Estimate) -> Mapping[str, Any]:
        room = 1 - float(before.mean()) if self.bounded else abs(float(before.mean()))
        share = change.mean / room if 0 < room < math.inf else float(change.mean > 0)
        explained = min(max(share, 0.0), 1.0)
        return {
            "before": over_starts(before),
            "after": over_starts(after),
            "change": change,
            "explains": explained,
        }


def spread_of(values: Float[Tensor, "*rows d"]) -> Float[Tensor, " d"]:
    """Range of each coordinate; 1 for coordinates that do not change."""
    flat = values.flatten(0, -2).double()
    span = flat.amax(dim=0) - flat.amin(dim=0)
    return torch.where(span > 0, span, 1.0)
