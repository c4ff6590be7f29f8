"""Data sets on disk, one module a format. `read` recognises which one a path holds, `write` writes any of them.

lerobot       LeRobot's data sets: v3.0 (read and write) and v2.1 (read)
native        Holdfast's own folder, `holdfast`: episodes.json, episodes.safetensors
robomimic     robomimic's HDF5 file
zarr_replay   Diffusion Policy's replay buffer, `zarr`
minari        a folder of Minari in HDF5
npz           NumPy's arrays
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError, RecipeError
from ...types import Episodes
from ..validity import validate
from . import minari, native, npz, robomimic, zarr_replay
from .archives import names_in
from .output import check_target, whole
from .registry import FORMATS, FormatName, by_suffix, format_named, recognised
from .roundtrip import not_kept

__all__ = [
    "FORMATS",
    "FormatName",
    "check_target",
    "format_of",
    "locate",
    "minari",
    "native",
    "not_kept",
    "npz",
    "read",
    "robomimic",
    "write",
    "zarr_replay",
]

KNOWN = (
    "a LeRobot folder (meta/info.json), Holdfast's own (episodes.json), a zarr replay buffer (meta/episode_ends), "
    "robomimic's .hdf5, a Minari folder (data/main_data.hdf5), .npz"
)
HUB_ID = re.compile(r"[\w-]+/[\w.-]+")
MINARI_ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
# a pickle begins with a byte 0x80 and the number of its protocol
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def read(
    path: Path | str,
    *,
    filter_key: str | None = None,
    observations: Sequence[str] | None = None,
    check: bool = True,
) -> Episodes:
    """Read a data set of any known format, checked; a name `owner/name` that is no path is one of the Hugging Face Hub.

    Args:
        path: File or folder of a data set, or its name on the Hub.
        filter_key: Of a robomimic file, read these episodes only: a list below `mask/`.
        observations: Of a robomimic file, read these observations only, in this order.
        check: Refuse what nothing can be learned from (`validate`); without, a doctor can look at it.

    Raises:
        DataError: Nothing is there, the format is not known, or the set cannot be used as it is.
        RecipeError: `filter_key` or `observations` for another format.
    """
    place = locate(path)
    name = format_of(place)
    if name == "robomimic":
        episodes = robomimic.read(place, filter_key=filter_key, observations=observations)
    elif filter_key is None and observations is None:
        episodes = format_named(name).read(place)
    else:
        raise RecipeError(f"filter keys and observations are chosen in robomimic files, but {place} is {name}.")
    if check:
        validate(episodes, source=str(place))
    return episodes


def write(episodes: Episodes, path: Path | str, *, format: str | None = None, overwrite: bool = False) -> None:
    """Write episodes to a new place, which then holds all of them or nothing.

    Args:
        episodes: What to store.
        path: The file or folder to make; its parents are made as needed.
        format: One of `FORMATS`; by default what the suffix says (.npz, .hdf5, .h5, .zarr, .zarr.zip), else `lerobot`.
        overwrite: Replace a data set that is already there.

    Raises:
        DataError: Episodes that `validate` refuses, or that the format cannot hold.
        UnknownNameError: Not one of `FORMATS`.
        OutputError: The place exists and `overwrite` is not set, or what exists is no data set.
    """
    chosen = format_named(format or by_suffix(Path(path)) or "lerobot")
    validate(episodes, source="the episodes to write")
    with whole(path, overwrite=overwrite) as fresh:
        chosen.write(episodes, fresh)


def locate(path: Path | str) -> Path:
    """Where a data set lies: the path itself, or for a name of the Hub the folder that it was downloaded to.

    Raises:
        DataError: It is neither, or the Hub cannot be reached.
    """
    place, text = Path(path), str(path)
    if place.exists():
        return place
    if MINARI_ID.fullmatch(text) and text.count("/") != 1:
        raise DataError(
            f"{text} does not exist. If it is the name of a Minari data set, download it (minari download {text}) and "
            "give its folder, below $MINARI_DATASETS_PATH or ~/.minari/datasets."
        )
    # with a parent that exists it is a path, mistyped
    if HUB_ID.fullmatch(text) and by_suffix(place) is None and not place.parent.exists():
        from . import lerobot  # here, because most programs read other formats

        return lerobot.fetch(text)
    raise DataError(f"{place} does not exist. Give the file or folder of a data set; known formats: {KNOWN}.")


def format_of(path: Path) -> str:
    """The name of the format that a path holds.

    Raises:
        DataError: None that is known; a pickle is refused with the reason.
    """
    _refuse_pickle(path)
    # what is damaged beyond recognition is read by what its name promises, which says what is wrong with it
    name = recognised(path) or _promised(path) or ("holdfast" if (path / native.HEADER).is_file() else None)
    if name is None:
        around = next((parent for parent in path.absolute().parents[:3] if recognised(parent)), None)
        if around is not None:
            raise DataError(f"{path} is a part of the data set {around}. Give that folder.")
        raise DataError(f"{path} {_found(path)}. Known formats: {KNOWN}. Unpack an archive first.")
    return name


def _promised(path: Path) -> str | None:
    """What the suffix says, but not of a folder that is called like a file."""
    name = by_suffix(path)
    return None if name and path.is_dir() and not format_named(name).FOLDER else name


def _refuse_pickle(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(2)
    in_archive = any(name.endswith("/data.pkl") for name in names_in(path))
    if path.suffix.lower() in PICKLES or start in PICKLE_STARTS or in_archive:
        raise DataError(
            f"{path} is a pickle, and loading one runs whatever code it holds. Where you trust it, load it elsewhere "
            "and save plain arrays: np.savez(out, actions=..., states=..., episode_ends=...), rows of all episodes end "
            "to end; then: holdfast convert out.npz DATA"
        )


def _found(place: Path) -> str:
    if not place.is_dir():
        return "is a file of no known format"
    names = sorted(entry.name for entry in place.iterdir())
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"is no data set: it holds {listed}" if names else "is an empty folder"
