"""Frames: the steps of a sequence, each an action with the readings that follow it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ...errors import ShapeError
from ...types import Batch

ACTION, READINGS = 0, 1
"""The two tokens of a frame, in the last axis of levels."""


@dataclass(frozen=True)
class Frames:
    """Steps (a_j, x_{j+1}) of sequences, j = 0 … h − 1, normalised.

    Attributes:
        values: Codes of actions, then the readings that follow them.
        width: Size of an action's code; the other numbers of a frame are the readings.
    """

    values: Float[Tensor, "b h f"]
    width: int

    @property
    def actions(self) -> Float[Tensor, "b h w"]:
        """Codes of the actions."""
        return self.values[..., : self.width]

    @property
    def readings(self) -> Float[Tensor, "b h r"]:
        """Readings that follow the actions."""
        return self.values[..., self.width :]


@dataclass(frozen=True)
class KnownFrames:
    """Tokens that are given, not generated.

    Attributes:
        values: Frames; only their known tokens matter.
        firm: True for known tokens: the action of each frame, then its readings.
    """

    values: Float[Tensor, "b h f"]
    firm: Bool[Tensor, "*b h 2"]

    @staticmethod
    def first(frames: Frames, *, horizon: int) -> "KnownFrames":
        """Whole frames at the beginning of sequences of `horizon` frames.

        Raises:
            ShapeError: There are more frames than the sequences have.

        >>> known = KnownFrames.first(Frames(torch.ones(1, 1, 3), width=2), horizon=2)
        >>> known.firm.tolist(), known.values[0].tolist()
        ([[True, True], [False, False]], [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
        """
        count, steps, size = frames.values.shape
        if steps > horizon:
            raise ShapeError(f"expected at most {horizon} known frames, as many as a sequence has, got {steps}.")
        values = frames.values.new_zeros(count, horizon, size)
        values[:, :steps] = frames.values
        firm = torch.arange(horizon, device=values.device) < steps
        return KnownFrames(values, firm[:, None].expand(-1, 2))


def frames_of(
    batch: Batch, readings: int, token: Int[Tensor, " f"]
) -> tuple[Float[Tensor, "b h f"], Bool[Tensor, "b h f"]]:
    """Clean frames of a training batch, and which of their numbers are inside the episodes.

    Raises:
        ShapeError: The batch lacks the readings that follow the actions.
    """
    if not readings:
        return batch.chunk, batch.mask[..., None].expand_as(batch.chunk)
    if batch.following is None or batch.followed is None:
        raise ShapeError(
            "expected a batch with the readings that follow each action, got none. Give following and followed; a "
            "training set has them with following=True."
        )
    following = batch.following[..., :readings].to(batch.chunk)
    inside = by_number(torch.stack([batch.mask, batch.followed], dim=-1), token)
    return torch.cat([batch.chunk, following], dim=-1), inside


def tokens_of(width: int, readings: int, *, device: torch.device | str = "cpu") -> Int[Tensor, " f"]:
    """The token that each number of a frame belongs to.

    >>> tokens_of(2, 1).tolist()
    [0, 0, 1]
    """
    return (torch.arange(width + readings, device=device) >= width).long()


def by_number(values: Shaped[Tensor, "*b 2"], token: Int[Tensor, " f"]) -> Shaped[Tensor, "*b f"]:
    """Values of tokens, repeated for each number of a frame."""
    return values[..., token]
