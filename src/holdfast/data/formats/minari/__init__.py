"""Minari data sets in HDF5, without the package minari (Younis et al. 2024, minari.farama.org).

    SET/data/
      metadata.json     totals, observation_space and action_space, env_spec, dataset_id, …
      main_data.hdf5    episode_0/ observations [steps + 1, ·] (an array, or a group of arrays), actions, rewards,
                        terminations, truncations, infos/

An episode has one observation more than actions; the last one is its final state. Groups of observations are
concatenated in the order of `dictionaries`, that of the observation_space if there is one; pictures become cameras.
Terminations, truncations and infos become columns, attributes of an episode (`seed`, …) episode columns. A bounded
action_space becomes `meta["action_bounds"]`, within which `validate` expects the actions. Minari loads written data
sets; everything else is stored under the key `holdfast` of metadata.json, and in `task` and `timestamps` of an episode.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....errors import DataError
from ....files import parse_json
from ....types import Episodes
from ... import hdf5
from ...arrays import Values
from ...dictionaries import in_order_of, parts_of
from ...selection import Selection
from ..by_episode import LABEL, StoredEpisodes, checked_label, verified
from ..format import Format, whole
from ..layout import Layout, from_keys, keys_of, names_of
from ..sealed import check_not_renamed
from ..stored import NOTHING, assemble, read_object, to_rows
from ..unfilled import with_unfilled
from .spaces import bounds_of, is_picture, pictures_of, spaces_of
from .writer import ATTRIBUTES, COMPUTED, FILE, METADATA, write

__all__ = ["FORMAT", "write"]

EPISODE = re.compile(r"episode_\d+")


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen episodes; those that are left out need not have the arrays of the others.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    folder = path if (path / FILE).is_file() else path / "data"
    metadata, file = _metadata(folder), folder / FILE
    check_not_renamed(metadata, LABEL, str(folder / METADATA))
    label = checked_label(metadata[LABEL], f"{folder / METADATA}: {LABEL}") if LABEL in metadata else None
    filled_in: Sequence[str] = label["filled_in"] if label else ()
    with hdf5.opened(file) as opened:
        every = _episodes(opened, metadata, file)
        # a set of this package is compared with its checksums as a whole
        rest = selection if label is not None else replace(selection, episodes=None)
        every = every if label is not None else [every[number] for number in selection.indices(len(every))]
        filled = [number for number, group in enumerate(every) if not hdf5.is_empty(group)] or [0]
        groups = [every[number] for number in filled]
        actions = _actions(groups, metadata, file)
        stored = StoredEpisodes(groups=groups, steps=[len(part) for part in actions], path=file)
        layout, cameras, unread = _choose(_first_with(groups, "observations"), metadata, label, file)
        values = {key: stored.read(f"observations/{key}", more=1) for key in keys_of(layout)}
        found = from_keys({key: [part[:-1] for part in parts] for key, parts in values.items()}, layout, str(file))
        if "final_states" not in filled_in:
            last = {key: [part[-1:] for part in parts] for key, parts in values.items()}
            found["final_states"] = from_keys(last, {"state": layout["state"]}, str(file))["states"]
        found |= stored.recorded(filled_in)
        found["actions"] = to_rows(np.concatenate(actions), "actions", str(file))
        if label is not None:
            columns, description = stored.own_columns(label), label
        else:
            columns, left_out = _further(stored)
            space, keys = spaces_of(metadata, "action_space"), hdf5.leaves(groups[0]["actions"])
            bounds = bounds_of(space, keys, folder / METADATA)
            notes = {"features_left_out": unread + left_out, "action_bounds": bounds}
            names = {} if list(values) == [""] else names_of(values, layout)
            description = _foreign_description(metadata, names, notes)
        spaces = spaces_of(metadata, "observation_space")
        views = {camera: pictures_of(stored, key, spaces.get(key)) for camera, key in cameras.items()}
        views = {camera: verified(opened, cameras[camera], frames, file) for camera, frames in views.items()}
        description = {**description, "tasks": stored.tasks()}
        lengths, source = torch.tensor(stored.steps), str(folder / METADATA)
        episodes = assemble(
            found | columns, lengths, description, str(file), cameras=views, described_in=source, label=label
        )
        return with_unfilled(episodes, filled, len(every)), rest


def _further(stored: StoredEpisodes) -> tuple[dict[str, Values], list[str]]:
    """Columns of a file that Minari wrote, and the names of what was not read."""
    read = ("observations", "actions", "rewards", "timestamps")
    keys = [key for key in hdf5.leaves(stored.groups[0]) if key.split("/")[0] not in read]
    return stored.further_columns({key.removeprefix("infos/"): key for key in keys}, ATTRIBUTES)


def _metadata(folder: Path) -> dict[str, Any]:
    metadata = read_object(folder, METADATA, f"has no {METADATA}, which Minari needs")
    kind = metadata.get("data_format", "hdf5")
    if kind != "hdf5" or not (folder / FILE).is_file():
        raise DataError(
            f"{folder} holds a Minari data set of data_format {kind!r}; expected 'hdf5', in {FILE}. Was it copied "
            "whole? Record data sets of another data_format again with data_format='hdf5'."
        )
    return metadata


def _episodes(file: Any, metadata: Mapping[str, Any], path: Path) -> list[Any]:
    names = [name for name in hdf5.names(file) if EPISODE.fullmatch(name)]
    expected = metadata.get("total_episodes", len(names))
    if len(names) != expected or not names:
        raise DataError(
            f"{path} holds {len(names)} episodes, but {METADATA} gives {expected}. Expected equal numbers above 0: "
            "download the data set again."
        )
    return [file[name] for name in names]


def _actions(groups: Sequence[Any], metadata: Mapping[str, Any], path: Path) -> list[NDArray[Any]]:
    """One array of actions an episode; groups of actions are concatenated."""
    space = spaces_of(metadata, "action_space")
    if kinds := {str(leaf.get("type")) for leaf in space.values()} - {"Box"}:
        raise DataError(f"{path}: actions of kind {', '.join(sorted(kinds))}; expected continuous ones (Box).")
    keys = hdf5.leaves(_entry(_first_with(groups, "actions"), path))
    if not keys:
        raise DataError(f"{path}: episode {groups[0].name} holds no actions. Download the data set again.")
    parts = [hdf5.per_episode(groups, f"actions/{key}".rstrip("/"), path) for key in keys]
    flat = [[part.reshape(len(part), -1) for part in episode] for episode in zip(*parts, strict=True)]
    if uneven := [group for group, episode in zip(groups, flat, strict=True) if len({len(p) for p in episode}) != 1]:
        raise DataError(f"{path}: episode {uneven[0].name} has unequal numbers of its actions. Remove that one.")
    return [np.concatenate(episode, axis=1) for episode in flat]


def _first_with(groups: Sequence[Any], name: str) -> Any:
    """The first episode with an entry; the others are compared with it."""
    return next((group for group in groups if name in group), groups[0])


def _entry(group: Any, path: Path, name: str = "actions") -> Any:
    if name not in group:
        raise DataError(
            f"{path}: episode {group.name} has no {name}; it holds {', '.join(hdf5.names(group)) or 'nothing'}."
        )
    return group[name]


def _choose(
    group: Any, metadata: Mapping[str, Any], label: Mapping[str, Any] | None, path: Path
) -> tuple[Layout, Mapping[str, str], list[str]]:
    """Layout, cameras and what is not read, by the observations of the first episode."""
    if label is not None:
        return label["layout"], label["cameras"], []
    seen = _entry(group, path, "observations")
    spaces = spaces_of(metadata, "observation_space")
    entries = {key: seen[key] if key else seen for key in hdf5.leaves(seen)}
    cameras = [key for key, entry in entries.items() if is_picture(key, entry, spaces.get(key))]
    state = [key for key, entry in entries.items() if key not in cameras and entry.dtype.kind in "fiub"]
    if not state:
        raise DataError(f"{path}: no low-dimensional observations; found {', '.join(entries) or 'none'}.")
    rest = [f"observations/{key}" for key in entries if key not in [*cameras, *state]]
    own, others = parts_of(in_order_of(state, spaces))
    layout = {"state": own} | ({"observation.state": own, "observation.environment_state": others} if others else {})
    return layout, {key: key for key in cameras}, rest


def _foreign_description(
    metadata: Mapping[str, Any], names: Mapping[str, list[str]], notes: Mapping[str, Any]
) -> dict[str, Any]:
    """The description by Minari's own metadata, which are preserved when the data set is written to Minari again."""
    original = {key: value for key, value in metadata.items() if key not in COMPUTED}
    meta = {"minari": original} | {note: value for note, value in notes.items() if value}
    return {**NOTHING, "system": _system(metadata.get("env_spec")), "names": names, "meta": meta}


def _system(env_spec: Any) -> str | None:
    try:
        spec: Any = parse_json(env_spec, "env_spec") if isinstance(env_spec, str) else None
        name, entry = str(spec["id"]), str(spec.get("entry_point"))
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    if not entry.startswith("gymnasium.envs."):
        return name
    # the prefix mujoco: means that states are the simulator's own; only this task's observations contain all of it
    return f"{'mujoco' if name.startswith('InvertedPendulum-') else 'gym'}:{name}"


FORMAT = Format(
    name="minari",
    example="a Minari folder (data/main_data.hdf5)",
    # a folder, or its folder `data`; or metadata with data of another kind
    recognises=lambda path: any((path / place).is_file() for place in (f"data/{FILE}", FILE, f"data/{METADATA}")),
    read=whole(read_selected),
    read_selected=read_selected,
    write=write,
    entries=re.compile(r"(data/)?(main_data\.hdf5|metadata\.json)"),
    is_complete=lambda path: any((path / place).is_file() for place in (f"data/{FILE}", FILE)),
)
