"""Zarr groups in a folder or a zip file, with errors that name the damaged place."""

import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

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
# names of headers; a Blosc header ends with the size of the whole
HEADERS = (".zgroup", ".zarray", ".zattrs", "zarr.json")
BLOSC_HEADER, BLOSC_SIZE = 16, slice(12, 16)


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """The group, open for reading; errors of zarr become a `DataError`."""
    # here, because it is slow to import and most programs read other formats
    from zarr.storage import ZipStore

    try:
        if path.is_dir():
            yield _group(path, mode="r")
            return
        _check_headers(path)
        store = ZipStore(path, mode="r")
        # before the guard, because a store that could not be opened cannot be closed
        group = _group(store, mode="r")
        try:
            yield group
        finally:
            store.close()
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path} is damaged or cut short ({error}). Copy or download it again.") from error


@contextmanager
def created(path: Path) -> Generator[Any]:
    """A new group of zarr's format 2, open for writing; a zip file if the name ends in `.zip`."""
    if path.suffix != ".zip":
        yield _group(path, mode="w")
        return
    # zarr would store changes twice, because a zip file only grows
    with TemporaryDirectory(dir=path.parent) as folder:
        yield _group(folder, mode="w")
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(Path(folder).rglob("*")):
                archive.write(file, file.relative_to(folder))


def create_array(group: Any, place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An empty array in chunks of about a megabyte, with the compression of Diffusion Policy."""
    from numcodecs import Blosc  # pyright: ignore

    rows = max(1, CHUNK_BYTES // max(1, int(np.prod(shape[1:])) * dtype.itemsize))
    chunks = (min(rows, shape[0]), *(max(1, size) for size in shape[1:]))
    compressor: Any = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)  # pyright: ignore
    # chunks of zeros too: a missing chunk is taken for lost
    config: Any = {"write_empty_chunks": True}
    return group.create_array(place, shape=shape, dtype=dtype, chunks=chunks, compressors=compressor, config=config)


def check_chunks(array: Any, path: Path) -> None:
    """Refuse an array that lacks chunks, which would be read as the fill value."""
    if (missing := int(array.nchunks) - int(array.nchunks_initialized)) > 0:
        raise DataError(
            f"{path}: {array.path} lacks {missing} of its {array.nchunks} chunks, which would read as "
            f"{array.fill_value}. Copy or download it again; if that is intended, write the array with "
            "write_empty_chunks=True."
        )


def check_sizes(array: Any, path: Path, rows: NDArray[np.int64] | None = None) -> None:
    """Refuse chunks that were cut short, all or those of some rows: Blosc would read beyond the end of a chunk."""
    from numcodecs import Blosc  # pyright: ignore
    from zarr.codecs import BloscCodec

    # zip files hold checksums
    if not path.is_dir() or not any(isinstance(codec, Blosc | BloscCodec) for codec in array.compressors):  # pyright: ignore
        return
    first, *others = array.cdata_shape
    blocks = range(first) if rows is None else sorted({int(row) // int(array.chunks[0]) for row in rows})
    for place in product(blocks, *(range(count) for count in others)):
        chunk = path / str(array.path) / str(array.metadata.encode_chunk_key(place))
        if chunk.is_file():
            _check_size(path, chunk)


def _check_size(path: Path, chunk: Path) -> None:
    with chunk.open("rb") as file:
        header = file.read(BLOSC_HEADER)
    expected, found = int.from_bytes(header[BLOSC_SIZE], "little"), chunk.stat().st_size
    if len(header) < BLOSC_HEADER or expected != found:
        raise DataError(
            f"{path} is damaged or cut short ({chunk.relative_to(path)} has {found} bytes). Copy or download it again."
        )


def _check_headers(path: Path) -> None:
    """Read the headers in a zip file once: zarr reads them in threads and prints each error."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(HEADERS):
                archive.read(name)


def _group(store: Any, *, mode: Literal["r", "w"]) -> Any:
    import zarr

    # Diffusion Policy reads format 2
    return zarr.open_group(store, mode=mode, zarr_format=2 if mode == "w" else None)  # pyright: ignore
