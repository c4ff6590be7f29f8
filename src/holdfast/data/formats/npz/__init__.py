"""NumPy's `.npz`: named arrays of all steps concatenated, and where each episode ends.

The names that are read are `ACTIONS`, `STATES`, `ENDS`, `REST` and `NAMES`, the first that is present; other arrays
[rows] or [rows, ·] become columns.

Instead of the ends of episodes, arrays `[episodes, steps, ·]` hold episodes of equal length, states optionally one
step more. Pickled arrays are refused. Two kinds of published files are recognised by their arrays: `published`.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ....files import parse_json
from ....memory import check_memory
from ....types import Episodes, Pictures
from ... import archive, npy
from ...arrays import COLUMN, EPISODE_COLUMN
from ...mapped import blocks
from ...pictures import Frames
from .. import stored
from ..format import Format, names_in
from ..sealed import sealed
from . import published

__all__ = ["FORMAT", "read", "write"]

LABEL, CAMERA = "holdfast", "observation.images."
ACTIONS = ("actions", "action")
STATES = ("states", "state", "observation.state", "obs", "observation", "observations")
ENDS = ("episode_ends", "lengths", "episode_lengths", "episode_starts")
# optional arrays: the name in `arrays`, by the names that files use
REST = {
    "final_states": "final_states",
    "observation.state": "observation.state",
    "observation.environment_state": "observation.environment_state",
    "rewards": "rewards",
    "reward": "rewards",
    "timestamps": "timestamps",
    "timestamp": "timestamps",
}
NAMES = {"state_names": "state", "action_names": "action"}
PICKLED = (
    "holds a pickled array ({name}), and reading a pickle runs code. If you trust the file, load it and save plain "
    "arrays: np.savez(out, actions=..., states=..., episode_ends=...), rows of all episodes end to end."
)


def read(path: Path) -> Episodes:
    """Read a file of arrays."""
    found = _load(path)
    if LABEL in found:
        return _read_own(found, path)
    return published.read_published(found, path) or _read_foreign(found, path)


def write(episodes: Episodes, path: Path) -> None:
    """Write a file that preserves every bit; its pictures are uncompressed and are read into memory."""
    description = stored.description_of(episodes)
    stored.to_json(description)
    label = stored.to_json(sealed(description, episodes))
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, values in stored.tensors_of(episodes).items():
            _write_array(archive, name, [stored.as_numpy(name, values)])
        _write_array(archive, "episode_ends", [episodes.lengths.cumsum(0).numpy()])
        _write_array(archive, LABEL, [np.frombuffer(label.encode(), dtype=np.uint8)])
        for camera, pictures in episodes.cameras.items():
            _write_array(archive, CAMERA + camera, blocks(pictures), shape=(len(pictures), *pictures.shape))


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    parts: Iterator[NDArray[Any]] | Sequence[NDArray[Any]],
    shape: tuple[int, ...] | None = None,
) -> None:
    # a fixed date: the same episodes give the same bytes
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as file:
        for index, part in enumerate(parts):
            if not index:
                header = {"descr": part.dtype.str, "fortran_order": False, "shape": shape or part.shape}
                np.lib.format.write_array_header_2_0(file, header)
            file.write(np.ascontiguousarray(part).tobytes())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    with archive.opened(path) as opened:
        entries = [entry for entry in opened.infolist() if entry.filename.endswith(".npy")]
        check_memory(sum(entry.file_size for entry in entries), str(path))
        return {entry.filename.removesuffix(".npy"): _array(opened, entry, path) for entry in entries}


def _array(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    with opened.open(entry) as file:
        try:
            return npy.read_array(cast("BufferedIOBase", file), entry.file_size, f"{path}: {entry.filename}")
        except npy.Pickled as error:
            name = entry.filename.removesuffix(".npy")
            raise DataError(f"{path} {PICKLED.format(name=name)}") from error


def _read_own(found: Mapping[str, NDArray[Any]], path: Path) -> Episodes:
    label = parse_json(found[LABEL].tobytes(), f"{path}: its description", way_out="Write the data set again.")
    cameras: dict[str, Pictures] = {
        name.removeprefix(CAMERA): _frames(values, name, path) for name, values in found.items() if CAMERA in name
    }
    others = {"episode_ends", LABEL} | {CAMERA + camera for camera in cameras}
    tensors = {name: _tensor(values, name, path) for name, values in found.items() if name not in others}
    lengths = _lengths(found, len(tensors.get("actions", [])), path)
    return stored.assemble(tensors, lengths, label, str(path), cameras=cameras, label=label)


def _tensor(values: NDArray[Any], name: str, path: Path) -> Tensor:
    if name.startswith((COLUMN, EPISODE_COLUMN)) and values.dtype.kind in "fiub":
        return stored.exact(values)
    rows = stored.to_rows(values, name, str(path))
    return rows.flatten() if values.ndim == 1 else rows


def _frames(values: NDArray[Any], name: str, path: Path) -> Frames:
    if values.ndim != 4 or values.dtype != np.uint8:
        raise DataError(f"{path}: {name} must be bytes [rows, height, width, channels], got {values.shape}.")
    return Frames(torch.as_tensor(values))


def _first(found: Mapping[str, NDArray[Any]], names: Sequence[str], what: str, path: Path) -> str:
    name = next((name for name in names if name in found), None)
    if name is None:
        raise DataError(
            f"{path}: expected {what} under one of {', '.join(names)}; found {', '.join(found) or 'no arrays'}. Rename "
            "the array, or make episodes of it yourself with `episodes_from_arrays`."
        )
    return name


def _read_foreign(found: Mapping[str, NDArray[Any]], path: Path) -> Episodes:
    chosen = {_first(found, ACTIONS, "actions", path): "actions", _first(found, STATES, "states", path): "states"}
    chosen |= {name: role for name, role in REST.items() if name in found and name not in chosen}
    by_role = {role: found[name] for name, role in chosen.items()}
    lengths = _lengths_of_equal(by_role, path) if by_role["actions"].ndim == 3 else None
    further = {name: found[name] for name in found.keys() - {*chosen, *ENDS, *NAMES, "dt"}}
    if lengths is not None:
        by_role, further = _concatenated(by_role, int(lengths[0])), _blocks_as_rows(further, by_role["actions"])
    else:
        lengths = _lengths(found, len(by_role["actions"]), path)
    tensors = {role: stored.to_rows(values, role, str(path)) for role, values in by_role.items()}
    tensors |= {role: tensors[role].flatten() for role in stored.LISTS if role in tensors}
    if "observation.environment_state" in tensors:
        tensors.setdefault("observation.state", tensors["states"])
    columns, rest = stored.as_columns(further, int(lengths.sum()))
    per_episode, rest = stored.as_episode_columns({name: further[name] for name in rest}, len(lengths))
    return stored.assemble(tensors | columns | per_episode, lengths, _description(found, rest), str(path))


def _description(found: Mapping[str, NDArray[Any]], rest: list[str]) -> dict[str, Any]:
    """Names, `dt` and a list of the arrays that were not read."""
    names = {quantity: [str(item) for item in found[name].ravel()] for name, quantity in NAMES.items() if name in found}
    description = {**stored.NOTHING, "names": names, "meta": {"features_left_out": rest} if rest else {}}
    if "dt" in found:
        description["dt"] = found["dt"].item() if found["dt"].size == 1 else found["dt"].tolist()
    return description


def _lengths_of_equal(by_role: Mapping[str, NDArray[Any]], path: Path) -> Tensor:
    """Lengths of episodes in arrays `[episodes, steps, ·]`."""
    count, steps = by_role["actions"].shape[:2]
    for role, values in by_role.items():
        known = (steps, steps + 1) if role == "states" and "final_states" not in by_role else (steps,)
        if role != "final_states" and (values.shape[:1] != (count,) or values.ndim < 2 or values.shape[1] not in known):
            raise DataError(
                f"{path}: actions {list(by_role['actions'].shape)} and {role} {list(values.shape)} do not fit. "
                "Expected [episodes, steps, ·] for both, states optionally with one step more."
            )
    return torch.full((count,), steps)


def _concatenated(by_role: Mapping[str, NDArray[Any]], steps: int) -> dict[str, NDArray[Any]]:
    """Arrays `[episodes, steps, ·]` as rows of all episodes; an additional state is the final one."""
    states = by_role["states"]
    final = {"final_states": states[:, -1]} if states.shape[1] == steps + 1 else {}
    rows = {role: values[:, :steps] for role, values in by_role.items() if role != "final_states"}
    return {**by_role, **final, **_blocks_as_rows(rows, by_role["actions"])}


def _blocks_as_rows(further: Mapping[str, NDArray[Any]], actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Further arrays, those `[episodes, steps, …]` as rows."""
    return {
        name: values.reshape(-1, *values.shape[2:]) if values.shape[:2] == actions.shape[:2] else values
        for name, values in further.items()
    }


def _lengths(found: Mapping[str, NDArray[Any]], rows: int, path: Path) -> Tensor:
    name = _first(found, ENDS, "the episodes' ends", path)
    values = found[name]
    if values.ndim != 1 or values.dtype.kind not in "iub":
        raise DataError(f"{path}: {name} must be a list of whole numbers, got {values.dtype} {list(values.shape)}.")
    match name:
        case "episode_ends":
            lengths = np.diff(values.astype(np.int64), prepend=0)
        case "episode_starts":
            # a flag a row, as Stable-Baselines3 writes, or the first rows themselves
            starts = np.flatnonzero(values) if values.dtype == bool else values.astype(np.int64)
            lengths = np.diff(starts, append=rows)
            if not len(starts) or starts[0] != 0:
                raise DataError(f"{path}: episode_starts must begin with row 0. Remove the rows before.")
        case _:
            lengths = values.astype(np.int64)
    if (empty := np.flatnonzero(lengths < 1)).size:
        raise DataError(f"{path}: {name}: episode {empty[0]} is empty. Each needs at least one step.")
    if lengths.sum() != rows:
        raise DataError(f"{path}: {name} gives {int(lengths.sum())} steps, but there are {rows} actions.")
    return torch.as_tensor(lengths)


def _recognises(path: Path) -> bool:
    """Whether a file is a zip archive of arrays with actions, or one of the published kinds."""
    names = {name.removesuffix(".npy") for name in names_in(path) if name.endswith(".npy")}
    return bool(names & set(ACTIONS)) or names >= published.AVOIDING


FORMAT = Format(name="npz", example=".npz", recognises=_recognises, read=read, write=write, suffixes=(".npz",))
