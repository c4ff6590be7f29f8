"""From the tables of a LeRobot data set to episodes: one pass over the rows, the same for every version."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ....files import is_pointer, shown
from ....types import Episodes, Pictures
from ...arrays import COLUMN, Values, episodes_of
from ...checksums import FileSum
from ...differing import listed_numbers, reading_alone
from ...selection import Selection
from ...video import Video
from ..sealed import check_seal
from ..stored import as_episode_columns, is_column
from .info import EpisodeTable, Feature, Info, VideoFiles
from .parquet import Column, read_columns, read_encoded
from .roles import ACTION, EVERYTHING, NUMBERS, SEEN, Roles, beside, is_number, roles_of

REST = "observation.environment_state"
REWARD, CAMERA = "next.reward", "observation.images."
# Features that only Holdfast writes: the state that gains feed back, if a policy sees something else, and times that
# float32 cannot hold. They are used only if info.json shows that Holdfast wrote the data set.
STATE, EXACT_TIME = "state", "holdfast.timestamp"
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")
# names of columns for features that are not what the policy sees, because other ones were chosen
COLUMN_NAMES = {name: f"recorded {name}" for name in (ACTION, SEEN, REST)}
# within a quarter of a step of its time, a picture is certainly the nearest one
TOLERANCE = 0.25


def assemble(info: Info, episodes: EpisodeTable, selection: Selection = EVERYTHING) -> Episodes:
    """Episodes of a data set whose files are known."""
    ours = info.ours or {}
    roles = roles_of(info, selection)
    wanted, keys = _wanted(info, roles), _column_keys(info, roles)
    arrays, further, stored = _read(info, episodes, wanted, keys.values())
    kinds = _other_kinds(info, arrays | further, stored)
    _check_rows(arrays["episode_index"], episodes, info)
    tasks, vary = _tasks(arrays.get("task_index"), episodes, info)
    counted = {"episode_index", "task_index"} - {*roles.action, *roles.state}
    numbers = {name: _tensor(values) for name, values in arrays.items() if name not in counted}
    cameras, missing = _cameras(info, episodes, numbers.get("timestamp"))
    columns = {COLUMN + name: _column_values(name, further[key], info) for name, key in keys.items() if key in further}
    episode_columns, rest = _episode_columns(info, episodes)
    notes = {
        "features_left_out": _left_out(info, {*wanted, *further}) + rest,
        "cameras_missing": missing,
        "tasks_vary": vary,
        "reading_notes": [] if info.ours else [*roles.notes, *kinds],
    }
    seen, reward = beside(numbers, roles.state), _single(numbers.get(REWARD))
    given = ours.get("observations", REST in numbers)
    times = numbers.get(EXACT_TIME, numbers.get("timestamp")) if ours.get("timestamps", True) else None
    found = {
        "actions": beside(numbers, roles.action),
        "states": numbers.get(STATE, seen),
        "final_states": episodes.final_states,
        "observation.state": seen if given else None,
        "observation.environment_state": numbers.get(REST),
        "rewards": reward,
        "timestamps": _single(times),
        "tasks": tasks if ours.get("tasks", True) else None,
    }
    made = episodes_of(
        found | columns | episode_columns,
        episodes.lengths,
        cameras=cameras,
        names=_names(info, roles, [key for key in keys if COLUMN + key in columns]),
        dt=ours.get("dt", 1 / info.fps),
        system=ours.get("system", info.robot_type),
        meta=dict(ours.get("meta", {})) | {note: value for note, value in notes.items() if value},
    )
    check_seal(ours, made, str(info.folder))
    return made


def _column_keys(info: Info, roles: Roles) -> Mapping[str, str]:
    """The feature of each column, by the column's name."""
    if info.ours is not None and "columns" in info.ours:
        return info.ours["columns"]
    others = (name for name in info.features if name not in (EXACT_TIME, *roles.state, *roles.action))
    names = {name: name if name == REST and not roles.chosen else COLUMN_NAMES.get(name, name) for name in others}
    return {
        column: name
        for name, column in names.items()
        if is_number(info.features[name]) and is_column(column, _row_of(info.features[name]), 1)
    }


def _row_of(feature: Feature) -> NDArray[Any]:
    """An array with the shape of one row, which takes no memory: the shape is what a file declares."""
    return np.broadcast_to(np.float64(0), (1, feature.width))


def _read(
    info: Info, episodes: EpisodeTable, wanted: Iterable[str], further: Iterable[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, np.dtype[Any]]]:
    """The required features, and those further ones that can be read."""
    types, others = ({name: _column(name, info) for name in names} for names in (wanted, further))
    try:
        arrays, stored = read_columns(episodes.files, types | others, episodes.kept)
        return {name: arrays[name] for name in types}, {name: arrays[name] for name in others}, stored
    except DataError as error:
        if info.ours is not None:
            raise
        _refuse_differing(episodes, types, error)
        if not others:
            raise
    # a further feature of another program that cannot be read is no reason to refuse the data set
    found = {name: _try(episodes, name, kind) for name, kind in others.items()}
    arrays, stored = read_columns(episodes.files, types, episodes.kept)
    return arrays, {name: values for name, values in found.items() if values is not None}, stored


def _refuse_differing(episodes: EpisodeTable, types: Mapping[str, Column], reason: DataError) -> None:
    """If only some tables of an episode each cannot be read, say which, and how to read the others."""
    if not episodes.has_a_file_each:
        return
    odd = [number for number, file in enumerate(episodes.files) if not _is_readable(file, types)]
    if not 0 < len(odd) < len(episodes.files):
        return
    alike = [number for number in range(len(episodes.files)) if number not in odd]
    which = f"episodes {listed_numbers(odd)} are" if len(odd) > 1 else f"episode {odd[0]} is"
    raise DataError(f"{reason} In this set {which} not as the others. {reading_alone(alike)}.") from reason


def _is_readable(file: Path, types: Mapping[str, Column]) -> bool:
    try:
        read_columns([file], types)
    except DataError:
        return False
    return True


def _try(episodes: EpisodeTable, name: str, kind: Column) -> NDArray[Any] | None:
    try:
        return read_columns(episodes.files, {name: kind}, episodes.kept)[0][name]
    except DataError:
        return None


def _column_values(name: str, values: NDArray[Any], info: Info) -> Tensor:
    """A column in its stored dtype; single numbers as one axis."""
    scalars = None if info.ours is None else info.ours.get("scalars", ())
    scalar = values.shape[1] == 1 if scalars is None else name in scalars
    return torch.as_tensor(values[:, 0].copy() if scalar else values)


def _episode_columns(info: Info, episodes: EpisodeTable) -> tuple[dict[str, Values], list[str]]:
    if info.ours is None:
        found, rest = as_episode_columns(episodes.further, len(episodes.lengths))
        return found, [f"meta/episodes: {name}" for name in rest]
    keys: Mapping[str, str] = info.ours.get("attributes", {})
    if lost := [key for key in keys.values() if key not in episodes.further]:
        raise DataError(f"{info.folder}: the list of episodes lacks {', '.join(lost)}. Copy or download it again.")
    return as_episode_columns({name: episodes.further[key] for name, key in keys.items()}, len(episodes.lengths))


def _wanted(info: Info, roles: Roles) -> list[str]:
    """The features of numbers to read."""
    own = (STATE, EXACT_TIME) if info.ours else ()
    optional = [*(() if roles.chosen else (REST,)), REWARD, "timestamp", "task_index", *own]
    # rewards that are no single number are left out
    usable = [
        name for name in optional if name in info.features and (info.ours or _is_usable(info.features[name], name))
    ]
    return list(dict.fromkeys(["episode_index", *roles.action, *roles.state, *usable]))


def _is_usable(feature: Feature, name: str) -> bool:
    return name == REST or name == "task_index" or (is_number(feature) and feature.width == 1)


def _column(name: str, info: Info) -> Column:
    feature = info.features.get(name, Feature(dtype="int64", shape=(1,)))
    if not feature.is_vector or not feature.width:
        raise DataError(
            f"{info.folder}: {name} has dtype {feature.dtype} and shape {list(feature.shape)}; expected numbers, one "
            "list a row. Choose other features with --state and --action, or flatten it when recording."
        )
    if feature.dtype not in NUMBERS:
        raise DataError(f"{info.folder}: {name} has the unknown dtype {shown(feature.dtype)}. Record it again.")
    return Column(np.dtype(feature.dtype), feature.width)


def _other_kinds(info: Info, arrays: Mapping[str, NDArray[Any]], stored: Mapping[str, np.dtype[Any]]) -> list[str]:
    """One sentence for each feature that is read in another shape or dtype than `meta/info.json` gives."""
    found = list[str]()
    for name, values in arrays.items():
        feature = info.features.get(name)
        if feature is None or name in BOOKKEEPING:
            continue
        if len(feature.shape) != 1:
            width = "one number" if values.shape[1] == 1 else f"{values.shape[1]} numbers"
            found.append(f"{name} has the shape {list(feature.shape)}: read as {width} a row.")
        if feature.dtype != str(stored.get(name, feature.dtype)):
            kinds = f"{feature.dtype} in meta/info.json, {stored[name]} in the tables"
            found.append(f"{name} is {kinds}: cast to {values.dtype}.")
    return found


def _check_rows(found: NDArray[Any], episodes: EpisodeTable, info: Info) -> None:
    """Refuse tables that do not hold the episodes of the list, whole and in order."""
    if not len(found) or not len(episodes.lengths):
        raise DataError(f"{info.folder}: it holds no steps. Record the data set again.")
    # as Python's numbers: a sum of lengths that a file gives can exceed 64 bits
    if len(found) != (total := sum(episodes.lengths.numpy().tolist())):
        raise DataError(
            f"{info.folder}: its list of episodes has {total} steps, its tables have {len(found)}. They do "
            "not belong together: copy or download the set again."
        )
    expected = episodes.indices.repeat_interleave(episodes.lengths).numpy()
    if (wrong := np.flatnonzero(found[:, 0] != expected)).size:
        raise DataError(
            f"{info.folder}: row {wrong[0]} belongs to episode {found[wrong[0], 0]} in the tables, to episode "
            f"{expected[wrong[0]]} in the list of episodes. Copy or download the set again."
        )


def _tasks(found: NDArray[Any] | None, episodes: EpisodeTable, info: Info) -> tuple[tuple[str, ...] | None, list[int]]:
    """The instruction at the start of each episode, and the episodes in which it changes."""
    if found is None:
        return None, []
    lengths = episodes.lengths.numpy()
    filled = np.flatnonzero(lengths)
    starts = (lengths.cumsum() - lengths)[filled]
    first = found[starts, 0]
    changed = found[:, 0] != np.repeat(first, lengths[filled])
    vary = filled[np.logical_or.reduceat(changed, starts)].tolist()
    numbers: dict[int, int] = dict(zip(filled.tolist(), first.tolist(), strict=True))
    if unknown := set(numbers.values()) - episodes.tasks.keys():
        number = min(unknown)
        episode = next(episode for episode, given in numbers.items() if given == number)
        raise DataError(
            f"{info.folder}: the list of tasks lacks number {number}, the task_index of episode {episode}. Copy or "
            "download it again, or add the instruction with this number to the list in meta/."
        )
    # an episode without steps has no instruction
    return tuple(episodes.tasks[numbers[n]] if n in numbers else "" for n in range(len(lengths))), vary


def _cameras(info: Info, episodes: EpisodeTable, times: Tensor | None) -> tuple[dict[str, Pictures], list[str]]:
    """The cameras whose pictures are available, and the names of those whose video files are missing."""
    found, missing = dict[str, Pictures](), list[str]()
    for key, feature in info.features.items():
        if not feature.is_camera:
            continue
        name = key.removeprefix(CAMERA).removeprefix("observation.")
        if feature.dtype == "image":
            found[name] = read_encoded(episodes.files, key, feature.picture_shape, episodes.kept)
            continue
        videos = episodes.videos.get(key)
        # without its video files a data set still has its states; using the camera raises an error later
        if videos is None or not all(file.is_file() and not is_pointer(file) for file in dict.fromkeys(videos.files)):
            missing.append(name)
        else:
            found[name] = _video(videos, feature, episodes.lengths, times, info)
    return found, missing


def _video(videos: VideoFiles, feature: Feature, lengths: Tensor, times: Tensor | None, info: Info) -> Video:
    files = tuple(dict.fromkeys(videos.files))
    number = {file: index for index, file in enumerate(files)}
    sums: Mapping[str, FileSum] = (info.ours or {}).get("files", {})
    if times is None:
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        times = ((torch.arange(len(starts)) - starts) / info.fps)[:, None]
    return Video(
        files=files,
        file_of=torch.tensor([number[file] for file in videos.files]).repeat_interleave(lengths),
        seconds=videos.starts.repeat_interleave(lengths) + times[:, 0].double(),
        shape=feature.picture_shape,
        tolerance=TOLERANCE / info.fps,
        sums=tuple(sums.get(file.relative_to(info.folder).as_posix()) for file in files),
    )


def _names(info: Info, roles: Roles, columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    if info.ours and "names" in info.ours:
        return {quantity: tuple(names) for quantity, names in info.ours["names"].items()}
    quantities = [name for name in (*(() if roles.chosen else (REST,)), *columns) if name in info.features]
    named = {name: info.features[name].flat_names for name in quantities}
    found = {name: names for name, names in named.items() if names is not None}
    for quantity, keys in {ACTION: roles.action, SEEN: roles.state}.items():
        if (names := roles.names(info, keys)) is not None:
            found |= {quantity: names} | ({STATE: names} if quantity == SEEN else {})
    return found


def _left_out(info: Info, read: Set[str]) -> list[str]:
    known = {*read, *BOOKKEEPING}
    return [name for name, feature in info.features.items() if name not in known and not feature.is_camera]


def _tensor(values: NDArray[Any]) -> Tensor:
    """Numbers in their stored dtype; integers become float32."""
    tensor = torch.as_tensor(values)
    return tensor if tensor.is_floating_point() else tensor.float()


def _single(values: Tensor | None) -> Tensor | None:
    return None if values is None else values[:, 0]
