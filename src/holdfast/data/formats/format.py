"""The parts of a format of data sets; each format's module makes one such value."""

import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...types import Episodes
from ..selection import Selection

NOT_IN_NUMPY = frozenset({torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2})


def _always(path: Path) -> bool:
    """Accept every recognised path."""
    return True


def whole(read_selected: Callable[[Path, Selection], tuple[Episodes, Selection]]) -> Callable[[Path], Episodes]:
    """The function that reads a data set as a whole, for formats that read what a selection names."""
    return lambda path: read_selected(path, Selection())[0]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of data sets on disk.

    Attributes:
        name: Name on the command line.
        example: How to recognise a data set in this format, for error messages.
        recognises: Whether a path holds this format, judged cheaply by its content; damaged data sets are recognised
            too where possible, so that `read` can name the damage.
        read: Reads episodes from a path.
        write: Writes episodes to a path that does not exist yet; `None` where the format is only read.
        write_films: Writes episodes with their pictures as video; `None` where the format stores single pictures.
        suffixes: Endings of file names that stand for this format.
        entries: Paths, with slashes, of the files inside a data set that is a folder; `None` where it is one file.
            `--overwrite` refuses a folder with any other file.
        is_complete: Whether a recognised path is beyond doubt a data set, so that it may be overwritten.
        read_selected: Reads what a selection names, and returns the part of the selection that remains to be applied
            to the episodes; `None` where nothing is chosen while reading.
        read_observations: Reads only the episodes of a filter key and only the named observations, where the format
            has both.
        lacks: Dtypes that a column cannot have in this format.
    """

    name: str
    example: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Episodes]
    write: Callable[[Episodes, Path], None] | None
    write_films: Callable[[Episodes, Path], None] | None = None
    suffixes: tuple[str, ...] = ()
    entries: re.Pattern[str] | None = None
    is_complete: Callable[[Path], bool] = _always
    read_selected: Callable[[Path, Selection], tuple[Episodes, Selection]] | None = None
    read_observations: Callable[[Path, str | None, Sequence[str]], Episodes] | None = None
    lacks: frozenset[torch.dtype] = NOT_IN_NUMPY

    def unwritable(self, episodes: Episodes) -> list[str]:
        """Names of the columns that the format cannot hold."""
        columns = {**episodes.columns, **episodes.episode_columns}
        return [name for name, values in columns.items() if isinstance(values, Tensor) and values.dtype in self.lacks]


def names_in(path: Path) -> list[str]:
    """Names of the files in a zip archive; empty if the path is no zip archive or its index is damaged."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return []
