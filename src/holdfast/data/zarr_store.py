"""Zarr groups in a folder or a zip file, with errors that name the damaged place."""

import os
import zipfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import LARGEST, read_bytes
from . import archive
from .zarr_chunks import Chunks, check_all_there, check_memory_of, check_sizes
from .zarr_metadata import HEADERS, check_header

CHUNK_BYTES = 1 << 20
# errors that zarr raises for damaged files; a damaged header is JSON with values of any type
DAMAGE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SystemError,
    zipfile.BadZipFile,
    zlib.error,
)
# the archive that is open, for the checks of chunks in it
_archive = ContextVar[zipfile.ZipFile | None]("archive", default=None)


@contextmanager
def opened(path: Path, *places: str) -> Generator[Any]:
    """The group, open for reading; errors of zarr become a `DataError`.

    Args:
        path: Folder or zip file.
        places: Paths of the only arrays that will be read. Default: all.

    Raises:
        DataError: The store is damaged, or its metadata name what is not known to be safe (`zarr_metadata`).
    """
    try:
        if path.is_dir():
            _check_folder(path, places)
            yield _group(path, mode="r")
            return
        with archive.opened(path) as index:
            _check_archive(index, path)
            with _zipped(path) as group:
                before = _archive.set(index)
                try:
                    yield group
                finally:
                    _archive.reset(before)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or cut short ({error}). Copy or download it again.") from error


@contextmanager
def _zipped(path: Path) -> Generator[Any]:
    # here, because it is slow to import and most programs read other formats
    from zarr.storage import ZipStore

    store = ZipStore(path, mode="r")
    # before the guard, because a store that could not be opened cannot be closed
    group = _group(store, mode="r")
    try:
        yield group
    finally:
        store.close()


@contextmanager
def created(path: Path) -> Generator[Any]:
    """A new group of zarr's format 2, open for writing; a zip file if the name ends in `.zip`."""
    if path.suffix != ".zip":
        yield _group(path, mode="w")
        return
    # zarr would store changes twice, because a zip file only grows
    with TemporaryDirectory(dir=path.parent) as folder:
        yield _group(folder, mode="w")
        with zipfile.ZipFile(path, "w") as whole:
            for file in sorted(Path(folder).rglob("*")):
                whole.write(file, file.relative_to(folder))


def create_array(group: Any, place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An empty array in chunks of about a megabyte, with the compression of Diffusion Policy."""
    from numcodecs import Blosc  # pyright: ignore

    rows = max(1, CHUNK_BYTES // max(1, int(np.prod(shape[1:])) * dtype.itemsize))
    chunks = (min(rows, shape[0]), *(max(1, size) for size in shape[1:]))
    compressor: Any = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)  # pyright: ignore
    # chunks of zeros too: a missing chunk is taken for lost
    config: Any = {"write_empty_chunks": True}
    return group.create_array(place, shape=shape, dtype=dtype, chunks=chunks, compressors=compressor, config=config)


def check(
    array: Any, path: Path, rows: NDArray[np.int64] | None = None, *, complete: Literal["checked", "said"] | None = None
) -> None:
    """Refuse an array before it is read, wholly or at some rows: too large, or with chunks that are not sound.

    Args:
        array: The array.
        path: Place of its store, which is open.
        rows: The rows that will be read. Default: all.
        complete: Whether arrays without any chunk are refused, too, and whether others that lack chunks are named;
            missing chunks are read as the fill value. Default: neither.

    Raises:
        DataError: The message names the array or the chunk.
    """
    check_memory_of(array, path, whole=rows is None)
    chunks = Chunks(path, _archive.get())
    check_sizes(array, chunks, rows)
    if complete is not None:
        check_all_there(array, chunks, said=complete == "said")


def _check_folder(path: Path, places: Sequence[str]) -> None:
    """Check the metadata of some arrays and the groups that they are in; without places, of all."""
    if places:
        nodes = {path, *(path.joinpath(*Path(place).parts[:depth]) for place in places for depth in (1, 2))}
        files = [node / name for node in nodes for name in HEADERS if (node / name).is_file()]
    else:
        files = [Path(folder, name) for folder, _, names in os.walk(path) for name in HEADERS if name in names]
    for file in files:
        check_header(path, file.relative_to(path).as_posix(), read_bytes(file))


def _check_archive(index: zipfile.ZipFile, path: Path) -> None:
    for entry in index.infolist():
        if entry.filename.rpartition("/")[2] not in HEADERS:
            continue
        if entry.file_size > LARGEST:
            raise DataError(f"{path}: {entry.filename} is larger than {LARGEST:,} bytes. Copy or download it again.")
        # zarr would read it in threads, and print each error
        check_header(path, entry.filename, index.read(entry))


def _group(store: Any, *, mode: Literal["r", "w"]) -> Any:
    import zarr

    # Diffusion Policy reads format 2
    return zarr.open_group(store, mode=mode, zarr_format=2 if mode == "w" else None)  # pyright: ignore
