"""robomimic's HDF5 file (Mandlekar et al. 2021, arXiv 2108.03298).

    FILE.hdf5
      data                     attributes total, env_args (JSON: the environment's name and options)
      data/demo_0              attribute num_samples; other attributes are episode columns
        actions, rewards
        obs/<key>, next_obs/<key>       `[steps, ·]`; pictures are uint8 `[steps, height, width, channels]`
        states, dones, …                columns; `states`, which are the simulator's, as `simulator_state`
      mask/<filter key>        names of episodes

Low-dimensional observations become `states` and `observation.state`; keys `object…` become
`observation.environment_state`. The last row of `next_obs`, if present, is the final state. Everything else is
written where robomimic does not look: the attribute `holdfast` of `data`, `task` and `timestamps` of an episode.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....errors import DataError, UnknownNameError
from ....files import read_start
from ....types import Episodes, Pictures
from ... import hdf5, hdf5_heaps, hdf5_links
from ...arrays import Values
from ...depth import measured_size
from ...mapped import HdfFrames
from ...measured import Measured
from ...pictures import has_channels, in_order
from ...selection import Selection
from ..annotations import copies_of_actions, dt_of, environment_of, instructions_of, parsed, system_of, unusable_rates
from ..by_episode import LABEL, StoredEpisodes, check_label, checked_label, verified
from ..clocks import in_seconds
from ..fitting import no_pictures
from ..format import Format
from ..hdf5_groups.contents import around
from ..hdf5_groups.places import attributes_of, is_robomimic, missing_groups
from ..hdf5_groups.reading import keyed_of
from ..layout import Layout, from_keys, keys_of, names_of
from ..selected import picked
from ..stored import NOTHING, assemble, to_rows
from ..unfilled import with_unfilled
from .writer import COLUMNS, COMPUTED, write

__all__ = ["FORMAT", "read", "write"]

# the order of robomimic's own configurations
HAND = re.compile(r"robot(\d+)_(eef_pos|eef_quat|gripper_qpos)")
READ = ("actions", "rewards", "timestamps")
HAND_ORDER = ("eef_pos", "eef_quat", "gripper_qpos")


def read(
    path: Path,
    *,
    filter_key: str | None = None,
    observations: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> Episodes:
    """Read a robomimic file.

    Args:
        path: The file.
        filter_key: Name of a list of episodes below `mask/`; only these are read. Default: all.
        observations: Keys below `obs` to read, in this order. Default: all, the position, orientation and gripper of
            each hand first.
        names: Names of the episodes to read. Default: all, or those of the filter key.
    """
    with hdf5.opened(path) as file:
        every = [file["data"][name] for name in (names or _demos(file, path, filter_key))]
        filled = [number for number, group in enumerate(every) if not hdf5.is_empty(group)]
        groups = [every[number] for number in filled] or every[:1]
        label = _own_label(file["data"], path)
        check_label(file, label, path)
        obs = _observations(groups, path)
        own = label if observations is None else None
        layout, cameras = (own["layout"], own["cameras"]) if own else _choose(obs, observations, path)
        actions = hdf5.per_episode(groups, "actions", path)
        stored = StoredEpisodes(groups=groups, steps=[len(part) for part in actions], path=path)
        values = {key: replace(stored, groups=obs).read(key) for key in keys_of(layout)}
        found = from_keys(values, layout, str(path)) | _final_states(groups, layout["state"], path)
        found["actions"] = to_rows(np.concatenate(actions), "actions", str(path))
        found |= stored.recorded(label["filled_in"] if label else ())
        if label is not None:
            columns, description = stored.own_columns(label), label
        else:
            columns, rest = _further(stored, {f"obs/{key}" for key in (*keys_of(layout), *cameras.values())})
            notes = copies_of_actions({f"obs/{key}": parts for key, parts in values.items()}, actions)
            seen = {f"obs/{key}": obs[0][key] for key in hdf5.leaves(obs[0])}
            notes += no_pictures(seen, sorted(seen.keys() & {*rest}))
            chosen = names is not None or filter_key is not None
            notes += [] if chosen else missing_groups([group.name for group in every])
            description = _foreign_description(file, rest, notes, path)
            found |= _timed(found, stored.steps, description)
        labels = {} if own else {"names": names_of(values, layout)}
        views = {camera: _frames(obs, key, stored.steps, path) for camera, key in cameras.items()}
        if whole := filter_key is None and own is not None and names is None:
            views = {camera: verified(file, cameras[camera], frames, path) for camera, frames in views.items()}
        tasks = stored.tasks() if label is not None else _tasks(groups, file, path)
        description = {**description, **labels, "tasks": tasks}
        lengths, label = torch.tensor(stored.steps), label if whole else None
        episodes = assemble(found | columns, lengths, description, str(path), cameras=views, label=label)
        return with_unfilled(episodes, filled, len(every)) if filled else episodes


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the episodes of a filter key, and the chosen arrays as state and action.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    key = selection.filter_key
    with hdf5.opened(path) as file:
        names = _demos(file, path, None)
        own = LABEL in file["data"].attrs
        masks = hdf5.names(file["mask"]) if "mask" in file else []
        by_flag = key is None or (key not in masks and key in file["data"][names[0]].attrs)
        listed = set[str]() if by_flag else _filtered(file, path, str(key))
    if (own or not selection.maps_keys) and key in masks and selection.episodes is None:
        return read(path, filter_key=key), replace(selection, filter_key=None)
    # numbers of episodes count those of the file
    lists = {str(key): [names.index(name) for name in names if name in listed]} if key in masks else {}
    if own:
        chosen = Selection(episodes=selection.episodes, filter_key=key)
        return picked(read(path), chosen, lists), replace(selection, filter_key=None, episodes=None)
    # those that are left out need not have the arrays of the others
    numbers = selection.indices(len(names))
    lists = {key: [place for place, number in enumerate(numbers) if number in kept] for key, kept in lists.items()}
    rest = replace(selection, episodes=None)
    if not selection.maps_keys:
        episodes = read(path, names=[names[number] for number in numbers])
        return picked(episodes, Selection(filter_key=key), lists), replace(rest, filter_key=None)
    keyed = keyed_of([path], path, selection, [f"/data/{name}" for name in names])
    return picked(keyed.episodes(selection), replace(rest, state=None, action=None), lists), Selection()


def _tasks(groups: Sequence[Any], file: Any, path: Path) -> list[str] | None:
    own = [{**around(group, path)[0], **attributes_of(group, str(path))} for group in groups]
    return instructions_of(own, _attributes(file, path)[0])


def _attributes(file: Any, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Attributes, rates and instructions of a file and its group `data`, and the names of arrays that lie there."""
    (of_file, beside), (of_data, more) = (around(group, path) for group in (file, file["data"]))
    return {**of_file, **of_data, **attributes_of(file["data"], str(path))}, [*beside, *more]


def _further(stored: StoredEpisodes, read: set[str]) -> tuple[dict[str, Values], list[str]]:
    """Everything else in a file of another program as columns, and what cannot be columns."""
    keys = [key for key in hdf5.leaves(stored.groups[0]) if not key.startswith("next_") and key not in (*read, *READ)]
    named = {place: name for name, place in COLUMNS.items()}
    places = {named.get(key, key): key for key in keys if not key.startswith("obs/")}
    columns, rest = stored.further_columns(places, COMPUTED)
    # what is read as the instruction is not lost
    rest = [name for name in rest if name not in around(stored.groups[0], stored.path)[0]]
    return columns, sorted(rest + [key for key in keys if key.startswith("obs/")])


def _demos(file: Any, path: Path, filter_key: str | None) -> list[str]:
    """Names of the episodes to read; `demo_10` comes after `demo_9`."""
    if not hdf5.is_group(file.get("data")):
        raise DataError(f"{path} is not a robomimic file: expected data/demo_0 and so on; it holds {_listed(file)}.")
    names = [name for name in hdf5.names(file["data"]) if hdf5.is_group(file["data"][name])]
    if filter_key is not None:
        wanted = _filtered(file, path, filter_key)
        if missing := sorted(wanted - set(names)):
            raise DataError(f"{path}: mask/{filter_key} names {missing[0]}, which the file lacks. Was it copied whole?")
        names = [name for name in names if name in wanted]
    if not names:
        raise DataError(f"{path} holds no episodes" + (f" of filter key {filter_key}." if filter_key else "."))
    return names


def _filtered(file: Any, path: Path, filter_key: str) -> set[str]:
    known = hdf5.names(file["mask"]) if "mask" in file else []
    if not known:
        raise DataError(f"{path} has no filter keys (no mask/). Read all episodes, or write the lists with robomimic.")
    if filter_key not in known:
        raise UnknownNameError("filter key", filter_key, known)
    stored = file[f"mask/{filter_key}"]
    hdf5_links.check_array(stored.id, f"{path}: mask/{filter_key}", kinds="OS")
    hdf5_heaps.check_strings(stored, path)
    return {name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in stored[()]}


def _listed(group: Any) -> str:
    return ", ".join(hdf5.names(group)[:8]) or "nothing"


def _timed(found: Mapping[str, Values], steps: Sequence[int], description: dict[str, Any]) -> dict[str, Tensor]:
    """Times in seconds; a sentence is added to the description if they were not."""
    times = found.get("timestamps")
    if not isinstance(times, Tensor):
        return {}
    seconds, note = in_seconds(times.double().numpy(), np.array(steps), "timestamps", description["dt"])
    if not note:
        return {}
    notes: list[str] = description["meta"].setdefault("reading_notes", [])
    notes.append(note)
    return {"timestamps": torch.as_tensor(seconds)}


def _observations(groups: Sequence[Any], path: Path) -> list[Any]:
    """The group of observations of each episode."""
    found = [group.get("obs") for group in groups]
    if all(hdf5.is_group(obs) for obs in found):
        return found
    if keys := [key for obs in found if hdf5.is_group(obs) for key in hdf5.leaves(obs)]:
        hdf5.refuse_differing(groups, f"obs/{keys[0]}", path)
    raise DataError(
        f"{path}: episode {groups[0].name} has no obs/; it holds {_listed(groups[0])}. For a file of raw states, "
        "create the observations with robomimic's dataset_states_to_obs.py."
    )


def _own_label(data: Any, path: Path) -> dict[str, Any] | None:
    if LABEL not in data.attrs:
        return None
    source = f"{path}: attribute {LABEL}"
    return checked_label(parsed(data.attrs[LABEL], source, way_out="Write the file again."), source)


def _choose(groups: Sequence[Any], wanted: Sequence[str] | None, path: Path) -> tuple[Layout, dict[str, str]]:
    """Layout and cameras, by the arrays that at least half of the episodes have."""
    counts = Counter(key for group in groups for key in hdf5.names(group))
    first = {key: next(group for group in groups if key in group) for key in counts}
    usual = [key for key in sorted(counts, key=_order) if 2 * counts[key] >= len(groups)]
    kinds = {key: _kind(key, first[key][key]) for key in usual}
    for key in wanted or []:
        if kinds.get(key) is None:
            raise UnknownNameError("observation", key, [key for key, kind in kinds.items() if kind])
    keys = kinds if wanted is None else wanted
    numbers = [key for key in keys if kinds[key] == "numbers"]
    rest = [key for key in numbers if key.startswith("object")]
    own = [key for key in numbers if key not in rest] or rest
    if not own:
        raise DataError(f"{path}: no low-dimensional observations; found {_listed(groups[0])}.")
    layout = {"state": own}
    if rest and own is not rest:
        layout |= {"observation.state": own, "observation.environment_state": rest}
    return layout, {key: key for key in keys if kinds[key] == "pictures" and _is_whole(groups, first[key][key], key)}


def _is_whole(groups: Sequence[Any], entry: Any, key: str) -> bool:
    """Whether all episodes hold pictures alike; where measurements are not, they are left out and named."""
    kind = (entry.shape[1:], entry.dtype)
    alike = all(key in group and (group[key].shape[1:], group[key].dtype) == kind for group in groups)
    return alike or entry.dtype == np.uint8


def _kind(key: str, entry: Any) -> str | None:
    shape, dtype = getattr(entry, "shape", None), getattr(entry, "dtype", None)
    if shape is None or dtype is None or dtype.kind not in "fiub":
        return None
    if len(shape) == 4 and dtype == np.uint8:
        return "pictures" if has_channels(shape) else None
    if measured_size(key, shape[1:], dtype) is not None:
        return "pictures"
    return "numbers" if len(shape) in (1, 2) else None


def _order(key: str) -> tuple[int, int, int, str]:
    if match := HAND.fullmatch(key):
        return 0, int(match[1]), HAND_ORDER.index(match[2]), key
    return 1, 0, 0, key


def _final_states(groups: Sequence[Any], keys: Sequence[str], path: Path) -> dict[str, Tensor]:
    if not all(f"next_obs/{key}" in group for group in groups for key in keys):
        return {}
    later = [group["next_obs"] for group in groups]
    values = {key: [part[-1:] for part in hdf5.per_episode(later, key, path)] for key in keys}
    return {"final_states": from_keys(values, {"state": keys}, str(path))["states"]}


def _frames(obs: Sequence[Any], key: str, steps: Sequence[int], path: Path) -> Pictures:
    shape, dtype = (obs[0][key].shape[1:], obs[0][key].dtype) if key in obs[0] else ((0, 0, 0), np.dtype(np.uint8))
    for group, expected in zip(obs, steps, strict=True):
        if key not in group or group[key].shape != (expected, *shape) or group[key].dtype != dtype:
            hdf5.refuse_differing(obs, key, path, steps)
    names = tuple(f"{group.name}/{key}" for group in obs)
    if dtype != np.uint8 and (size := measured_size(key, shape, dtype)) is not None:
        return Measured(HdfFrames(path, names, tuple(steps), (*size, 1)))
    if dtype != np.uint8:
        hdf5.refuse_differing(obs, key, path, steps)
    return in_order(HdfFrames(path, names, tuple(steps), shape))


def _foreign_description(file: Any, rest: list[str], notes: list[str], path: Path) -> dict[str, Any]:
    """System and time step by the file's own attributes, and a list of what was not read."""
    attributes, beside = _attributes(file, path)
    environment = environment_of(attributes, str(path))
    said = [*notes, *unusable_rates(attributes, environment)]
    found = {"env_args": environment, "features_left_out": [*rest, *beside], "reading_notes": said}
    return {
        **NOTHING,
        "system": system_of(environment),
        "dt": dt_of(environment, attributes),
        "meta": {name: value for name, value in found.items() if value},
    }


def _recognises(path: Path) -> bool:
    """Whether a file is HDF5 with episodes below `data`."""
    if not path.is_file() or read_start(path, most=len(hdf5.MAGIC)) != hdf5.MAGIC:
        return False
    try:
        with hdf5.opened(path) as opened:
            return is_robomimic(opened)
    except (DataError, TypeError, AttributeError):
        return False


FORMAT = Format(
    name="robomimic",
    example="robomimic's .hdf5",
    recognises=_recognises,
    read=read,
    write=write,
    suffixes=(".hdf5", ".h5"),
    read_selected=read_selected,
    read_observations=lambda path, filter_key, observations: read(
        path, filter_key=filter_key, observations=observations
    ),
)
