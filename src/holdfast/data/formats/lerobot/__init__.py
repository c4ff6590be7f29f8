"""LeRobot data sets, version 3.0 (read and write), 2.1 and 2.0 (read), without the package lerobot.

    SET/
      meta/info.json                                rate, features and where the files are
      meta/tasks.parquet, meta/episodes/…           v3.0: instructions; lengths, files and statistics of the episodes
      meta/tasks.jsonl, meta/episodes.jsonl         v2.0 and v2.1: the same
      data/chunk-000/file-000.parquet               v3.0: many episodes a file; v2.0 and v2.1: one each
      videos/<camera>/chunk-000/file-000.mp4        if the pictures are stored as video

Features and the fields that they become:

    observation.state                 `states`, and the state in observations
    observation.environment_state     the environment state in observations
    observation.images.<camera>       a camera: pictures stay compressed, and in their files if these are videos
    action, next.reward, timestamp    `actions`, `rewards`, `timestamps`
    task_index                        `tasks`: the instruction at the start of an episode
    other vectors of numbers          `columns`
    other values by episode           `episode_columns`
    fps, robot_type                   `dt`, `system`

Features that are not read are listed in `meta["features_left_out"]`, cameras without their video files in
`meta["cameras_missing"]`, episodes whose instruction changes in `meta["tasks_vary"]`. Stored statistics are not read:
scales are always fitted to the rows themselves, so a data set without statistics is never used unscaled.

(Cadene et al. 2024, LeRobot, github.com/huggingface/lerobot; layouts as its versions 0.3 and 0.6 write them.)
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from ....errors import DataError
from ....files import read_start
from ....types import Episodes
from ...selection import Selection
from ..format import Format
from ..selected import picked
from . import v3, v21
from .info import INFO, EpisodeTable, Info, read_info
from .roles import EVERYTHING
from .rows import assemble
from .writer import write

__all__ = ["FORMAT", "read", "write"]

MARKS = (INFO, "meta/episodes", "meta/tasks.parquet", "meta/episodes.jsonl", "meta/tasks.jsonl")


def read(path: Path | str) -> Episodes:
    """Read a data set of version 3.0, 2.1 or 2.0; numbers are read into memory, pictures stay where they are."""
    info = read_info(Path(path))
    return assemble(info, _table(info), EVERYTHING)


def read_selected(path: Path, selection: Selection) -> tuple[Episodes, Selection]:
    """Read the chosen features as state and action; a filter key may name a split of `meta/info.json`.

    Episodes are chosen before rows are read, so that those that are left out may lack features, tables and films; a set
    that Holdfast wrote is read whole, because it is compared with its checksums.

    Returns:
        The episodes, and the part of the selection that remains to be applied.
    """
    info = read_info(path)
    table = _table(info)
    if info.ours is None:
        table, rest = _chosen(info, table, replace(selection, state=None, action=None))
        return assemble(info, table, selection), rest
    # the names of a set that Holdfast wrote are the keys of its quantities
    episodes = assemble(info, table, EVERYTHING)
    if selection.filter_key not in info.splits:
        return episodes, selection
    episodes = picked(episodes, replace(selection, state=None, action=None), info.splits)
    return episodes, replace(selection, filter_key=None, episodes=None, task=None, cameras=None)


def _chosen(info: Info, table: EpisodeTable, selection: Selection) -> tuple[EpisodeTable, Selection]:
    """The episodes that can be chosen before anything is read, and the part of the selection that remains."""
    numbers, rest = selection.indices(len(table.indices)), replace(selection, episodes=None)
    if selection.filter_key is not None and selection.filter_key in info.splits:
        split = set(info.splits[selection.filter_key])
        numbers, rest = [number for number in numbers if number in split], replace(rest, filter_key=None)
    if selection.task is not None and table.told is not None and selection.task in table.told:
        # the rest compares it with the instructions in the rows, too
        numbers = [number for number in numbers if table.told[number] == selection.task]
    if not numbers:
        raise DataError("the selection leaves no episode. Choose other --episodes, --filter-key or --task.")
    ascending = sorted(numbers)
    if numbers != ascending and not table.has_a_file_each:
        # tables are read in order; the order that was asked for is made afterwards
        order = tuple(str(ascending.index(number)) for number in numbers)
        return table.chosen(ascending), replace(rest, episodes=order)
    return (table if numbers == list(range(len(table.indices))) else table.chosen(numbers)), rest


def _table(info: Info) -> EpisodeTable:
    match info.version:
        case "v3.0":
            return v3.read_episode_table(info)
        case "v2.1" | "v2.0":
            return v21.read_episode_table(info)
        case unknown:
            raise DataError(
                f"{info.folder / INFO} has codebase_version {unknown!r}. Known: v2.0, v2.1, v3.0. LeRobot converts "
                "data sets of v1 (lerobot/common/datasets/v2/convert_dataset_v1_to_v2.py, version 0.1). Of a newer "
                "one, write v3.0."
            )


ENTRIES = re.compile(
    r"meta/((info|stats)\.json|(tasks|episodes|episodes_stats)\.jsonl|tasks\.parquet)"
    r"|(meta/episodes|data)/chunk-\d+/(file-|episode_)\d+\.parquet"
    r"|videos/.+/(file-|episode_)\d+\.mp4"
    r"|images/.+/frame[_-]\d+\.(png|jpg|jpeg)"
)


def _recognises(folder: Path) -> bool:
    info = folder / INFO
    if info.is_file():
        # meta/info.json of another program has no codebase version; a damaged one may still belong to a data set
        return _names_a_version(info) or (folder / "data").is_dir()
    return (folder / "data").is_dir() and any((folder / mark).exists() for mark in MARKS)


def _is_complete(folder: Path) -> bool:
    info = folder / INFO
    return info.is_file() and _names_a_version(info)


def _names_a_version(info: Path) -> bool:
    return b'"codebase_version"' in read_start(info)


FORMAT = Format(
    name="lerobot",
    example="a LeRobot folder (meta/info.json)",
    recognises=_recognises,
    read=read,
    write=write,
    write_films=partial(write, video=True),
    read_selected=read_selected,
    entries=ENTRIES,
    is_complete=_is_complete,
)
