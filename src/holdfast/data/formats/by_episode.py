"""The common form of the HDF5 files of robomimic and Minari: one group an episode, with a place for every column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Pictures
from .. import hdf5
from ..arrays import COLUMN, EPISODE_COLUMN, Values
from ..checksums import Checksums, Verified
from ..mapped import fill
from .layout import Layout, split_widths, to_keys, unique_keys
from .sealed import sealed
from .stored import as_columns, as_episode_columns, as_numpy, checked, description_of, exact, to_rows

LABEL, TASK = "holdfast", "task"


@dataclass(frozen=True, kw_only=True)
class KeyedEpisodes:
    """A data set by key, ready to be written.

    Attributes:
        columns: Path of each column in the group of an episode.
        attributes: Attribute of each episode column.
    """

    episodes: Episodes
    values: Mapping[str, Tensor]
    layout: Layout
    cameras: Mapping[str, str]
    columns: Mapping[str, str]
    attributes: Mapping[str, str]

    @staticmethod
    def of(
        episodes: Episodes, *, places: Mapping[str, str], folder: str, taken: Iterable[str], attributes: Iterable[str]
    ) -> "KeyedEpisodes":
        """The keys of a data set: columns go to `places`, else below `folder`, where some names are `taken`."""
        values, layout = to_keys(episodes)
        others = unique_keys([name for name in episodes.columns if name not in places], taken)
        return KeyedEpisodes(
            episodes=episodes,
            values=values,
            layout=layout,
            cameras=unique_keys(episodes.cameras, values),
            columns={name: places.get(name) or folder + others[name] for name in episodes.columns},
            attributes=unique_keys(episodes.episode_columns, [*attributes, TASK]),
        )

    def label(self, filled_in: Sequence[str]) -> dict[str, Any]:
        """The description, and the places of all values, as JSON values."""
        found = {**description_of(self.episodes), "layout": self.layout, "cameras": self.cameras}
        found |= {"filled_in": filled_in, "columns": self.columns, "attributes": self.attributes}
        return {name: value for name, value in found.items() if name not in ("tasks", "episode_columns")}

    def rows(self, index: int) -> slice:
        """Rows of an episode."""
        first = int(self.episodes.starts[index])
        return slice(first, first + int(self.episodes.lengths[index]))

    def final(self) -> dict[str, Tensor]:
        """Final states by key; empty if they were not recorded."""
        if self.episodes.final_states is None:
            return {}
        keys = self.layout["state"]
        widths = [self.values[key].shape[1] for key in keys]
        return dict(zip(keys, split_widths(self.episodes.final_states, widths), strict=True))

    def write_numbers(self, group: Any, index: int, *, repeat_last: bool) -> None:
        """Write everything but observations; with `repeat_last`, columns in a folder get one row more than actions."""
        episodes, rows = self.episodes, self.rows(index)
        group["actions"] = as_numpy("actions", episodes.actions[rows])
        rewards = episodes.rewards
        group["rewards"] = np.zeros(rows.stop - rows.start) if rewards is None else as_numpy("rewards", rewards[rows])
        if episodes.timestamps is not None:
            group["timestamps"] = as_numpy("timestamps", episodes.timestamps[rows])
        for name, place in self.columns.items():
            values = as_numpy(name, episodes.columns[name][rows])
            group[place] = np.concatenate([values, values[-1:]]) if repeat_last and "/" in place else values
        if episodes.tasks is not None:
            group.attrs[TASK] = episodes.tasks[index]
        for name, key in self.attributes.items():
            values = episodes.episode_columns[name]
            group.attrs[key] = as_numpy(name, values[index]) if isinstance(values, Tensor) else values[index]


def write_pictures(
    group: Any, key: str, episodes: Episodes, camera: str, rows: slice, count: int
) -> tuple[Any, Checksums]:
    """Write one camera's pictures of some rows into an array of `count` pictures.

    Returns:
        The array, and the checksum of each of its first pictures.
    """
    pictures = episodes.cameras[camera]
    array = group.create_dataset(key, shape=(count, *pictures.shape), dtype="u1")
    return array, fill(array, pictures, range(rows.start, rows.stop))


def write_checksums(
    file: Any, parts: KeyedEpisodes, label: Mapping[str, Any], sums: Mapping[str, Sequence[Checksums]]
) -> dict[str, Any]:
    """Write the checksums of pictures, by camera a part an episode, and return the label with its checksums."""
    joined = {camera: np.concatenate(found) for camera, found in sums.items()}
    # written without cameras too: the group shows that the file had a label
    group = file.create_group(LABEL)
    for camera, found in joined.items():
        group[parts.cameras[camera]] = found
    return sealed(label, parts.episodes, joined)


def verified(file: Any, key: str, pictures: Pictures, path: Path) -> Pictures:
    """Pictures that are compared with their checksums, if the file holds these."""
    group = file.get(LABEL)
    if not hdf5.is_group(group) or key not in group:
        return pictures
    return Verified(pictures, hdf5.array(group, key, f"{path}: {LABEL}"), f"{path}: {key}")


def check_label(file: Any, label: Any, path: Path) -> None:
    """Refuse a file that was written with a label, and has lost it."""
    if label is None and LABEL in file:
        raise DataError(f"{path} lacks the description {LABEL!r} that it was written with. Copy or write it again.")


@dataclass(frozen=True, kw_only=True)
class StoredEpisodes:
    """The groups of all episodes in a file, and the steps of each."""

    groups: Sequence[Any]
    steps: Sequence[int]
    path: Path

    def read(self, place: str, *, more: int = 0) -> list[NDArray[Any]]:
        """The array of each episode, which must have one row a step, and `more`."""
        parts = hdf5.per_episode(self.groups, place.rstrip("/"), self.path)
        hdf5.check_steps(self.groups, place, parts, self.steps, self.path, more=more)
        return parts

    def recorded(self, filled_in: Sequence[str]) -> dict[str, Tensor]:
        """Rewards and timestamps, if recorded."""
        names = [name for name in ("rewards", "timestamps") if all(name in group for group in self.groups)]
        rows = {name: np.concatenate(self.read(name)) for name in names if name not in filled_in}
        return {name: to_rows(values, name, str(self.path)).flatten() for name, values in rows.items()}

    def tasks(self) -> list[str] | None:
        """Tasks of the episodes, if stored."""
        stored = all(TASK in group.attrs for group in self.groups)
        return [str(group.attrs[TASK]) for group in self.groups] if stored else None

    def own_columns(self, label: Mapping[str, Any]) -> dict[str, Values]:
        """Columns and episode columns that Holdfast wrote."""
        found = dict[str, Values]()
        for name, place in label["columns"].items():
            parts = self._cut(hdf5.per_episode(self.groups, place, self.path))
            hdf5.check_steps(self.groups, place, parts, self.steps, self.path)
            found[COLUMN + name] = exact(np.concatenate(parts))
        for name, key in label["attributes"].items():
            values = [group.attrs[key] for group in self.groups]
            texts = all(isinstance(value, str) for value in values)
            found[EPISODE_COLUMN + name] = tuple(values) if texts else exact(np.asarray(values))
        return found

    def further_columns(
        self, places: Mapping[str, str], computed: Iterable[str]
    ) -> tuple[dict[str, Values], list[str]]:
        """Arrays (path by name) and attributes of another program as columns, and those that cannot be columns."""
        arrays = {name: values for name, place in places.items() if (values := self._joined(place)) is not None}
        columns, _ = as_columns(arrays, sum(self.steps))
        rest = [place for name, place in places.items() if COLUMN + name not in columns]
        names = [name for name in self.groups[0].attrs if name not in (*computed, TASK)]
        complete = {
            name: [group.attrs[name] for group in self.groups]
            for name in names
            if all(name in group.attrs for group in self.groups)
        }
        attributes, others = as_episode_columns(complete, len(self.groups))
        return columns | attributes, rest + others + [name for name in names if name not in complete]

    def _cut(self, parts: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """One row a step: an array may have one more, for the observation after the last action."""
        return [part[:steps] for part, steps in zip(parts, self.steps, strict=True)]

    def _joined(self, place: str) -> NDArray[Any] | None:
        for group, steps in zip(self.groups, self.steps, strict=True):
            shape = list[int](getattr(group.get(place), "shape", ()))
            if len(shape) not in (1, 2) or shape[0] - steps not in (0, 1):
                return None
        try:
            return np.concatenate(self._cut(hdf5.per_episode(self.groups, place, self.path)))
        except DataError:
            return None


def checked_label(stored: Any, source: str) -> dict[str, Any]:
    """The stored form of `KeyedEpisodes.label`; older files lack columns."""
    required = checked(stored, ("layout", "cameras", "filled_in"), source)
    return checked({"columns": {}, "attributes": {}, **required}, ("columns", "attributes"), source)
