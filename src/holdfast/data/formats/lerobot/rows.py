"""From the tables of a LeRobot set to episodes: one pass over the rows, the same for every version."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Observation, Pictures
from ..film import Film
from .lerobot_info import Feature, Films, Layout, Recording
from .lerobot_parquet import Column, read_columns, read_encoded

__all__ = ["ACTION", "CAMERA", "EXACT_TIME", "REST", "REWARD", "SEEN", "STATE", "assemble"]

ACTION, SEEN, REST = "action", "observation.state", "observation.environment_state"
REWARD, CAMERA = "next.reward", "observation.images."
# Features that only Holdfast writes: the state that gains feed back, where it is not what a policy sees, and times
# that float32 cannot hold. They count where info.json says that Holdfast wrote the set.
STATE, EXACT_TIME = "state", "holdfast.timestamp"
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")
# A quarter of a step from its time, a picture still is the nearest one beyond doubt.
TOLERANCE = 0.25


def assemble(layout: Layout, recording: Recording) -> Episodes:
    """Episodes of a set whose files are known.

    Raises:
        DataError: It lacks `action` or `observation.state`, or its files do not belong together.
    """
    wanted = _wanted(layout)
    columns = {name: _column(name, layout) for name in wanted}
    arrays = read_columns(recording.files, columns)
    _check_rows(arrays.pop("episode_index"), recording, layout)
    tasks, vary = _tasks(arrays.pop("task_index", None), recording, layout)
    numbers = {name: _tensor(values) for name, values in arrays.items()}
    cameras, missing = _cameras(layout, recording, numbers.get("timestamp"))
    ours = layout.ours or {}
    notes = {
        "features_left_out": _left_out(layout, wanted),
        "cameras_missing": missing,
        "tasks_vary": vary,
    }
    return Episodes(
        actions=numbers[ACTION],
        states=numbers.get(STATE, numbers[SEEN]),
        lengths=recording.lengths,
        final_states=recording.final_states,
        observations=_observations(numbers, ours),
        cameras=cameras,
        rewards=_single(numbers.get(REWARD)),
        timestamps=_timestamps(numbers, ours),
        tasks=tasks if ours.get("tasks", True) else None,
        names=_names(layout, wanted),
        dt=ours.get("dt", 1 / layout.fps),
        system=ours.get("system", layout.robot_type),
        meta=dict(ours.get("meta", {})) | {note: value for note, value in notes.items() if value},
    )


def _wanted(layout: Layout) -> list[str]:
    """The columns of numbers to read."""
    there = layout.features
    if ACTION not in there or SEEN not in there:
        raise DataError(
            f"{layout.folder}: expected the features {ACTION} and {SEEN}; found {', '.join(there)}. Holdfast clones "
            "from low-dimensional states: record the robot's readings as observation.state."
        )
    optional = [REST, REWARD, "timestamp", "task_index", *((STATE, EXACT_TIME) if layout.ours else ())]
    return ["episode_index", ACTION, SEEN, *(name for name in optional if name in there)]


def _column(name: str, layout: Layout) -> Column:
    feature = layout.features.get(name, Feature(dtype="int64", shape=(1,)))
    if not feature.is_vector:
        raise DataError(
            f"{layout.folder}: {name} has dtype {feature.dtype} and shape {list(feature.shape)}; expected numbers, one "
            "list a row. Flatten it when recording."
        )
    try:
        return Column(np.dtype(feature.dtype), feature.shape[0])
    except TypeError as error:
        raise DataError(f"{layout.folder}: {name} has the unknown dtype {feature.dtype!r}. Record it again.") from error


def _check_rows(found: NDArray[Any], recording: Recording, layout: Layout) -> None:
    """The tables must hold the episodes of the list, whole and in order."""
    if (empty := (recording.lengths < 1).nonzero()).numel() or not len(recording.lengths):
        which = f"episode {int(recording.indices[empty[0, 0]])} is empty" if empty.numel() else "it holds no episodes"
        raise DataError(f"{layout.folder}: {which}. Each needs at least one step: record it again, or leave it out.")
    expected = recording.indices.repeat_interleave(recording.lengths).numpy()
    if len(found) != len(expected):
        raise DataError(
            f"{layout.folder}: its list of episodes says {len(expected)} steps, its tables hold {len(found)}. They do "
            "not belong together: copy or download the set again."
        )
    if (wrong := np.flatnonzero(found[:, 0] != expected)).size:
        raise DataError(
            f"{layout.folder}: row {wrong[0]} belongs to episode {found[wrong[0], 0]} in the tables, to episode "
            f"{expected[wrong[0]]} in the list of episodes. Copy or download the set again."
        )


def _tasks(
    found: NDArray[Any] | None, recording: Recording, layout: Layout
) -> tuple[tuple[str, ...] | None, list[int]]:
    """The instruction that each episode begins with, and the episodes in which it changes."""
    if found is None:
        return None, []
    starts = (recording.lengths.cumsum(0) - recording.lengths).numpy()
    first = found[starts, 0]
    changed = found[:, 0] != np.repeat(first, recording.lengths.numpy())
    vary = [episode for episode, rows in enumerate(np.add.reduceat(changed, starts)) if rows]
    if unknown := {int(task) for task in first} - recording.tasks.keys():
        raise DataError(f"{layout.folder}: the list of tasks lacks number {min(unknown)}. Copy or download it again.")
    return tuple(recording.tasks[int(task)] for task in first), vary


def _cameras(layout: Layout, recording: Recording, times: Tensor | None) -> tuple[dict[str, Pictures], list[str]]:
    """The cameras whose pictures are there, and those whose films are not."""
    found, missing = dict[str, Pictures](), list[str]()
    for key, feature in layout.features.items():
        if not feature.is_camera:
            continue
        name = key.removeprefix(CAMERA).removeprefix("observation.")
        if feature.dtype == "image":
            found[name] = read_encoded(recording.files, key, feature.picture_shape)
            continue
        films = recording.films.get(key)
        # a set whose films were left out still has its states; asking for the camera then says that it is not there
        if films is None or not all(file.is_file() for file in dict.fromkeys(films.files)):
            missing.append(name)
        else:
            found[name] = _film(films, feature, recording.lengths, times, layout.fps)
    return found, missing


def _film(films: Films, feature: Feature, lengths: Tensor, times: Tensor | None, fps: int | float) -> Film:
    files = tuple(dict.fromkeys(films.files))
    number = {file: index for index, file in enumerate(files)}
    if times is None:
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        times = ((torch.arange(len(starts)) - starts) / fps)[:, None]
    return Film(
        files=files,
        file_of=torch.tensor([number[file] for file in films.files]).repeat_interleave(lengths),
        seconds=films.starts.repeat_interleave(lengths) + times[:, 0].double(),
        shape=feature.picture_shape,
        tolerance=TOLERANCE / fps,
    )


def _observations(numbers: Mapping[str, Tensor], ours: Mapping[str, Any]) -> Observation | None:
    given = ours.get("observations", REST in numbers)
    return Observation(state=numbers[SEEN], environment_state=numbers.get(REST)) if given else None


def _timestamps(numbers: Mapping[str, Tensor], ours: Mapping[str, Any]) -> Tensor | None:
    if not ours.get("timestamps", True):
        return None
    return _single(numbers.get(EXACT_TIME, numbers.get("timestamp")))


def _names(layout: Layout, wanted: list[str]) -> dict[str, tuple[str, ...]]:
    if layout.ours and "names" in layout.ours:
        return {quantity: tuple(names) for quantity, names in layout.ours["names"].items()}
    named = {name: layout.features[name].flat_names for name in (ACTION, SEEN, REST) if name in wanted}
    found = {name: names for name, names in named.items() if names is not None}
    return found | ({STATE: found[SEEN]} if SEEN in found else {})


def _left_out(layout: Layout, wanted: list[str]) -> list[str]:
    known = {*wanted, *BOOKKEEPING}
    return [name for name, feature in layout.features.items() if name not in known and not feature.is_camera]


def _tensor(values: NDArray[Any]) -> Tensor:
    """Numbers as they were stored; whole ones become float32."""
    tensor = torch.as_tensor(values)
    return tensor if tensor.is_floating_point() else tensor.float()


def _single(values: Tensor | None) -> Tensor | None:
    return None if values is None else values[:, 0]
