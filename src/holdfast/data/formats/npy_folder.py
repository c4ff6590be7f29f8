"""A folder of NumPy's `.npy` files, one array each, as the relay kitchen's demonstrations: names as in npz files."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...errors import DataError
from ...files import open_regular
from ...memory import check_memory
from ...types import Episodes
from .. import npy
from ..selection import Selection
from .format import Format, whole
from .named_arrays import episodes_of_arrays, has_usual_names


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen arrays as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    files = _files(path)
    check_memory(sum(file.stat().st_size for file in files), str(path))
    found = {file.stem: _array(file) for file in files}
    return episodes_of_arrays(found, str(path), selection), replace(selection, state=None, action=None)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix == ".npy" and file.is_file())


def _array(file: Path) -> NDArray[Any]:
    try:
        with open_regular(file) as opened:
            return npy.read_array(opened, file.stat().st_size, str(file))  # pyright: ignore[reportArgumentType]
    except npy.Pickled as error:
        raise DataError(
            f"{file} is a pickled array, and reading a pickle runs code. If you trust the file, load it and save a "
            "plain array with np.save."
        ) from error


FORMAT = Format(
    name="npy",
    example="a folder of .npy files",
    recognises=lambda path: path.is_dir() and has_usual_names([file.stem for file in _files(path)]),
    read=whole(read_selected),
    write=None,
    entries=re.compile(r"[^/]+\.npy"),
    read_selected=read_selected,
)
