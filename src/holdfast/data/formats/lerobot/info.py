"""`meta/info.json` of a LeRobot data set: features and their names, and the paths of files."""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any, cast

from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ....files import shown
from ..sealed import check_not_renamed
from ..stored import checked, read_object

INFO = "meta/info.json"
# The key of info.json under which Holdfast stores what the format has no place for. LeRobot ignores unknown keys, and
# drops them when it edits a data set, after which they would no longer be true.
OURS, OUR_VERSION = "holdfast", 1
LABELS = ("dt", "system", "names", "meta", "columns", "scalars", "episode_columns", "attributes", "files")
PICTURES = ("image", "video")
CHANNELS_FIRST = ("channel", "channels", "c")
# bytes of a part of a path, the limit of file systems; numbers of at most so many digits in it
LONGEST, _WIDTH = 255, re.compile(r"(0?\d{1,2})?d?")
_SPLIT = re.compile(r"(\d{1,9}):(\d{1,9})")
# a backslash or a drive would lead elsewhere on another system; control characters are in no name
_IN_FOLDER = re.compile(r"[^\\:\x00-\x1f\x7f]+")
# rates of any recording, and bytes of a picture of any camera
SLOWEST, FASTEST = 1e-6, 1e6
LARGEST_PICTURE = 1 << 28
# missing episodes that are looked for
MOST_GAPS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column or one camera.

    Attributes:
        names: Names of the coordinates as stored: absent, a list, a list of lists, or a dictionary.
    """

    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    depth: bool = False

    @property
    def is_camera(self) -> bool:
        """Whether it holds 8-bit pictures."""
        return self.dtype in PICTURES and len(self.shape) == 3 and not self.depth

    @property
    def is_vector(self) -> bool:
        """Whether a row is a number, a list of numbers, or a table of numbers, which is read as a list."""
        return not self.depth and self.dtype not in (*PICTURES, "string", "language")

    @property
    def width(self) -> int:
        """Numbers a row; 1 for the shape `[]`."""
        return math.prod(self.shape)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and channels; stored in this order, or channels first, judged by names or sizes."""
        first, second, third = self.shape
        names = _flat(self.names)
        channels_first = names[0] in CHANNELS_FIRST if names else first <= 4 < third
        return (second, third, first) if channels_first else (first, second, third)

    @property
    def flat_names(self) -> tuple[str, ...] | None:
        """One name a coordinate, if names are stored in one of LeRobot's forms."""
        names = _flat(self.names)
        if len(names) != self.width:
            return None
        several = len(set(names)) < len(names)
        return tuple(f"{name}_{place}" for place, name in enumerate(names)) if several else tuple(names)

    def odd_names(self, key: str) -> list[str]:
        """A sentence on names that do not tell the coordinates apart."""
        names = _flat(self.names)
        if names and len(names) != self.width:
            given = f"{len(names)} name{'s' if len(names) > 1 else ''}"
            return [f"{key} has {given} for {self.width} coordinates in meta/info.json, so these are called by number."]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            return [f"{key} names {', '.join(twice)} more than once in meta/info.json: numbers are added to its names."]
        return []


@dataclass(frozen=True, kw_only=True)
class Info:
    """The fields of `meta/info.json` that are needed."""

    folder: Path
    version: str
    fps: int | float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str | None
    chunks_size: int
    total_episodes: int | None
    total_frames: Any
    robot_type: str | None
    ours: Mapping[str, Any] | None
    splits: Mapping[str, range] = field(default_factory=lambda: dict[str, range]())

    def place(self, template: str, **values: int | str) -> Path:
        """The path of a file by its template, which may hold plain fields only: `{chunk_index:03d}`."""
        try:
            _check_template(template, values)
            relative = PurePosixPath(template.format(**values))
        except (KeyError, IndexError, AttributeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{self.folder / INFO}: the path {shown(template)} cannot be filled in ({error!r}) from "
                f"{', '.join(values)}. Was it edited by hand?"
            ) from error
        if relative.is_absolute() or {"..", "~"} & set(relative.parts) or not _IN_FOLDER.fullmatch(str(relative)):
            raise DataError(
                f"{self.folder / INFO}: the path {shown(template)} leads out of the data set, so it is not followed."
            )
        if max(map(len, map(os.fsencode, relative.parts)), default=0) > LONGEST:
            raise DataError(
                f"{self.folder / INFO}: the path {shown(template)} has a part of more than {LONGEST} bytes, which no "
                "file can have. Was it edited by hand?"
            )
        return self.folder / relative


def _check_template(template: str, values: Mapping[str, int | str]) -> None:
    """Refuse what `str.format` offers beyond plain fields: attributes, conversions and widths of any size."""
    for _, name, width, conversion in Formatter().parse(template):
        if name is not None and (name not in values or conversion or not _WIDTH.fullmatch(width or "")):
            raise KeyError(name)


@dataclass(frozen=True, kw_only=True)
class VideoFiles:
    """Video files of one camera: the file of each episode, and the time at which the episode begins in it [s]."""

    files: tuple[Path, ...]
    starts: Float[Tensor, " episodes"]


@dataclass(frozen=True, kw_only=True)
class EpisodeTable:
    """The list of episodes, the same for all versions of the format.

    Attributes:
        indices: Index of each episode in the tables.
        tasks: Instruction of each `task_index`.
        file_of: Place in `files` of each episode's table, where one holds several.
        kept: Rows of each file that are read; `None` for all.
        told: The instruction of each episode by the list of episodes, where it gives each a single one.
        further: Further values of each episode, by name.
    """

    files: tuple[Path, ...]
    indices: Int[Tensor, " episodes"]
    lengths: Int[Tensor, " episodes"]
    tasks: Mapping[int, str]
    videos: Mapping[str, VideoFiles]
    final_states: Float[Tensor, "episodes n"] | None = None
    file_of: Sequence[int] | None = None
    kept: Mapping[Path, Sequence[range]] | None = None
    told: Sequence[str] | None = None
    further: Mapping[str, Sequence[Any] | NDArray[Any]] = field(default_factory=lambda: dict[str, Sequence[Any]]())

    @property
    def has_a_file_each(self) -> bool:
        """Whether each episode has a table of its own, as in versions 2.0 and 2.1."""
        return len(self.files) == len(self.indices)

    def chosen(self, numbers: Sequence[int]) -> "EpisodeTable":
        """Some episodes, in ascending order unless each has a table of its own; the rows of others are not read."""
        videos = {
            key: VideoFiles(files=tuple(films.files[n] for n in numbers), starts=films.starts[list(numbers)])
            for key, films in self.videos.items()
        }
        return replace(
            self,
            files=tuple(dict.fromkeys(self.files[self._file_of(number)] for number in numbers)),
            file_of=None,
            kept=None if self.has_a_file_each else self._kept(numbers),
            told=None if self.told is None else [self.told[number] for number in numbers],
            indices=self.indices[list(numbers)],
            lengths=self.lengths[list(numbers)],
            videos=videos,
            final_states=None if self.final_states is None else self.final_states[list(numbers)],
            further={name: [values[number] for number in numbers] for name, values in self.further.items()},
        )

    def _file_of(self, number: int) -> int:
        return number if self.file_of is None else self.file_of[number]

    def _kept(self, numbers: Sequence[int]) -> dict[Path, list[range]]:
        """The rows of the chosen episodes in each table, which holds its episodes one after the other."""
        filled, kept, chosen = dict[int, int](), dict[Path, list[range]](), {*numbers}
        for number, length in enumerate(map(int, self.lengths)):
            file = self._file_of(number)
            first = filled.get(file, 0)
            filled[file] = first + length
            if number in chosen:
                kept.setdefault(self.files[file], []).append(range(first, first + length))
        return kept


def told_of(tasks: Iterable[Any]) -> list[str] | None:
    """The instruction of each episode; `None` unless each has exactly one.

    >>> told_of([["push"], ["pull"]]), told_of([["push", "pull"]])
    (['push', 'pull'], None)
    """
    listed = [cast("list[Any]", one) if isinstance(one, list) else [] for one in tasks]
    single = bool(listed) and all(len(one) == 1 and isinstance(one[0], str) for one in listed)
    return [one[0] for one in listed] if single else None


def check_count(info: Info, listed: Sequence[int], frames: int, place: str, *, cause: str) -> None:
    """Refuse a list of episodes whose number, or number of steps, is not that of `meta/info.json`.

    Args:
        info: What `meta/info.json` gives.
        listed: Indices of the episodes in the list.
        frames: Their steps.
        place: Where the list is.
        cause: Completes the message where episodes are missing at the end.

    Raises:
        DataError: The message names missing indices and the entries to correct.
    """
    total = info.total_episodes
    if total in (None, len(listed)):
        _check_frames(info, frames, place)
        return
    # indices from a file can be of any size: no list of them is made
    last = max(listed, default=-1)
    gaps = sorted(set(range(min(last, len(listed) + MOST_GAPS))) - set(listed))
    lost = f"episode{'s' if len(gaps) > 1 else ''} {', '.join(map(str, gaps[:8]))} {'are' if len(gaps) > 1 else 'is'}"
    missing = f" {lost} missing." if gaps else f" {cause}"
    raise DataError(
        f"{info.folder}: meta/info.json lists {shown(total)} episodes, {place} has {len(listed)}:{missing} If episodes "
        f"were deleted on purpose, set total_episodes to {len(listed)} and total_frames to {frames} in meta/info.json; "
        "otherwise copy the set again."
    )


def _check_frames(info: Info, frames: int, place: str) -> None:
    # what a program with lost or doubled steps leaves behind, if the tables still fit together
    if info.total_frames not in (None, frames):
        raise DataError(
            f"{info.folder}: meta/info.json lists {shown(info.total_frames)} frames, the episodes in {place} have "
            f"{frames} together. If steps were removed on purpose, set total_frames to {frames} in meta/info.json; "
            "otherwise copy the set again."
        )


def read_info(folder: Path) -> Info:
    """Read `meta/info.json`."""
    info = read_object(folder, INFO, f"lacks {INFO}, which every LeRobot data set has")
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not SLOWEST <= fps <= FASTEST:
        raise DataError(
            f"{folder / INFO}: fps must be a number above 0, from {SLOWEST:g} to {FASTEST:g}, got {shown(fps)}. Enter "
            "the rate of the recording."
        )
    return Info(
        folder=folder,
        version=str(info.get("codebase_version")),
        fps=fps,
        features=_features(info.get("features"), folder),
        data_path=str(info.get("data_path")),
        video_path=None if info.get("video_path") is None else str(info["video_path"]),
        chunks_size=_chunks_size(info.get("chunks_size", 1000), folder),
        total_episodes=info.get("total_episodes"),
        total_frames=info.get("total_frames"),
        robot_type=_text_or_none(info, "robot_type", folder),
        ours=_ours(info, folder),
        splits=_splits(info.get("splits")),
    )


def _splits(stored: Any) -> dict[str, range]:
    """The episodes of each split, `{"train": "0:12"}`; others are no ranges and are not offered."""
    named = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
    found = {name: _SPLIT.fullmatch(value) for name, value in named.items() if isinstance(value, str)}
    return {name: range(int(match[1]), int(match[2])) for name, match in found.items() if match is not None}


def _text_or_none(info: Mapping[str, Any], name: str, folder: Path) -> str | None:
    found = info.get(name)
    if found is not None and not isinstance(found, str):
        raise DataError(f"{folder / INFO}: {name} must be a text, got {shown(found)}. Enter it, or remove it.")
    return found


def _chunks_size(stored: Any, folder: Path) -> int:
    if isinstance(stored, bool) or not isinstance(stored, int) or stored < 1:
        raise DataError(f"{folder / INFO}: chunks_size must be a whole number above 0, got {stored!r}. Copy it again.")
    return stored


def _ours(info: Mapping[str, Any], folder: Path) -> Mapping[str, Any] | None:
    if OURS not in info:
        check_not_renamed(info, OURS, str(folder / INFO))
        return None
    stored = info[OURS]
    version = cast("dict[str, Any]", stored).get("version") if isinstance(stored, dict) else None
    if not isinstance(version, int) or version > OUR_VERSION:
        raise DataError(
            f"{folder / INFO}: the part {OURS!r} has version {version}, but this Holdfast reads up to {OUR_VERSION}. "
            "Upgrade it: pip install -U holdfast"
        )
    ours = cast("dict[str, Any]", stored)
    return checked(ours, [name for name in LABELS if name in ours], f"{folder / INFO}: {OURS}")


def _features(stored: Any, folder: Path) -> dict[str, Feature]:
    if not isinstance(stored, dict):
        raise DataError(
            f"{folder / INFO}: expected `features` with a dtype and a shape each, got {shown(stored)}. Copy it again."
        )
    try:
        return {str(key): _feature(value) for key, value in cast("dict[str, Any]", stored).items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{folder / INFO}: expected `features` with a dtype and a shape each ({error!r}). Copy it again."
        ) from error


def _feature(stored: Mapping[str, Any]) -> Feature:
    shape = tuple(int(size) for size in stored["shape"])
    if any(not 0 <= size < 1 << 31 for size in shape):
        raise ValueError(f"a shape of {list(shape)}")
    if stored["dtype"] in PICTURES and math.prod(shape) > LARGEST_PICTURE:
        raise ValueError(f"pictures of shape {list(shape)}")
    places = [cast("dict[str, Any]", stored.get(place) or {}) for place in ("info", "video_info")]
    depth = any(bool(place.get(mark)) for place in places for mark in ("is_depth_map", "video.is_depth_map"))
    return Feature(dtype=str(stored["dtype"]), shape=shape, names=stored.get("names"), depth=depth)


def _flat(names: Any) -> list[str]:
    """Names in any of LeRobot's forms: `["x"]`, `[["x"]]`, `{"motors": ["x"]}`, `{"x": 0}`."""
    match names:
        case str():
            return [names]
        case list():
            return [name for part in cast("list[Any]", names) for name in _flat(part)]
        case dict():
            named = cast("dict[str, Any]", names)
            if all(isinstance(place, int) for place in named.values()):
                return sorted(named, key=lambda name: named[name])
            return [name for part in named.values() for name in _flat(part)]
        case _:
            return []
