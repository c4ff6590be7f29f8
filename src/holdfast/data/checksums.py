"""Checksums of what a data set holds, so that damage on a disk or on the way is not read as data.

CRC-32, the checksum of zip and PNG, finds every change within 32 adjacent bits, and any other change except for one in
2³². It protects against accidents, not against intent: who changes numbers can change checksums too.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..files import open_regular
from ..types import Pictures
from .pictures import check_rows

Checksums = NDArray[np.uint32]
BLOCK = 1 << 20


def of_array(values: Tensor) -> str:
    """Dtype, shape and checksum of the numbers of an array, row by row in this order.

    >>> of_array(torch.arange(3))
    'int64 [3] 4f8c5ccc'
    """
    plain = values.detach().cpu().contiguous()
    dtype = str(values.dtype).removeprefix("torch.")
    return f"{dtype} {list(values.shape)} {zlib.crc32(plain.flatten().view(torch.uint8).numpy().data):08x}"


def of_json(value: Any) -> str:
    """Checksum of a JSON value; the order of keys and the form of the text do not matter.

    >>> of_json({"a": 1, "b": (2.5, None)}) == of_json({"b": [2.5, None], "a": 1})
    True
    """
    # twice, because keys become strings before they can be sorted
    plain = json.loads(json.dumps(value))
    return f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"


def of_pictures(block: UInt8[np.ndarray, "b height width channels"]) -> Checksums:
    """Checksum of each picture."""
    return np.array([zlib.crc32(picture) for picture in np.ascontiguousarray(block)], dtype=np.uint32)


FileSum = list[int]
"""Size of a file in bytes, and its checksum."""


def of_file(path: Path) -> FileSum:
    """Size and checksum of a file."""
    size, checksum = 0, 0
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return [size, checksum]


@dataclass(frozen=True)
class Verified:
    """Pictures whose checksums are known; a picture that differs from its checksum is refused when it is read.

    Attributes:
        expected: Checksum of each picture.
        place: File or array of the pictures, for the message.
    """

    source: Pictures
    expected: NDArray[Any]
    place: str

    def __post_init__(self) -> None:
        if self.expected.shape != (len(self.source),) or self.expected.dtype != np.uint32:
            raise DataError(
                f"{self.place}: {len(self.source)} pictures, but checksums of shape {list(self.expected.shape)} and "
                f"dtype {self.expected.dtype}. Copy or write the data set again."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        check_rows(rows, len(self))
        found = self.source.read(rows)
        wrong = np.flatnonzero(of_pictures(found.numpy()) != self.expected[rows.numpy()])
        if wrong.size:
            raise DataError(
                f"{self.place} is damaged: picture {int(rows[int(wrong[0])])} differs from its checksum. Copy or write "
                "the data set again."
            )
        return found
