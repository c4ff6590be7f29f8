"""Pictures that an HDF5 file stores as JPEG or PNG files, a row of bytes each, filled up with zeros or not."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ....memory import check_memory
from ....types import Pictures
from ... import hdf5, hdf5_links
from ...pictures import FILES, Encoded
from .places import Leaf, Place

STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM")
VIEWS = ("image", "img", "rgb", "cam")
FEWEST = 64


def may_be_compressed(leaf: Leaf, key: str) -> bool:
    """Whether an array has the form of compressed pictures: rows of bytes below a name of pictures."""
    rows = len(leaf.shape) == 2 and leaf.dtype == np.uint8 and leaf.shape[1] > FEWEST
    named = any(view in key.lower() for view in VIEWS)
    return named and (rows or (len(leaf.shape) == 1 and leaf.dtype.kind == "O"))


def compressed_camera(places: Sequence[Place], key: str, steps: Sequence[int]) -> Pictures | None:
    """The pictures of a camera, compressed in memory; `None` if a row is missing or is no file of a picture.

    Raises:
        DataError: The memory does not suffice, or the rows are no bytes of this file.
    """
    files = list[bytes]()
    for file in dict.fromkeys(place.file for place in places):
        with hdf5.opened(file) as opened:
            for place, count in zip(places, steps, strict=True):
                if place.file == file and count and key in place.leaves:
                    files += _rows(opened[f"{place.group.rstrip('/')}/{key}"], count, f"{file}: {place.group}: {key}")
    if len(files) < sum(steps) or not all(found.startswith(STARTS) for found in files):
        return None
    shape = _shape(files[0])
    return None if shape is None else Encoded.of(files, shape)


def _rows(array: Any, count: int, where: str) -> list[bytes]:
    hdf5_links.check_storage(array.id, where)
    hdf5_links.check_bytes(array, Path(array.file.filename), where)
    if array.dtype.kind == "O":
        check_memory(array.id.get_storage_size(), where)
    try:
        return [np.asarray(row, dtype=np.uint8).tobytes() for row in array[:count]]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{where} is damaged ({error}). Copy the file again.") from error


def _shape(file: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels, from the header of a picture."""
    from PIL import Image  # here, because most programs read no pictures

    try:
        with Image.open(io.BytesIO(file), formats=FILES) as opened:
            return opened.height, opened.width, 1 if opened.mode in ("1", "L") else 3
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
