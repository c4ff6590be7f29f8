"""Where the episodes of an HDF5 file are: groups with numbered names at one depth, or the whole file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ... import hdf5
from ..annotations import KNOWN
from .single import single_value

ACTIONS = ("actions", "action")
DEPTH, MOST_GAPS, FIRST = 3, 20, 20
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")
# groups of other things than episodes
OTHERS = ("mask", "holdfast", "meta", "metadata", "infos")


@dataclass(frozen=True)
class Leaf:
    """Shape and dtype of an array, not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Place:
    """One episode: a group of a file, with its arrays by path and its attributes.

    Attributes:
        group: Path of the group; "/" is the file.
        number: Number of the episode in the data set.
        single: Names of the attributes that are arrays of one value.
    """

    file: Path
    group: str
    leaves: Mapping[str, Leaf]
    attributes: Mapping[str, Any]
    number: int = 0
    single: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the episode holds no array with rows."""
        return not any(leaf.shape[0] for leaf in self.leaves.values() if leaf.shape)

    def is_empty_of(self, steps: int) -> bool:
        """Whether the episode has no steps and holds at most the observation after the last one."""
        return not steps and all(leaf.shape[0] <= 1 for leaf in self.leaves.values() if leaf.shape)

    @property
    def name(self) -> str:
        """Name of the episode: that of its group, or of its file."""
        return self.group.rpartition("/")[2] or self.file.name


def place_of(file: Any, path: Path, group: str) -> Place:
    """The description of an episode."""
    entry = file[group]
    leaves, single = dict[str, Leaf](), dict[str, Any]()
    for key in hdf5.leaves(entry):
        array = entry[key]
        last = key.rpartition("/")[2]
        if (value := single_value(array, key, path)) is not None:
            single[last if last in KNOWN and last not in single else key] = value
        elif array.shape is not None:
            leaves[key] = Leaf(tuple(array.shape), array.dtype)
    return Place(path, group, leaves, {**single, **attributes_of(entry, str(path))}, single=tuple(single))


def attributes_of(entry: Any, source: str) -> dict[str, Any]:
    """The attributes of a group that can be read; others, such as references, are skipped."""
    found = dict[str, Any]()
    for name in entry.attrs:
        try:
            value = entry.attrs[name]
        except (OSError, RuntimeError, TypeError, ValueError, KeyError):
            continue
        found[str(name)] = value.item() if isinstance(value, np.generic) else value
    return found


def is_robomimic(file: Any) -> bool:
    """Whether a file has robomimic's layout: episodes below `data` with actions and observations by key."""
    data = file.get("data")
    if not hdf5.is_group(data):
        return False
    groups = [data[name] for name in hdf5.names(data) if hdf5.is_group(data[name])]
    return "holdfast" in data.attrs or any("actions" in group and _has_arrays(group.get("obs")) for group in groups)


def _has_arrays(group: Any) -> bool:
    return any(hdf5.is_array(group[name]) for name in hdf5.names(group))


def is_numbered(names: Sequence[str]) -> bool:
    """Whether names differ in their number alone, as `episode_0` and `episode_1`.

    >>> is_numbered(["episode_0", "episode_12"]), is_numbered(["lift", "can"])
    (True, False)
    """
    matches = [NUMBERED.fullmatch(name) for name in names]
    stems = {(match[1], match[3]) if match else None for match in matches}
    return len(stems) == 1 and None not in stems


def groups_of(file: Any, action: Sequence[str]) -> list[str]:
    """Paths of the groups that are episodes; `["/"]` if the arrays lie in the file itself.

    Args:
        file: The open file.
        action: Names that the array of actions can have.

    Raises:
        DataError: The groups do not end.
    """
    if any(hdf5.is_array(file.get(name)) for name in action):
        return ["/"]
    candidates = dict[tuple[int, str], list[str]]()
    _collect(file, "", 1, candidates)
    # the first episodes can be empty
    with_action = {key: found for key, found in candidates.items() if any(_holds(file[one], action) for one in found)}
    chosen = with_action or {
        key: found for key, found in candidates.items() if any(len(hdf5.leaves(file[one])) > 1 for one in found[:FIRST])
    }
    if not chosen:
        return ["/"]
    depth = min(depth for depth, _ in chosen)
    # groups of several names, such as alpha_0 and beta_0, are the episodes of one data set
    kinds = [key for key in chosen if key[0] == depth] if with_action else [_largest(chosen)]
    return [place for key in kinds for place in chosen[key]]


def _largest(found: Mapping[tuple[int, str], Sequence[str]]) -> tuple[int, str]:
    return min(found, key=lambda key: (key[0], -len(found[key])))


def kinds_of(places: Sequence[Place]) -> list[str] | None:
    """The name of each episode without its number, `None` if these are all the same.

    >>> kinds_of([Place(Path("a.h5"), f"/{group}", {}, {}) for group in ("alpha/demo_0", "beta/demo_0", "beta/demo_1")])
    ['alpha', 'beta', 'beta']
    """
    paths = [place.group.strip("/").split("/") for place in places]
    parts = [[NUMBERED.sub(r"\1\3", part).strip("_-") for part in path] for path in paths]
    varying = [index for index, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1]
    return ["/".join(part[index] for index in varying) for part in parts] if varying else None


def _holds(group: Any, action: Sequence[str]) -> bool:
    return any(hdf5.is_array(group.get(name)) or hdf5.is_group(group.get(name)) for name in action)


def _collect(group: Any, path: str, depth: int, found: dict[tuple[int, str], list[str]]) -> None:
    """Groups by depth and by their names without the number."""
    if depth > DEPTH:
        return
    for name in hdf5.names(group):
        if name in OTHERS or not hdf5.is_group(group[name]):
            continue
        place = f"{path}/{name}"
        if match := NUMBERED.fullmatch(name):
            found.setdefault((depth, match[1] + match[3]), []).append(place)
        _collect(group[name], place, depth + 1, found)


def check_found(places: Sequence[Place], source: str) -> None:
    """Refuse a file without arrays."""
    if all(place.is_empty for place in places):
        raise DataError(f"{source} holds no episodes: expected groups of arrays such as demo_0/actions.")


def missing_groups(groups: Sequence[str]) -> list[str]:
    """A sentence on the numbers that groups with an episode each leave out.

    >>> missing_groups(["/demo_0", "/demo_2"])
    ['the episodes go from demo_0 to demo_2 without the numbers 1: were they lost?']
    """
    names = [group.rpartition("/")[2] for group in groups]
    gaps = _gaps([int(match[2]) for name in names if (match := NUMBERED.fullmatch(name))])
    if not is_numbered(names) or not gaps:
        return []
    return [f"the episodes go from {names[0]} to {names[-1]} without the numbers {gaps}: were they lost?"]


def _gaps(numbers: Sequence[int]) -> str:
    """The numbers that are left out between others, if they are few."""
    count = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
    # a name can hold any number, so others are data sets that are not counted from 0
    if not 0 < count <= MOST_GAPS:
        return ""
    return ", ".join(map(str, sorted(set(range(numbers[0], numbers[-1])) - set(numbers))))


def missing_files(files: Sequence[Path]) -> list[str]:
    """A sentence on the numbers that files with an episode each leave out.

    >>> missing_files([Path("episode_0.hdf5"), Path("episode_3.hdf5")])
    ['the files go from episode_0.hdf5 to episode_3.hdf5 without the numbers 1, 2: were they lost?']
    """
    numbers = [int(match[2]) for file in dict.fromkeys(files) if (match := NUMBERED.fullmatch(file.stem))]
    if not (gaps := _gaps(numbers)):
        return []
    return [f"the files go from {files[0].name} to {files[-1].name} without the numbers {gaps}: were they lost?"]
