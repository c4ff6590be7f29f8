"""Pictures that stay in a NumPy, HDF5 or zarr file until rows are read.

No file is mapped into memory: reading a mapped file that was cut short meanwhile would end the process.

The file is opened for each read, so that these values can be passed to worker processes.
"""

import math
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from ..files import open_regular
from ..types import Pictures
from . import hdf5, hdf5_links, zarr_store
from .checksums import Checksums, of_pictures
from .npy import NPY_ERRORS
from .pictures import check_rows

BLOCK_BYTES = 1 << 24


def blocks(pictures: Pictures, rows: range | None = None) -> Generator[NDArray[np.uint8]]:
    """Pictures in order, a few at a time, so that a large set need not fit into memory. Default: all rows."""
    height, width, channels = pictures.shape
    chosen = range(len(pictures)) if rows is None else rows
    step = max(1, BLOCK_BYTES // max(1, height * width * channels))
    for first in range(chosen.start, chosen.stop, step):
        yield pictures.read(torch.arange(first, min(first + step, chosen.stop))).numpy()


def fill(array: Any, pictures: Pictures, rows: range | None = None) -> Checksums:
    """Write pictures into the first rows of an array on disk, a few at a time, and return their checksums.

    Default: all rows.
    """
    first, sums = 0, [np.empty(0, dtype=np.uint32)]
    for block in blocks(pictures, rows):
        array[first : first + len(block)] = block
        first += len(block)
        sums.append(of_pictures(block))
    return np.concatenate(sums)


@dataclass(frozen=True)
class NpyFrames:
    """Pictures of one `.npy` file of shape `[rows, height, width, channels]`.

    Attributes:
        offset: Position of the first picture in the file.
    """

    path: Path
    count: int
    shape: tuple[int, int, int]
    offset: int

    @staticmethod
    def of(path: Path, *, count: int) -> "NpyFrames":
        """The pictures of a file, which must be `count`."""
        try:
            with open_regular(path) as file:
                shape, offset = _npy_header(file, path)
                found = path.stat().st_size - offset
        except NPY_ERRORS as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is missing or cut short ({error}). Copy the data set again.") from error
        if shape[0] != count:
            raise DataError(f"{path} holds {shape[0]} pictures, expected {count}. Write the data set again.")
        if found != math.prod(shape):
            words = f"{found:,} bytes of pictures, expected {math.prod(shape):,}"
            raise DataError(f"{path} is missing or cut short ({words}). Copy the data set again.")
        return NpyFrames(path, count, (shape[1], shape[2], shape[3]), offset)

    def __len__(self) -> int:
        return self.count

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows."""
        check_rows(rows, self.count)
        found, size = np.empty((len(rows), *self.shape), dtype=np.uint8), math.prod(self.shape)
        content = memoryview(cast(Any, found.reshape(-1)))
        try:
            with open_regular(self.path) as file:
                for places, first in _runs(rows.numpy()):
                    self._fill(file, content[places.start * size : places.stop * size], self.offset + first * size)
        except OSError as error:
            raise DataError(f"{self.path} is missing or cut short ({error}). Copy the data set again.") from error
        return torch.as_tensor(found)

    def _fill(self, file: BinaryIO, pictures: memoryview, place: int) -> None:
        # the system gives at most 2 GiB at once
        while len(pictures) and (count := _read_at(file, pictures, place)):
            pictures, place = pictures[count:], place + count
        if len(pictures):
            raise DataError(f"{self.path} was cut short after it was opened. Copy the data set again.")


def _read_at(file: BinaryIO, content: memoryview, place: int) -> int:
    """Fill memory with the bytes from a place on, without the buffer, which would copy small pictures twice."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [content], place)
    raw: Any = cast(Any, file).raw
    raw.seek(place)
    return int(raw.readinto(content))


def _npy_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], int]:
    """Shape of the pictures in a file, and the position of the first one."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if len(shape) != 4 or dtype != np.uint8 or fortran_order:
        raise DataError(f"{path}: expected pictures [rows, height, width, channels] of bytes, got {shape}.")
    return shape, file.tell()


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Rows that follow one another in the file, which one call reads: their places among `rows`, and the first one."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *map(int, breaks), len(rows)] if len(rows) else []
    for start, end in pairwise(edges):
        yield slice(start, end), int(rows[start])


@dataclass(frozen=True)
class HdfFrames:
    """Pictures of an HDF5 file, one array an episode.

    Attributes:
        names: Path of each episode's array in the file; it may hold more rows than `lengths`.
    """

    path: Path
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return sum(self.lengths)

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows, counted through all episodes."""
        found = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for mine, values, where in self._parts(rows):
            found[mine] = _bytes(values, where).reshape(-1, *self.shape)
        return torch.as_tensor(found)

    def values(self, rows: Int[Tensor, " b"]) -> NDArray[Any]:
        """The numbers of the given rows as they are stored, of the shape of the pictures."""
        parts = [(mine, values) for mine, values, _ in self._parts(rows)]
        found = np.empty((len(rows), *self.shape), np.result_type(*(values.dtype for _, values in parts), np.uint8))
        for mine, values in parts:
            found[mine] = values.reshape(-1, *self.shape)
        return found

    def _parts(self, rows: Int[Tensor, " b"]) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any], str]]:
        """Rows by episode: which of the given ones, their numbers, and where they are."""
        check_rows(rows, len(self))
        ends: NDArray[np.int64] = np.cumsum(self.lengths)
        wanted: NDArray[np.int64] = rows.numpy()
        owners: NDArray[np.int64] = np.searchsorted(ends, wanted, side="right")
        with hdf5.opened(self.path) as file:
            for episode in sorted(set(map(int, owners))):
                mine = owners == episode
                steps = wanted[mine] - int(ends[episode]) + self.lengths[episode]
                array, where = file[self.names[episode]], f"{self.path}: {self.names[episode]}"
                hdf5_links.check_storage(array.id, where)
                yield mine, _picked(array, steps), where


@dataclass(frozen=True)
class ZarrFrames:
    """Pictures of a zarr array `[rows, height, width, channels]`, in a folder or a zip file."""

    path: Path
    name: str
    count: int
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return self.count

    def read(self, rows: Int[Tensor, " b"]) -> UInt8[Tensor, "b height width channels"]:
        """The pictures of the given rows; fractional values are rounded."""
        return torch.as_tensor(_bytes(self.values(rows), f"{self.path}: {self.name}"))

    def values(self, rows: Int[Tensor, " b"]) -> NDArray[Any]:
        """The numbers of the given rows as they are stored, of the shape of the pictures."""
        check_rows(rows, len(self))
        with zarr_store.opened(self.path, self.name) as group:
            zarr_store.check(group[self.name], self.path, rows.numpy())
            return _picked(group[self.name], rows.numpy()).reshape(-1, *self.shape)


def _picked(array: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of an array on disk, which reads only ascending rows without repeats."""
    wanted, places = np.unique(rows, return_inverse=True)
    if not len(wanted):
        return np.asarray(array[:0])
    first, last = int(wanted[0]), int(wanted[-1])
    if last - first + 1 == len(wanted):
        values = np.asarray(array[first : last + 1])
        return values if np.array_equal(wanted, rows) else values[places]
    return np.asarray(array[wanted])[places]


def _bytes(values: NDArray[Any], source: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8 or not values.size:
        return np.ascontiguousarray(values, dtype=np.uint8)
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 255:
        raise DataError(
            f"{source}: pictures hold numbers from {low} to {high}, expected 0 to 255. Store them as bytes."
        )
    whole = np.rint(values)
    if high <= 1 and bool((whole != values).any()):
        raise DataError(f"{source}: pictures hold fractions from 0 to 1, expected 0 to 255. Multiply them by 255.")
    return whole.astype(np.uint8)
