"""Observations by key, as robomimic and Minari hold them, and the quantities that Holdfast makes of them.

A *layout* says which keys, side by side, make up each quantity:

    {"state": ["robot0_eef_pos", "robot0_eef_quat"], "observation.environment_state": ["object"]}

Names of coordinates say where a key begins: `robot0_eef_pos_0, robot0_eef_pos_1, …`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...types import Episodes
from . import columns

__all__ = ["Layout", "gather", "name_cameras", "names_of", "side_by_side", "split", "unique"]

Layout = Mapping[str, Sequence[str]]
DEFAULTS = {"state": "state", "observation.state": "observation_state", "observation.environment_state": "object"}
ROLES = {"state": "states"}
INDEXED = re.compile(r"(.+)_(\d+)")


def split(episodes: Episodes) -> tuple[dict[str, Tensor], Layout]:
    """Rows by key, and the layout that puts them together again.

    >>> episodes = Episodes(
    ...     actions=torch.zeros(2, 1), states=torch.ones(2, 3), lengths=torch.tensor([2]),
    ...     names={"state": ("hand_0", "hand_1", "grip_0")},
    ... )
    >>> {key: rows.shape[1] for key, rows in split(episodes)[0].items()}
    {'hand': 2, 'grip': 1}
    """
    values, layout = dict[str, Tensor](), dict[str, Sequence[str]]()
    for quantity, rows in _quantities(episodes).items():
        if quantity == "observation.state" and _same(rows, episodes.states):
            layout[quantity] = layout["state"]
            continue
        widths = _widths(episodes.names.get(quantity), rows.shape[1])
        if widths is None or widths.keys() & values.keys():
            widths = {unique(DEFAULTS[quantity], values): rows.shape[1]}
        values |= zip(widths, side_by_side(rows, list(widths.values())), strict=True)
        layout[quantity] = list(widths)
    return values, layout


def gather(values: Mapping[str, Sequence[NDArray[Any]]], layout: Layout, source: str) -> dict[str, Tensor]:
    """Rows of each quantity by its name in `columns`: keys side by side, episodes end to end."""
    found = dict[str, Tensor]()
    for quantity, keys in layout.items():
        parts = [columns.rows_of(np.concatenate(values[key]), key, source) for key in keys]
        found[ROLES.get(quantity, quantity)] = torch.cat(parts, dim=1)
    return found


def side_by_side(rows: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The parts of rows that have the given widths."""
    return [rows[:, end - width : end] for width, end in zip(widths, accumulate(widths), strict=True)]


def names_of(values: Mapping[str, Sequence[NDArray[Any]]], layout: Layout) -> dict[str, list[str]]:
    """Names of the coordinates of each quantity: the key and an index."""
    widths = {key: math.prod(parts[0].shape[1:]) for key, parts in values.items()}
    return {quantity: [f"{key}_{i}" for key in keys for i in range(widths[key])] for quantity, keys in layout.items()}


def unique(name: str, taken: Mapping[str, object]) -> str:
    """A name that is not taken, without slashes: those would make folders of it."""
    name = name.replace("/", "_")
    while name in taken:
        name += "_"
    return name


def name_cameras(cameras: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A key for each camera that nothing else has."""
    keys, used = dict[str, str](), dict.fromkeys(taken)
    for camera in cameras:
        keys[camera] = unique(camera, used)
        used[keys[camera]] = None
    return keys


def _quantities(episodes: Episodes) -> dict[str, Tensor]:
    found = {"state": episodes.states}
    if (seen := episodes.observations) is not None:
        found["observation.state"] = seen.state
        if seen.environment_state is not None:
            found["observation.environment_state"] = seen.environment_state
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def _widths(names: Sequence[str] | None, width: int) -> dict[str, int] | None:
    """Coordinates of each key, if all names are keys with rising indices."""
    widths = dict[str, int]()
    for name in names or []:
        match = INDEXED.fullmatch(name)
        if match is None or "/" in name or widths.get(match[1], 0) != int(match[2]) or match[1] in list(widths)[:-1]:
            return None
        widths[match[1]] = int(match[2]) + 1
    return widths if sum(widths.values()) == width and widths else None
