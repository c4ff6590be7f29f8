"""Observations by key, as robomimic and Minari store them.

A *layout* lists the keys that are concatenated to each quantity:

    {"state": ["robot0_eef_pos", "robot0_eef_quat"], "observation.environment_state": ["object"]}

Names of coordinates show where a key begins: `robot0_eef_pos_0, robot0_eef_pos_1, …`.
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
from .stored import to_rows

Layout = Mapping[str, Sequence[str]]
DEFAULTS = {"state": "state", "observation.state": "observation_state", "observation.environment_state": "object"}
INDEXED = re.compile(r"(.+)_(\d+)")


def to_keys(episodes: Episodes) -> tuple[dict[str, Tensor], Layout]:
    """Rows by key, and the layout that reassembles them.

    >>> episodes = Episodes(
    ...     actions=torch.zeros(2, 1), states=torch.ones(2, 3), lengths=torch.tensor([2]),
    ...     names={"state": ("hand_0", "hand_1", "grip_0")},
    ... )
    >>> {key: rows.shape[1] for key, rows in to_keys(episodes)[0].items()}
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
        values |= zip(widths, split_widths(rows, list(widths.values())), strict=True)
        layout[quantity] = list(widths)
    return values, layout


def from_keys(values: Mapping[str, Sequence[NDArray[Any]]], layout: Layout, source: str) -> dict[str, Tensor]:
    """Rows of each quantity by its array name: keys concatenated along axis 1, episodes along axis 0."""
    found = dict[str, Tensor]()
    for quantity, keys in layout.items():
        parts = [to_rows(np.concatenate(values[key]), key, source) for key in keys]
        found["states" if quantity == "state" else quantity] = torch.cat(parts, dim=1)
    return found


def keys_of(layout: Layout) -> list[str]:
    """All keys of a layout, each once."""
    return list(dict.fromkeys(key for keys in layout.values() for key in keys))


def split_widths(rows: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Rows split along axis 1 into parts of the given widths."""
    return [rows[:, end - width : end] for width, end in zip(widths, accumulate(widths), strict=True)]


def names_of(values: Mapping[str, Sequence[NDArray[Any]]], layout: Layout) -> dict[str, list[str]]:
    """Names of the coordinates of each quantity: the key and an index."""
    widths = {key: math.prod(parts[0].shape[1:]) for key, parts in values.items()}
    return {quantity: [f"{key}_{i}" for key in keys for i in range(widths[key])] for quantity, keys in layout.items()}


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, extended if it is taken, without slashes, which would create folders."""
    name = name.replace("/", "_").replace("\\", "_")
    # a name of dots alone would be a folder too
    name = name if name.strip(".") else f"_{name}"
    while name in taken:
        name += "_"
    return name


def unique_keys(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A distinct key for each name, by name."""
    keys, used = dict[str, str](), set(taken)
    for name in names:
        keys[name] = unique(name, used)
        used.add(keys[name])
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
    """Number of coordinates of each key, if all names are keys with rising indices."""
    widths = dict[str, int]()
    for name in names or []:
        match = INDEXED.fullmatch(name)
        if match is None or "/" in name or widths.get(match[1], 0) != int(match[2]) or match[1] in list(widths)[:-1]:
            return None
        widths[match[1]] = int(match[2]) + 1
    return widths if sum(widths.values()) == width and widths else None
