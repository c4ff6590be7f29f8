"""Writing robomimic's HDF5 file: every bit is preserved, and robomimic reads its own parts of the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ....types import Episodes
from ... import hdf5
from ...checksums import Checksums
from ..by_episode import LABEL, KeyedEpisodes, write_checksums, write_pictures
from ..stored import as_numpy, to_json

# robomimic's number for Gymnasium's environments
GYM = 2
# robomimic's names of columns, and attributes of an episode that follow from the data
COLUMNS = {"simulator_state": "states", "dones": "dones"}
COMPUTED = ("num_samples",)
TAKEN = ("actions", "rewards", "timestamps", "obs", "next_obs", *COLUMNS.values())


def write(episodes: Episodes, path: Path) -> None:
    """Write a file with all episodes in the filter key `all`; rewards that were not recorded are written as zeros."""
    parts = KeyedEpisodes.of(episodes, places=COLUMNS, folder="", taken=TAKEN, attributes=COMPUTED)
    label = parts.label(["rewards"] if episodes.rewards is None else [])
    to_json(label)
    sums: dict[str, list[Checksums]] = {camera: [] for camera in episodes.cameras}
    with hdf5.created(path) as file:
        data = file.create_group("data")
        data.attrs["total"] = int(episodes.lengths.sum())
        data.attrs["env_args"] = json.dumps(_environment(episodes))
        for index in range(len(episodes)):
            for camera, found in _write_episode(data.create_group(f"demo_{index}"), parts, index).items():
                sums[camera].append(found)
        data.attrs[LABEL] = to_json(write_checksums(file, parts, label, sums))
        names = [f"demo_{index}".encode() for index in range(len(episodes))]
        file.create_dataset("mask/all", data=np.array(names))


def _environment(episodes: Episodes) -> Any:
    return episodes.meta.get("env_args") or {"env_name": episodes.system or "", "type": GYM, "env_kwargs": {}}


def _write_episode(group: Any, parts: KeyedEpisodes, index: int) -> dict[str, Checksums]:
    """Write an episode, and return the checksums of its pictures by camera."""
    rows, steps = parts.rows(index), int(parts.episodes.lengths[index])
    group.attrs["num_samples"] = steps
    parts.write_numbers(group, index, repeat_last=False)
    if "dones" not in parts.columns:
        group["dones"] = (np.arange(steps) == steps - 1).astype(np.int64)
    for key, values in parts.values.items():
        group[f"obs/{key}"] = as_numpy(key, values[rows])
    for key, last in parts.final().items():
        later = as_numpy(key, parts.values[key][rows][1:])
        group[f"next_obs/{key}"] = np.concatenate([later, as_numpy(key, last[index, None])])
    return {
        camera: write_pictures(group, f"obs/{key}", parts.episodes, camera, rows, steps)[1]
        for camera, key in parts.cameras.items()
    }
