"""LeRobot data sets, version 3.0 (read and write) and 2.1 (read), without the package lerobot.

    SET/
      meta/info.json                                rate, features and where the files are
      meta/tasks.parquet, meta/episodes/…           v3.0: instructions; lengths, files and statistics of the episodes
      meta/tasks.jsonl, meta/episodes.jsonl         v2.1: the same
      data/chunk-000/file-000.parquet               v3.0: many episodes a file; v2.1: one each
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
from pathlib import Path

from ....errors import DataError
from ....files import read_start
from ....types import Episodes
from ..format import Format
from . import v3, v21
from .info import INFO, read_info
from .rows import assemble
from .writer import write

__all__ = ["FORMAT", "read", "write"]

MARKS = (INFO, "meta/episodes", "meta/tasks.parquet", "meta/episodes.jsonl", "meta/tasks.jsonl")


def read(path: Path | str) -> Episodes:
    """Read a data set of version 3.0 or 2.1; numbers are read into memory, pictures stay where they are."""
    folder = Path(path)
    info = read_info(folder)
    match info.version:
        case "v3.0":
            episodes = v3.read_episode_table(info)
        case "v2.1":
            episodes = v21.read_episode_table(info)
        case unknown:
            raise DataError(
                f"{folder / INFO} has codebase_version {unknown!r}. Known: v2.1, v3.0. Upgrade older data sets with "
                "LeRobot's converters: lerobot.datasets.v21.convert_dataset_v20_to_v21 (in its version 0.3), then "
                "lerobot.scripts.convert_dataset_v21_to_v30."
            )
    return assemble(info, episodes)


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
    entries=ENTRIES,
    is_complete=_is_complete,
)
