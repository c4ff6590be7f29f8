"""The table of formats. A new format is its module and its line here."""

from pathlib import Path

from ...errors import UnknownNameError
from . import (
    episode_files,
    hdf5_groups,
    lerobot,
    minari,
    native,
    npy_folder,
    npz,
    robomimic,
    text_table,
    zarr_groups,
    zarr_replay,
)
from .format import Format

TABLE: tuple[Format, ...] = (
    lerobot.FORMAT,
    native.FORMAT,
    robomimic.FORMAT,
    zarr_replay.FORMAT,
    zarr_groups.FORMAT,
    minari.FORMAT,
    npz.FORMAT,
    hdf5_groups.FORMAT,
    npy_folder.FORMAT,
    text_table.FORMAT,
    episode_files.FORMAT,
)
FORMATS: tuple[str, ...] = tuple(format.name for format in TABLE if format.write is not None)
"""Names of the formats that can be written."""


def format_named(name: str) -> Format:
    """The format of the given name."""
    found = next((format for format in TABLE if format.name == name), None)
    if found is None:
        raise UnknownNameError("format", name, FORMATS)
    return found


def recognised(path: Path) -> Format | None:
    """The format that a path holds, judged by its content; `None` if no format recognises it."""
    return next((format for format in TABLE if format.recognises(path)), None)


def format_by_suffix(path: Path) -> Format | None:
    """The format that a path's suffix stands for.

    >>> [found and found.name for found in map(format_by_suffix, (Path("a.zarr.zip"), Path("a.npz"), Path("a")))]
    ['zarr', 'npz', None]
    """
    return next((format for format in TABLE if format.suffixes and path.name.lower().endswith(format.suffixes)), None)
