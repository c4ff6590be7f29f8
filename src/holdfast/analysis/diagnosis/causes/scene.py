"""What the checks of causes read: rollouts, demonstrations, and the doctor's findings on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from ....data.doctor import DataFinding
from ....errors import HoldfastError
from ....evaluation import Evaluation
from ....policy import Policy
from ....types import Episodes
from ..instruments import Subject
from .altered import Excited
from .clones import Clone, View, fit_clone
from .trials import Trials, outcome_of, spread_of

EXCITATION = 0.15
"""Standard deviation of the noise on actions that shows how the environment responds, as a share of their range."""


@dataclass(frozen=True)
class Scene:
    """A policy under diagnosis, its rollouts and its demonstrations.

    Attributes:
        subject: Policy and rollouts.
        findings: The doctor's findings on the demonstrations.
        trials: Tests that run the policy again.
    """

    subject: Subject
    findings: Sequence[DataFinding]
    trials: Trials = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", Trials(self.subject))

    @property
    def shown(self) -> Episodes | None:
        """The demonstrations, if they have the observations and actions of the rollouts."""
        shown = self.subject.demonstrations
        if shown is None or len(shown) < 2 or not self._fits(shown):
            return None
        return shown

    def _fits(self, shown: Episodes) -> bool:
        observed = shown.observed.vector.shape[1] == self.subject.rollout.observed.shape[-1]
        return observed and shown.actions.shape[1] == self.subject.rollout.trajectory.actions.shape[-1]

    def finding(self, check: str) -> DataFinding | None:
        """The first warning or error of a check of the doctor."""
        bad = (one for one in self.findings if one.check == check and one.severity in ("error", "warning"))
        return next(bad, None)

    @property
    def first(self) -> Float[Tensor, "b d"]:
        """First observation of each rollout."""
        return self.subject.rollout.observed[:, 0].double()

    @cached_property
    def excited(self) -> Evaluation | None:
        """Rollouts with noise on the actions; `None` if it cannot be run this way."""
        actions = self.subject.rollout.trajectory.actions if self.shown is None else self.shown.actions
        try:
            return self.trials.run(Excited(self.subject.policy, EXCITATION * spread_of(actions)))
        except HoldfastError:
            return None

    @cached_property
    def plain_clone(self) -> Float[Tensor, " b"]:
        """Outcome of a quick clone of the demonstrations as they are."""
        assert self.shown is not None
        return outcome_of(self.trials.run(self.clone(self.shown)))

    def clone(self, data: Episodes, *, window: int = 1, view: View | None = None) -> Clone:
        """A quick clone that executes as many steps of its plans as the policy does."""
        policy = self.subject.policy
        steps = policy.executor.n_action_steps if isinstance(policy, Policy) else 1
        return fit_clone(data, window=window, view=view, steps=steps)

    def label(self, index: int) -> str:
        """Name of an observation coordinate in sentences."""
        return observation_labels(self.subject.rollout.names, self.first.shape[1])[index]


def observation_labels(names: Mapping[str, tuple[str, ...]], count: int) -> list[str]:
    """Names of all observation coordinates: their own, or their numbers."""
    own = [*names.get("observation.state", names.get("state", ())), *names.get("observation.environment_state", ())]
    return own if len(own) == count else [f"observation[{index}]" for index in range(count)]
