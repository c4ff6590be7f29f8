"""Version 3.0 of LeRobot's format: tables of episodes and tasks in parquet, many episodes a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....errors import DataError
from ..stored import check_whole
from .info import EpisodeTable, Info, VideoFiles, check_count
from .parquet import read_table

TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes"
# Holdfast's own column of meta/episodes; LeRobot ignores columns that it does not know.
FINAL_STATE = "holdfast/final_state"
DTYPES = {"float16": torch.float16, "float32": torch.float32}
NEEDED = ("episode_index", "length", "data/chunk_index", "data/file_index")
# columns of meta/episodes that LeRobot computes
COMPUTED = (*NEEDED, "tasks", "dataset_from_index", "dataset_to_index", FINAL_STATE)
UNFINISHED = (
    "the recording was not finalised, or not copied whole. Call finalize() on the LeRobotDataset when recording ends."
)
VIDEO_PLACES = ("/chunk_index", "/file_index")
COMPUTED_PREFIXES = ("stats/", "videos/", "data/", "meta/")


def read_episode_table(info: Info) -> EpisodeTable:
    """Read the tables of tasks and episodes."""
    episodes = _episodes(info)
    places = zip(episodes["data/chunk_index"], episodes["data/file_index"], strict=True)
    return EpisodeTable(
        files=tuple(
            info.place(info.data_path, chunk_index=chunk, file_index=file) for chunk, file in dict.fromkeys(places)
        ),
        indices=torch.tensor(episodes["episode_index"], dtype=torch.int64),
        lengths=torch.tensor(episodes["length"], dtype=torch.int64),
        tasks=_tasks(info.folder / TASKS),
        videos={
            key: videos
            for key, feature in info.features.items()
            if feature.is_camera and feature.dtype == "video" and (videos := _videos(info, key, episodes)) is not None
        },
        final_states=_final_states(info, episodes.get(FINAL_STATE)),
        further={
            name: values
            for name, values in episodes.items()
            if name not in COMPUTED and not name.startswith(COMPUTED_PREFIXES)
        },
    )


def _episodes(info: Info) -> dict[str, list[Any]]:
    """The table of episodes by column, without the statistics, which Holdfast computes from the rows itself."""
    files = sorted((info.folder / EPISODES).glob("*/*.parquet"))
    if not files:
        raise DataError(
            f"{info.folder} has no table in {EPISODES}: the recording was not finalised, or not copied whole. Call "
            "finalize() on the LeRobotDataset when recording ends."
        )
    tables = [_columns(file) for file in files]
    episodes = {name: [value for table in tables for value in table.get(name, [])] for name in tables[0]}
    count = len(episodes["episode_index"])
    if any(len(values) != count for values in episodes.values()):
        raise DataError(
            f"{info.folder}: the tables in {EPISODES} have different columns: the recording was not finalised, or not "
            "copied whole. Call finalize() on the LeRobotDataset when it ends."
        )
    check_count(info, episodes["episode_index"], sum(episodes["length"]), EPISODES, cause=UNFINISHED)
    order = sorted(range(count), key=lambda place: episodes["episode_index"][place])
    return {name: [values[place] for place in order] for name, values in episodes.items()}


def _columns(file: Path) -> dict[str, list[Any]]:
    columns = read_table(file, omit="stats/")
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}. Copy or download it again.")
    whole = [name for name in columns if name in NEEDED or name.endswith(VIDEO_PLACES)]
    return columns | {name: _whole(columns[name], f"{file}: {name}") for name in whole}


def _whole(values: list[Any], what: str) -> list[int]:
    # a column of whole numbers at once, which every set with thousands of episodes has
    if values and all(type(value) is np.int64 for value in values):
        check_whole(min(values), what)
        check_whole(max(values), what)
        return np.asarray(values).tolist()
    return [check_whole(value, what) for value in values]


def _tasks(file: Path) -> dict[int, str]:
    """The text of each task: the only column of text, the index of a pandas table, whose name varies."""
    columns = read_table(file)
    texts = [name for name, values in columns.items() if values and all(isinstance(text, str) for text in values)]
    if "task_index" not in columns or len(texts) != 1:
        raise DataError(
            f"{file}: expected task_index and one column of text, got {', '.join(columns)}. Copy or download it again."
        )
    return dict(zip(_whole(columns["task_index"], f"{file}: task_index"), columns[texts[0]], strict=True))


def _videos(info: Info, key: str, episodes: dict[str, list[Any]]) -> VideoFiles | None:
    wanted = [f"videos/{key}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
    if info.video_path is None or not all(name in episodes for name in wanted):
        return None
    chunks, numbers, starts = (episodes[name] for name in wanted)
    return VideoFiles(
        files=_video_files(info, key, chunks, numbers),
        starts=torch.tensor(starts, dtype=torch.float64),
    )


def _video_files(info: Info, key: str, chunks: Iterable[int], numbers: Iterable[int]) -> tuple[Path, ...]:
    template = info.video_path or ""
    return tuple(
        info.place(template, video_key=key, chunk_index=chunk, file_index=number)
        for chunk, number in zip(chunks, numbers, strict=True)
    )


def _final_states(info: Info, stored: list[Any] | None) -> Tensor | None:
    if stored is None or info.ours is None:
        return None
    dtype = DTYPES.get(str(info.ours.get("final_states")), torch.float64)
    return torch.tensor(stored, dtype=torch.float64).to(dtype)
