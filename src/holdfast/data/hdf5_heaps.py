"""A check of the strings of an HDF5 file, without which reading a damaged one may never end.

Strings of variable length lie in *global heaps*. The HDF5 library walks through a heap object by object, and free space
of size 0 makes it stay at the same place for ever (`H5HG`, observed with HDF5 2.0).

    heap      "GCOL", version 1, three zeros, its size in 8 bytes, objects
    object    index in 2 bytes (0: free space), count in 2, four zeros, size in 8; then its bytes, padded to 8
"""

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..errors import DataError
from ..files import open_regular

SIGNATURE, HEADER = b"GCOL\1\0\0\0", 16
# Where the strings of a file lie: descriptions are written first or last. Looking through all of a large file would
# take half as long as reading it.
ENDS = 2 << 20


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap that the library would never leave, in its first and last 2 MiB.

    Raises:
        DataError: The file is damaged.
        OSError: The file does not exist or cannot be read.
    """
    found = os.stat(path)
    # a file of pictures is opened for each batch
    if _has_endless_heap(path, found.st_size, found.st_mtime_ns):
        raise DataError(f"{path} is damaged: its strings have no end. Copy or download it again.")


@lru_cache(maxsize=1024)
def _has_endless_heap(path: Path, size: int, changed: int) -> bool:
    with open_regular(path) as file:
        first = file.read(ENDS)
        file.seek(max(len(first), size - ENDS))
        parts = (first, file.read(ENDS)) if size > 2 * ENDS else (first + file.read(ENDS),)
    return any(_is_endless(heap) for part in parts for heap in _heaps(part))


def _heaps(content: bytes) -> Iterator[bytes]:
    place = content.find(SIGNATURE)
    while place >= 0:
        size = int.from_bytes(content[place + 8 : place + HEADER], "little")
        yield content[place : place + size]
        place = content.find(SIGNATURE, place + 1)


def _is_endless(heap: bytes) -> bool:
    place = HEADER
    while place + HEADER <= len(heap):
        index, _, _, size = struct.unpack_from("<HHIQ", heap, place)
        if not index and not size:
            return True
        place += HEADER + -(-size // 8) * 8 if index else size
    return False
