"""Data sets on disk, one module a format. `read` recognises which one a path holds.

native        Holdfast's own folder: episodes.json, episodes.safetensors (read and write)
zarr_replay   Diffusion Policy's replay buffer, as of Push-T (read)
"""

from pathlib import Path

from ...errors import DataError
from ...types import Episodes
from ..validity import validate
from . import native, zarr_replay

__all__ = ["native", "read", "zarr_replay"]

KNOWN = "a folder with episodes.json (Holdfast's own), a zarr replay buffer with data/ and meta/episode_ends"
ZARR_MARKS = (".zgroup", "zarr.json", "meta/episode_ends")


def read(path: Path | str) -> Episodes:
    """Read a data set of any known format, checked.

    Raises:
        DataError: Nothing is there, the format is not known, or the set cannot be used as it is.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(f"{place} does not exist. Give the folder of a data set; known formats: {KNOWN}.")
    episodes = _read(place)
    validate(episodes, source=str(place))
    return episodes


def _read(place: Path) -> Episodes:
    if (place / native.HEADER).is_file():
        return native.read(place)
    if any((place / mark).exists() for mark in ZARR_MARKS):
        return zarr_replay.read(place)
    raise DataError(f"{place} {_found(place)}. Known formats: {KNOWN}. Unpack an archive first.")


def _found(place: Path) -> str:
    if not place.is_dir():
        return "is a file of no known format"
    names = sorted(entry.name for entry in place.iterdir())
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"is no data set: it holds {listed}" if names else "is an empty folder"
