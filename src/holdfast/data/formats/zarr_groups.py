"""Zarr stores of other layouts than Diffusion Policy's: arrays of all steps, or a group per episode.

    STORE.zarr     actions, states, episode_ends (also below `data` and `meta`): all steps end to end, as in npz files
    STORE.zarr     demo_0/actions, demo_0/obs/qpos, … (also below `data` or `episodes`): a group per episode

Names of arrays, ends of episodes, masks and times are those of npz files (`named_arrays`); single values in the
attributes of a group (`success`, `fps`) belong to the episode. Everything is read into memory.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...types import Episodes
from .. import hdf5, zarr_store
from ..selection import Selection
from .annotations import dt_of
from .episode_files.joined import keyed_of
from .episode_files.parts import NPZ, Part
from .fitting import RATES
from .format import Format, names_in, whole
from .hdf5_groups.places import NUMBERED, Leaf, Place
from .named_arrays import episodes_of_arrays
from .zarr_replay import MARKS

ROOTS = (".zgroup", "zarr.json")
HOLDERS = ("data", "episodes")
BELOW = ("obs/", "observations/", "observation/")
DEEPEST = 4


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen arrays as state and action; of groups, the chosen episodes alone.

    Returns:
        The episodes, and the part of the selection that remains to be applied.

    Raises:
        DataError: The store holds no arrays, or they have no usual names, or tell no episodes.
    """
    with zarr_store.opened(path) as root:
        if groups := _episodes(root):
            numbers = selection.indices(len(groups))
            parts = [_part(groups[number], number, path) for number in numbers]
            keyed = keyed_of(parts, path, selection, replace(NPZ, states=_states))
            return keyed.episodes(selection), keyed.left_of(selection)
        arrays = dict(_arrays(root))
        if not arrays:
            raise DataError(f"{path} holds no arrays. Expected actions, states and episode_ends, or groups of these.")
        short = {key: key.removeprefix("data/").removeprefix("meta/") for key in arrays}
        unique = len({*short.values()}) == len(short)
        found = {short[key] if unique else key: _values(array, path, key) for key, array in arrays.items()}
        step = dt_of({}, dict(root.attrs))
        rates = {name: np.array(root.attrs[name]) for name in RATES if name in root.attrs}
        found = {**(rates if step is None else {"dt": np.array(step)}), **found}
    return episodes_of_arrays(found, str(path), selection), replace(selection, state=None, action=None)


def _episodes(root: Any) -> list[Any]:
    """The groups that are episodes: those with numbered names, in natural order; none if there are no such groups."""
    inside = dict(root.groups())
    for holder in (root, *(inside[name] for name in HOLDERS if name in inside)):
        numbered = {name: group for name, group in holder.groups() if NUMBERED.fullmatch(name)}
        if numbered:
            return [numbered[name] for name in sorted(numbered, key=hdf5.natural)]
    return []


def _arrays(group: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All arrays below a group, by path."""
    yield from ((before + name, array) for name, array in sorted(group.arrays()))
    for name, inner in sorted(group.groups()) if depth < DEEPEST else ():
        yield from _arrays(inner, f"{before}{name}/", depth + 1)


def _values(array: Any, path: Path, key: str) -> NDArray[Any]:
    zarr_store.check(array, path, complete="said")
    try:
        return np.asarray(array[...])
    except zarr_store.DAMAGE as error:
        raise DataError(f"{path}: {key} is damaged: {error}. Copy or download it again.") from error


def _part(group: Any, number: int, path: Path) -> Part:
    found = {key: _values(array, path, f"{group.path}/{key}") for key, array in _arrays(group)}
    single: dict[str, Any] = {key: values.tolist() for key, values in found.items() if not values.ndim}
    rows = {key: values for key, values in found.items() if values.ndim}
    leaves = {key: Leaf(values.shape, values.dtype) for key, values in rows.items()}
    return Part(Place(path, f"/{group.path}", leaves, {**_plain(group.attrs), **single}, number), rows)


def _plain(attributes: Any) -> Mapping[str, Any]:
    return {name: value for name, value in dict(attributes).items() if isinstance(value, str | bool | int | float)}


def _states(names: Sequence[str]) -> list[str]:
    return NPZ.states(names) or [name for name in names if name.startswith(BELOW)]


def _recognises(path: Path) -> bool:
    """Whether a folder or zip file is a zarr group, but no replay buffer."""
    if path.is_dir():
        return any((path / name).is_file() for name in ROOTS) and not any((path / mark).is_file() for mark in MARKS)
    names = set(names_in(path))
    return bool(names & set(ROOTS)) and not names & set(MARKS)


FORMAT = Format(
    name="zarr groups",
    example="a zarr group of arrays, or of groups with an episode each",
    recognises=_recognises,
    read=whole(read_selected),
    write=None,
    entries=re.compile(r"(.+/)?(\.zgroup|\.zattrs|\.zarray|\.zmetadata|zarr\.json|c|[\d.]+)"),
    is_complete=lambda path: False,
    read_selected=read_selected,
)
