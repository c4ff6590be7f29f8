"""Tables of rows written to parquet as LeRobot and the `datasets` library expect them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....types import Pictures
from ...pictures import compressed
from .arrow import parquet, pyarrow

# rows written at once; pictures are compressed first, and many of them would fill the memory
BLOCK, PICTURE_BLOCK = 1 << 16, 1 << 8


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of numbers `[rows, width]` and of pictures."""

    numbers: Mapping[str, NDArray[Any]]
    pictures: Mapping[str, Pictures]
    rows: slice


def write_table(path: Path, table: Table) -> None:
    """Write one parquet file: numbers as lists of fixed length, pictures as pairs of bytes and path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = _schema(table)
    # recorded numbers rarely repeat, so dictionaries would cost time and save nothing
    with parquet().ParquetWriter(path, schema, use_dictionary=False, write_page_checksum=True) as writer:
        for rows in _blocks(table):
            writer.write_table(_block(table, rows, schema))


def _blocks(table: Table) -> Iterator[slice]:
    size = PICTURE_BLOCK if table.pictures else BLOCK
    for first in range(table.rows.start, table.rows.stop, size):
        yield slice(first, min(first + size, table.rows.stop))


def _block(table: Table, rows: slice, schema: Any) -> Any:
    columns = [number_column(values[rows]) for values in table.numbers.values()]
    for pictures in table.pictures.values():
        files = [{"bytes": compressed(pictures, row), "path": None} for row in range(rows.start, rows.stop)]
        columns.append(pyarrow().array(files, type=_picture_type()))
    return pyarrow().Table.from_arrays(columns, schema=schema)


def number_column(values: NDArray[Any]) -> Any:
    """Numbers `[rows, width]` as a column of lists, or of single numbers if the width is 1."""
    flat = pyarrow().array(np.ascontiguousarray(values).reshape(-1))
    return flat if values.shape[1] == 1 else pyarrow().FixedSizeListArray.from_arrays(flat, values.shape[1])


def _schema(table: Table) -> Any:
    fields = [pyarrow().field(name, _number_type(values)) for name, values in table.numbers.items()]
    fields += [pyarrow().field(name, _picture_type()) for name in table.pictures]
    return pyarrow().schema(fields, metadata={"huggingface": json.dumps({"info": {"features": _described(table)}})})


def _number_type(values: NDArray[Any]) -> Any:
    inner = pyarrow().from_numpy_dtype(values.dtype)
    return inner if values.shape[1] == 1 else pyarrow().list_(inner, values.shape[1])


def _picture_type() -> Any:
    return pyarrow().struct([("bytes", pyarrow().binary()), ("path", pyarrow().string())])


def _described(table: Table) -> dict[str, Any]:
    """The columns as `datasets` describes them; without this it would read pictures as bytes."""
    numbers = dict[str, Any]()
    for name, values in table.numbers.items():
        one = {"dtype": str(values.dtype), "_type": "Value"}
        numbers[name] = (
            one if values.shape[1] == 1 else {"feature": one, "length": values.shape[1], "_type": "Sequence"}
        )
    return numbers | {name: {"_type": "Image"} for name in table.pictures}
