"""A check of the strings of an HDF5 file, without which reading a damaged one may never end.

Strings of variable length lie in *global heaps*. The HDF5 library walks through a heap object by object, and an object
whose size, rounded up, is 0 or wraps around 2⁶⁴ makes it stay at the same place for ever (`H5HG`, observed with 2.0).

    heap      "GCOL", version 1, three zeros, its size in 8 bytes, objects
    object    index in 2 bytes (0: free space), count in 2, four zeros, size in 8; then its bytes, padded to 8

A small file is searched for heaps, wherever they are. In a large one, that would mean reading all pictures, so only the
heaps are examined to which the descriptions of its objects refer (`hdf5_headers`).
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import DataError
from .hdf5_headers import Unknown, references

SIGNATURE, HEADER, REFERENCE = b"GCOL\1\0\0\0", 16, 16
SMALL = 4 << 20
"""Files of up to this many bytes are searched as a whole."""
BLOCK = 1 << 20

# bytes of a file: pread(count, place)
Reads = Callable[[int, int], bytes]


def check_heaps(file: Any, path: Path, addresses: Iterable[int]) -> None:
    """Refuse a file with a heap that the library would never leave.

    Args:
        file: The open file of h5py; none of its attributes was read yet.
        path: Its place.
        addresses: Addresses of all objects in the file.

    Raises:
        DataError: The file is damaged.
    """
    read, size = _reads(file), os.fstat(file.id.get_vfd_handle()).st_size
    # what a search finds may have been given up by the library, so it is looked at again
    if size <= SMALL and not _has_endless(read, size):
        return
    try:
        base = int(file.userblock_size)
        found = {at for address in addresses for at in references(read, base, address, size)}
        endless = any(_is_endless(read, base + at, size) for at in sorted(found))
    except Unknown:
        endless = _has_endless(read, size)
    if endless:
        raise _damaged(path)


def check_strings(array: Any, path: Path) -> None:
    """Refuse an array of strings or rows of variable length that lie in such a heap.

    Args:
        array: The array of h5py, whose values were not read yet.
        path: Place of its file.

    Raises:
        DataError: The file is damaged.
    """
    read, about = _reads(array.file), os.fstat(array.file.id.get_vfd_handle())
    # small files were searched when they were opened
    if array.dtype.kind != "O" or about.st_size <= SMALL:
        return
    first, length = array.id.get_offset(), array.id.get_storage_size()
    if first is None:
        endless = _is_refused(path, about.st_size, about.st_mtime_ns)
    else:
        at = {struct.unpack("<IQI", part)[1] for part in _parts(read, first, length)}
        base = int(array.file.userblock_size)
        endless = any(_is_endless(read, base + place, about.st_size) for place in sorted(at) if place)
    if endless:
        raise _damaged(path)


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is damaged: its strings have no end. Copy or download it again.")


def _reads(file: Any) -> Reads:
    handle = int(file.id.get_vfd_handle())
    return lambda count, place: os.pread(handle, count, place)


def _parts(read: Reads, first: int, length: int) -> Iterator[bytes]:
    """References of an array whose values lie one after the other."""
    for place in range(first, first + length, BLOCK):
        block = read(min(BLOCK, first + length - place), place)
        yield from (block[at : at + REFERENCE] for at in range(0, len(block) - REFERENCE + 1, REFERENCE))


@lru_cache(maxsize=64)
def _is_refused(path: Path, size: int, changed: int) -> bool:
    """Whether any heap in a file has no end; a file of pictures is opened for each batch."""
    with path.open("rb") as file:
        handle = file.fileno()
        return _has_endless(lambda count, place: os.pread(handle, count, place), size)


def _has_endless(read: Reads, size: int) -> bool:
    return any(_is_endless(read, place, size) for place in _heaps(read, size))


def _heaps(read: Reads, size: int) -> Iterator[int]:
    """Places of whatever looks like a heap."""
    for first in range(0, size, BLOCK):
        block = read(BLOCK + len(SIGNATURE) - 1, first)
        place = block.find(SIGNATURE)
        while place >= 0:
            yield first + place
            place = block.find(SIGNATURE, place + 1)


def _is_endless(read: Reads, heap: int, size: int) -> bool:
    """Whether a heap has an object that does not end in it; something else than a heap has not."""
    head = read(HEADER, heap)
    if len(head) < HEADER or not head.startswith(SIGNATURE):
        return False
    end = heap + int.from_bytes(head[8:], "little")
    if end > size:
        return True
    content = read(end - heap, heap) if end - heap <= BLOCK else None
    place = heap + HEADER
    while place + HEADER <= end:
        head = read(HEADER, place) if content is None else content[place - heap : place - heap + HEADER]
        index, _, _, length = struct.unpack("<HHIQ", head)
        # free space counts its header, an object does not
        if length > end - place - (HEADER if index else 0) or (not index and length < HEADER):
            return True
        place += HEADER + -(-length // 8) * 8 if index else length
    return False
