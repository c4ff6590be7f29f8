"""What environments share whose episodes are the rows of one tensor program: how they begin, step and are refused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError, ShapeError
from .environment import Seen, Step

__all__ = ["InStep", "Running"]


@runtime_checkable
class Running(Protocol):
    """What goes on changing in a batch of episodes."""

    state: Float[Tensor, "b n"]
    over: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"]


R = TypeVar("R", bound=Running)


class InStep(ABC, Generic[R]):
    """`count` episodes in step. An `Environment`; the reward is 1 in the step that solves an episode, otherwise 0."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise RecipeError(f"expected a count of at least 1, got {count}.")
        self._count = count
        self._running: R | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which data sets and recipes know it."""

    @property
    @abstractmethod
    def dt(self) -> float:
        """Seconds a control step [s]."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Control steps after which an episode is over at the latest."""

    @property
    @abstractmethod
    def n_actions(self) -> int:
        """Coordinates of an action."""

    @property
    @abstractmethod
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the coordinates are called, by quantity."""

    def reset(self, seeds: Sequence[int]) -> Seen:
        """Begin one episode for each seed; the same seed begins the same episode.

        Raises:
            ShapeError: Another number of seeds than of episodes.
        """
        if len(seeds) != self._count:
            raise ShapeError(f"expected {self._count} seeds, one an episode, got {len(seeds)}.")
        self._running = self._begin(seeds)
        return self._seen(self._running)

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes.

        Raises:
            ShapeError: Before `reset`, or actions of another shape than one row an episode.
        """
        if self._running is None:
            raise ShapeError("expected `reset` before the first `step`.")
        wanted = [self._count, self.n_actions]
        if list(actions.shape) != wanted:
            raise ShapeError(f"expected actions of shape {wanted}, one row an episode, got {list(actions.shape)}.")
        before = self._running
        self._running = after = self._advance(before, actions.detach().to(before.state))
        return Step(
            seen=self._seen(after),
            reward=(after.success & ~before.success).double(),
            over=after.over,
            success=after.success,
            extra=self._measured(after),
        )

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states."""
        return x - y

    def close(self) -> None:
        """Nothing is held."""

    @abstractmethod
    def _begin(self, seeds: Sequence[int]) -> R: ...

    @abstractmethod
    def _advance(self, before: R, actions: Float[Tensor, "b m"]) -> R: ...

    @abstractmethod
    def _seen(self, running: R) -> Seen: ...

    @abstractmethod
    def _measured(self, running: R) -> Mapping[str, Float[Tensor, " b"]]: ...
