"""Result of running a policy in an environment, step by step and as a data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data import Frames
from ..data.depth_ranges import RANGES
from ..policy import Mismatch
from ..types import Episodes, Observation, Trajectory


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A batch of episodes of equal length; an episode that is over repeats its last state, with actions of zero.

    Attributes:
        trajectory: States fed back and executed actions; finite everywhere.
        observations: Observation at each step; `None` if it is the state.
        rewards: Reward of each step.
        over: Steps that come after an episode's own end.
        lost: Steps from which on an episode is not followed: it left the limits, or the policy or the simulator
            returned a value that is not finite.
        terminated: Episodes that ended by themselves: solved, failed or lost.
        truncated: Episodes that reached the environment's time limit.
        success: Episodes that were solved and not lost; `None` if the environment does not define it.
        clipped: Steps of each episode whose action lay outside the bounds.
        filtered: Steps of each episode whose action the policy's safety filter changed; `None` without one.
        infeasible: Those of them in which no action would have kept all of its constraints.
        actors: Who acted at each step (`POLICY`, `EXPERT`, `PERSON`); `None` if nobody intervened.
        extra: The environment's further measurements at each episode's end.
        simulator_states: State of the simulator at each step, where the environment records it.
        dt: Seconds per control step [s].
        environment: Name of the environment.
        names: Coordinate names by quantity.
        fixed_length: Whether the environment's episodes all have the same length.
        mismatches: What differs between the environment and what the policy was trained on.
        depth_ranges: Nearest and farthest measurement of each depth camera.
    """

    trajectory: Trajectory
    observations: Observation | None
    rewards: Float[Tensor, "b t"]
    over: Bool[Tensor, "b t"]
    lost: Bool[Tensor, "b t"]
    terminated: Bool[Tensor, " b"]
    truncated: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"] | None
    clipped: Float[Tensor, " b"]
    filtered: Float[Tensor, " b"] | None = None
    infeasible: Float[Tensor, " b"] | None = None
    actors: Int[Tensor, "b t"] | None = None
    extra: Mapping[str, Float[Tensor, " b"]] = field(default_factory=lambda: dict[str, Tensor]())
    simulator_states: Float[Tensor, "b t s"] | None = None
    dt: float = 1.0
    environment: str = ""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict[str, tuple[str, ...]]())
    fixed_length: bool = False
    mismatches: tuple[Mismatch, ...] = ()
    depth_ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict[str, tuple[float, float]]())

    @property
    def escaped(self) -> Bool[Tensor, " b"]:
        """Episodes that were lost."""
        return self.lost.any(dim=1)

    @property
    def returns(self) -> Float[Tensor, " b"]:
        """Sum of each episode's rewards; of a lost episode, of those until it was lost.

        Where rewards are negative, the sum of a lost episode is better than that of others; `evaluation` scores it −∞.
        """
        return self.rewards.sum(dim=1)

    @property
    def best_reward(self) -> Float[Tensor, " b"]:
        """Largest reward of each episode."""
        return self.rewards.masked_fill(~self._recorded, -torch.inf).amax(dim=1)

    @property
    def observed(self) -> Float[Tensor, "b t d"]:
        """Observation vector at each step."""
        return self.trajectory.states[:, :-1] if self.observations is None else self.observations.vector

    @property
    def _recorded(self) -> Bool[Tensor, "b t"]:
        """Steps that belong to an episode."""
        before = torch.cat([torch.zeros_like(self.lost[:, :1]), self.lost[:, :-1]], dim=1)
        # a system undoes the step in which it is lost; a simulator has taken it
        gone = self.lost if self.fixed_length else before
        recorded = ~self.over & ~gone
        recorded[:, 0] = True  # an episode has at least one step
        return recorded

    @cached_property
    def episodes(self) -> Episodes:
        """The steps of each episode until it was over, as a data set."""
        recorded, trajectory = self._recorded, self.trajectory
        lengths = recorded.sum(dim=1)
        seen = self.observations
        columns = {"intervention": self.actors, "simulator_state": self.simulator_states}
        cameras = {} if seen is None else {name: Frames(images[recorded]) for name, images in seen.images.items()}
        measured = {name: list(ends) for name, ends in self.depth_ranges.items() if name in cameras}
        return Episodes(
            actions=trajectory.actions[recorded],
            states=trajectory.states[:, :-1][recorded],
            lengths=lengths,
            final_states=trajectory.states[torch.arange(len(lengths)), lengths],
            observations=None if seen is None else replace(seen, images={}).map(lambda values: values[recorded]),
            cameras=cameras,
            rewards=self.rewards[recorded],
            names=self.names,
            dt=self.dt,
            system=self.environment,
            meta={RANGES: measured} if measured else {},
            columns={name: values[recorded] for name, values in columns.items() if values is not None},
            episode_columns={} if self.success is None else {"success": self.success},
        )

    def to(self, device: torch.device | str) -> "Rollout":
        """The same on another device."""
        return self._mapped(lambda values: values.to(device))

    def parts(self, count: int) -> list["Rollout"]:
        """The episodes in a given number of equal parts."""
        size = len(self.lost) // count
        return [self[slice(first, first + size)] for first in range(0, len(self.lost), size)]

    def __getitem__(self, rows: slice) -> "Rollout":
        """Some of the episodes."""
        return self._mapped(lambda values: values[rows])

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "Rollout":
        fields = {name: function(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        path, seen = self.trajectory, self.observations
        return replace(
            self,
            trajectory=Trajectory(actions=function(path.actions), states=function(path.states)),
            observations=None if seen is None else seen.map(function),
            extra={name: function(values) for name, values in self.extra.items()},
            **fields,
        )
