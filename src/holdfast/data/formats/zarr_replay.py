"""Diffusion Policy's replay buffer: a zarr folder, or zip file, whose arrays hold all steps concatenated.

    REPLAY.zarr/
      data/<name>          one row a step
      meta/episode_ends    row after the last one of each episode

`action`, `state` or `obs`, `reward`, `timestamp`, and pictures `[rows, height, width, channels]` are read, pictures
only when their rows are. Rows outside a mask are left out (`masks`), and times become seconds (`clocks`). Other arrays
`[rows]` and `[rows, ·]` become columns, other arrays in `meta` episode columns. Final states are not recorded.
(Chi et al. 2023, Diffusion Policy, arXiv 2303.04137; `diffusion_policy/common/replay_buffer.py`.)

Push-T is recognised by its arrays:

    state [·, 5]         agent xy [px] → `observation.state`, and `states`: what the environment's own servo feeds back;
                         all of it, with the pose of the block → the column `simulator_state`
    keypoint [·, 9, 2]   9 points of the block [px] → `observation.environment_state`, x and y in turn
    action [·, 2]        target xy of the agent [px]

Data sets are written in zarr's format 2, which Diffusion Policy reads. It ignores what it does not know: final states,
episode columns and the checksums of pictures in `meta`, the rest in the attribute `holdfast`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Pictures
from .. import zarr_store
from ..arrays import COLUMN, EPISODE_COLUMN, Values
from ..checksums import Checksums, Verified
from ..depth import measured_size
from ..mapped import ZarrFrames, fill
from ..measured import Measured
from ..pictures import has_channels, in_order
from ..selection import Selection
from . import stored, zarr_pusht
from .ends import list_hint, whole_numbers
from .format import Format, names_in
from .keyed import Entry, Keyed, Loaded
from .keys import camera_names
from .layout import unique_keys
from .masked import without_masked
from .masks import check_rows_of_mask, mask_in
from .sealed import is_sealed, sealed

LABEL, SUMS = "holdfast", "crc32c."
MARKS = ("meta/episode_ends/.zarray", "meta/episode_ends/zarr.json")
STATE_NAMES = ("state", "obs")
LISTED = {"rewards": ("reward", "rewards"), "timestamps": ("timestamp", "timestamps")}
"""Names of the arrays with one number a row, in order of preference."""
QUANTITIES = ("action", "reward", *STATE_NAMES)
# place of each quantity in the group
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
LISTS = {PLACES[role] for role in stored.LISTS}
PLACE = re.compile(r"(data|meta)/(?!\.+$)[^/\\\0]+")
SIMULATOR_STATE = COLUMN + "simulator_state"


def read(path: Path) -> Episodes:
    """Read a replay buffer: `action`, and `state` or `obs`; for Push-T also `keypoint`."""
    with zarr_store.opened(path) as group:
        data, ends = _parts(group, path)
        lengths = _lengths(ends, data, path)
        label = group.attrs.get(LABEL)
        if label is None and LABEL in group["meta/episode_ends"].attrs:
            raise DataError(f"{path} lacks the attribute {LABEL} that it was written with. Copy or write it again.")
        if label is not None:
            return _read_own(group, lengths, label, path)
        roles = zarr_pusht.ROLES if zarr_pusht.is_pusht(data) else {}
        data, odd = _fitting(data, lengths, ends, path, ("action", *STATE_NAMES, *roles))
        if not roles:
            _check_named(data, path)
            # without names, as nothing but the order of the array tells coordinates apart
            return replace(_keyed(group, data, odd, lengths, path, Selection()).episodes(Selection()), names={})
        cameras, broken = _cameras(data, path)
        quantities = zarr_pusht.ROLES
        found = {role: _rows(data[name], f"data/{name}", path) for name, role in quantities.items()}
        further, rest = _further(group, {*quantities, *cameras}, lengths, path)
        broken += odd
        rest = [name for name in rest if not any(text.startswith(f"data/{name} ") for text in broken)] + broken
        description = {**stored.NOTHING, "meta": {"features_left_out": rest} if rest else {}}
        states = found[zarr_pusht.SIMULATOR_STATE]
        found["states"] = found["observation.state"] = states[:, :2].contiguous()
        description |= zarr_pusht.description_of(states, lengths, description["meta"])
        return stored.assemble(found | further, lengths, description, str(path), cameras=cameras)


def write(episodes: Episodes, path: Path) -> None:
    """Write a replay buffer that preserves every bit; a zip file if the name ends in `.zip`."""
    arrays = stored.tensors_of(episodes)
    data = unique_keys([*episodes.cameras, *episodes.columns], TAKEN)
    columns = {COLUMN + name: f"data/{data[name]}" for name in episodes.columns}
    meta = unique_keys([name.removeprefix(EPISODE_COLUMN) for name in arrays if name.startswith(EPISODE_COLUMN)], TAKEN)
    sums = unique_keys([SUMS + data[camera] for camera in episodes.cameras], [*TAKEN, *meta.values()])
    label: dict[str, Any] = {
        **stored.description_of(episodes),
        "arrays": sorted(arrays),
        "cameras": {camera: data[camera] for camera in episodes.cameras},
        "sums": {camera: f"meta/{sums[SUMS + data[camera]]}" for camera in episodes.cameras},
        "columns": columns | {EPISODE_COLUMN + name: f"meta/{key}" for name, key in meta.items()},
    }
    stored.to_json(label)
    places = {**PLACES, **label["columns"]}
    with zarr_store.created(path) as group:
        for name, values in arrays.items():
            _create(group, places[name], stored.as_numpy(name, values))
        _create(group, "meta/episode_ends", stored.as_numpy("lengths", episodes.lengths.cumsum(0)))
        checksums = dict[str, Checksums]()
        for camera, pictures in episodes.cameras.items():
            place, shape = f"data/{label['cameras'][camera]}", (len(pictures), *pictures.shape)
            checksums[camera] = fill(zarr_store.create_array(group, place, shape, np.dtype("u1")), pictures)
            _create(group, label["sums"][camera], checksums[camera])
        group.attrs[LABEL] = sealed(label, episodes, checksums)
        # so that the loss of the description can be seen
        group["meta/episode_ends"].attrs[LABEL] = True


def _create(group: Any, place: str, values: NDArray[Any]) -> None:
    zarr_store.create_array(group, place, values.shape, values.dtype)[:] = values


def _parts(group: Any, path: Path) -> tuple[dict[str, Any], NDArray[Any]]:
    """The arrays of data/, not yet read, and the ends of the episodes."""
    import zarr

    try:
        ends, data = group["meta/episode_ends"], group["data"]
    except (OSError, KeyError, ValueError) as error:
        held = ", ".join(sorted(group)) or "nothing"
        raise DataError(
            f"{path}: expected a group data/ beside meta/episode_ends, with the arrays of all steps; found {held}. "
            "Write the arrays into data/, or remove meta/ and write episode_ends beside them."
        ) from error
    if not isinstance(ends, zarr.Array) or not isinstance(data, zarr.Group):
        raise DataError(f"{path}: expected a group data/ and an array meta/episode_ends. Was it copied whole?")
    return dict(sorted(data.arrays())), _values(ends, "meta/episode_ends", path)


def _lengths(ends: NDArray[Any], data: Mapping[str, Any], path: Path) -> Tensor:
    lengths = np.diff(whole_numbers(ends, "meta/episode_ends", str(path)), prepend=0)
    if (falling := np.flatnonzero(lengths < 0)).size:
        hint = _hint(ends, data)
        raise DataError(f"{path}: meta/episode_ends falls at episode {falling[0]}; expected rows that rise.{hint}")
    return torch.as_tensor(lengths)


def _hint(ends: NDArray[Any], data: Mapping[str, Any]) -> str:
    """What the ends seem to be instead, if they do not fit the actions."""
    rows = data["action"].shape[:1] if "action" in data else ()
    return list_hint(ends, "episode_ends", rows[0]) if rows else ""


def _fitting(
    data: Mapping[str, Any], lengths: Tensor, ends: NDArray[Any], path: Path, wanted: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """The arrays with a row for each step, and the others, which are left out; those that are wanted are refused."""
    expected, chosen = int(lengths.sum()), list(wanted)
    if (mask := mask_in(data)) is not None:
        check_rows_of_mask(mask, data[mask].shape, expected, len(lengths), f"{path}: data/")
    odd = {name: values for name, values in data.items() if not values.ndim or values.shape[0] != expected}
    for name, values in odd.items():
        if any(fnmatchcase(name, key) for key in chosen):
            raise DataError(
                f"{path}: meta/episode_ends gives {expected} steps, but data/{name} has shape {list(values.shape)}. "
                f"{_hint(ends, data).lstrip() or 'Copy or download it again, or write both from one recording.'}"
            )
    left = [f"data/{name} (shape {list(values.shape)} for {expected} steps)" for name, values in odd.items()]
    return {name: values for name, values in data.items() if name not in odd}, left


def _cameras(data: Mapping[str, Any], path: Path, chosen: Sequence[str] = ()) -> tuple[dict[str, Pictures], list[str]]:
    """Arrays of pictures, bytes or numbers in an array with a name like `image`, and those that cannot be read.

    Measurements are no pictures where their keys are `chosen` as state or action.
    """
    found, broken = dict[str, Pictures](), list[str]()
    for name, values in data.items():
        named = values.dtype.kind == "f" and name.startswith(("img", "image", "camera"))
        size = None if named or name in (*QUANTITIES, *chosen) else measured_size(name, values.shape[1:], values.dtype)
        shown = values.ndim == 4 and has_channels(values.shape) and (named or values.dtype == np.uint8)
        if size is None and not shown:
            continue
        try:
            zarr_store.check(values, path, np.empty(0, np.int64), complete="said")
            if size is None:
                found[name] = in_order(_frames(f"data/{name}", values, path))
            else:
                found[name] = Measured(ZarrFrames(path, f"data/{name}", count=values.shape[0], shape=(*size, 1)))
        except DataError as error:
            # pictures are no reason to refuse the numbers
            why = str(error).removeprefix(f"{path}: data/{name} ").split(". ")[0]
            broken.append(f"data/{name} ({why})")
    return found, broken


def _frames(place: str, values: Any, path: Path) -> ZarrFrames:
    count, height, width, channels = values.shape
    return ZarrFrames(path, place, count=count, shape=(height, width, channels))


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen arrays of `data` as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    if not selection.maps_keys:
        return read(path), selection
    with zarr_store.opened(path) as group:
        data, ends = _parts(group, path)
        if LABEL in group.attrs or LABEL in group["meta/episode_ends"].attrs:
            return read(path), selection
        lengths = _lengths(ends, data, path)
        wanted = (*(selection.state or STATE_NAMES), *(selection.action or ("action",)))
        data, odd = _fitting(data, lengths, ends, path, wanted)
        keyed = _keyed(group, data, odd, lengths, path, selection)
        return keyed.episodes(selection), replace(selection, state=None, action=None)


def _keyed(
    group: Any, data: Mapping[str, Any], odd: Sequence[str], lengths: Tensor, path: Path, selection: Selection
) -> Keyed:
    """The arrays of `data` by key, without the rows outside a mask."""
    keys = (*(selection.state or ()), *(selection.action or ()))
    cameras, blocked = _cameras(data, path, [name for name in data if any(fnmatchcase(name, key) for key in keys)])
    meta, broken = _loaded(group["meta"], path, ["episode_ends"])
    by_episode = {name: list(values) for name, values in meta.items() if values.shape == (len(lengths),)}
    unread = [text.split()[0] for text in blocked]
    names = [name for name in data if name not in cameras and f"data/{name}" not in unread]
    keyed = Keyed(
        source=str(path),
        lengths=lengths.numpy(),
        entries={name: Entry(tuple(data[name].shape[1:]), data[name].dtype) for name in names},
        load=lambda keys: {key: Loaded(_values(data[key], f"data/{key}", path)) for key in keys},
        action=["action"] if "action" in data else [],
        state=[name for name in STATE_NAMES if name in data][:1],
        roles={role: key for role, key in _roles(data).items() if key in names and math.prod(data[key].shape[1:]) == 1},
        by_episode=by_episode,
        cameras={short: cameras[name] for name, short in camera_names(list(cameras)).items()},
        left_out=[*blocked, *odd, *(f"meta/{name}" for name in (*broken, *(meta.keys() - by_episode)))],
    )
    return without_masked(keyed)


def _roles(data: Mapping[str, Any]) -> dict[str, str]:
    """The arrays of rewards and times."""
    found = {role: next((name for name in names if name in data), None) for role, names in LISTED.items()}
    return {role: name for role, name in found.items() if name is not None}


def _check_named(data: Mapping[str, Any], path: Path) -> None:
    """Refuse arrays without usual names."""
    if not set(STATE_NAMES) & data.keys() or "action" not in data:
        raise DataError(
            f"{path}: expected the arrays data/action, and data/state or data/obs; found "
            f"{', '.join(data) or 'none'}. Give the arrays: --state KEY [KEY ...] --action KEY [KEY ...]."
        )


def _further(group: Any, read: Iterable[str], lengths: Tensor, path: Path) -> tuple[dict[str, Values], list[str]]:
    """The other arrays as columns, by name, and the names of those that cannot be columns."""
    data, rest = _loaded(group["data"], path, read)
    found, left_out = stored.as_columns(data, int(lengths.sum()))
    meta, broken = _loaded(group["meta"], path, ["episode_ends"])
    episode_columns, not_per_episode = stored.as_episode_columns(meta, len(lengths))
    rest += left_out + [f"meta/{name}" for name in broken + not_per_episode]
    return found | episode_columns, sorted(rest)


def _loaded(group: Any, path: Path, read: Iterable[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Small arrays that were not read yet, and the names of those that cannot be, which is no reason to refuse all."""
    found, rest = dict[str, NDArray[Any]](), list[str]()
    for name, values in sorted(group.arrays()):
        if name in read:
            continue
        try:
            if values.ndim <= 2:
                found[name] = _values(values, f"{group.path}/{name}", path)
                continue
        except DataError:
            pass
        rest.append(name)
    return found, rest


def _rows(array: Any, place: str, path: Path, *, own: bool = False) -> Tensor:
    """Rows of an array; rewards and timestamps, one number each, as one axis."""
    rows = stored.to_rows(_values(array, place, path, own=own), place, str(path))
    return rows.flatten() if place in LISTS else rows


def _values(array: Any, place: str, path: Path, *, own: bool = False) -> NDArray[Any]:
    """Values of an array; `own` if the checksums of the data set tell whether the missing chunks were stored."""
    # some programs store rewards that are zero except at the end as the one chunk that is not; likewise dark pictures
    zarr_store.check(array, path, complete=None if place == PLACES["rewards"] else "checked" if own else "said")
    try:
        return np.asarray(array[:])
    except zarr_store.DAMAGE as error:
        raise DataError(f"{path}: {place} is damaged: {error}. Copy or download it again.") from error


def _read_own(group: Any, lengths: Tensor, label: Any, path: Path) -> Episodes:
    source = f"{path}: attribute {LABEL}"
    fields: dict[str, Any] = {"arrays": [], "columns": {}, "sums": {}, **stored.checked(label, (), source)}
    stored.checked(fields, ("arrays", "cameras", "columns", "sums"), source)
    named = (*fields["columns"].values(), *fields["sums"].values())
    for place in (*named, *(f"data/{key}" for key in fields["cameras"].values())):
        if not PLACE.fullmatch(place):
            raise DataError(f"{source}: {place!r} is no array of data/ or meta/. Write the data set again.")
    places: dict[str, str] = {**PLACES, **fields["columns"]}
    if lost := [place for role, place in places.items() if role in fields["arrays"] and place not in group]:
        raise DataError(f"{path} lacks {', '.join(lost)}. Was it copied whole? Copy or download it again.")
    own = is_sealed(label)
    found = {role: _rows(group[place], place, path, own=own) for role, place in PLACES.items() if place in group}
    found |= {
        role: stored.exact(_values(group[place], place, path, own=own)) for role, place in fields["columns"].items()
    }
    cameras: dict[str, Pictures] = {
        camera: _frames(f"data/{key}", group[f"data/{key}"], path) for camera, key in fields["cameras"].items()
    }
    for camera, place in fields["sums"].items():
        cameras[camera] = Verified(cameras[camera], _values(group[place], place, path), f"{path}: {place}")
    return stored.assemble(found, lengths, fields, str(path), cameras=cameras, described_in=source, label=label)


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
    read_selected=read_selected,
    suffixes=(".zarr", ".zarr.zip"),
    # of an array: its description, and chunks that are named by numbers
    entries=re.compile(
        r"((meta|data)/(.+/)?)?(\.zgroup|\.zattrs|\.zarray|\.zmetadata|zarr\.json)|(meta|data)/.+/(c|[\d.]+)"
    ),
)
