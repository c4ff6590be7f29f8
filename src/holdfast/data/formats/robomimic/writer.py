"""Writing robomimic's HDF5 file: every bit comes back, and robomimic reads what it knows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...types import Episodes
from .. import hdf5
from ..mapped import fill
from . import columns
from . import layout as keyed

__all__ = ["GYM", "LABEL", "ROBOSUITE", "TASK", "write"]

LABEL, TASK = "holdfast", "task"
# robomimic's numbers for the kinds of environments
ROBOSUITE, GYM = 1, 2


@dataclass(frozen=True)
class _Parts:
    """A set by key: rows, and the last row of what has a final state."""

    episodes: Episodes
    values: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    cameras: Mapping[str, str]


def write(episodes: Episodes, path: Path) -> None:
    """Write a file with all episodes in the filter key `all`; rewards that were not recorded are written as zeros."""
    values, layout = keyed.split(episodes)
    parts = _Parts(episodes, values, _final(episodes, values, layout), keyed.name_cameras(episodes.cameras, values))
    label = {**columns.describe(episodes), "layout": layout, "cameras": parts.cameras}
    label["filled_in"] = ["rewards"] if episodes.rewards is None else []
    del label["tasks"]
    text = columns.to_json(label)
    with hdf5.created(path) as file:
        data = file.create_group("data")
        data.attrs["total"] = int(episodes.lengths.sum())
        data.attrs["env_args"] = json.dumps(_environment(episodes))
        data.attrs[LABEL] = text
        for index in range(len(episodes)):
            _write_demo(data.create_group(f"demo_{index}"), parts, index)
        names = [f"demo_{index}".encode() for index in range(len(episodes))]
        file.create_dataset("mask/all", data=np.array(names))


def _environment(episodes: Episodes) -> Any:
    return episodes.meta.get("env_args") or {"env_name": episodes.system or "", "type": GYM, "env_kwargs": {}}


def _final(episodes: Episodes, values: Mapping[str, Tensor], layout: keyed.Layout) -> dict[str, Tensor]:
    if episodes.final_states is None:
        return {}
    widths = [values[key].shape[1] for key in layout["state"]]
    return dict(zip(layout["state"], keyed.side_by_side(episodes.final_states, widths), strict=True))


def _write_demo(group: Any, parts: _Parts, index: int) -> None:
    episodes = parts.episodes
    first, steps = int(episodes.starts[index]), int(episodes.lengths[index])
    rows = slice(first, first + steps)
    group.attrs["num_samples"] = steps
    if episodes.tasks is not None:
        group.attrs[TASK] = episodes.tasks[index]
    group["actions"] = columns.as_numpy("actions", episodes.actions[rows])
    group["dones"] = (np.arange(steps) == steps - 1).astype(np.int64)
    group["rewards"] = np.zeros(steps) if episodes.rewards is None else episodes.rewards[rows].numpy()
    if episodes.timestamps is not None:
        group["timestamps"] = episodes.timestamps[rows].numpy()
    for key, values in parts.values.items():
        group[f"obs/{key}"] = columns.as_numpy(key, values[rows])
    for key, last in parts.final.items():
        later = columns.as_numpy(key, parts.values[key][rows][1:])
        group[f"next_obs/{key}"] = np.concatenate([later, columns.as_numpy(key, last[index, None])])
    for camera, key in parts.cameras.items():
        pictures = episodes.cameras[camera]
        array = group.create_dataset(f"obs/{key}", shape=(steps, *pictures.shape), dtype="u1")
        fill(array, pictures, range(first, first + steps))
