"""Diffusion Policy's replay buffer: a zarr folder, or zip file, whose arrays hold all steps end to end.

    REPLAY.zarr/
      data/<name>          one row a step
      meta/episode_ends    row after the last one of each episode

Read are `action`, `state` or `obs`, `reward`, and pictures `[rows, height, width, channels]`, which stay on disk until
rows are read. The final state of an episode is not recorded in this format.
(Chi et al. 2023, Diffusion Policy, arXiv 2303.04137; `diffusion_policy/common/replay_buffer.py`.)

Push-T is recognised by what it holds, and its arrays get their meaning:

    state [·, 5]         agent xy [px] → `observation.state`, and `states`: what the environment's own servo feeds back
    keypoint [·, 9, 2]   9 points of the block [px] → `observation.environment_state`, x and y in turn
    action [·, 2]        target xy of the agent [px]

Written is zarr's format 2, which Diffusion Policy reads. What it does not know lies where it does not look: final
states in `meta`, the rest in the attribute `holdfast`.
"""

from collections.abc import Mapping
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
from . import columns
from . import layout as keyed
from .archives import names_in

__all__ = ["FOLDER", "read", "recognises", "write"]

FOLDER = True
LABEL = "holdfast"
MARKS = ("meta/episode_ends/.zarray", "meta/episode_ends/zarr.json")
STATE_NAMES = ("state", "obs")
# where the arrays of `columns` lie
PLACES = {
    "actions": "data/action",
    "states": "data/state",
    "final_states": "meta/final_states",
    "observation.state": "data/observation.state",
    "observation.environment_state": "data/observation.environment_state",
    "rewards": "data/reward",
    "timestamps": "data/timestamp",
}
LISTS = {PLACES[role] for role in columns.AXES}
PUSHT_NAMES = {
    "action": ("target_x", "target_y"),
    "state": ("agent_x", "agent_y"),
    "observation.state": ("agent_x", "agent_y"),
    "observation.environment_state": tuple(f"keypoint_{index}_{axis}" for index in range(9) for axis in "xy"),
}


def recognises(path: Path) -> bool:
    """Whether a folder or zip file holds the ends of episodes as a zarr array."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in MARKS)
    return bool(set(MARKS) & set(names_in(path)))


def read(path: Path) -> Episodes:
    """Read a replay buffer: `action`, and `state` or `obs`; for Push-T also `keypoint`.

    Raises:
        DataError: Not such a folder, a file of it is damaged, or it lacks these arrays; the message lists those found.
    """
    with zarr_store.opened(path) as group:
        data, ends = _parts(group, path)
        lengths = _lengths(ends, path)
        label = group.attrs.get(LABEL)
        if label is not None:
            return _read_own(group, lengths, label, path)
        _check_rows(data, int(lengths.sum()), path)
        cameras = _cameras(data, path)
        if _is_pusht(data):
            return _pusht(data, lengths, cameras, path)
        return _read_foreign(data, lengths, cameras, path)


def write(episodes: Episodes, path: Path) -> None:
    """Write a replay buffer that keeps every bit; a zip file where the name ends in `.zip`."""
    label = {**columns.describe(episodes), "arrays": sorted(columns.arrays(episodes))}
    columns.to_json(label)
    label["cameras"] = keyed.name_cameras(episodes.cameras, [place.removeprefix("data/") for place in PLACES.values()])
    with zarr_store.created(path) as group:
        for name, values in columns.arrays(episodes).items():
            _create(group, PLACES[name], columns.as_numpy(name, values))
        _create(group, "meta/episode_ends", columns.as_numpy("lengths", episodes.lengths.cumsum(0)))
        for camera, pictures in episodes.cameras.items():
            place, shape = f"data/{label['cameras'][camera]}", (len(pictures), *pictures.shape)
            fill(zarr_store.create_array(group, place, shape, np.dtype("u1")), pictures)
        group.attrs[LABEL] = label


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
        raise DataError(f"{path}: episode {empty[0]} is empty: meta/episode_ends does not rise there. Leave it out.")
    return torch.as_tensor(lengths)


def _check_rows(data: Mapping[str, Any], expected: int, path: Path) -> None:
    for name, values in data.items():
        if not values.ndim or values.shape[0] != expected:
            raise DataError(
                f"{path}: meta/episode_ends says {expected} steps, but data/{name} has shape {list(values.shape)}. "
                "Copy or download it again."
            )


def _cameras(data: Mapping[str, Any], path: Path) -> dict[str, Pictures]:
    """Arrays of pictures: bytes, or numbers in an array that is called a picture."""
    found = dict[str, Pictures]()
    for name, values in data.items():
        called = values.dtype.kind == "f" and name.startswith(("img", "image", "camera"))
        if values.ndim == 4 and values.shape[-1] in (1, 3, 4) and (called or values.dtype == np.uint8):
            found[name] = _frames(f"data/{name}", values, path)
    return found


def _frames(place: str, values: Any, path: Path) -> ZarrFrames:
    count, height, width, channels = values.shape
    return ZarrFrames(path, place, count=count, shape=(height, width, channels))


def _read_foreign(data: Mapping[str, Any], lengths: Tensor, cameras: Mapping[str, Pictures], path: Path) -> Episodes:
    state = next((name for name in STATE_NAMES if name in data), None)
    if state is None or "action" not in data:
        raise DataError(
            f"{path}: expected the arrays data/action, and data/state or data/obs; found "
            f"{', '.join(data) or 'none'}. Make episodes of them yourself with `episodes_from_arrays`."
        )
    names = {"action": "actions", state: "states"} | ({"reward": "rewards"} if "reward" in data else {})
    found = {role: _rows(data[name], f"data/{name}", path) for name, role in names.items()}
    bare = columns.assemble(found, lengths, str(path), cameras)
    return _labelled(bare, data.keys() - names.keys() - cameras.keys(), path, dt=None, system=None)


def _is_pusht(data: Mapping[str, Any]) -> bool:
    shapes = {name: values.shape[1:] for name, values in data.items()}
    return {"state": (5,), "keypoint": (9, 2), "action": (2,)}.items() <= shapes.items()


def _pusht(data: Mapping[str, Any], lengths: Tensor, cameras: Mapping[str, Pictures], path: Path) -> Episodes:
    agent = _rows(data["state"], "data/state", path)[:, :2].contiguous()
    bare = Episodes(
        actions=_rows(data["action"], "data/action", path),
        states=agent,
        lengths=lengths,
        observations=Observation(state=agent, environment_state=_rows(data["keypoint"], "data/keypoint", path)),
        cameras=cameras,
    )
    rest = data.keys() - {"state", "action", "keypoint"} - cameras.keys()
    return replace(_labelled(bare, rest, path, dt=0.1, system="pusht"), names=PUSHT_NAMES)


def _labelled(bare: Episodes, rest: set[str], path: Path, *, dt: float | None, system: str | None) -> Episodes:
    meta = {"features_left_out": sorted(rest)} if rest else {}
    label = {"dt": dt, "system": system, "tasks": None, "names": {}, "meta": meta}
    return columns.labelled(bare, label, str(path))


def _rows(values: Any, place: str, path: Path) -> Tensor:
    """Rows of an array; rewards and timestamps, one number each, as one axis."""
    # rewards that are zero but at the end are kept by some programs as that one chunk; so are dark pictures
    if place != PLACES["rewards"]:
        zarr_store.check_chunks(values, path)
    zarr_store.check_sizes(values, path)
    try:
        rows = columns.rows_of(np.asarray(values[:]), place, str(path))
    except DataError:
        raise
    except zarr_store.DAMAGE as error:
        raise DataError(f"{path}: {place} is damaged: {error}. Copy or download it again.") from error
    return rows.flatten() if place in LISTS else rows


def _read_own(group: Any, lengths: Tensor, label: Any, path: Path) -> Episodes:
    source = f"{path}: attribute {LABEL}"
    told = columns.checked(label, [name for name in ("arrays",) if name in label], source)
    if lost := [place for role, place in PLACES.items() if role in told.get("arrays", ()) and place not in group]:
        raise DataError(f"{path} lacks {', '.join(lost)}. Was it copied whole? Copy or download it again.")
    found = {role: _rows(group[place], place, path) for role, place in PLACES.items() if place in group}
    keys: dict[str, str] = columns.checked(label, ("cameras",), source)["cameras"]
    cameras = {camera: _frames(f"data/{key}", group[f"data/{key}"], path) for camera, key in keys.items()}
    return columns.labelled(columns.assemble(found, lengths, str(path), cameras), label, source)
