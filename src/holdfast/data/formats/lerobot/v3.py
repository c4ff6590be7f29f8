"""Version 3.0 of LeRobot's format: tables of episodes and tasks in parquet, many episodes a file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ..stored import check_whole
from .info import EpisodeTable, Info, VideoFiles, check_count, told_of
from .parquet import Listed, read_table

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
    chunks, files = (np.asarray(episodes[name]).tolist() for name in NEEDED[2:])
    places = {pair: number for number, pair in enumerate(dict.fromkeys(zip(chunks, files, strict=True)))}
    return EpisodeTable(
        files=tuple(info.place(info.data_path, chunk_index=chunk, file_index=file) for chunk, file in places),
        file_of=[places[pair] for pair in zip(chunks, files, strict=True)],
        told=told_of(episodes.get("tasks", ())),
        indices=torch.as_tensor(episodes["episode_index"]),
        lengths=torch.as_tensor(episodes["length"]),
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


def _episodes(info: Info) -> dict[str, Listed]:
    """The table of episodes by column, without the statistics, which Holdfast computes from the rows itself."""
    files = sorted((info.folder / EPISODES).glob("*/*.parquet"))
    if not files:
        raise DataError(
            f"{info.folder} has no table in {EPISODES}: the recording was not finalised, or not copied whole. Call "
            "finalize() on the LeRobotDataset when recording ends."
        )
    tables = [_columns(file) for file in files]
    episodes = {name: _joined([table.get(name, []) for table in tables]) for name in tables[0]}
    count = len(episodes["episode_index"])
    if any(len(values) != count for values in episodes.values()):
        raise DataError(
            f"{info.folder}: the tables in {EPISODES} have different columns: the recording was not finalised, or not "
            "copied whole. Call finalize() on the LeRobotDataset when it ends."
        )
    indices, lengths = (np.asarray(episodes[name]).tolist() for name in NEEDED[:2])
    check_count(info, indices, sum(lengths), EPISODES, cause=UNFINISHED)
    order = np.argsort(episodes["episode_index"], kind="stable")
    return {name: _picked(values, order) for name, values in episodes.items()}


def _joined(parts: Sequence[Listed]) -> Listed:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    return np.concatenate(arrays) if len(arrays) == len(parts) else [value for part in parts for value in part]


def _picked(values: Listed, order: NDArray[np.int64]) -> Listed:
    return values[order] if isinstance(values, np.ndarray) else [values[place] for place in order]


def _columns(file: Path) -> dict[str, Listed]:
    columns = read_table(file, omit="stats/")
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}. Copy or download it again.")
    whole = [name for name in columns if name in NEEDED or name.endswith(VIDEO_PLACES)]
    columns.update({name: _whole(columns[name], f"{file}: {name}") for name in whole})
    return columns


def _whole(values: Listed, what: str) -> NDArray[np.int64]:
    # a column of whole numbers at once, because there is a row for each episode
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu" and len(values):
        checked: list[Any] = [values.min(), values.max()]
    else:
        checked = list(values)
    for value in checked:
        check_whole(value, what)
    return np.asarray(values, dtype=np.int64)


def _tasks(file: Path) -> dict[int, str]:
    """The text of each task: the only column of text, the index of a pandas table, whose name varies."""
    columns = read_table(file)
    texts = [name for name, values in columns.items() if len(values) and all(isinstance(text, str) for text in values)]
    if "task_index" not in columns or len(texts) != 1:
        raise DataError(
            f"{file}: expected task_index and one column of text, got {', '.join(columns)}. Copy or download it again."
        )
    numbers = _whole(columns["task_index"], f"{file}: task_index")
    return dict(zip(numbers.tolist(), columns[texts[0]], strict=True))


def _videos(info: Info, key: str, episodes: Mapping[str, Listed]) -> VideoFiles | None:
    wanted = [f"videos/{key}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
    if info.video_path is None or not all(name in episodes for name in wanted):
        return None
    chunks, numbers, starts = (np.asarray(episodes[name]) for name in wanted)
    if starts.dtype.kind not in "fiu":
        raise DataError(f"{info.folder}: {wanted[2]} holds no number for each episode. Copy or download it again.")
    return VideoFiles(
        files=_video_files(info, key, chunks.tolist(), numbers.tolist()),
        starts=torch.as_tensor(starts.astype(np.float64)),
    )


def _video_files(info: Info, key: str, chunks: Iterable[int], numbers: Iterable[int]) -> tuple[Path, ...]:
    template = info.video_path or ""
    return tuple(
        info.place(template, video_key=key, chunk_index=chunk, file_index=number)
        for chunk, number in zip(chunks, numbers, strict=True)
    )


def _final_states(info: Info, stored: Listed | None) -> Tensor | None:
    if stored is None or info.ours is None:
        return None
    dtype = DTYPES.get(str(info.ours.get("final_states")), torch.float64)
    return torch.tensor(stored, dtype=torch.float64).to(dtype)
