"""Chunks of a zarr array, checked before they are unpacked: all there, whole, and of the declared size.

A compressed chunk states in its first bytes how large it becomes. A codec believes it, so that a few bytes can ask for
any amount of memory; and Blosc would read beyond the end of a chunk that was cut short.
"""

import bz2
import gzip
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from itertools import product
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, DataWarning
from ..memory import check_memory
from .zarr_shards import is_shard, stored_in

MOST = 10_000_000
"""Chunks of an array."""
GROWTH = 16
"""How much larger filters may make numbers before they are compressed."""
SLACK, HEAD = 1 << 16, 32
# how much deflate and bzip2 can shrink at most; chunks that could become larger are unpacked piece by piece first
RATIO, BZ2_RATIO, LARGE = 1032, 30_000, 512 << 20


@dataclass(frozen=True)
class Chunks:
    """The stored chunks of an array: files in a folder, or members of a zip archive."""

    path: Path
    archive: ZipFile | None

    def open(self, place: str) -> BufferedIOBase | None:
        """A chunk, open for reading; `None` if it is not stored."""
        try:
            if self.archive is None:
                return (self.path / place).open("rb")
            return cast("BufferedIOBase", self.archive.open(place))
        except (FileNotFoundError, KeyError):
            return None

    def size(self, place: str) -> int:
        """Number of bytes of a stored chunk."""
        return (self.path / place).stat().st_size if self.archive is None else self.archive.getinfo(place).file_size


def check_all_there(array: Any, chunks: Chunks, *, said: bool = True) -> None:
    """Refuse an array without chunks, or that lacks some and has no fill value; otherwise name how many it lacks.

    By default, zarr does not store chunks that hold the fill value alone, and reads missing ones as this value. Chunks
    that were lost look the same, so a warning is given.

    Args:
        array: The array.
        chunks: Its chunks.
        said: Whether to warn; a checksum says more.
    """
    count, fill = int(array.nchunks), array.metadata.fill_value
    stored = _stored_in_shards(array, chunks) if array.shards else int(array.nchunks_initialized)
    if (missing := count - stored) <= 0:
        return
    lacks = f"{chunks.path}: {array.path} lacks {missing} of its {count} chunks, which"
    if missing == count or fill is None:
        raise DataError(
            f"{lacks} would read as {fill}. Copy or download it again; if that is intended, write the array with "
            "write_empty_chunks=True."
        )
    if said:
        warnings.warn(
            f"{lacks} are read as {fill}: zarr leaves out chunks that hold nothing else. If they were lost, copy or "
            "download the data set again.",
            DataWarning,
            stacklevel=2,
        )


def check_memory_of(array: Any, path: Path, *, whole: bool = True) -> None:
    """Refuse an array, or one chunk of it, that would exceed the memory."""
    where = f"{path}: {array.path}"
    check_memory(_bytes(array, array.shards or array.chunks), f"{where}, a chunk")
    if whole:
        check_memory(_bytes(array, array.shape), where)
    if int(array.nchunks) > MOST:
        raise DataError(f"{where} declares {array.nchunks} chunks, expected at most {MOST}. Write it in larger ones.")


def check_sizes(array: Any, chunks: Chunks, rows: NDArray[np.int64] | None = None) -> None:
    """Refuse chunks, all or those of some rows, that are cut short or unpack to more than the array declares."""
    for place in _places(array, rows):
        if (file := chunks.open(name := _name(array, place))) is None:
            continue
        with file:
            size = chunks.size(name)
            sound = _is_sound_shard if array.shards else _is_sound
            fits = sound(array, file, size, _within(array, place, rows))
        if not fits:
            raise DataError(
                f"{chunks.path} is damaged or cut short ({name} has {size} bytes). Copy or download it again."
            )


def _is_sound(array: Any, file: BufferedIOBase, size: int, rows: Sequence[int] | None) -> bool:
    unpacked, limit = UNPACKED.get(_outermost(array)), GROWTH * _bytes(array, array.chunks) + SLACK
    return size <= limit and (unpacked is None or unpacked(file, size, limit))


def _is_sound_shard(array: Any, file: BufferedIOBase, size: int, rows: Sequence[int] | None) -> bool:
    codec, limit = _outermost(array), GROWTH * _bytes(array, array.chunks) + SLACK
    unpacked = UNPACKED.get(codec)

    def fits(file: BufferedIOBase, size: int, limit: int) -> bool:
        # readers of streams would go on to the next chunk
        part = BytesIO(file.read(size)) if codec in STREAMS else file
        return unpacked is None or unpacked(part, size, limit)

    return is_shard(array, file, size, fits, (limit, limit), rows=rows)


def _stored_in_shards(array: Any, chunks: Chunks) -> int:
    """Number of chunks that the shards of an array hold."""
    found = 0
    for place in _places(array, None):
        if file := chunks.open(name := _name(array, place)):
            with file:
                found += stored_in(array, place, file, chunks.size(name))
    return found


def _bytes(array: Any, shape: tuple[int, ...]) -> int:
    return math.prod(map(int, shape)) * int(array.dtype.itemsize)


def _places(array: Any, rows: NDArray[np.int64] | None) -> Iterator[tuple[int, ...]]:
    """Places in the grid of the stored chunks or shards that hold some rows."""
    stored = tuple(map(int, array.shards or array.chunks))
    counts = [-(-length // part) for length, part in zip(array.shape, stored, strict=True)]
    chosen = range(counts[0]) if rows is None and counts else sorted({row // stored[0] for row in _listed(rows)})
    return product(chosen, *map(range, counts[1:])) if counts else iter([()])


def _within(array: Any, place: tuple[int, ...], rows: NDArray[np.int64] | None) -> list[int] | None:
    """Rows of chunks in a shard that hold some rows of the array; `None` for all of them."""
    if rows is None or not array.shards:
        return None
    first, shard, chunk = place[0] * int(array.shards[0]), int(array.shards[0]), int(array.chunks[0])
    return sorted({(row - first) // chunk for row in _listed(rows) if 0 <= row - first < shard})


def _name(array: Any, place: tuple[int, ...]) -> str:
    """Path of a chunk or shard in the store."""
    return f"{array.path}/{array.metadata.encode_chunk_key(place)}"


def _listed(rows: NDArray[np.int64] | None) -> list[int]:
    return [] if rows is None else rows.tolist()


def _outermost(array: Any) -> str:
    """The name of the codec that was applied last, without a checksum at the end."""
    names = [
        getattr(codec, "codec_id", None) or codec.to_dict()["name"].removeprefix("numcodecs.")
        for codec in array.compressors
    ]
    return next((name for name in reversed(names) if name != "crc32c"), "")


def _blosc(file: BufferedIOBase, size: int, limit: int) -> bool:
    head = file.read(HEAD)
    unpacked, packed = (int.from_bytes(head[at : at + 4], "little") for at in (4, 12))
    return len(head) >= 16 and packed == size and unpacked <= limit


def _lz4(file: BufferedIOBase, size: int, limit: int) -> bool:
    return size >= 4 and int.from_bytes(file.read(4), "little") <= limit


def _zstd(file: BufferedIOBase, size: int, limit: int) -> bool:
    """Whether the size in the header of the frame, if it is there, is within the limit (RFC 8878, section 3.1.1)."""
    head = file.read(HEAD)
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        return False
    flags, whole = head[4] >> 6, (head[4] >> 5) & 1
    begin = 5 + (1 - whole) + (0, 1, 2, 4)[head[4] & 3]
    length = (whole, 2, 4, 8)[flags]
    return int.from_bytes(head[begin : begin + length], "little") <= limit


def _piece_by_piece(open_reader: Callable[[BufferedIOBase], Callable[[int], bytes]], ratio: int) -> Callable[..., bool]:
    """A check for codecs that do not store the size: what could become large is unpacked without being kept."""

    def check(file: BufferedIOBase, size: int, limit: int) -> bool:
        if size * ratio <= max(LARGE, limit):
            return True
        read, total = open_reader(file), 0
        while total <= limit and (part := read(1 << 20)):
            total += len(part)
        return total <= limit

    return check


def _zlib_reader(file: BufferedIOBase) -> Callable[[int], bytes]:
    unpacking = zlib.decompressobj()

    def read(most: int) -> bytes:
        given = unpacking.unconsumed_tail or file.read(SLACK)
        return unpacking.decompress(given, most) if given and not unpacking.eof else b""

    return read


UNPACKED: Mapping[str, Callable[[BufferedIOBase, int, int], bool]] = {
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
    "zlib": _piece_by_piece(_zlib_reader, RATIO),
    "gzip": _piece_by_piece(lambda file: gzip.GzipFile(fileobj=cast(Any, file)).read, RATIO),
    "bz2": _piece_by_piece(lambda file: bz2.BZ2File(cast(Any, file)).read, BZ2_RATIO),
}
STREAMS = ("zlib", "gzip", "bz2")
"""Codecs that are read to their end."""
