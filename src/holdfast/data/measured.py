"""Pictures of measurements, which are stored with more than 8 bits and become bytes when rows are read.

Which range becomes bytes is known only after a data set was read: `depth_ranges.ranged` gives it to all of its cameras.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..types import Pictures
from .depth import Depth
from .pictures import Chosen, Joined, check_rows


@runtime_checkable
class Measurements(Protocol):
    """Stored pictures `[height, width, 1]` of numbers of any kind."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 1."""
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def values(self, rows: Int[Tensor, " b"]) -> NDArray[Any]:
        """The numbers of the given rows, `[b, height, width, 1]`, as they are stored."""
        ...


@dataclass(frozen=True)
class Held:
    """Measurements in memory.

    Attributes:
        array: `[rows, …]` with height × width numbers a row.
    """

    array: NDArray[Any]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.array)

    def values(self, rows: Int[Tensor, " b"]) -> NDArray[Any]:
        """The numbers of the given rows."""
        check_rows(rows, len(self))
        return self.array[rows.numpy()].reshape(-1, *self.shape)


@dataclass(frozen=True)
class Measured:
    """Measurements as pictures of bytes.

    Attributes:
        source: The stored measurements.
        depth: The range that becomes bytes; `None` until it is known.

    >>> held = Held(np.array([[[0, 500], [254, 900]]], dtype=np.uint16), (2, 2, 1))
    >>> Measured(held, Depth(0, 508)).read(torch.tensor([0])).flatten().tolist()
    [0, 251, 128, 255]
    """

    source: Measurements
    depth: Depth | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 1."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, as bytes."""
        if self.depth is None:
            raise DataError(
                "pictures of measurements need a range before they are bytes. Read them with holdfast.read."
            )
        return torch.as_tensor(self.depth.bytes_of(self.source.values(rows)))


def is_measured(pictures: Pictures) -> bool:
    """Whether pictures are measurements, or some rows or several sets of them."""
    match pictures:
        case Chosen():
            return is_measured(pictures.source)
        case Joined():
            return all(map(is_measured, pictures.parts))
        case _:
            return isinstance(pictures, Measured)


def measurements(pictures: Pictures, rows: Int[Tensor, " b"]) -> NDArray[Any]:
    """The stored numbers of some rows of pictures of measurements, `[b, height, width, 1]`.

    Raises:
        DataError: The pictures are stored as bytes.
    """
    match pictures:
        case Measured():
            return pictures.source.values(rows)
        case Chosen():
            return measurements(pictures.source, pictures.rows[rows])
        case Joined():
            check_rows(rows, len(pictures))
            found, first = list[tuple[NDArray[Any], NDArray[Any]]](), 0
            for part in pictures.parts:
                inside = (rows >= first) & (rows < first + len(part))
                if bool(inside.any()):
                    found.append((inside.numpy(), measurements(part, rows[inside] - first)))
                first += len(part)
            kinds = [values.dtype for _, values in found]
            whole = np.empty((len(rows), *pictures.shape), np.result_type(*kinds) if kinds else np.float64)
            for inside, values in found:
                whole[inside] = values
            return whole
        case _:
            raise DataError("these pictures are stored as bytes; there are no measurements to read.")


def with_range(pictures: Pictures, depth: Depth) -> Pictures:
    """The same pictures with a range for measurements."""
    match pictures:
        case Measured():
            return replace(pictures, depth=depth)
        case Chosen():
            return Chosen(with_range(pictures.source, depth), pictures.rows)
        case Joined():
            return Joined([with_range(part, depth) for part in pictures.parts])
        case _:
            return pictures
