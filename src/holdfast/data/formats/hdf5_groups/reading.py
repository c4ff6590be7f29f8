"""Episodes of HDF5 files by key: shapes are known before anything is read."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ....memory import check_memory
from ....types import Pictures
from ... import hdf5
from ...mapped import HdfFrames
from ...pictures import Joined, has_channels, in_order
from ...selection import Selection
from ..annotations import dt_of, environment_of, instructions_of, system_of
from ..ends import ENDS, ends_of
from ..keyed import Entry, Keyed, Loaded
from ..keys import listing, resolve, shortened
from .compressed import compressed_camera, may_be_compressed
from .places import ACTIONS, Leaf, Place, attributes_of, check_found, common_keys, groups_of, missing_files, place_of

OBSERVED = ("obs", "observations", "observation")
STATES = ("observations", "observation", "obs", "state", "states")
REWARDS, TIMES = ("rewards", "reward"), ("timestamps", "timestamp")
# attributes that follow from the data
COMPUTED = ("num_samples", "model_file")


def keyed_of(files: Sequence[Path], path: Path, selection: Selection, groups: Sequence[str] | None = None) -> Keyed:
    """The arrays of a data set by key.

    Args:
        files: The HDF5 files.
        path: The data set, for messages.
        selection: Its keys of actions tell where episodes are and how many steps they have.
        groups: Paths of the episodes in the only file. Default: found by their names.
    """
    places, whole = _places(files, selection, groups)
    check_found(places, str(path))
    keys, uneven = common_keys(places)
    if not keys:
        raise DataError(f"{path}: the episodes {places[0].group} and {places[-1].group} have no array in common.")
    action = _action(keys, selection, path)
    if len(places) == 1 and places[0].group == "/" and not any(key.startswith(OBSERVED[1] + "/") for key in keys):
        return _end_to_end(places[0], action, path)
    return _by_group(places, keys, uneven, action, whole, path)


def _places(
    files: Sequence[Path], selection: Selection, groups: Sequence[str] | None
) -> tuple[list[Place], dict[str, Any]]:
    """The episodes, one file open at a time, and the attributes of the groups that hold them."""
    names = tuple(key.split("/")[0].split("*")[0] for key in selection.action or ())
    found, whole = list[Place](), dict[str, Any]()
    for file in files:
        with hdf5.opened(file) as opened:
            inside = groups or (["/"] if len(files) > 1 else groups_of(opened, (*names, *ACTIONS)))
            found += [place_of(opened, file, group) for group in inside]
            for group in {"/", inside[0].rpartition("/")[0] or "/"} if len(files) == 1 else ():
                whole |= attributes_of(opened[group], str(file))
    return found, whole


def _action(keys: Sequence[str], selection: Selection, path: Path) -> list[str]:
    if selection.action is not None:
        return resolve(selection.action, keys, "action")
    plain = [key for key in ACTIONS if key in keys]
    below = [key for key in keys if key.startswith(tuple(name + "/" for name in ACTIONS))]
    if not plain and not below:
        raise DataError(
            f"{path}: no array is named action or actions. Each episode holds {listing(keys)}. Name the arrays: "
            "--state KEY [KEY ...] --action KEY [KEY ...]."
        )
    return plain[:1] or below


def _by_group(
    places: Sequence[Place],
    keys: Sequence[str],
    uneven: Sequence[str],
    action: Sequence[str],
    whole: Mapping[str, Any],
    path: Path,
) -> Keyed:
    steps = [_steps(place, action[0], path) for place in places]
    ahead = {key: _ahead([place.leaves[key] for place in places], steps) for key in keys}
    packed = [key for key in keys if key not in action and may_be_compressed(places[0], key)]
    entries = {
        key: _entry(places[0].leaves[key], flag)
        for key, flag in ahead.items()
        if flag is not None and key not in packed
    }
    cameras = {key: _camera(places, key, steps) for key in entries if _is_picture(places, key)}
    cameras |= {key: view for key in packed if (view := compressed_camera(places, key, steps)) is not None}
    others = [key for key in keys if key not in entries and key not in cameras]
    others += [f"{key} (only in some episodes)" for key in uneven]
    environment = environment_of(whole, str(path))
    state, suited = _state([key for key in entries if key not in cameras], entries)
    attributes = [place.attributes for place in places]
    names = [name for name in attributes[0] if name not in COMPUTED and all(name in found for found in attributes)]
    short = shortened(list(cameras))
    return Keyed(
        source=str(path),
        lengths=np.array(steps, dtype=np.int64),
        entries={key: entry for key, entry in entries.items() if key not in cameras},
        load=_loader(places, steps, path),
        action=[key for key in action if key in entries],
        state=state,
        roles=_roles(entries),
        by_episode={name: [found[name] for found in attributes] for name in names},
        cameras={short[key]: pictures for key, pictures in cameras.items()},
        tasks=instructions_of(attributes, whole),
        dt=dt_of(environment, {**whole, **(attributes[0] if len(places) else {})}),
        system=system_of(environment) or None,
        meta={"env_args": environment} if environment else {},
        left_out=others,
        notes=missing_files([place.file for place in places]),
        suited=suited,
    )


def _steps(place: Place, key: str, path: Path) -> int:
    shape = place.leaves[key].shape
    if not shape or not shape[0]:
        raise DataError(f"{path}: episode {place.group} of {place.file.name} has no steps: {key} is {list(shape)}.")
    return shape[0]


def _ahead(leaves: Sequence[Leaf], steps: Sequence[int]) -> bool | None:
    """Whether an array has one row more than steps in every episode; `None` if its rows are no steps."""
    first = leaves[0]
    if any(leaf.shape[1:] != first.shape[1:] or leaf.dtype.kind not in "fiub" for leaf in leaves):
        return None
    extra = {leaf.shape[0] - count if leaf.shape else None for leaf, count in zip(leaves, steps, strict=True)}
    return None if extra not in ({0}, {1}) else extra == {1}


def _entry(leaf: Leaf, ahead: bool) -> Entry:
    return Entry(leaf.shape[1:], leaf.dtype, ahead)


def _is_picture(places: Sequence[Place], key: str) -> bool:
    leaf = places[0].leaves[key]
    return len(leaf.shape) == 4 and leaf.dtype == np.uint8 and has_channels(leaf.shape)


def _camera(places: Sequence[Place], key: str, steps: Sequence[int]) -> Pictures:
    """The pictures of a camera, by file."""
    shape = places[0].leaves[key].shape
    size = (shape[1], shape[2], shape[3])
    parts = list[Pictures]()
    for file in dict.fromkeys(place.file for place in places):
        mine = [(place, count) for place, count in zip(places, steps, strict=True) if place.file == file]
        names = tuple(f"{place.group.rstrip('/')}/{key}" for place, _ in mine)
        parts.append(HdfFrames(file, names, tuple(count for _, count in mine), size))
    return in_order(parts[0] if len(parts) == 1 else Joined(parts))


def _state(keys: Sequence[str], entries: Mapping[str, Entry]) -> tuple[list[str], str]:
    """The keys of the state by usual names, and a sentence on the choice."""
    vectors = [key for key in keys if entries[key].is_vector and len(entries[key].shape) <= 1]
    below = [key for key in vectors if key.startswith(tuple(name + "/" for name in OBSERVED))]
    if ours := [key for key in below if key.removeprefix("observations/") == "qpos"]:
        rest = [key for key in below if key not in ours]
        more = f"; {', '.join(rest)} are columns" if rest else ""
        return ours, f"The state is observations/qpos, as in ACT{more}. Choose others with --state."
    if below:
        said = f"The state is put together from {', '.join(below)}. Choose others with --state."
        return below, said if len(below) > 1 else ""
    plain = next((name for name in STATES if name in vectors), None)
    said = ""
    if plain == "states":
        said = (
            "The file has no observations, so the state is states, which in robosuite's files is the simulator's own, "
            "with its time. robomimic's dataset_states_to_obs.py creates observations; --state chooses other arrays."
        )
    return ([plain] if plain else []), said


def _roles(entries: Mapping[str, Entry]) -> dict[str, str]:
    usual = {"rewards": REWARDS, "timestamps": TIMES}
    found = {
        role: next((name for name in names if name in entries and entries[name].width == 1), None)
        for role, names in usual.items()
    }
    return {role: key for role, key in found.items() if key is not None}


def _loader(
    places: Sequence[Place], steps: Sequence[int], path: Path
) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    def load(keys: Sequence[str]) -> Mapping[str, Loaded]:
        leaves = [place.leaves[key] for place in places for key in keys]
        check_memory(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves), f"{path}: {listing(keys, 4)}")
        parts = {key: list[NDArray[Any]]() for key in keys}
        for file in dict.fromkeys(place.file for place in places):
            with hdf5.opened(file) as opened:
                groups = [opened[place.group] for place in places if place.file == file]
                for key in keys:
                    parts[key] += hdf5.per_episode(groups, key, file)
        return {key: _joined(arrays, steps, key, path) for key, arrays in parts.items()}

    return load


def _joined(parts: Sequence[NDArray[Any]], steps: Sequence[int], key: str, path: Path) -> Loaded:
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise DataError(f"{path}: {key} has rows of different shapes in different files. Remove those files.")
    rows = np.concatenate([part[:count] for part, count in zip(parts, steps, strict=True)])
    ahead = len(parts[0]) == steps[0] + 1
    return Loaded(rows, np.stack([part[-1] for part in parts]) if ahead else None)


def _end_to_end(place: Place, action: Sequence[str], path: Path) -> Keyed:
    """All steps of all episodes one after the other, with flags or lists that tell where episodes end."""
    total = _steps(place, action[0], path)
    rows = {key: leaf for key, leaf in place.leaves.items() if leaf.shape[:1] == (total,) and leaf.dtype.kind in "fiub"}
    load = _loader([place], [total], path)
    with hdf5.opened(place.file) as opened:
        numbers = [key for key in ENDS if key in place.leaves and place.leaves[key].dtype.kind in "fiub"]
        there = {key: hdf5.array(opened, key, str(path)) for key in numbers if place.leaves[key].shape}
    ends = ends_of(there or dict.fromkeys(place.leaves, np.empty(())), total, str(path))
    entries = {key: _entry(leaf, False) for key, leaf in rows.items()}
    cameras = {key: _camera([place], key, [total]) for key in rows if _is_picture([place], key)}
    state, suited = _state([key for key in entries if key not in cameras], entries)
    short = shortened(list(cameras))
    others = [key for key in place.leaves if key not in rows and key not in ends.used]
    later = next((f"next_{key}" for key in state if f"next_{key}" in entries), None)
    return Keyed(
        source=str(path),
        lengths=ends.lengths,
        entries={key: entry for key, entry in entries.items() if key not in cameras},
        load=_with_final(load, state, later, ends.lengths),
        action=action,
        state=state,
        roles=_roles(entries),
        used=[*ends.used, *([later] if later else [])],
        cameras={short[key]: pictures for key, pictures in cameras.items()},
        tasks=instructions_of([place.attributes] * len(ends.lengths), {}),
        dt=dt_of(environment_of(place.attributes, str(path)), place.attributes),
        left_out=others,
        notes=ends.notes,
        suited=suited,
    )


def _with_final(
    load: Callable[[Sequence[str]], Mapping[str, Loaded]],
    state: Sequence[str],
    later: str | None,
    lengths: NDArray[np.int64],
) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    """The loader, with the final states from the last row of `next_observations`."""
    if later is None or len(state) != 1:
        return load

    def with_final(keys: Sequence[str]) -> Mapping[str, Loaded]:
        found = dict(load(keys))
        if state[0] in found:
            found[state[0]] = Loaded(found[state[0]].rows, load([later])[later].rows[np.cumsum(lengths) - 1])
        return found

    return with_final
