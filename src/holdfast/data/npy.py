"""NumPy's format, with the header compared with the bytes that there are before anything is allocated."""

import math
from io import BufferedIOBase
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import shown
from ..memory import check_memory

# errors that NumPy raises for a damaged header, which it parses as text
NPY_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, OverflowError),
    *(SyntaxError, TokenError, MemoryError, RecursionError),
)


# small enough to stay in the caches
BLOCK = 1 << 18


class Pickled(DataError):
    """An array of Python objects, which NumPy would unpickle."""


def read_array(file: BufferedIOBase, size: int, where: str) -> NDArray[Any]:
    """The array of a file that can be read once, from its beginning.

    Args:
        file: A `.npy` file, or a member of an archive.
        size: Number of bytes that the file holds.
        where: Name of the file and the array, for the messages.

    Raises:
        Pickled: The array holds Python objects.
        DataError: The header is damaged, or gives another number of bytes.
    """
    shape, column_major, dtype = read_header(file, where)
    count = math.prod(shape)
    if (declared := count * dtype.itemsize) != (there := size - file.tell()):
        other = "longer" if declared < there else "shorter"
        raise DataError(
            f"{where} is {other} than its header states: {there} bytes for {count} numbers of {dtype.itemsize} bytes. "
            "Copy or download the file again."
        )
    check_memory(count * dtype.itemsize, where)
    values = _content(file, count * dtype.itemsize, where).view(dtype)
    return values.reshape(shape[::-1]).T if column_major else values.reshape(shape)


def read_header(file: BufferedIOBase, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype, which never is that of Python objects.

    Raises:
        Pickled: The array holds Python objects.
        DataError: The header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        # formats 2 and 3 differ in the encoding of names of fields, which plain arrays lack
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, column_major, dtype = read(file)
    except NPY_ERRORS as error:
        raise DataError(
            f"{where} is damaged ({shown(str(error), most=200)}). Copy or download the file again."
        ) from error
    if dtype.hasobject:
        raise Pickled(f"{where} is pickled")
    if any(length < 0 for length in shape):
        raise DataError(f"{where} is damaged (its shape is {list(shape)}). Copy or download the file again.")
    return shape, column_major, dtype


def _content(file: BufferedIOBase, size: int, where: str) -> NDArray[np.uint8]:
    """The bytes of the array."""
    content, done = np.empty(size, dtype=np.uint8), 0
    while done < size and (part := file.read(min(BLOCK, size - done))):
        content[done : done + len(part)] = np.frombuffer(part, dtype=np.uint8)
        done += len(part)
    # reading to the end compares the checksum of an archive
    if done < size or file.read(1):
        raise DataError(f"{where} does not hold {size} bytes. Copy or download the file again.")
    return content
