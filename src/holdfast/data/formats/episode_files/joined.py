"""Episodes of which each is a file or a group of arrays, as one data set by key."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ....errors import DataError
from ....types import Pictures
from ...depth import measured_size
from ...measured import Held as Measurements
from ...measured import Measured
from ...pictures import Frames, has_channels, in_order
from ...selection import Selection
from ..annotations import dt_of, instructions_of, unusable_rates
from ..hdf5_groups.alike import Held, exchanged_in, fault_of, held_of, unfit_of, usual_keys
from ..hdf5_groups.places import Leaf, check_found
from ..hdf5_groups.reading import GROUP
from ..keyed import Entry, Keyed, Loaded
from ..keys import camera_names, listing, resolve
from ..masked import without_masked
from ..masks import check_rows_of_mask, mask_in
from ..named_arrays import NAMES
from .parts import BESIDE, Kind, Part, stem_of

MOST_NOTES = 6


def keyed_of(parts: Sequence[Part], path: Path, selection: Selection, kind: Kind) -> Keyed:
    """The data set by key: arrays with a row a step, and those that are not the same in all files.

    Raises:
        DataError: No array is named as actions usually are, or the action is not the same in all files.
        UnknownNameError: A chosen key does not exist.
    """
    places = [part.place for part in parts]
    check_found(places, str(path))
    usual, rare = usual_keys(places)
    action = _action(usual, kind.chosen(selection, parts), path, kind)
    _check_action(parts, action, path)
    steps = [_steps(part, action[0]) for part in parts]
    held = {key: held_of(places, key, steps) for key in [*usual, *rare]}
    _check_mask(parts, held, steps, path)
    rows = {key: one for key, one in held.items() if one.ahead is not None}
    faults = {key: one.fault for key, one in rows.items() if one.fault is not None}
    load = _loader(parts, steps, {key: bool(one.ahead) for key, one in rows.items()})
    alike = {key: one.leaf for key, one in rows.items() if key not in faults}
    cameras = {key: _frames(load, key) for key, leaf in alike.items() if _is_picture(leaf)}
    names, odd_names = _names(parts, [key for key in rows if key not in cameras], action, kind)
    dt, odd_steps = _time_step(parts)
    state = kind.states(usual)
    keyed = Keyed(
        source=str(path),
        lengths=np.array(steps, dtype=np.int64),
        entries={
            key: Entry(one.leaf.shape[1:], one.leaf.dtype, bool(one.ahead), names.get(key))
            for key, one in rows.items()
            if key not in cameras
        },
        load=load,
        action=action,
        state=state,
        roles={role: key for role, key in kind.roles(list(alike)).items() if _is_list(alike[key])},
        by_episode=_by_episode(parts),
        cameras={short: cameras[name] for name, short in camera_names(list(cameras)).items()},
        measured=_measured(alike, load),
        tasks=instructions_of([place.attributes for place in places], {}),
        dt=dt,
        left_out=[key for key in held if key not in rows],
        notes=[*odd_steps, *odd_names, *unusable_rates(parts[0].place.attributes), *_notes(parts)],
        suited=f"The state is put together from {', '.join(state)}. Choose others with --state."
        if BESIDE in state
        else "",
        chosen=[place.number for place in places],
        faults=faults,
        unfit=unfit_of(places, steps, held),
    )
    return without_masked(keyed)


def _action(keys: Sequence[str], selection: Selection, path: Path, kind: Kind) -> list[str]:
    action = kind.actions(keys) if selection.action is None else resolve(selection.action, keys, "action")
    if not action:
        raise DataError(
            f"{path}: no array is named as actions usually are. Each episode holds {listing(keys)}. Name the arrays: "
            "--state KEY [KEY ...] --action KEY [KEY ...]."
        )
    return action


def _check_action(parts: Sequence[Part], action: Sequence[str], path: Path) -> None:
    """Refuse actions that are not the same in all files, or have more axes than steps and numbers."""
    for key in action:
        shapes = [part.place.leaves[key].shape for part in parts if key in part.place.leaves]
        if all(len(shape) not in (1, 2) for shape in shapes):
            raise DataError(
                f"{path}: {key} has shape {list(shapes[0])} in {parts[0].place.name}, expected [steps, numbers a "
                "step], because that is one episode. Remove the other axis, or give one file with all episodes alone."
            )
        places = [part.place for part in parts]
        if (fault := fault_of(places, key)) is not None:
            raise DataError(f"{path}: {exchanged_in(places, key) or fault.sentence}")


def _steps(part: Part, key: str) -> int:
    leaf = part.place.leaves.get(key)
    return leaf.shape[0] if leaf is not None and leaf.shape else 0


def _check_mask(parts: Sequence[Part], held: Mapping[str, Held], steps: Sequence[int], path: Path) -> None:
    """Refuse a mask without a flag for each step."""
    mask = mask_in(held)
    if mask is None or held[mask].ahead is not None:
        return
    for part, count in zip(parts, steps, strict=True):
        if mask in part.place.leaves:
            check_rows_of_mask(mask, part.place.leaves[mask].shape, count, 1, f"{path}: {part.place.name}")


def _loader(
    parts: Sequence[Part], steps: Sequence[int], ahead: Mapping[str, bool]
) -> Callable[[Sequence[str]], Mapping[str, Loaded]]:
    def one(key: str) -> Loaded:
        like = next(part.arrays[key] for part in parts if key in part.arrays)[:0]
        # a file without steps need not have the array
        arrays = [part.arrays.get(key, like) for part in parts]
        rows = np.concatenate([array[:count] for array, count in zip(arrays, steps, strict=True)])
        if not ahead[key]:
            return Loaded(rows)
        return Loaded(rows, np.stack([array[-1] if len(array) else np.zeros(like.shape[1:]) for array in arrays]))

    return lambda keys: {key: one(key) for key in keys}


def _is_picture(leaf: Leaf) -> bool:
    return leaf.dtype == np.uint8 and len(leaf.shape) == 4 and has_channels(leaf.shape)


def _is_list(leaf: Leaf) -> bool:
    return math.prod(leaf.shape[1:]) == 1


def _frames(load: Callable[[Sequence[str]], Mapping[str, Loaded]], key: str) -> Pictures:
    return in_order(Frames(torch.as_tensor(load([key])[key].rows)))


def _measured(leaves: Mapping[str, Leaf], load: Callable[[Sequence[str]], Mapping[str, Loaded]]) -> dict[str, Pictures]:
    """Arrays that are pictures of measurements, by key."""
    sizes = {key: measured_size(key, leaf.shape[1:], leaf.dtype) for key, leaf in leaves.items()}
    return {
        key: Measured(Measurements(load([key])[key].rows, (*size, 1)))
        for key, size in sizes.items()
        if size is not None
    }


def _names(
    parts: Sequence[Part], keys: Sequence[str], action: Sequence[str], kind: Kind
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Names of the coordinates of the usual state and action, where all files give the same."""
    if kind.own_names:
        return {key: (key,) for key in keys}, []
    found, notes = dict[str, tuple[str, ...]](), list[str]()
    for name, quantity in NAMES.items():
        given = [part.place.attributes.get(name) for part in parts]
        owners = action if quantity == "action" else kind.states(keys)
        if given[0] is None or len(owners) != 1:
            continue
        if any(other != given[0] for other in given):
            notes.append(f"{name} is not the same in all episodes, so it is not read.")
        else:
            found[owners[0]] = tuple(map(str, given[0]))
    return found, notes


def _time_step(parts: Sequence[Part]) -> tuple[float | None, list[str]]:
    """Seconds per step, and a sentence where the files do not agree."""
    steps = {part.place.name: dt_of({}, part.place.attributes) for part in parts}
    if len({*steps.values()}) <= 1:
        return next(iter(steps.values())), []
    first, *_ = steps
    other = next(name for name, step in steps.items() if step != steps[first])
    shown = ["not given" if step is None else f"{step:g} s" for step in (steps[first], steps[other])]
    return None, [f"the time step is {shown[0]} in {first} and {shown[1]} in {other}, so it is not known."]


def _by_episode(parts: Sequence[Part]) -> dict[str, list[Any]]:
    """Single values that all files hold, and the names of the files where these are of several kinds."""
    first = parts[0].place.attributes
    names = [name for name in first if name not in (*NAMES, "dt") and all(name in p.place.attributes for p in parts)]
    found = {name: [part.place.attributes[name] for part in parts] for name in names}
    stems = [stem_of(Path(part.place.name)) for part in parts]
    return found | ({GROUP: stems} if len({*stems}) > 1 and GROUP not in found else {})


def _notes(parts: Sequence[Part]) -> list[str]:
    """Sentences on single files, and on values that only some of them hold."""
    found = [f"{part.place.name}: {note}" for part in parts for note in part.notes]
    counts = Counter(name for part in parts for name in part.place.attributes)
    some = {name: count for name, count in sorted(counts.items()) if count < len(parts)}
    found += [f"{name} is in {count} of {len(parts)} episodes, and is not read." for name, count in some.items()]
    more = len(found) - MOST_NOTES
    return found[:MOST_NOTES] + ([f"{more} more notes on single episodes."] if more > 0 else [])
