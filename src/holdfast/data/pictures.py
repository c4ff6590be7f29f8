"""Pictures of a set's rows, in memory or elsewhere; all offer `types.Pictures`.

Selecting and joining episodes never decodes a picture: the choice is kept and followed when rows are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..errors import DataError, ShapeError
from ..types import Pictures

__all__ = ["Chosen", "Frames", "Joined"]


@dataclass(frozen=True)
class Frames:
    """Pictures in memory.

    >>> Frames(torch.zeros(5, 8, 10, 3, dtype=torch.uint8)).shape
    (8, 10, 3)
    """

    values: UInt8[Tensor, "rows height width channels"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        height, width, channels = self.values.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.values)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        return self.values[rows]


@dataclass(frozen=True)
class Chosen:
    """Some rows of other pictures, in a given order; repeats are allowed.

    Raises:
        ShapeError: A row that the source does not have.
    """

    source: Pictures
    rows: Int[Tensor, " chosen"]

    def __post_init__(self) -> None:
        if len(self.rows) and not 0 <= int(self.rows.min()) <= int(self.rows.max()) < len(self.source):
            raise ShapeError(f"rows {int(self.rows.min())} to {int(self.rows.max())} of {len(self.source)} pictures.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows of the choice."""
        return self.source.read(self.rows[rows])


@dataclass(frozen=True)
class Joined:
    """Pictures of several sources, one after another.

    Raises:
        DataError: No sources, or pictures of different sizes.
    """

    parts: Sequence[Pictures]

    def __post_init__(self) -> None:
        shapes = {part.shape for part in self.parts}
        if len(shapes) != 1:
            raise DataError(f"expected pictures of one size to join, got {sorted(shapes)}. Resize them first.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.parts[0].shape

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, counted through all parts."""
        found = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        first = 0
        for part in self.parts:
            inside = (rows >= first) & (rows < first + len(part))
            if bool(inside.any()):
                found[inside] = part.read(rows[inside] - first)
            first += len(part)
        return found
