"""Checksums of what a data set holds, so that damage on a disk or on the way is not read as data.

CRC-32C, which processors compute, finds every change within 32 adjacent bits, and any other change except for one in
2³². It protects against accidents, not against intent: who changes numbers can change checksums too. (The CRC-32 of the
standard library takes three times as long, more than reading from a warm disk.)
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..files import open_regular
from ..sealed import crc32c
from ..types import Pictures
from .pictures import check_rows

Checksums = NDArray[np.uint32]
BLOCK = 1 << 20


def of_array(values: Tensor) -> str:
    """Dtype, shape and checksum of the numbers of an array, row by row in this order.

    >>> of_array(torch.arange(3))
    'int64 [3] e48f1b5e'
    """
    plain = values.detach().cpu().contiguous()
    dtype = str(values.dtype).removeprefix("torch.")
    return f"{dtype} {list(values.shape)} {crc32c(plain.flatten().view(torch.uint8).numpy()):08x}"


def of_json(value: Any) -> str:
    """Checksum of a JSON value; the order of keys and the form of the text do not matter.

    >>> of_json({"a": 1, "b": (2.5, None)}) == of_json({"b": [2.5, None], "a": 1})
    True
    """
    # twice, because keys become strings before they can be sorted
    return of_parsed(json.loads(json.dumps(value)))


def of_parsed(value: Any) -> str:
    """The same of a value that was read from JSON."""
    return f"{crc32c(json.dumps(value, sort_keys=True).encode()):08x}"


def of_pictures(block: UInt8[np.ndarray, "b height width channels"]) -> Checksums:
    """Checksum of each picture."""
    return np.array([crc32c(picture) for picture in np.ascontiguousarray(block)], dtype=np.uint32)


FileSum = list[int]
"""Size of a file in bytes, and its checksum."""


def of_file(path: Path) -> FileSum:
    """Size and checksum of a file."""
    size, checksum = 0, 0
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            size, checksum = size + len(block), crc32c(block, checksum)
    return [size, checksum]


@dataclass(frozen=True)
class Verified:
    """Pictures whose checksums are known; a picture that differs from its checksum is refused when it is read.

    Attributes:
        expected: Checksum of each picture.
        place: File or array of the pictures, for the message.
        compared: Whether a picture was compared already; training reads each many times.
    """

    source: Pictures
    expected: NDArray[Any]
    place: str
    compared: NDArray[np.bool_] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.expected.shape != (len(self.source),) or self.expected.dtype != np.uint32:
            raise DataError(
                f"{self.place}: {len(self.source)} pictures, but checksums of shape {list(self.expected.shape)} and "
                f"dtype {self.expected.dtype}. Copy or write the data set again."
            )
        object.__setattr__(self, "compared", np.zeros(len(self.source), dtype=np.bool_))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        check_rows(rows, len(self))
        found, wanted = self.source.read(rows), rows.numpy()
        new = np.flatnonzero(~self.compared[wanted])
        pictures = found.numpy()
        sums = np.array([crc32c(pictures[place]) for place in new.tolist()], dtype=np.uint32)
        if len(changed := np.flatnonzero(sums != self.expected[wanted[new]])):
            raise DataError(
                f"{self.place} is damaged: picture {wanted[new[changed[0]]]} differs from its checksum. Copy or write "
                "the data set again."
            )
        self.compared[wanted] = True
        return found
