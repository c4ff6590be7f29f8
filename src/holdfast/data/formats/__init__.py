"""Data sets on disk. `read` recognises the format of a path, `write` writes any format; `registry` lists them.

lerobot       LeRobot data sets: v3.0 (read and write) and v2.1 (read)
native        Holdfast's own folder, `holdfast`: episodes.json, episodes.safetensors
robomimic     robomimic's HDF5 file
zarr_replay   Diffusion Policy's replay buffer, `zarr`
minari        a Minari folder with an HDF5 file
npz           NumPy's arrays
hdf5_groups   other HDF5 files, `hdf5`: a group or a file an episode, or all steps end to end (read)
npy_folder    a folder of NumPy's arrays, `npy` (read)
text_table    tables of text, `csv` (read)
episode_files a folder with an npz or CSV file an episode (read)
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path

import torch

from ...atomic import check_space, put_back
from ...errors import DataError, HoldfastError, RecipeError
from ...files import check_regular, is_pointer, read_start, shown
from ...memory import enough_memory
from ...types import Episodes
from .. import hub
from ..choosing import chosen_episodes
from ..coordinates import estimating
from ..depth_ranges import ranged
from ..episodes import select
from ..inside import check_inside
from ..selection import Selection
from ..validity import Numbering, validate
from .format import Format, names_in
from .output import atomic_output, check_output, claimed_output
from .registry import FORMATS, TABLE, format_by_suffix, format_named, recognised
from .roundtrip import differences
from .sealed import damage_is_a_warning
from .selected import picked, remapped

__all__ = [
    "FORMATS",
    "check_output",
    "claimed_output",
    "differences",
    "format_of",
    "locate",
    "read",
    "unwritable_columns",
    "write",
]

EVERYTHING = Selection()
INSPECTED = " select(episodes, indices) keeps the others; inspect_episodes(episodes) lists all faults."
VIEWS = (".mp4", ".avi", ".mkv", ".webm", ".png", ".jpg", ".jpeg", ".webp")
KNOWN = ", ".join(format.example for format in TABLE)
HUB_ID = re.compile(r"[\w-]+/[\w.-]+")
MINARI_ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
ROS = "a ROS bag, which holds messages of many rates and types. Read the topics that you need (pip install rosbags)"
MCAP = b"\x89MCAP"
# recordings that are no tables of steps, and how to read them elsewhere
LOGS = {
    ".mcap": "an MCAP log, which holds messages of many rates and types. Read the topics that you need (pip install "
    "mcap-ros2-support, or rosbags)",
    ".bag": ROS,
    ".db3": ROS,
    ".tfrecord": "a TFRecord file of TensorFlow, such as RLDS writes. Read it with tensorflow_datasets",
    ".mat": "a MATLAB file. Read it with scipy.io.loadmat",
}
# a pickle begins with the byte 0x80 and its protocol number
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def read(
    path: Path | str,
    *,
    selection: Selection = EVERYTHING,
    filter_key: str | None = None,
    observations: Sequence[str] | None = None,
    dropped: Sequence[str] = (),
    check: bool = True,
    download: bool = True,
) -> Episodes:
    """Read a data set of any known format and check it.

    Args:
        path: File or folder of a data set, or its name `owner/name` on the Hugging Face Hub.
        selection: Keys of the state and the action, cameras and episodes to read; see `Selection`.
        filter_key: Short for `Selection(filter_key=…)`.
        observations: Names of the observations to read from a robomimic file, in this order; with a filter key, but no
            other selection.
        dropped: Episodes that are left out afterwards (`Preparation.drop_episodes`), which are not checked.
        check: Whether to refuse data that nothing can be learned from (`validate`), or that are not what was written.
        download: Whether a name on the Hub may be downloaded; otherwise only what is in the cache is read. Give false
            for a name that a file holds and nobody typed.

    Raises:
        DataError: The path does not exist, the format is not known, or the data cannot be used as they are.
        RecipeError: `observations` for another format or with another selection, or a selection that the data cannot
            have.
        UnknownNameError: A key, a camera, a filter key or a task that the data lack.
    """
    place = locate(path, download=download)
    chosen = selection if filter_key is None else replace(selection, filter_key=filter_key)
    with _pointers_named(place):
        format = _format_of(place)
        check_inside(place)
        with _in_words(place, format), nullcontext() if check else damage_is_a_warning():
            episodes = _read(format, place, replace(chosen, estimate=None, depth_range=None), observations)
            episodes = ranged(episodes, chosen.depth_range, str(place))
            if chosen.estimate is not None:
                episodes = estimating(episodes, chosen.estimate)
            if check:
                _check(episodes, chosen, dropped, str(place))
    return episodes


def _check(episodes: Episodes, selection: Selection, dropped: Sequence[str], source: str) -> None:
    """Validate the episodes that are used, under the numbers by which options name them."""
    left = chosen_episodes(episodes, dropped) if dropped else torch.arange(len(episodes))
    whole = replace(selection, state=None, action=None, cameras=None, estimate=None, depth_range=None).is_empty
    used = select(episodes, left) if dropped else episodes
    validate(used, source=source, numbering=Numbering(list(map(int, left)), whole=whole and not dropped))


def _read(format: Format, place: Path, selection: Selection, observations: Sequence[str] | None) -> Episodes:
    if observations is not None:
        if format.read_observations is None:
            able = ", ".join(known.name for known in TABLE if known.read_observations is not None)
            raise RecipeError(
                f"observations can be chosen in {able} files, but {place} is {format.name}. Choose the keys of the "
                "state instead: --state KEY [KEY ...]."
            )
        if given := [
            f.name for f in fields(selection) if f.name != "filter_key" and getattr(selection, f.name) is not None
        ]:
            raise RecipeError(
                f"observations cannot be combined with a choice of {', '.join(given)}. Give only a filter key with "
                "them, or choose the keys of the state instead: --state KEY [KEY ...]."
            )
        return format.read_observations(place, selection.filter_key, observations)
    if selection.is_empty:
        return format.read(place)
    if format.read_selected is None:
        episodes, rest = format.read(place), selection
    else:
        episodes, rest = format.read_selected(place, selection)
    if rest.maps_keys:
        episodes = remapped(episodes, rest)
    return picked(episodes, rest)


@contextmanager
def _pointers_named(place: Path) -> Generator[None]:
    """Where content was not fetched by Git LFS, that is the cause of whatever cannot be read."""
    try:
        yield
    except HoldfastError as error:
        if pointers := _pointers_in(place):
            more = f" ({len(pointers)} such files)" if len(pointers) > 1 else ""
            raise DataError(
                f"{pointers[0]} is a Git LFS pointer: a short text in the place of the data, which were not "
                f"fetched{more}. Run git lfs pull in the folder of the data set (git annex get for git-annex)."
            ) from error
        raise


def _pointers_in(place: Path) -> list[Path]:
    """Pointers among the files of a data set, without pictures and videos, which are not needed to read it."""
    if not place.is_dir():
        return [place] if is_pointer(place) else []
    files = (file for file in sorted(place.rglob("*")) if file.suffix.lower() not in VIEWS)
    return [file for file in files if is_pointer(file)]


@contextmanager
def _in_words(place: Path, format: Format) -> Generator[None]:
    """What no reader foresaw in a file is one sentence, too: the memory does not suffice, a value has another type."""
    try:
        with enough_memory(f"reading {place}"):
            yield
    except HoldfastError:
        raise
    # libraries have errors of their own for the values that a damaged or edited file holds
    except Exception as error:
        raise DataError(
            f"{place} cannot be read as a data set of the format {format.name} ({type(error).__name__}: "
            f"{shown(str(error), most=200)}). It is damaged or was edited: copy or download it again."
        ) from error


def write(
    episodes: Episodes, path: Path | str, *, format: str | None = None, video: bool = False, overwrite: bool = False
) -> None:
    """Write episodes; if writing fails, the path stays as it was.

    Args:
        episodes: Episodes to store.
        path: File or folder to create; its parents are created as needed.
        format: One of `FORMATS`. Default: the format of the suffix (.npz, .hdf5, .h5, .zarr, .zarr.zip), else
            `lerobot`.
        video: Whether pictures are stored as video: tens of times smaller, and not exactly the same (extra `video`).
        overwrite: Whether to replace an existing data set.

    Raises:
        DataError: Episodes that `validate` refuses or that the format cannot hold, or video in a format without it.
        UnknownNameError: The format is not one of `FORMATS`.
        OutputError: The path exists and `overwrite` is not set, it holds something other than a data set, or its disk
            has too little room for the numbers; the size of images is not known before they are encoded.
    """
    chosen = _format_to_write(path, format)
    if columns := chosen.unwritable(episodes):
        raise DataError(
            f"the format {chosen.name} cannot hold the dtype of the columns {', '.join(columns)}. Convert them, drop "
            f"them with without_columns(episodes, {', '.join(map(repr, columns))}), or use the format holdfast."
        )
    if chosen.write is None:
        able = ", ".join(known.name for known in TABLE if known.write is not None)
        raise DataError(f"the format {chosen.name} can only be read. Write one of: {able}.")
    writer = chosen.write_films if video and episodes.cameras else chosen.write
    if writer is None:
        films = ", ".join(known.name for known in TABLE if known.write_films is not None)
        raise DataError(f"the format {chosen.name} stores single pictures, not video. Video is stored by: {films}.")
    validate(episodes, source="the episodes to write", otherwise=INSPECTED)
    check_space(Path(path), _bytes_of(episodes))
    with atomic_output(path, overwrite=overwrite) as fresh:
        writer(episodes, fresh)


def _bytes_of(episodes: Episodes) -> int:
    parts = [episodes.actions, episodes.states, episodes.rewards, episodes.timestamps, *episodes.columns.values()]
    if episodes.observations is not None:
        parts += [episodes.observations.state, episodes.observations.environment_state]
    return sum(part.numel() * part.element_size() for part in parts if part is not None)


def unwritable_columns(episodes: Episodes, path: Path | str, *, format: str | None = None) -> list[str]:
    """Names of the columns that `write` would refuse because the format cannot hold them."""
    return _format_to_write(path, format).unwritable(episodes)


def locate(path: Path | str, *, download: bool = True) -> Path:
    """The local path of a data set: the path itself, or the download folder of a name on the Hugging Face Hub.

    Raises:
        DataError: The path does not exist and is no name on the Hub, or the Hub cannot be reached.
    """
    place, text = Path(path), str(path)
    put_back(place)
    if place.exists():
        return hub.snapshot_of(place) or place
    if MINARI_ID.fullmatch(text) and text.count("/") != 1:
        raise DataError(
            f"{text} does not exist. If it is the name of a Minari data set, download it (minari download {text}) and "
            "give its folder, below $MINARI_DATASETS_PATH or ~/.minari/datasets."
        )
    # if the parent exists, it is a mistyped path
    if HUB_ID.fullmatch(text) and format_by_suffix(place) is None and not place.parent.exists():
        return hub.fetch(text, download=download)
    raise DataError(f"{place} does not exist. Give the file or folder of a data set; known formats: {KNOWN}.")


def format_of(path: Path) -> str:
    """The name of the format that a path holds.

    Raises:
        DataError: The format is not known; pickles are refused with the reason.
    """
    return _format_of(path).name


def _format_to_write(path: Path | str, name: str | None) -> Format:
    return format_named(name) if name else format_by_suffix(Path(path)) or format_named("lerobot")


def _format_of(path: Path) -> Format:
    check_regular(path)
    if path.is_file():
        _refuse_pickle(path)
        _refuse_log(path)
    # a file damaged beyond recognition is read as its suffix suggests, so that the error names the damage
    found = recognised(path) or _suggested(path)
    if found is None:
        around = next((parent for parent in path.absolute().parents[:3] if _is_set(parent)), None)
        if around is not None:
            raise DataError(f"{path} is a part of the data set {around}. Give that folder.")
        raise DataError(f"{path} {_content(path)}. Known formats: {KNOWN}. Unpack an archive first.")
    return found


def _is_set(path: Path) -> bool:
    found = recognised(path)
    return found is not None and found.is_complete(path)


def _suggested(path: Path) -> Format | None:
    """The format of the suffix, except for a folder that is named like a file."""
    found = format_by_suffix(path)
    return None if found and path.is_dir() and found.entries is None else found


def _refuse_pickle(path: Path) -> None:
    start = read_start(path, most=2)
    in_archive = any(name.endswith("/data.pkl") for name in names_in(path))
    if path.suffix.lower() in PICKLES or start in PICKLE_STARTS or in_archive:
        raise DataError(
            f"{path} is a pickle, and loading one runs whatever code it holds. Where you trust it, load it elsewhere "
            "and save plain arrays: np.savez(out, actions=..., states=..., episode_ends=...), rows of all episodes end "
            "to end; then: holdfast convert out.npz DATA"
        )


def _refuse_log(path: Path) -> None:
    """Refuse recordings that other programs must unpack first, with the way to do it."""
    way_out = LOGS.get(path.suffix.lower()) or (LOGS[".mcap"] if read_start(path, most=5) == MCAP else None)
    if way_out:
        raise DataError(
            f"{path} is {way_out}, resample them to one rate, and save np.savez(out, actions=..., states=..., "
            "episode_ends=...), or a CSV file with one row per step."
        )


def _content(place: Path) -> str:
    if not place.is_dir():
        return "is a file of no known format"
    names = sorted(entry.name for entry in place.iterdir())
    for suffix in (".npz", ".csv", ".tsv"):
        if count := sum(name.lower().endswith(suffix) for name in names):
            files = f"{count} {suffix} files" if count > 1 else f"one {suffix} file"
            return (
                f"is a folder of {files}. Expected a file per episode, whose names differ in numbers alone "
                f"(episode_0{suffix}, episode_1{suffix}). Rename them so, or give one of the files"
            )
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"is not a data set: it holds {listed}" if names else "is an empty folder"
