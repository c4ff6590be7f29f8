"""Episodes of HDF5 files by key: shapes are known before anything is read."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ....memory import check_memory
from ....types import Pictures
from ... import hdf5
from ...depth import measured_size
from ...mapped import HdfFrames
from ...measured import Measured
from ...pictures import Joined, has_channels, in_order
from ...selection import Selection
from ..annotations import KNOWN, dt_of, environment_of, instructions_of, system_of, unusable_rates
from ..ends import ENDS, ends_of
from ..fitting import no_pictures
from ..keyed import Entry, Keyed, Loaded
from ..keys import listing, resolve, shortened
from ..masked import without_masked
from ..masks import check_rows_of_mask, mask_in
from ..named_arrays import keyed_of_arrays
from .alike import Held, exchanged_in, fault_of, held_of, unfit_of, usual_keys
from .compressed import compressed_camera, may_be_compressed
from .contents import OBSERVED, found_in, is_end_to_end
from .places import ACTIONS, Leaf, Place, check_found, kinds_of, missing_files, missing_groups

STATES = ("observations", "observation", "obs", "state", "states")
REWARDS, TIMES = ("rewards", "reward"), ("timestamps", "timestamp")
# attributes that follow from the data
COMPUTED = ("num_samples", "model_file")
GROUP = "group"
"""Episode column with the name of the group, where episodes are in groups of several names."""


def keyed_of(files: Sequence[Path], path: Path, selection: Selection, groups: Sequence[str] | None = None) -> Keyed:
    """The arrays of a data set by key.

    Args:
        files: The HDF5 files.
        path: The data set, for messages.
        selection: Its keys of actions tell where episodes are and how many steps they have.
        groups: Paths of the episodes in the only file. Default: found by their names.
    """
    found = found_in(files, selection, groups)
    places = found.places
    check_found(places, str(path))
    keys, rare = usual_keys(places)
    if not keys:
        raise DataError(
            f"{path}: no array is in at least half of the {len(places)} episodes; they hold {listing(rare)}. Choose "
            "episodes that hold the same with --episodes."
        )
    action = _action(keys, selection, path)
    if is_end_to_end(places):
        keyed = _end_to_end(places[0], action, path, selection)
    else:
        keyed = _by_group(places, action, found.attributes, path)
    lost = missing_files(files) if len(files) > 1 else missing_groups(found.names if groups is None else [])
    notes = [*lost, *keyed.notes, *_unusable({**found.attributes, **places[0].attributes}, path)]
    return without_masked(replace(keyed, notes=notes, left_out=[*keyed.left_out, *found.beside]))


def _unusable(attributes: Mapping[str, Any], path: Path) -> list[str]:
    return unusable_rates(attributes, environment_of(attributes, str(path)))


def _action(keys: Sequence[str], selection: Selection, path: Path) -> list[str]:
    if selection.action is not None:
        return resolve(selection.action, keys, "action")
    plain = [key for key in ACTIONS if key in keys]
    below = [key for key in keys if key.startswith(tuple(name + "/" for name in ACTIONS))]
    if not plain and not below:
        apart = [key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in ACTIONS]
        if len(apart) > 1:
            raise DataError(
                f"{path}: the groups {listing(apart, 6)} hold actions, but their names differ in more than a number, "
                "so that they are not known as episodes. Rename them, to demo_0, demo_1 and so on "
                "(file.move of h5py)."
            )
        raise DataError(
            f"{path}: no array is named action or actions. Each episode holds {listing(keys)}. Name the arrays: "
            "--state KEY [KEY ...] --action KEY [KEY ...]."
        )
    return plain[:1] or below


def _by_group(places: Sequence[Place], action: Sequence[str], whole: Mapping[str, Any], path: Path) -> Keyed:
    _check_actions(places, action, path)
    usual, rare = usual_keys(places)
    steps = [_steps(place, action[0]) for place in places]
    held = {key: held_of(places, key, steps) for key in [*usual, *rare]}
    _check_mask(places, held, steps, path)
    packed = [key for key in usual if key not in action and may_be_compressed(held[key].leaf, key)]
    rows = {key: one for key, one in held.items() if one.ahead is not None and key not in packed}
    views = {key: one.leaf for key, one in rows.items() if _is_picture(one.leaf)}
    entries = {key: Entry(one.leaf.shape[1:], one.leaf.dtype, bool(one.ahead)) for key, one in rows.items()}
    entries = {key: entry for key, entry in entries.items() if key not in views}
    faults = {key: one.fault for key, one in rows.items() if one.fault is not None}
    attributes = [place.attributes for place in places]
    shared = [name for name in attributes[0] if all(name in found for found in attributes)]
    cameras = {key: _camera(places, key, steps, leaf) for key, leaf in views.items() if key not in faults}
    cameras |= {key: view for key in packed if (view := compressed_camera(places, key, steps)) is not None}
    measured = _measured(places, {key: one.leaf for key, one in rows.items() if key not in faults}, steps, action)
    others = [faults[key].short if key in faults else key for key in held if key not in entries | cameras]
    others += sorted({name for place in places for name in place.single if name not in KNOWN} - {*shared})
    unread = {key: faults[key].sentence for key in views if key in faults}
    lost = _lost(unread, [key for key in packed if key not in cameras], rows, measured)
    environment = environment_of(whole, str(path))
    state, suited = _state([key for key in entries if key in usual], entries)
    by_episode, grouped = _by_episode(places, shared)
    lost += grouped
    short = shortened(list(cameras))
    return Keyed(
        source=str(path),
        lengths=np.array(steps, dtype=np.int64),
        chosen=[place.number for place in places],
        entries=entries,
        measured=measured,
        faults={key: fault for key, fault in faults.items() if key in entries},
        load=_loader(places, steps, entries, path),
        action=[key for key in action if key in entries],
        state=state,
        roles=_roles({key: entry for key, entry in entries.items() if key not in faults}),
        by_episode=by_episode,
        cameras={short[key]: pictures for key, pictures in cameras.items()},
        tasks=instructions_of(attributes, whole),
        dt=dt_of(environment, {**whole, **attributes[0]}),
        system=system_of(environment) or None,
        meta={"env_args": environment} if environment else {},
        left_out=others,
        notes=lost,
        suited=suited,
        unfit=unfit_of(places, steps, held),
    )


def _check_actions(places: Sequence[Place], action: Sequence[str], path: Path) -> None:
    """Refuse actions that differ in some episodes."""
    for key in action:
        if (fault := fault_of(places, key)) is not None:
            raise DataError(f"{path}: {exchanged_in(places, key) or fault.sentence}")


def _check_mask(places: Sequence[Place], held: Mapping[str, Held], steps: Sequence[int], path: Path) -> None:
    """Refuse a mask of other rows than those of the actions."""
    if (mask := mask_in(held)) is not None and held[mask].ahead is None:
        odd, count = next((place, count) for place, count in zip(places, steps, strict=True) if mask in place.leaves)
        check_rows_of_mask(mask, odd.leaves[mask].shape, count, 1, f"{path}: {odd.name}")


def _lost(
    unread: Mapping[str, str], blind: Sequence[str], rows: Mapping[str, Held], measured: Collection[str]
) -> list[str]:
    """Sentences on pictures that are not read, with their reasons."""
    return [
        *(f"{key} is not read. {sentence}" for key, sentence in unread.items()),
        *(f"{key} holds rows of bytes that are no JPEG or PNG pictures, so it is no camera." for key in blind),
        *no_pictures({key: one.leaf for key, one in rows.items()}, [key for key in rows if key not in measured]),
    ]


def _by_episode(places: Sequence[Place], shared: Sequence[str]) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """Columns with one value for each episode, and a sentence where the names of the groups became one."""
    found: dict[str, Sequence[Any]] = {
        name: [place.attributes[name] for place in places] for name in shared if name not in COMPUTED
    }
    if (kinds := kinds_of(places)) is None or GROUP in found:
        return found, []
    counts = ", ".join(f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds))
    said = f"Episodes are in groups of several names, by the episode column {GROUP}: {counts}."
    return {**found, GROUP: kinds}, [said]


def _steps(place: Place, key: str) -> int:
    leaf = place.leaves.get(key)
    return leaf.shape[0] if leaf is not None and leaf.shape else 0


def _is_picture(leaf: Leaf) -> bool:
    return len(leaf.shape) == 4 and leaf.dtype == np.uint8 and has_channels(leaf.shape)


def _camera(places: Sequence[Place], key: str, steps: Sequence[int], leaf: Leaf) -> Pictures:
    """The pictures of a camera, by file."""
    parts = _frames(places, key, steps, (leaf.shape[1], leaf.shape[2], leaf.shape[3]))
    return in_order(parts[0] if len(parts) == 1 else Joined(parts))


def _measured(
    places: Sequence[Place], leaves: Mapping[str, Leaf], steps: Sequence[int], action: Sequence[str]
) -> dict[str, Pictures]:
    """Arrays that are pictures of measurements, by key."""
    found = dict[str, Pictures]()
    for key, leaf in leaves.items():
        size = None if key in action else measured_size(key, leaf.shape[1:], leaf.dtype)
        if size is not None:
            parts = [Measured(frames) for frames in _frames(places, key, steps, (*size, 1))]
            found[key] = parts[0] if len(parts) == 1 else Joined(parts)
    return found


def _frames(places: Sequence[Place], key: str, steps: Sequence[int], size: tuple[int, int, int]) -> list[HdfFrames]:
    """The pictures of each file."""
    parts = list[HdfFrames]()
    # an episode without steps need not have the array
    filled = [(place, count) for place, count in zip(places, steps, strict=True) if count]
    for file in dict.fromkeys(place.file for place, _ in filled):
        mine = [(place, count) for place, count in filled if place.file == file]
        names = tuple(f"{place.group.rstrip('/')}/{key}" for place, _ in mine)
        parts.append(HdfFrames(file, names, tuple(count for _, count in mine), size))
    return parts


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
    places: Sequence[Place], steps: Sequence[int], entries: Mapping[str, Entry], path: Path
) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    def load(keys: Sequence[str]) -> Mapping[str, Loaded]:
        leaves = [place.leaves[key] for place in places for key in keys if key in place.leaves]
        check_memory(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves), f"{path}: {listing(keys, 4)}")
        parts = {key: list[NDArray[Any]]() for key in keys}
        for file in dict.fromkeys(place.file for place in places):
            with hdf5.opened(file) as opened:
                for place, count in zip(places, steps, strict=True):
                    if place.file == file:
                        where = f"{path}: episode {place.name}"
                        for key in keys:
                            parts[key].append(_part(opened[place.group], key, count, entries[key], where))
        return {key: _joined(arrays, steps, entries[key]) for key, arrays in parts.items()}

    return load


def _part(group: Any, key: str, count: int, entry: Entry, where: str) -> NDArray[Any]:
    """The rows of an episode; one without steps need not have the array."""
    return hdf5.array(group, key, where) if count else np.zeros((0, *entry.shape), entry.dtype)


def _joined(parts: Sequence[NDArray[Any]], steps: Sequence[int], entry: Entry) -> Loaded:
    rows = np.concatenate([part[:count] for part, count in zip(parts, steps, strict=True)])
    if not entry.ahead:
        return Loaded(rows)
    # an episode without steps has no final state that anything reads
    return Loaded(rows, np.stack([part[-1] if len(part) else np.zeros(entry.shape, entry.dtype) for part in parts]))


def _end_to_end(place: Place, action: Sequence[str], path: Path, selection: Selection) -> Keyed:
    """All steps of all episodes one after the other, with flags or lists that tell where episodes end; or blocks."""
    if len(place.leaves[action[0]].shape) > 2:
        return keyed_of_arrays(_arrays(place, path), str(path), selection)
    total = _steps(place, action[0])
    rows = {key: leaf for key, leaf in place.leaves.items() if leaf.shape[:1] == (total,) and leaf.dtype.kind in "fiub"}
    entries = {key: Entry(leaf.shape[1:], leaf.dtype) for key, leaf in rows.items()}
    load = _loader([place], [total], entries, path)
    with hdf5.opened(place.file) as opened:
        numbers = [key for key in ENDS if key in place.leaves and place.leaves[key].dtype.kind in "fiub"]
        there = {key: hdf5.array(opened, key, str(path)) for key in numbers if place.leaves[key].shape}
    ends = ends_of(there or dict.fromkeys(place.leaves, np.empty(())), total, str(path))
    if (mask := mask_in(place.leaves)) is not None:
        check_rows_of_mask(mask, place.leaves[mask].shape, total, len(ends.lengths), str(path))
    cameras = {key: _camera([place], key, [total], leaf) for key, leaf in rows.items() if _is_picture(leaf)}
    measured = _measured([place], rows, [total], action)
    state, suited = _state([key for key in entries if key not in cameras], entries)
    short = shortened(list(cameras))
    others = [key for key in place.leaves if key not in rows and key not in ends.used]
    others += [name for name in place.single if name not in KNOWN]
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
        measured=measured,
        tasks=instructions_of([place.attributes] * len(ends.lengths), {}),
        dt=dt_of(environment_of(place.attributes, str(path)), place.attributes),
        left_out=others,
        notes=ends.notes,
        suited=suited,
    )


def _arrays(place: Place, path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of numbers of a file, in memory."""
    numbers = {key: leaf for key, leaf in place.leaves.items() if leaf.shape and leaf.dtype.kind in "fiub"}
    check_memory(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in numbers.values()), str(path))
    with hdf5.opened(place.file) as opened:
        return {key: hdf5.array(opened, key, str(path)) for key in numbers}


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
