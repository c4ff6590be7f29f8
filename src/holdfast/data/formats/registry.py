"""The formats that are known, and which one a path holds."""

from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from ...errors import UnknownNameError
from ...types import Episodes
from . import minari, native, npz, robomimic, zarr_replay

__all__ = ["FORMATS", "Format", "FormatName", "by_suffix", "format_named", "recognised"]

FormatName = Literal["lerobot", "holdfast", "robomimic", "zarr", "minari", "npz"]
FORMATS: tuple[str, ...] = get_args(FormatName)


@runtime_checkable
class Format(Protocol):
    """What the module of a format offers."""

    @property
    def FOLDER(self) -> bool:
        """Whether a set is a folder, not a file."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether a path holds this format, by what is there; cheap."""
        ...

    def read(self, path: Path) -> Episodes:
        """Episodes that lie in this format at a path."""
        ...

    def write(self, episodes: Episodes, path: Path) -> None:
        """Write episodes to a path that does not exist yet."""
        ...


def format_named(name: str) -> Format:
    """The module of a format.

    Raises:
        UnknownNameError: Not one of `FORMATS`.
    """
    match name:
        case "lerobot":
            from . import lerobot  # here, because most programs read other formats

            return lerobot
        case "holdfast":
            return native
        case "robomimic":
            return robomimic
        case "zarr":
            return zarr_replay
        case "minari":
            return minari
        case "npz":
            return npz
        case _:
            raise UnknownNameError("format", name, FORMATS)


def recognised(path: Path) -> str | None:
    """The name of the format that a path holds, by what is there; `None` where none is."""
    return next((name for name in FORMATS if format_named(name).recognises(path)), None)


def by_suffix(path: Path) -> str | None:
    """The name of the format that a path's suffix promises.

    >>> by_suffix(Path("demos.zarr.zip")), by_suffix(Path("demos.npz")), by_suffix(Path("demos"))
    ('zarr', 'npz', None)
    """
    name = path.name.lower()
    if name.endswith((".zarr", ".zarr.zip")):
        return "zarr"
    if name.endswith((".hdf5", ".h5")):
        return "robomimic"
    return "npz" if name.endswith(".npz") else None
