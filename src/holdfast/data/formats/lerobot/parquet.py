"""Tables of rows in parquet files, read in one pass: numbers into arrays, pictures as compressed bytes.

Batches of rows go straight into arrays of the final size, so reading needs little more memory than the data set.
"""

import base64
import binascii
import io
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ....files import check_regular
from ....memory import check_memory
from ...pictures import Encoded
from .arrow import parquet, pyarrow

BATCH, PICTURE_BATCH = 1 << 16, 1 << 8
# Compressed pictures beyond this many bytes go to a temporary file that is mapped, not to memory.
RESIDENT = 2 << 30
MAGIC = b"PAR1"
PICKLED = b"arrow.py_extension_type"


@dataclass(frozen=True)
class Column:
    """Dtype that `meta/info.json` gives a column of numbers, and the number of values per row."""

    dtype: np.dtype[Any]
    width: int


Kept = Mapping[Path, Sequence[range]] | None
"""Rows of each file that are read; `None` for all of all files."""
Listed = NDArray[Any] | list[Any]
"""Values of a column: an array of numbers without gaps, or a list of strings or other values."""


def read_table(file: Path, *, omit: str | None = None) -> dict[str, Listed]:
    """A small table by column."""
    with _opened(file) as table:
        check_memory(sum(_unpacked(table.metadata)), str(file))
        names = [name for name in table.schema_arrow.names if omit is None or not name.startswith(omit)]
        columns = table.read(columns=names, use_threads=False)
        return {name: _listed(columns.column(name)) for name in names}


def _unpacked(metadata: Any) -> Iterator[int]:
    """Bytes of each group of rows after decompression, as the file declares them."""
    return (metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))


def _listed(values: Any) -> Listed:
    kinds = pyarrow().types
    numbers = kinds.is_integer(values.type) or kinds.is_floating(values.type) or kinds.is_boolean(values.type)
    return values.to_numpy() if numbers and not values.null_count else values.to_pylist()


def read_columns(
    files: Sequence[Path], columns: Mapping[str, Column], kept: Kept = None
) -> tuple[dict[str, NDArray[Any]], dict[str, np.dtype[Any]]]:
    """Columns of numbers of all files, concatenated, `[rows, width]` each, and the dtypes of the tables.

    Nested lists are flattened. Numbers are cast to the declared dtype, except where this would cut off fractions or
    leading digits; they keep the dtype of the tables then.
    """
    total, stored = _scanned(files, list(columns), kept)
    dtypes = {name: _read_as(stored.get(name), column.dtype) for name, column in columns.items()}
    size = sum(total * column.width * dtypes[name].itemsize for name, column in columns.items())
    check_memory(size, f"{files[0] if files else 'a data set without tables'}: {total} rows of {', '.join(columns)}")
    arrays = {name: np.empty((total, column.width), dtype=dtypes[name]) for name, column in columns.items()}
    first = 0
    for file, batch in _batches(files, list(columns), BATCH, kept):
        rows = slice(first, first + batch.num_rows)
        for name, column in columns.items():
            arrays[name][rows] = _numbers(batch.column(name), column, f"{file}: {name}")
        first += batch.num_rows
    return arrays, stored


def read_encoded(files: Sequence[Path], name: str, shape: tuple[int, int, int], kept: Kept = None) -> Encoded:
    """A column of compressed pictures of all files, concatenated, not decoded."""
    total, _ = _scanned(files, (), kept)
    check_memory(8 * total, f"{files[0] if files else name}: {total} rows of {name}")
    offsets = np.zeros(1 + total, dtype=np.int64)
    bulky = sum(file.stat().st_size for file in files) > RESIDENT
    # a file without a name leaves nothing behind; it is closed with its last mapping
    content = tempfile.TemporaryFile() if bulky else io.BytesIO()  # noqa: SIM115
    row = 0
    for file, batch in _batches(files, [name], PICTURE_BATCH, kept):
        for picture in _stored(batch.column(name), f"{file}: {name}"):
            row += 1
            offsets[row] = offsets[row - 1] + content.write(picture)
    return Encoded(_bytes_of(content), offsets, shape)


def _bytes_of(content: Any) -> NDArray[np.uint8]:
    if isinstance(content, io.BytesIO):
        return np.frombuffer(content.getbuffer(), dtype=np.uint8)
    content.flush()
    # the mapping outlives the file, which has no name
    return np.memmap(content, dtype=np.uint8, mode="r")


@contextmanager
def _opened(file: Path) -> Generator[Any]:
    check_regular(file)
    try:
        # read, not mapped: a mapped file that is cut short meanwhile would end the process
        with parquet().ParquetFile(file, memory_map=False, page_checksum_verification=True) as table:
            _refuse_pickled(file, table)
            yield table
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing. Was the set copied or downloaded whole?") from error
    # damaged names of columns cannot be decoded
    except (pyarrow().ArrowException, UnicodeDecodeError, OSError, binascii.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(_damage(file, error)) from error


def _refuse_pickled(file: Path, table: Any) -> None:
    """Refuse types that older versions of pyarrow restored from a pickle in the schema."""
    stored: dict[bytes, bytes] = table.metadata.metadata or {}
    if PICKLED in base64.b64decode(stored.get(b"ARROW:schema", b"")):
        raise DataError(
            f"{file} has columns of a type that is stored as a pickle, and loading one runs whatever code it holds. "
            "Write the table again with plain types."
        )


def _scanned(files: Sequence[Path], names: Sequence[str], kept: Kept = None) -> tuple[int, dict[str, np.dtype[Any]]]:
    """Rows of all files, and a dtype that holds the numbers of each column in all of them.

    Files are opened one at a time: a data set can have more files than a process may open.
    """
    total, found = 0, dict[str, np.dtype[Any]]()
    for file in files:
        with _opened(file) as table:
            total += table.metadata.num_rows if kept is None else sum(map(len, kept[file]))
            there = set(table.schema_arrow.names)
            for name in names:
                if name in there and (dtype := _dtype_of(table.schema_arrow.field(name).type)) is not None:
                    found[name] = np.result_type(found.get(name, dtype), dtype)
    return total, found


def _read_as(stored: np.dtype[Any] | None, declared: np.dtype[Any]) -> np.dtype[Any]:
    if stored is None or np.can_cast(stored, declared) or stored.kind == declared.kind == "f":
        return declared
    return declared if declared.kind == "f" else stored


def _dtype_of(kind: Any) -> np.dtype[Any] | None:
    """The dtype of the numbers in a column, which may be lists of lists; `None` if it holds no numbers."""
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    kinds = pyarrow().types
    numbers = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
    return np.dtype(kind.to_pandas_dtype()) if numbers else None


def _batches(files: Sequence[Path], names: list[str], size: int, kept: Kept = None) -> Iterator[tuple[Path, Any]]:
    for file in files:
        with _opened(file) as table:
            _check_columns(file, table, names)
            every = [range(table.metadata.num_rows)]
            for batch in _rows(table, names, size, every if kept is None else kept[file]):
                yield file, batch


def _rows(table: Any, names: list[str], size: int, kept: Sequence[range]) -> Iterator[Any]:
    """Batches of the kept rows, ascending; groups of rows without any of them are not read."""
    first = 0
    for index in range(table.metadata.num_row_groups):
        last = first + table.metadata.row_group(index).num_rows
        if any(rows.start < last and first < rows.stop for rows in kept):
            start = first
            for batch in table.iter_batches(batch_size=size, row_groups=[index], columns=names, use_threads=False):
                for rows in kept:
                    low, high = max(rows.start, start), min(rows.stop, start + batch.num_rows)
                    if low < high:
                        yield batch.slice(low - start, high - low)
                start += batch.num_rows
        first = last


def _check_columns(file: Path, table: Any, names: list[str]) -> None:
    there = set(table.schema_arrow.names)
    if missing := [name for name in names if name not in there]:
        raise DataError(
            f"{file} lacks {', '.join(missing)}, which meta/info.json lists; it holds "
            f"{', '.join(sorted(there))}. Record or convert the set again."
        )


def _numbers(values: Any, column: Column, where: str) -> NDArray[Any]:
    """One batch of a column as `[rows, width]`; rows are numbers, lists, or lists of lists."""
    if _dtype_of(values.type) is None:
        raise DataError(
            f"{where} is of kind {values.type}, expected numbers ({column.dtype}). Record or convert the set again."
        )
    flat, width = values, 1
    while hasattr(flat.type, "value_type"):
        if flat.null_count:
            break
        width *= _check_widths(flat, column.width // width, width, where)
        flat = flat.flatten()
    if flat.null_count:
        raise DataError(f"{where} has rows without a value. Record or convert the set again.")
    if len(flat) != len(values) * column.width:
        raise DataError(_other_width(where, len(flat) / max(len(values), 1), column.width))
    return flat.to_numpy(zero_copy_only=False).reshape(len(values), column.width)


def _check_widths(values: Any, expected: int, outer: int, where: str) -> int:
    """The length of all lists of a level, which must be equal; the innermost level must have the `expected` one."""
    if pyarrow().types.is_fixed_size_list(values.type):
        return int(values.type.list_size)
    widths = values.value_lengths().to_numpy(zero_copy_only=False)
    innermost = not hasattr(values.type.value_type, "value_type")
    common = expected if innermost or not len(widths) else int(widths[0])
    if (other := np.flatnonzero(widths != common)).size:
        raise DataError(_other_width(where, outer * float(widths[other[0]]), outer * common))
    return common


def _other_width(where: str, found: float, expected: int) -> str:
    return (
        f"{where} has {found:g} numbers a row, but meta/info.json gives {expected}. Its files were recorded with "
        "different features: convert them separately, or remove that file's episodes."
    )


def _stored(values: Any, where: str) -> Iterator[bytes]:
    """The encoded pictures of a batch: bytes, or pairs of bytes and path."""
    kinds = pyarrow().types
    if kinds.is_struct(values.type):
        names = [field.name for field in values.type]
        values = values.flatten()[names.index("bytes")] if "bytes" in names else values
    if not (kinds.is_binary(values.type) or kinds.is_large_binary(values.type)) or values.null_count:
        raise DataError(
            f"{where} holds no pictures, only paths of files or nothing. Embed the pictures in the table: LeRobot "
            "does so when an episode is saved."
        )
    yield from values.to_pylist()


def _damage(file: Path, error: Exception) -> str:
    """Why a table cannot be read; without its footer it was cut short, or never closed."""
    try:
        with file.open("rb") as opened:
            content = opened.read(len(MAGIC))
            opened.seek(max(file.stat().st_size - len(MAGIC), len(MAGIC)), os.SEEK_SET)
            cut = content in (MAGIC, b"") and opened.read() != MAGIC
    except OSError:
        cut = False
    if cut:
        return (
            f"{file} has no footer, so it cannot be read: the recording was not finalised, or the file was cut short. "
            "Call finalize() on the LeRobotDataset when recording ends, or copy the file again."
        )
    return f"{file} is damaged ({error}). Copy or download it again."
