"""What a LeRobot set says of itself: `meta/info.json`, its features and their names, and the places of its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor

from ...errors import DataError
from . import columns

__all__ = ["INFO", "OURS", "OUR_VERSION", "Feature", "Films", "Layout", "Recording", "read_layout"]

INFO = "meta/info.json"
# The key of info.json under which Holdfast keeps what the format has no place for. LeRobot ignores keys that it does
# not know and drops them when it edits a set; that is as it should be, for after an edit they would no longer hold.
OURS, OUR_VERSION = "holdfast", 1
LABELS = ("dt", "system", "names", "meta")
PICTURES = ("image", "video")
CHANNELS_FIRST = ("channel", "channels", "c")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the set, or one camera.

    Attributes:
        dtype: As NumPy calls it, or `image`, `video`, `string`.
        shape: Numbers a row; a single number has shape (1,).
        names: As stored: absent, a list, a list of lists, or a dictionary.
        depth: Whether it is a camera of distances.
    """

    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    depth: bool = False

    @property
    def is_camera(self) -> bool:
        """Whether it holds pictures of 8 bits."""
        return self.dtype in PICTURES and len(self.shape) == 3 and not self.depth

    @property
    def is_vector(self) -> bool:
        """Whether a row of it is a list of numbers."""
        return len(self.shape) == 1 and self.dtype not in (*PICTURES, "string", "language")

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and channels; stored in this order, or channels first where the names or sizes say so."""
        first, second, third = self.shape
        names = _flat(self.names)
        channels_first = names[0] in CHANNELS_FIRST if names else first <= 4 < third
        return (second, third, first) if channels_first else (first, second, third)

    @property
    def flat_names(self) -> tuple[str, ...] | None:
        """One name a coordinate, if that is what is stored in one of LeRobot's ways."""
        names = _flat(self.names)
        return tuple(names) if len(names) == self.shape[0] else None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The content of `meta/info.json`, as far as it is needed."""

    folder: Path
    version: str
    fps: int | float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str | None
    chunks_size: int
    total_episodes: int | None
    robot_type: str | None
    ours: Mapping[str, Any] | None

    def place(self, template: str, **values: int | str) -> Path:
        """A file of the set, by the template that the set gives.

        Raises:
            DataError: A template that names other values, or leads out of the set.
        """
        try:
            relative = PurePosixPath(template.format(**values))
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise DataError(
                f"{self.folder / INFO}: the path {template!r} cannot be filled in ({error!r}) from "
                f"{', '.join(values)}. Was it edited by hand?"
            ) from error
        if relative.is_absolute() or ".." in relative.parts:
            raise DataError(f"{self.folder / INFO}: the path {template!r} leads out of the set, so it is not followed.")
        return self.folder / relative


@dataclass(frozen=True, kw_only=True)
class Films:
    """Where the films of one camera are: by episode, the file and when the episode begins in it [s]."""

    files: tuple[Path, ...]
    starts: Float[Tensor, " episodes"]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What the files beside info.json say of a set, alike for all versions.

    Attributes:
        files: The tables of rows, in order.
        indices: The number that each episode has in the tables.
        lengths: Steps of each episode.
        tasks: What each `task_index` says.
        films: By feature, for those that are films.
        final_states: As Holdfast writes them.
    """

    files: tuple[Path, ...]
    indices: Int[Tensor, " episodes"]
    lengths: Int[Tensor, " episodes"]
    tasks: Mapping[int, str]
    films: Mapping[str, Films]
    final_states: Float[Tensor, "episodes n"] | None = None


def read_layout(folder: Path) -> Layout:
    """Read `meta/info.json`.

    Raises:
        DataError: It is missing or damaged, or lacks features or a rate above 0.
    """
    info = _read_info(folder)
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not fps > 0:
        raise DataError(f"{folder / INFO}: fps must be a number above 0, got {fps!r}. Enter the rate of the recording.")
    return Layout(
        folder=folder,
        version=str(info.get("codebase_version")),
        fps=fps,
        features=_features(info.get("features"), folder),
        data_path=str(info.get("data_path")),
        video_path=None if info.get("video_path") is None else str(info["video_path"]),
        chunks_size=_chunks_size(info.get("chunks_size", 1000), folder),
        total_episodes=info.get("total_episodes"),
        robot_type=info.get("robot_type"),
        ours=_ours(info.get(OURS), folder),
    )


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder} lacks {INFO}, which says what a LeRobot set holds. Was it copied whole?") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{folder / INFO} is damaged ({error}). Copy or download it again.") from error
    if not isinstance(info, dict):
        raise DataError(f"{folder / INFO} is damaged: expected a dictionary. Copy or download it again.")
    return cast("dict[str, Any]", info)


def _chunks_size(stored: Any, folder: Path) -> int:
    if isinstance(stored, bool) or not isinstance(stored, int) or stored < 1:
        raise DataError(f"{folder / INFO}: chunks_size must be a whole number above 0, got {stored!r}. Copy it again.")
    return stored


def _ours(stored: Any, folder: Path) -> Mapping[str, Any] | None:
    if stored is None:
        return None
    version = cast("dict[str, Any]", stored).get("version") if isinstance(stored, dict) else None
    if not isinstance(version, int) or version > OUR_VERSION:
        raise DataError(
            f"{folder / INFO}: the part {OURS!r} has version {version}, but this Holdfast reads up to {OUR_VERSION}. "
            "Upgrade it: pip install -U holdfast"
        )
    told = cast("dict[str, Any]", stored)
    return columns.checked(told, [name for name in LABELS if name in told], f"{folder / INFO}: {OURS}")


def _features(stored: Any, folder: Path) -> dict[str, Feature]:
    try:
        return {str(key): _feature(value) for key, value in stored.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{folder / INFO}: expected `features` with a dtype and a shape each ({error!r}). Copy it again."
        ) from error


def _feature(stored: Mapping[str, Any]) -> Feature:
    shape = tuple(int(size) for size in stored["shape"])
    if any(size < 0 for size in shape):
        raise ValueError(f"a shape of {list(shape)}")
    places = [cast("dict[str, Any]", stored.get(place) or {}) for place in ("info", "video_info")]
    depth = any(bool(place.get(mark)) for place in places for mark in ("is_depth_map", "video.is_depth_map"))
    return Feature(dtype=str(stored["dtype"]), shape=shape, names=stored.get("names"), depth=depth)


def _flat(names: Any) -> list[str]:
    """Names out of LeRobot's several ways: `["x"]`, `[["x"]]`, `{"motors": ["x"]}`, `{"x": 0}`."""
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
