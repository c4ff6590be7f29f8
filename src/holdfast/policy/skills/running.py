"""The chunks in force, one row for each episode: each began at another step and belongs to another skill."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...types import PrimitiveControllers


@dataclass(frozen=True)
class Running:
    """A chunk for each episode, and how much of it is executed.

    Attributes:
        chunk: Composite actions; shorter ones repeat their last controller.
        lengths: Number of planned steps of each.
        step: Index of the controller that is executed next.
    """

    chunk: PrimitiveControllers
    lengths: Int[Tensor, " b"]
    step: Int[Tensor, " b"]

    @staticmethod
    def none(episodes: int, like: PrimitiveControllers) -> "Running":
        """Room for the chunks of some episodes, of the sizes of others."""
        shapes = ((episodes, *part.shape[1:]) for part in (like.actions, like.states, like.gains))
        actions, states, gains = (like.actions.new_zeros(shape) for shape in shapes)
        nothing = torch.zeros(episodes, dtype=torch.int64)
        return Running(PrimitiveControllers(actions=actions, states=states, gains=gains), nothing, nothing)

    @property
    def left(self) -> Int[Tensor, " b"]:
        """Number of planned steps that are not executed."""
        return (self.lengths - self.step).clamp(min=0)

    def written(self, rows: Bool[Tensor, " b"], chunk: PrimitiveControllers) -> "Running":
        """The same with new chunks in some rows, which begin now."""
        length = chunk.actions.shape[1]
        horizon = max(length, self.chunk.actions.shape[1])
        old, new = _padded(self.chunk, horizon), _padded(chunk, horizon)
        mixed = PrimitiveControllers(
            actions=_put(old.actions, rows, new.actions),
            states=_put(old.states, rows, new.states),
            gains=_put(old.gains, rows, new.gains),
        )
        lengths = torch.where(rows, length, self.lengths)
        return Running(mixed, lengths, torch.where(rows, 0, self.step))

    def kept(self, rows: Bool[Tensor, " b"], other: "Running") -> "Running":
        """The same with the chunks of another one, and how much of them is executed, in some rows."""
        horizon = max(self.chunk.actions.shape[1], other.chunk.actions.shape[1])
        old, new = _padded(self.chunk, horizon), _padded(other.chunk, horizon)
        chunk = PrimitiveControllers(
            actions=_put(old.actions, rows, new.actions[rows]),
            states=_put(old.states, rows, new.states[rows]),
            gains=_put(old.gains, rows, new.gains[rows]),
        )
        pairs = ((self.lengths, other.lengths), (self.step, other.step))
        lengths, step = (torch.where(rows, theirs, own) for own, theirs in pairs)
        return Running(chunk, lengths, step)

    def action(self, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """The action of each episode's next controller; beyond the end, of the last one."""
        rows, index = torch.arange(len(self.step)), self.step.minimum(self.lengths - 1).clamp(min=0)
        chunk = self.chunk
        now = PrimitiveControllers(
            actions=chunk.actions[rows, index], states=chunk.states[rows, index], gains=chunk.gains[rows, index]
        )
        return now(state)

    def rest(self, horizon: int) -> PrimitiveControllers:
        """The chunks from the next controller on, the last one repeated to a horizon."""
        index = (self.step[:, None] + torch.arange(horizon)).minimum(self.lengths[:, None] - 1).clamp(min=0)
        rows = torch.arange(len(self.step))[:, None]
        chunk = self.chunk
        return PrimitiveControllers(
            actions=chunk.actions[rows, index], states=chunk.states[rows, index], gains=chunk.gains[rows, index]
        )

    def at(self, rows: Int[Tensor, " rows"]) -> "Running":
        """The chunks of some episodes."""
        return Running(self.chunk[rows], self.lengths[rows], self.step[rows])

    def advanced(self) -> "Running":
        """One control step later."""
        return Running(self.chunk, self.lengths, self.step + 1)


def _padded(chunk: PrimitiveControllers, horizon: int) -> PrimitiveControllers:
    if (missing := horizon - chunk.actions.shape[1]) <= 0:
        return chunk

    def longer(values: Tensor) -> Tensor:
        return torch.cat([values, values[:, -1:].expand(-1, missing, *values.shape[2:])], dim=1)

    return PrimitiveControllers(actions=longer(chunk.actions), states=longer(chunk.states), gains=longer(chunk.gains))


def _put(old: Tensor, rows: Bool[Tensor, " b"], new: Tensor) -> Tensor:
    mixed = old.to(torch.promote_types(old.dtype, new.dtype)).clone()
    mixed[rows] = new.to(mixed)
    return mixed
