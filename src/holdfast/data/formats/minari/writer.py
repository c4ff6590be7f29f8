"""Writing Minari's data sets: every bit comes back, and Minari loads them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ...types import Episodes
from .. import hdf5
from ..mapped import fill
from . import columns
from . import layout as keyed
from .minari_spaces import box

__all__ = ["COMPUTED", "FILE", "LABEL", "METADATA", "TASK", "write"]

FILE, METADATA = "main_data.hdf5", "metadata.json"
LABEL, TASK = "holdfast", "task"
# what follows from the data: everything else in the metadata is kept as it was
COMPUTED = {
    "total_episodes",
    "total_steps",
    "data_format",
    "jpeg_encoding",
    "observation_space",
    "action_space",
    "dataset_size",
    "minari_version",
    LABEL,
}
NAME = re.compile(r"([-\w]+/)*[-\w]+-v\d+")
# the first version that reads this layout; pictures as they are, uncompressed, came later
VERSION, VERSION_WITH_PICTURES = "0.5.0", "0.5.4"


@dataclass(frozen=True)
class _Parts:
    """A set by key: rows, what follows the last one of each episode, and pictures."""

    episodes: Episodes
    values: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    cameras: Mapping[str, str]
    flat: bool


def write(episodes: Episodes, path: Path) -> None:
    """Write a folder with `data` in it, as below Minari's own root.

    An observation after the last action that was not recorded repeats the one before; rewards that were not are zeros;
    episodes do not say why they ended, so each is said to be truncated.
    """
    values, layout = keyed.split(episodes)
    flat = len(values) == 1 and not episodes.cameras
    parts = _Parts(
        episodes, values, _final(episodes, values, layout), keyed.name_cameras(episodes.cameras, values), flat
    )
    if flat:
        layout = {quantity: [""] for quantity in layout}
    text = columns.to_json(_label(parts, layout))
    (path / "data").mkdir(parents=True)
    with hdf5.created(path / "data" / FILE) as file:
        for index in range(len(episodes)):
            _write_episode(file.create_group(f"episode_{index}"), parts, index)
    metadata = {**_metadata(parts, path), LABEL: json.loads(text)}
    (path / "data" / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _label(parts: _Parts, layout: keyed.Layout) -> dict[str, Any]:
    recorded = {"rewards": parts.episodes.rewards, "final_states": parts.episodes.final_states}
    label = {**columns.describe(parts.episodes), "layout": layout, "cameras": parts.cameras}
    label["filled_in"] = [name for name, values in recorded.items() if values is None]
    del label["tasks"]
    return label


def _metadata(parts: _Parts, path: Path) -> dict[str, Any]:
    episodes = parts.episodes
    kept = episodes.meta.get("minari")
    spaces = {key: box(rows) for key, rows in parts.values.items()}
    for camera, key in parts.cameras.items():
        spaces[key] = box(torch.empty(0, dtype=torch.uint8), features=episodes.cameras[camera].shape)
    # in Gymnasium's order
    space = next(iter(spaces.values())) if parts.flat else {"type": "Dict", "subspaces": dict(sorted(spaces.items()))}
    return {
        "dataset_id": path.name if NAME.fullmatch(path.name) else re.sub(r"[^-\w]", "_", path.name) + "-v0",
        **(cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}),
        "total_episodes": len(episodes),
        "total_steps": int(episodes.lengths.sum()),
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": json.dumps(space),
        "action_space": json.dumps(box(episodes.actions, bounds=episodes.meta.get("action_bounds"))),
        "minari_version": VERSION_WITH_PICTURES if parts.cameras else VERSION,
        "dataset_size": round((path / "data" / FILE).stat().st_size / 1e6, 1),
    }


def _final(episodes: Episodes, values: Mapping[str, Tensor], layout: keyed.Layout) -> dict[str, Tensor]:
    """What follows the last row of each episode, by key."""
    ends = episodes.lengths.cumsum(0) - 1
    final = {key: rows[ends] for key, rows in values.items()}
    if episodes.final_states is not None:
        widths = [values[key].shape[1] for key in layout["state"]]
        final |= zip(layout["state"], keyed.side_by_side(episodes.final_states, widths), strict=True)
    return final


def _write_episode(group: Any, parts: _Parts, index: int) -> None:
    episodes = parts.episodes
    first, steps = int(episodes.starts[index]), int(episodes.lengths[index])
    rows = slice(first, first + steps)
    group.attrs["id"], group.attrs["total_steps"] = index, steps
    if episodes.tasks is not None:
        group.attrs[TASK] = episodes.tasks[index]
    group["actions"] = columns.as_numpy("actions", episodes.actions[rows])
    group["rewards"] = np.zeros(steps) if episodes.rewards is None else episodes.rewards[rows].numpy()
    group["terminations"] = np.zeros(steps, dtype=bool)
    group["truncations"] = np.arange(steps) == steps - 1
    group.create_group("infos")
    if episodes.timestamps is not None:
        group["timestamps"] = episodes.timestamps[rows].numpy()
    for key, values in parts.values.items():
        place = "observations" if parts.flat else f"observations/{key}"
        group[place] = columns.as_numpy(key, torch.cat([values[rows], parts.final[key][index, None]]))
    for camera, key in parts.cameras.items():
        pictures = episodes.cameras[camera]
        array = group.create_dataset(f"observations/{key}", shape=(steps + 1, *pictures.shape), dtype="u1")
        fill(array, pictures, range(first, first + steps))
        array[-1] = array[-2]
