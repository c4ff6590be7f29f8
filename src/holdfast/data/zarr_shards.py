"""Shards of a zarr array of format 3, checked before their chunks are unpacked.

A shard is a file of several chunks with an index, which says where each of them lies. The index is at the end or at the
beginning:

    chunks                            one after the other
    offset, length for each chunk     8 bytes each, little-endian; both 2⁶⁴ − 1 where a chunk is not stored
    CRC-32C of the index              4 bytes, if its codecs have one

zarr reads a file that is empty as chunks that are not stored, and believes what a chunk says about its size.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from io import BufferedIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRY, CHECKSUM = 16, 4
NOT_STORED = (1 << 64) - 1

# whether a chunk fits: the file at its beginning, its size, the largest size that it may have unpacked
Fits = Callable[[BufferedIOBase, int, int], bool]


def is_shard(
    array: Any, file: BufferedIOBase, size: int, fits: Fits, sizes: tuple[int, int], *, rows: Sequence[int] | None
) -> bool:
    """Whether the index of a shard names parts of the file, each of which can be a chunk.

    Args:
        array: The array.
        file: The shard, which can be read from any place.
        size: Its number of bytes.
        fits: Whether a chunk can be what it says.
        sizes: Largest sizes of a chunk in bytes, stored and unpacked.
        rows: Rows of chunks in the shard that will be read. Default: all.
    """
    index = _index(array, file, size)
    if index is None:
        return False
    packed, unpacked = sizes
    for offset, length in (index if rows is None else index[rows]).reshape(-1, 2).tolist():
        if offset == length == NOT_STORED:
            continue
        # a length of 0 is what a lost block of a disk holds
        if not 0 < length <= packed or offset + length > size:
            return False
        file.seek(offset)
        if not fits(file, length, unpacked):
            return False
    return True


def stored_in(array: Any, place: tuple[int, ...], file: BufferedIOBase, size: int) -> int:
    """Number of the chunks of a shard that are stored, without those beyond the end of the array."""
    index = _index(array, file, size)
    if index is None:
        return 0
    inner = tuple(slice(count) for count in _counts(array, place))
    return int((index[..., 1][inner] != NOT_STORED).sum())


def _counts(array: Any, place: tuple[int, ...]) -> Iterator[int]:
    """Number of chunks of a shard in each direction, as far as the array goes."""
    for at, shape, shard, chunk in zip(place, array.shape, array.shards, array.chunks, strict=True):
        yield -(-min(int(shard), int(shape) - at * int(shard)) // int(chunk))


def _index(array: Any, file: BufferedIOBase, size: int) -> NDArray[np.uint64] | None:
    """Offset and length of each chunk, by its place in the shard; `None` if the file is too small for them."""
    codec = array.metadata.codecs[0]
    per_shard = tuple(int(shard) // int(chunk) for shard, chunk in zip(array.shards, array.chunks, strict=True))
    length = ENTRY * math.prod(per_shard)
    whole = length + (CHECKSUM if len(codec.index_codecs) > 1 else 0)
    if size < whole:
        return None
    file.seek(0 if _is_first(codec) else size - whole)
    return np.frombuffer(file.read(length), dtype="<u8").reshape(*per_shard, 2)


def _is_first(codec: Any) -> bool:
    return str(getattr(codec.index_location, "value", codec.index_location)) == "start"
