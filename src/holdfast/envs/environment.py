"""What a policy is run in: many episodes of one simulator or system, stepped together.

`Environment` is what all of them offer. What only some can say is a protocol of its own: `Bounded` (the actions that
are allowed), `Named` (what the coordinates are called), `Modal` (in how many ways the task can be solved).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..types import Observation

__all__ = ["Bounded", "Environment", "Modal", "Named", "Seen", "Step"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a batch of episodes shows before an action is chosen.

    Attributes:
        observation: What a policy sees.
        state: What primitive controllers feed back; on a fully observed system the observation itself.
    """

    observation: Observation
    state: Float[Tensor, "b n"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one control step brought.

    An episode that is over stands still: its next steps repeat what it showed, with reward 0.

    Attributes:
        seen: What the episodes show after the step.
        reward: Reward of the step.
        over: Episodes that have ended, in this step or before: solved, failed or out of time.
        success: Episodes that have been solved, in this step or before; `None` where the environment does not say
            what solved means.
        extra: Anything else that the environment measures, one number an episode, so far.
    """

    seen: Seen
    reward: Float[Tensor, " b"]
    over: Bool[Tensor, " b"]
    success: Bool[Tensor, " b"] | None = None
    extra: Mapping[str, Float[Tensor, " b"]] = field(default_factory=lambda: dict[str, torch.Tensor]())


@runtime_checkable
class Environment(Protocol):
    """A batch of episodes."""

    @property
    def name(self) -> str:
        """The name under which data sets and recipes know it."""
        ...

    @property
    def dt(self) -> float:
        """Seconds a control step [s]."""
        ...

    @property
    def steps(self) -> int:
        """Control steps after which an episode is over at the latest."""
        ...

    @property
    def n_actions(self) -> int:
        """Coordinates of an action."""
        ...

    def reset(self, seeds: Sequence[int]) -> Seen:
        """Begin one episode for each seed; the same seed begins the same episode."""
        ...

    def step(self, actions: Float[Tensor, "b m"]) -> Step:
        """One control step of all episodes."""
        ...

    def difference(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`x − y` of states, in the coordinates that a gain multiplies."""
        ...

    def close(self) -> None:
        """Give back what the simulators hold."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """An environment that says which actions it takes."""

    @property
    def action_bounds(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Smallest and largest action of each coordinate, infinite where there is no bound."""
        ...


@runtime_checkable
class Named(Protocol):
    """An environment whose coordinates have names."""

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What the coordinates are called, by quantity, as `Episodes` keeps them."""
        ...


@runtime_checkable
class Modal(Protocol):
    """An environment whose task can be solved in several ways.

    `extra["mode"]` says in which: 0, 1, …, or NaN where none is known.
    """

    @property
    def n_modes(self) -> int:
        """In how many ways."""
        ...
