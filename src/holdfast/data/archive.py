"""Zip archives of other people, whose index is checked before anything in them is unpacked."""

import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError
from ..files import check_regular

# how much deflate can shrink a file at most
RATIO = 1032
# others are unpacked without a bound on the result
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@contextmanager
def opened(path: Path) -> Generator[zipfile.ZipFile]:
    """An archive, open for reading; errors of `zipfile` become a `DataError`.

    Raises:
        DataError: No archive, damaged, or one whose index cannot be true.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check(entry, path)
            yield archive
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged or cut short ({error}). Copy or download it again.") from error


def _check(entry: zipfile.ZipInfo, path: Path) -> None:
    if entry.compress_type not in METHODS:
        raise DataError(
            f"{path}: {entry.filename} is compressed by method {entry.compress_type} of the zip format; expected 0 "
            "(stored) or 8 (deflated). Write the archive again, for example with np.savez."
        )
    if entry.file_size > RATIO * (entry.compress_size + 1):
        raise DataError(
            f"{path}: {entry.filename} cannot be {entry.file_size} bytes, stored as {entry.compress_size}. Copy or "
            "download it again."
        )
