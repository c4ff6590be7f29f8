"""What the HDF5 files of robomimic and Minari have in common: one group an episode, with a place for every column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes
from .. import hdf5
from ..mapped import fill
from .arrays import (
    COLUMN,
    EPISODE_COLUMN,
    as_episode_columns,
    as_numpy,
    checked,
    description_of,
    exact,
    is_column,
    to_rows,
)
from .layout import Layout, split_widths, to_keys, unique_keys

__all__ = [
    "LABEL",
    "TASK",
    "KeyedEpisodes",
    "checked_label",
    "further_attributes",
    "further_columns",
    "own_columns",
    "rewards_and_timestamps",
    "tasks_of",
    "write_pictures",
]

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
        """The keys of a data set."""
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
        """What the format has no place for, as JSON values."""
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
        """Write actions, rewards, timestamps and columns of an episode, and its task and episode columns."""
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


def write_pictures(group: Any, key: str, episodes: Episodes, camera: str, rows: slice, count: int) -> Any:
    """Write one camera's pictures of some rows into an array of `count` pictures, and return the array."""
    pictures = episodes.cameras[camera]
    array = group.create_dataset(key, shape=(count, *pictures.shape), dtype="u1")
    fill(array, pictures, range(rows.start, rows.stop))
    return array


def rewards_and_timestamps(
    groups: Sequence[Any], filled_in: Sequence[str], steps: Sequence[int], path: Path
) -> dict[str, Tensor]:
    """Rewards and timestamps, if recorded."""
    found = dict[str, Tensor]()
    for name in ("rewards", "timestamps"):
        if name not in filled_in and all(name in group for group in groups):
            parts = hdf5.per_episode(groups, name, path)
            hdf5.check_steps(groups, {name: parts}, steps, path)
            found[name] = to_rows(np.concatenate(parts), name, str(path)).flatten()
    return found


def tasks_of(groups: Sequence[Any]) -> list[str] | None:
    """Tasks of the episodes, if stored."""
    return [str(group.attrs[TASK]) for group in groups] if all(TASK in group.attrs for group in groups) else None


def checked_label(stored: Any, source: str) -> dict[str, Any]:
    """The stored form of `KeyedEpisodes.label`; older files lack columns."""
    label: dict[str, Any] = {
        "columns": {},
        "attributes": {},
        **checked(stored, ("layout", "cameras", "filled_in"), source),
    }
    return checked(label, ("columns", "attributes"), source)


def own_columns(
    groups: Sequence[Any], label: Mapping[str, Any], steps: Sequence[int], path: Path
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Columns that Holdfast wrote, by array name, and episode columns of strings."""
    found, texts = dict[str, Tensor](), dict[str, list[str]]()
    for name, place in label["columns"].items():
        parts = [part[:count] for part, count in zip(hdf5.per_episode(groups, place, path), steps, strict=True)]
        hdf5.check_steps(groups, {place: parts}, steps, path)
        found[COLUMN + name] = exact(np.concatenate(parts))
    for name, key in label["attributes"].items():
        values = [group.attrs[key] for group in groups]
        if all(isinstance(value, str) for value in values):
            texts[name] = values
        else:
            found[EPISODE_COLUMN + name] = exact(np.asarray(values))
    return found, texts


def further_columns(
    groups: Sequence[Any], places: Mapping[str, str], steps: Sequence[int], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Arrays of another program as columns, by array name, and the paths of those that cannot be columns."""
    found, rest = dict[str, Tensor](), list[str]()
    for name, place in places.items():
        values = _joined(groups, place, steps, path)
        if values is not None and is_column(name, values, sum(steps)):
            found[COLUMN + name] = exact(values)
        else:
            rest.append(place)
    return found, rest


def _joined(groups: Sequence[Any], place: str, steps: Sequence[int], path: Path) -> NDArray[Any] | None:
    shapes: list[tuple[int, ...]] = [getattr(group.get(place), "shape", ()) for group in groups]
    if not all(1 <= len(shape) <= 2 and 0 <= shape[0] - n <= 1 for shape, n in zip(shapes, steps, strict=True)):
        return None
    try:
        parts = hdf5.per_episode(groups, place, path)
    except DataError:
        return None
    return np.concatenate([part[:count] for part, count in zip(parts, steps, strict=True)])


def further_attributes(
    groups: Sequence[Any], computed: Iterable[str]
) -> tuple[dict[str, Tensor], dict[str, list[str]], list[str]]:
    """Attributes of another program's episodes as episode columns: numbers by array name, strings, and the rest."""
    names = [name for name in groups[0].attrs if name not in (*computed, TASK)]
    complete = {name: [group.attrs[name] for group in groups] for name in names if all(name in g.attrs for g in groups)}
    columns, rest = as_episode_columns(complete, len(groups))
    numbers = {EPISODE_COLUMN + name: values for name, values in columns.items() if isinstance(values, Tensor)}
    texts = {name: list(values) for name, values in columns.items() if isinstance(values, tuple)}
    return numbers, texts, rest + [name for name in names if name not in complete]
