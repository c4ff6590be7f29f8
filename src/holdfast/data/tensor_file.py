"""Arrays of a safetensors file, read into memory.

The library safetensors maps the file instead, and a mapped file that is cut short while it is in use ends the process.

    8 bytes     length of the header
    header      JSON: dtype, shape and first and last byte of each array
    arrays      one after the other
"""

import math
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..files import open_regular, parse_json

LENGTH, LARGEST_HEADER = 8, 100_000_000
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
WAY_OUT = "Copy or write the data set again."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every array of a file by its name.

    Raises:
        DataError: The file is damaged.
        OSError: It does not exist or cannot be read.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        size = path.stat().st_size - LENGTH - length
        if size < 0 or length > LARGEST_HEADER:
            raise DataError(f"{path} is damaged or cut short (a header of {length:,} bytes). {WAY_OUT}")
        entries = _entries(file.read(length), size, path)
        return {name: _array(file, LENGTH + length + first, kind, path) for name, (first, kind) in entries.items()}


Kind = tuple[torch.dtype, list[int]]


def _entries(header: bytes, size: int, path: Path) -> dict[str, tuple[int, Kind]]:
    """First byte, dtype and shape of each array; together the arrays fill the file."""
    stored = parse_json(header, f"{path}: its header", way_out=WAY_OUT)
    try:
        found = {name: _entry(entry) for name, entry in stored.items() if name != "__metadata__"}
        places = sorted((first, first + _bytes(kind)) for first, kind in found.values())
        ends = [0, *(end for _, end in places)]
        if [first for first, _ in places] != ends[:-1] or ends[-1] != size:
            raise ValueError(f"arrays of {ends[-1]:,} bytes in {size:,}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged or cut short ({error!r}). {WAY_OUT}") from error
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def _entry(stored: Any) -> tuple[int, Kind]:
    shape = [int(size) for size in stored["shape"]]
    kind = DTYPES[stored["dtype"]], shape
    first, end = cast("list[int]", stored["data_offsets"])
    if any(size < 0 for size in shape) or end - first != _bytes(kind):
        raise ValueError(f"shape {shape} in {first} to {end}")
    return int(first), kind


def _bytes(kind: Kind) -> int:
    return kind[0].itemsize * math.prod(kind[1])


def _array(file: BinaryIO, first: int, kind: Kind, path: Path) -> Tensor:
    # NumPy asks for large pages of memory, which are faster to fill
    content = np.empty(_bytes(kind), dtype=np.uint8)
    file.seek(first)
    if file.readinto(content) != content.nbytes:  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        raise DataError(f"{path} is damaged or cut short (it was cut while it was read). {WAY_OUT}")
    # nothing cannot be viewed as another dtype
    return (torch.as_tensor(content).view(kind[0]) if content.size else torch.empty(0, dtype=kind[0])).reshape(kind[1])
