"""Pictures made ready for random access: decoded and resized once, in a temporary file.

Training reads pictures in random order. In many files that is slow: a chunk of a zarr array holds a hundred pictures,
and a film must be decoded from the last complete picture on. So all pictures are read once, in order, resized, and kept
as plain bytes in a temporary file, which has no name and thus ends with the process. The operating system keeps as much
of it in memory as is free; none of it counts as memory of the process, because it is read and not mapped.
"""

import math
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..atomic import check_space
from ..errors import OutputError
from ..sealed import crc32c
from ..types import Pictures
from .mapped import blocks
from .pictures import Frames, check_rows
from .resizing import resized


@dataclass(frozen=True)
class Unpacked:
    """Pictures in a temporary file of plain bytes without a name: nobody else can cut it short.

    Attributes:
        file: The open file, which several threads may read at once.
        count: Number of pictures.
        shape: Height, width and channels of a picture.
        checksum: Checksum of all pictures.
    """

    file: IO[bytes]
    count: int
    shape: tuple[int, int, int]
    checksum: str

    def __len__(self) -> int:
        return self.count

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        check_rows(rows, len(self))
        found, size = np.empty((len(rows), *self.shape), dtype=np.uint8), math.prod(self.shape)
        for place, chosen in zip(found.reshape(len(rows), size), rows.numpy(), strict=True):
            row = int(chosen)
            if os.preadv(self.file.fileno(), [place.data], row * size) != size:
                raise OutputError(
                    f"picture {row} cannot be read from the temporary file of decoded pictures. Run the command again, "
                    "with the variable TMPDIR set to a folder on another disk."
                )
        return torch.as_tensor(found)


def unpacked(
    pictures: Pictures,
    size: tuple[int, int],
    *,
    nearest: bool = False,
    on_row: Callable[[int], None] = lambda done: None,
) -> Pictures:
    """Pictures resized and ready for random access; those in memory that have the size stay as they are.

    Args:
        pictures: Pictures of one camera.
        size: Height and width to which they are resized.
        nearest: Whether they are measurements, which are not interpolated.
        on_row: Called with the number of pictures that are ready.

    Raises:
        DataError: A picture cannot be read, for example because a film has fewer frames than the data have rows.
        OutputError: The disk has too little room for the decoded pictures.
    """
    shape = (len(pictures), *size, pictures.shape[2])
    if isinstance(pictures, Frames) and pictures.shape == shape[1:]:
        return pictures
    done, checksum = 0, 0
    file = _opened(math.prod(shape))
    try:
        for block in blocks(pictures):
            ready = np.ascontiguousarray(resized(torch.as_tensor(block), size, nearest=nearest).numpy())
            with _temporary_disk():
                file.write(cast(Any, ready.data))
            checksum = crc32c(ready, checksum)
            done += len(block)
            on_row(done)
        with _temporary_disk():
            file.flush()
    except BaseException:
        file.close()
        raise
    return Unpacked(file, len(pictures), shape[1:], f"{checksum:08x}")


def _opened(needed: int) -> IO[bytes]:
    """A temporary file without a name, on a disk with enough room."""
    with _temporary_disk():
        check_space(Path(tempfile.gettempdir()), needed)
        return tempfile.TemporaryFile()


@contextmanager
def _temporary_disk() -> Generator[None]:
    """Say what the files are for, and how to choose another disk, which no option does."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the pictures are decoded into a temporary file, which cannot be written ({error}). Set the variable "
            "TMPDIR to a folder on a disk with more room, and run the same command again."
        ) from error


def checksum_of(pictures: Pictures) -> str:
    """Checksum of all pictures, in order."""
    if isinstance(pictures, Unpacked):
        return pictures.checksum
    found = 0
    for block in blocks(pictures):
        found = crc32c(np.ascontiguousarray(block), found)
    return f"{found:08x}"
