"""Diffusion Policy's replay buffer: a zarr folder, or zip file, whose arrays hold all steps concatenated.

    REPLAY.zarr/
      data/<name>          one row a step
      meta/episode_ends    row after the last one of each episode

`action`, `state` or `obs`, `reward`, and pictures `[rows, height, width, channels]` are read, pictures only when their
rows are; other arrays `[rows]` and `[rows, ·]` become columns, other arrays in `meta` episode columns. The format does
not record final states. (Chi et al. 2023, Diffusion Policy, arXiv 2303.04137;
`diffusion_policy/common/replay_buffer.py`.)

Push-T is recognised by its arrays:

    state [·, 5]         agent xy [px] → `observation.state`, and `states`: what the environment's own servo feeds back;
                         all of it, with the pose of the block → the column `simulator_state`
    keypoint [·, 9, 2]   9 points of the block [px] → `observation.environment_state`, x and y in turn
    action [·, 2]        target xy of the agent [px]

Data sets are written in zarr's format 2, which Diffusion Policy reads. It ignores what it does not know: final states
and episode columns in `meta`, the rest in the attribute `holdfast`.
"""

import re
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Observation, Pictures
from .. import zarr_store
from ..mapped import ZarrFrames, fill
from .archives import names_in
from .arrays import (
    AXES,
    COLUMN,
    EPISODE_COLUMN,
    arrays_of,
    as_columns,
    as_episode_columns,
    as_numpy,
    assemble,
    checked,
    described,
    description_of,
    exact,
    to_json,
    to_rows,
)
from .format import Format
from .layout import unique_keys

__all__ = ["FORMAT", "read", "write"]

LABEL = "holdfast"
MARKS = ("meta/episode_ends/.zarray", "meta/episode_ends/zarr.json")
STATE_NAMES = ("state", "obs")
# the arrays of `arrays` by their place in the group
PLACES = {
    "actions": "data/action",
    "states": "data/state",
    "final_states": "meta/final_states",
    "observation.state": "data/observation.state",
    "observation.environment_state": "data/observation.environment_state",
    "rewards": "data/reward",
    "timestamps": "data/timestamp",
}
TAKEN = {place.split("/")[1] for place in PLACES.values()} | {"episode_ends"}
LISTS = {PLACES[role] for role in AXES}
PUSHT_NAMES = {
    "action": ("target_x", "target_y"),
    "state": ("agent_x", "agent_y"),
    "observation.state": ("agent_x", "agent_y"),
    "observation.environment_state": tuple(f"keypoint_{index}_{axis}" for index in range(9) for axis in "xy"),
}


def read(path: Path) -> Episodes:
    """Read a replay buffer: `action`, and `state` or `obs`; for Push-T also `keypoint`."""
    with zarr_store.opened(path) as group:
        data, ends = _parts(group, path)
        lengths = _lengths(ends, path)
        label = group.attrs.get(LABEL)
        if label is not None:
            return _read_own(group, lengths, label, path)
        _check_rows(data, int(lengths.sum()), path)
        cameras = _cameras(data, path)
        if _is_pusht(data):
            return _with_columns(_pusht(data, lengths, cameras, path), group, {"state", "action", "keypoint"}, path)
        state = next((name for name in STATE_NAMES if name in data), "")
        bare = _foreign(data, state, lengths, cameras, path)
        return _with_columns(bare, group, {"action", "reward", state}, path)


def write(episodes: Episodes, path: Path) -> None:
    """Write a replay buffer that preserves every bit; a zip file if the name ends in `.zip`."""
    arrays = arrays_of(episodes)
    label = {**description_of(episodes), "arrays": sorted(arrays)}
    to_json(label)
    data = unique_keys([*episodes.cameras, *episodes.columns], TAKEN)
    label["cameras"] = {camera: data[camera] for camera in episodes.cameras}
    label["columns"] = _column_places(episodes, data)
    places = {**PLACES, **label["columns"]}
    with zarr_store.created(path) as group:
        for name, values in arrays.items():
            _create(group, places[name], as_numpy(name, values))
        _create(group, "meta/episode_ends", as_numpy("lengths", episodes.lengths.cumsum(0)))
        for camera, pictures in episodes.cameras.items():
            place, shape = f"data/{label['cameras'][camera]}", (len(pictures), *pictures.shape)
            fill(zarr_store.create_array(group, place, shape, np.dtype("u1")), pictures)
        group.attrs[LABEL] = label


def _column_places(episodes: Episodes, data: Mapping[str, str]) -> dict[str, str]:
    numbers = [name for name, values in episodes.episode_columns.items() if isinstance(values, Tensor)]
    meta = unique_keys(numbers, TAKEN)
    places = {COLUMN + name: f"data/{data[name]}" for name in episodes.columns}
    return places | {EPISODE_COLUMN + name: f"meta/{key}" for name, key in meta.items()}


def _create(group: Any, place: str, values: NDArray[Any]) -> None:
    zarr_store.create_array(group, place, values.shape, values.dtype)[:] = values


def _parts(group: Any, path: Path) -> tuple[dict[str, Any], NDArray[Any]]:
    """The arrays of data/, not yet read, and the ends of the episodes."""
    import zarr

    try:
        ends, data = group["meta/episode_ends"], group["data"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no replay buffer with data/ and meta/episode_ends: {error}.") from error
    if not isinstance(ends, zarr.Array) or not isinstance(data, zarr.Group):
        raise DataError(f"{path}: expected a group data/ and an array meta/episode_ends. Was it copied whole?")
    return dict(sorted(data.arrays())), np.asarray(ends[:])


def _lengths(ends: NDArray[Any], path: Path) -> Tensor:
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise DataError(f"{path}: meta/episode_ends must be a list of whole numbers, got {ends.dtype} {ends.shape}.")
    lengths = np.diff(ends.astype(np.int64), prepend=0)
    if (empty := np.flatnonzero(lengths < 1)).size:
        raise DataError(f"{path}: episode {empty[0]} is empty: meta/episode_ends does not rise there. Remove it.")
    return torch.as_tensor(lengths)


def _check_rows(data: Mapping[str, Any], expected: int, path: Path) -> None:
    for name, values in data.items():
        if not values.ndim or values.shape[0] != expected:
            raise DataError(
                f"{path}: meta/episode_ends gives {expected} steps, but data/{name} has shape {list(values.shape)}. "
                "Copy or download it again."
            )


def _cameras(data: Mapping[str, Any], path: Path) -> dict[str, Pictures]:
    """Arrays of pictures: bytes, or numbers in an array with a name like `image`."""
    found = dict[str, Pictures]()
    for name, values in data.items():
        named = values.dtype.kind == "f" and name.startswith(("img", "image", "camera"))
        if values.ndim == 4 and values.shape[-1] in (1, 3, 4) and (named or values.dtype == np.uint8):
            found[name] = _frames(f"data/{name}", values, path)
    return found


def _frames(place: str, values: Any, path: Path) -> ZarrFrames:
    count, height, width, channels = values.shape
    return ZarrFrames(path, place, count=count, shape=(height, width, channels))


def _foreign(
    data: Mapping[str, Any], state: str, lengths: Tensor, cameras: Mapping[str, Pictures], path: Path
) -> Episodes:
    if not state or "action" not in data:
        raise DataError(
            f"{path}: expected the arrays data/action, and data/state or data/obs; found "
            f"{', '.join(data) or 'none'}. Make episodes of them yourself with `episodes_from_arrays`."
        )
    names = {"action": "actions", state: "states"} | ({"reward": "rewards"} if "reward" in data else {})
    found = {role: _rows(data[name], f"data/{name}", path) for name, role in names.items()}
    return assemble(found, lengths, str(path), cameras)


def _is_pusht(data: Mapping[str, Any]) -> bool:
    shapes = {name: values.shape[1:] for name, values in data.items()}
    return {"state": (5,), "keypoint": (9, 2), "action": (2,)}.items() <= shapes.items()


def _pusht(data: Mapping[str, Any], lengths: Tensor, cameras: Mapping[str, Pictures], path: Path) -> Episodes:
    simulator_state = _rows(data["state"], "data/state", path)
    agent = simulator_state[:, :2].contiguous()
    return Episodes(
        actions=_rows(data["action"], "data/action", path),
        states=agent,
        lengths=lengths,
        observations=Observation(state=agent, environment_state=_rows(data["keypoint"], "data/keypoint", path)),
        cameras=cameras,
        names=PUSHT_NAMES,
        dt=0.1,
        system="pusht",
        columns={"simulator_state": simulator_state},
    )


def _with_columns(bare: Episodes, group: Any, read: Iterable[str], path: Path) -> Episodes:
    """Episodes with the further arrays of the group as columns, and a list of those that were not read."""
    columns, rest = _loaded(group["data"], path, {*read, *bare.cameras})
    found, left_out = as_columns(columns, columns, len(bare.actions))
    meta, broken = _loaded(group["meta"], path, {"episode_ends"})
    episode_columns, not_per_episode = as_episode_columns(meta, len(bare))
    rest += left_out + [f"meta/{name}" for name in broken + not_per_episode]
    return replace(
        bare,
        columns={**bare.columns, **found},
        episode_columns=episode_columns,
        meta={"features_left_out": sorted(rest)} if rest else {},
    )


def _loaded(group: Any, path: Path, read: Set[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Small arrays that were not read yet, and the names of those that cannot be, which is no reason to refuse all."""
    found, rest = dict[str, NDArray[Any]](), list[str]()
    for name, values in sorted(group.arrays()):
        if name in read:
            continue
        with suppress(DataError):
            found |= {name: _values(values, f"{group.path}/{name}", path)} if values.ndim <= 2 else {}
        rest += [name] if name not in found else []
    return found, rest


def _rows(array: Any, place: str, path: Path) -> Tensor:
    """Rows of an array; rewards and timestamps, one number each, as one axis."""
    rows = to_rows(_values(array, place, path), place, str(path))
    return rows.flatten() if place in LISTS else rows


def _values(array: Any, place: str, path: Path) -> NDArray[Any]:
    # some programs store rewards that are zero except at the end as the one chunk that is not; likewise dark pictures
    if place != PLACES["rewards"]:
        zarr_store.check_chunks(array, path)
    zarr_store.check_sizes(array, path)
    try:
        return np.asarray(array[:])
    except zarr_store.DAMAGE as error:
        raise DataError(f"{path}: {place} is damaged: {error}. Copy or download it again.") from error


def _read_own(group: Any, lengths: Tensor, label: Any, path: Path) -> Episodes:
    source = f"{path}: attribute {LABEL}"
    fields = checked(
        {"arrays": [], "columns": {}, **checked(label, (), source)}, ("arrays", "cameras", "columns"), source
    )
    places = {**PLACES, **fields["columns"]}
    if lost := [place for role, place in places.items() if role in fields["arrays"] and place not in group]:
        raise DataError(f"{path} lacks {', '.join(lost)}. Was it copied whole? Copy or download it again.")
    found = {role: _rows(group[place], place, path) for role, place in PLACES.items() if place in group}
    found |= {role: exact(_values(group[place], place, path)) for role, place in fields["columns"].items()}
    cameras = {camera: _frames(f"data/{key}", group[f"data/{key}"], path) for camera, key in fields["cameras"].items()}
    return described(assemble(found, lengths, str(path), cameras), fields, source)


def _recognises(path: Path) -> bool:
    """Whether a folder or zip file holds the ends of episodes as a zarr array."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in MARKS)
    return bool(set(MARKS) & set(names_in(path)))


FORMAT = Format(
    name="zarr",
    example="a zarr replay buffer (meta/episode_ends)",
    recognises=_recognises,
    read=read,
    write=write,
    suffixes=(".zarr", ".zarr.zip"),
    entries=re.compile(r"meta|data|\.zgroup|\.zattrs|\.zmetadata|zarr\.json"),
)
