"""Seams: how far the action jumps where another plan begins to run, in units of the demonstrations' own steps."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...envs import Rollout
from ...policy import Policy
from ...policy.realtime import DelayedExecutor
from ...types import Episodes


@dataclass(frozen=True)
class Seams:
    """Measure of jumps.

    Attributes:
        scale: Standard deviation of each coordinate of the demonstrated actions.
        step: Mean distance between consecutive demonstrated actions, in these units.
    """

    scale: Float[Tensor, " m"]
    step: float

    @staticmethod
    def of(episodes: Episodes) -> "Seams":
        """The measure of a data set."""
        scale = episodes.actions.std(0)
        shown = torch.split(episodes.actions, [int(length) for length in episodes.lengths])
        steps = torch.cat([distances(actions[None], scale)[0] for actions in shown])
        return Seams(scale, float(steps.mean()))

    def watch(self, policy: Policy) -> "Watch":
        """Notes of when another plan begins to run."""
        return Watch(self, policy)


@dataclass
class Watch:
    """Steps at which the running plans of a policy began, noted after every step of a rollout."""

    measure: Seams
    policy: Policy
    since: list[Int[Tensor, " b"]] = field(default_factory=list[Tensor])

    def note(self, step: int) -> None:
        """Note the plan that has run in this step."""
        acting = self.policy.acting
        if isinstance(acting, DelayedExecutor) and acting.course is not None:
            # the course is already at the next step
            index, plans = replace(acting.course, step=acting.course.step - 1).running()
            self.since.append(torch.stack([plan.begins for plan in plans]).gather(0, index[None])[0])

    def jumps(self, found: Rollout) -> list[float | None]:
        """Mean jump at the switches of each episode, in mean steps of the demonstrations."""
        if not self.since:
            return [None] * len(found.lost)
        begun = torch.stack(self.since, dim=1)
        switched: Bool[Tensor, "b t"] = (begun[:, 1:] != begun[:, :-1]) & ~found.over[:, 1 : begun.shape[1]]
        far = distances(found.trajectory.actions, self.measure.scale) / self.measure.step
        count = switched.sum(1)
        mean = (far * switched).sum(1) / count
        return [float(value) if number else None for value, number in zip(mean, count, strict=True)]


def distances(actions: Float[Tensor, "b t m"], scale: Float[Tensor, " m"]) -> Float[Tensor, "b s"]:
    """Distance of each action to the one before, in standard deviations of each coordinate."""
    return ((actions[:, 1:] - actions[:, :-1]) / scale).square().sum(-1).sqrt()
