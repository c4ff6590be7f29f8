"""Single values of HDF5 files: arrays of one number or one text, and texts that are the same in all rows."""

from pathlib import Path
from typing import Any, cast

from ... import hdf5_heaps, hdf5_links
from ..annotations import INSTRUCTIONS

LONGEST = 1 << 16
"""Rows in which a text is looked for."""


def single_value(array: Any, key: str, path: Path) -> Any:
    """The number or text of an array that holds one, or the instruction that all of its rows hold; else `None`.

    Args:
        array: The array of h5py, whose values were not read yet.
        key: Its path, whose last part tells whether rows can hold an instruction.
        path: The file.

    Raises:
        DataError: The array is damaged, or its values are in another file.
    """
    import h5py  # slow to import, and without types  # pyright: ignore[reportMissingTypeStubs]

    where = f"{path}: {array.name}"
    if array.shape == () and array.dtype.kind in "fiub":
        hdf5_links.check_array(array.id, where)
        return array[()].item()
    instruction = key.rpartition("/")[2].lower() in INSTRUCTIONS
    rows = array.shape is not None and 0 < array.size <= LONGEST and instruction
    text = cast("Any", h5py).check_string_dtype(array.dtype)
    if text is None or not (rows or array.shape == ()):
        return None
    hdf5_links.check_array(array.id, where, kinds="OS")
    hdf5_heaps.check_strings(array, path)
    value, *others = {array[()]} if array.shape == () else {*array[()].ravel().tolist()}
    return None if others else value.decode(errors="replace") if isinstance(value, bytes) else value
