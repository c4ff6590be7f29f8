"""Environments whose episodes are the rows of one tensor program."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..types import Observation
from .environment import Environment, Starts, Step, is_states


@dataclass
class Episode:
    """State of a batch of episodes; `steps` is the number of control steps done, the same for all."""

    state: Float[Tensor, "b n"]
    terminated: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"]
    steps: int

    @staticmethod
    def at(state: Float[Tensor, "b n"]) -> "Episode":
        """Episodes that begin at a state."""
        none = torch.zeros(len(state), dtype=torch.bool)
        return Episode(state, none, none, 0)


E = TypeVar("E", bound=Episode)


class BatchedEnvironment(Environment, ABC, Generic[E]):
    """`count` episodes stepped together; unless a subclass says otherwise, the reward is 1 in the step that solves an
    episode, otherwise 0.

    A subclass defines where an episode begins (`_initial`), how the batch advances (`_advance`), what it shows
    (`_observe`) and what it measures (`_measure`). An action that is not finite ends its episode.
    """

    restorable = True

    def __init__(self, count: int) -> None:
        if count < 1:
            raise RecipeError(f"expected a count of at least 1, got {count}.")
        self._count = count
        self._now: E | None = None

    def reset(self, starts: Starts) -> Step:
        """Begin one episode per seed or simulator state."""
        check_count(starts, self._count)
        states = starts if isinstance(starts, Tensor) and is_states(starts) else self._initial([int(s) for s in starts])
        self._now = self._begin(states)
        return self._shown(self._now)

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """Advance all episodes that are not over by one control step."""
        before = self._running()
        expected = [self._count, self.n_actions]
        if list(actions.shape) != expected:
            raise ShapeError(f"expected actions of shape {expected}, one row per episode, got {list(actions.shape)}.")
        actions = actions.detach().to(before.state)
        running = ~before.terminated & torch.tensor(before.steps < self.steps)
        finite = actions.isfinite().all(dim=-1)
        after = self._advance(before, actions.nan_to_num(0.0, 0.0, 0.0), running & finite)
        self._now = replace(
            after,
            terminated=before.terminated | after.terminated | (running & ~finite),
            success=before.success | after.success,
            steps=before.steps + 1,
        )
        return replace(self._shown(self._now), reward=self._rewards(before, after, running & finite))

    def get_state(self) -> Float[Tensor, "b n"]:
        """Simulator states."""
        return self._running().state

    def set_state(self, states: Float[Tensor, "b n"]) -> Step:
        """Move running episodes to the given simulator states."""
        self._now = replace(self._running(), state=states)
        return self._shown(self._now)

    def _running(self) -> E:
        if self._now is None:
            raise ShapeError("expected `reset` before the first `step`.")
        return self._now

    def _shown(self, now: E) -> Step:
        observation, state = self._observe(now)
        return replace(
            Step.first(observation, state),
            terminated=now.terminated,
            truncated=torch.full_like(now.terminated, now.steps >= self.steps) & ~now.terminated,
            success=now.success,
            extra=self._measure(now),
        )

    def _rewards(self, before: E, after: E, running: Bool[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Reward of a step; 0 for episodes that were not stepped."""
        return (after.success & ~before.success).double()

    @abstractmethod
    def _initial(self, seeds: Sequence[int]) -> Float[Tensor, "b n"]:
        """Simulator states in which the seeds' episodes begin."""

    @abstractmethod
    def _begin(self, states: Float[Tensor, "b n"]) -> E:
        """Episodes that begin at simulator states."""

    @abstractmethod
    def _advance(self, before: E, actions: Float[Tensor, "b m"], moves: Bool[Tensor, " b"]) -> E:
        """The batch one control step later, with the episodes that end or are solved in this step marked."""

    @abstractmethod
    def _observe(self, now: E) -> tuple[Observation, Float[Tensor, "b n"]]:
        """Observation and feedback state."""

    @abstractmethod
    def _measure(self, now: E) -> Mapping[str, Float[Tensor, " b"]]:
        """Further measurements, one number per episode."""


def check_count(starts: Starts, count: int) -> None:
    """Refuse another number of starts than of episodes."""
    if len(starts) != count:
        raise ShapeError(f"expected {count} starts, one per episode, got {len(starts)}.")
