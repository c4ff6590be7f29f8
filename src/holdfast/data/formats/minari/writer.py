"""Writing Minari data sets: every bit is preserved, and Minari loads them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ....types import Episodes
from ... import hdf5
from ...checksums import Checksums
from ..by_episode import LABEL, KeyedEpisodes, write_checksums, write_pictures
from ..stored import as_numpy, to_json
from .spaces import box

FILE, METADATA = "main_data.hdf5", "metadata.json"
# metadata and attributes of an episode that follow from the data; all other metadata are preserved
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
ATTRIBUTES = ("id", "total_steps")
# Minari's names of columns
COLUMNS = {"terminations": "terminations", "truncations": "truncations"}
NAME = re.compile(r"([-\w]+/)*[-\w]+-v\d+")
# the first version that reads this layout; uncompressed pictures came later
VERSION, VERSION_WITH_PICTURES = "0.5.0", "0.5.4"


def write(episodes: Episodes, path: Path) -> None:
    """Write a folder that contains `data`, as below Minari's own root.

    If the observation after the last action was not recorded, the last one is repeated; missing rewards are written as
    zeros. Unless columns record `terminations` and `truncations`, every episode is marked as truncated.
    """
    parts = KeyedEpisodes.of(episodes, places=COLUMNS, folder="infos/", taken=(), attributes=ATTRIBUTES)
    flat = len(parts.values) == 1 and not episodes.cameras
    recorded = {"rewards": episodes.rewards, "final_states": episodes.final_states}
    label = parts.label([name for name, values in recorded.items() if values is None])
    if flat:
        label["layout"] = {quantity: [""] for quantity in parts.layout}
    to_json(label)
    final = _final(parts)
    sums: dict[str, list[Checksums]] = {camera: [] for camera in episodes.cameras}
    (path / "data").mkdir(parents=True)
    with hdf5.created(path / "data" / FILE) as file:
        for index in range(len(episodes)):
            group = file.create_group(f"episode_{index}")
            for camera, found in _write_episode(group, parts, final, index, flat=flat).items():
                sums[camera].append(found)
        label = write_checksums(file, parts, label, sums)
    metadata = {**_metadata(parts, path, flat=flat), LABEL: label}
    (path / "data" / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _metadata(parts: KeyedEpisodes, path: Path, *, flat: bool) -> dict[str, Any]:
    episodes = parts.episodes
    original = episodes.meta.get("minari")
    spaces = {key: box(rows) for key, rows in parts.values.items()}
    for camera, key in parts.cameras.items():
        spaces[key] = box(torch.empty(0, dtype=torch.uint8), features=episodes.cameras[camera].shape)
    # in Gymnasium's order
    space = next(iter(spaces.values())) if flat else {"type": "Dict", "subspaces": dict(sorted(spaces.items()))}
    return {
        "dataset_id": path.name if NAME.fullmatch(path.name) else re.sub(r"[^-\w]", "_", path.name) + "-v0",
        **(cast("dict[str, Any]", original) if isinstance(original, dict) else {}),
        "total_episodes": len(episodes),
        "total_steps": int(episodes.lengths.sum()),
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": json.dumps(space),
        "action_space": json.dumps(box(episodes.actions, bounds=episodes.meta.get("action_bounds"))),
        "minari_version": VERSION_WITH_PICTURES if parts.cameras else VERSION,
        "dataset_size": round((path / "data" / FILE).stat().st_size / 1e6, 1),
    }


def _final(parts: KeyedEpisodes) -> dict[str, Tensor]:
    """The row after the last one of each episode, by key."""
    ends = parts.episodes.lengths.cumsum(0) - 1
    return {key: rows[ends] for key, rows in parts.values.items()} | parts.final()


def _write_episode(
    group: Any, parts: KeyedEpisodes, final: Mapping[str, Tensor], index: int, *, flat: bool
) -> dict[str, Checksums]:
    """Write an episode, and return the checksums of its pictures by camera."""
    rows, steps = parts.rows(index), int(parts.episodes.lengths[index])
    group.attrs["id"], group.attrs["total_steps"] = index, steps
    group.create_group("infos")
    parts.write_numbers(group, index, repeat_last=True)
    for name, values in {
        "terminations": np.zeros(steps, dtype=bool),
        "truncations": np.arange(steps) == steps - 1,
    }.items():
        if name not in group:
            group[name] = values
    for key, values in parts.values.items():
        place = "observations" if flat else f"observations/{key}"
        group[place] = as_numpy(key, torch.cat([values[rows], final[key][index, None]]))
    sums = dict[str, Checksums]()
    for camera, key in parts.cameras.items():
        array, sums[camera] = write_pictures(group, f"observations/{key}", parts.episodes, camera, rows, steps + 1)
        array[-1] = array[-2]
    return sums
