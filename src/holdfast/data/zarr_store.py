"""Zarr groups in a folder or a zip file, opened so that damage is an error that names the place."""

import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from ..errors import DataError

__all__ = ["create_array", "created", "opened"]

CHUNK_BYTES = 1 << 20


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """The group, open for reading; what zarr says of damage becomes a `DataError`."""
    # here, because it is slow to import and most programs read other formats
    from zarr.storage import ZipStore

    try:
        if path.is_dir():
            yield _group(path, mode="r")
            return
        _check_headers(path)
        store = ZipStore(path, mode="r")
        # opened before the guard: a store that could not be opened cannot be closed either
        group = _group(store, mode="r")
        try:
            yield group
        finally:
            store.close()
    except DataError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, SystemError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}). Copy or download it again.") from error


@contextmanager
def created(path: Path) -> Generator[Any]:
    """A new group of zarr's format 2, open for writing; a zip file where the name ends in `.zip`."""
    if path.suffix != ".zip":
        yield _group(path, mode="w")
        return
    # zarr itself would store what changes twice: a zip file only grows
    with TemporaryDirectory(dir=path.parent) as folder:
        yield _group(folder, mode="w")
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(Path(folder).rglob("*")):
                archive.write(file, file.relative_to(folder))


def create_array(group: Any, place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An empty array in chunks of about a megabyte, compressed as Diffusion Policy compresses."""
    from numcodecs import Blosc  # pyright: ignore

    rows = max(1, CHUNK_BYTES // max(1, int(np.prod(shape[1:])) * dtype.itemsize))
    chunks = (min(rows, shape[0]), *(max(1, size) for size in shape[1:]))
    compressor: Any = Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)  # pyright: ignore
    return group.create_array(place, shape=shape, dtype=dtype, chunks=chunks, compressors=compressor)


def _check_headers(path: Path) -> None:
    """Read the small files of a zip file once: zarr reads them side by side and reports each damaged one aloud."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith((".zgroup", ".zarray", ".zattrs", "zarr.json")):
                archive.read(name)


def _group(store: Any, *, mode: Literal["r", "w"]) -> Any:
    import zarr

    # what is written is of format 2, which Diffusion Policy reads
    return zarr.open_group(store, mode=mode, zarr_format=2 if mode == "w" else None)  # pyright: ignore
