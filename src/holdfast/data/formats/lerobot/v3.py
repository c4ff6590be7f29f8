"""Version 3.0 of LeRobot's format: tables of episodes and tasks in parquet, many episodes a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError
from .lerobot_info import Films, Layout, Recording
from .lerobot_parquet import read_table

__all__ = ["EPISODES", "FINAL_STATE", "TASKS", "read_recording"]

TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes"
# Holdfast's own column of meta/episodes; LeRobot passes over columns that it does not know.
FINAL_STATE = "holdfast/final_state"
DTYPES = {"float16": torch.float16, "float32": torch.float32}
NEEDED = ("episode_index", "length", "data/chunk_index", "data/file_index")


def read_recording(layout: Layout) -> Recording:
    """Read the tables of tasks and episodes.

    Raises:
        DataError: One is missing or damaged, lacks a column, or there are fewer episodes than info.json says.
    """
    episodes = _episodes(layout)
    places = list(zip(episodes["data/chunk_index"], episodes["data/file_index"], strict=True))
    return Recording(
        files=tuple(
            layout.place(layout.data_path, chunk_index=chunk, file_index=file) for chunk, file in dict.fromkeys(places)
        ),
        indices=torch.tensor(episodes["episode_index"], dtype=torch.int64),
        lengths=torch.tensor(episodes["length"], dtype=torch.int64),
        tasks=_tasks(layout.folder / TASKS),
        films={
            key: films
            for key, feature in layout.features.items()
            if feature.is_camera and feature.dtype == "video" and (films := _films(layout, key, episodes)) is not None
        },
        final_states=_final_states(layout, episodes.get(FINAL_STATE)),
    )


def _episodes(layout: Layout) -> dict[str, list[Any]]:
    """The table of episodes, by column, without the statistics: Holdfast always computes its own from the rows."""
    files = sorted((layout.folder / EPISODES).glob("*/*.parquet"))
    if not files:
        raise DataError(
            f"{layout.folder} has no table in {EPISODES}: the recording was not finalised, or not copied whole. Call "
            "finalize() on the LeRobotDataset when recording ends."
        )
    tables = [_columns(file) for file in files]
    episodes = {name: [value for table in tables for value in table.get(name, [])] for name in tables[0]}
    count = len(episodes["episode_index"])
    if layout.total_episodes not in (None, count) or any(len(values) != count for values in episodes.values()):
        raise DataError(
            f"{layout.folder}: meta/info.json says {layout.total_episodes} episodes, {EPISODES} has {count}: the "
            "recording was not finalised, or not copied whole. Call finalize() on the LeRobotDataset when it ends."
        )
    order = sorted(range(count), key=lambda place: episodes["episode_index"][place])
    return {name: [values[place] for place in order] for name, values in episodes.items()}


def _columns(file: Path) -> dict[str, list[Any]]:
    columns = read_table(file, leave_out="stats/")
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}. Copy or download it again.")
    return columns


def _tasks(file: Path) -> dict[int, str]:
    """What each task says: the column of text is the index of a pandas table, and named in several ways."""
    columns = read_table(file)
    texts = [name for name, values in columns.items() if values and all(isinstance(text, str) for text in values)]
    if "task_index" not in columns or len(texts) != 1:
        raise DataError(
            f"{file}: expected task_index and one column of text, got {', '.join(columns)}. Copy or download it again."
        )
    return dict(zip(columns["task_index"], columns[texts[0]], strict=True))


def _films(layout: Layout, key: str, episodes: dict[str, list[Any]]) -> Films | None:
    wanted = [f"videos/{key}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
    if layout.video_path is None or not all(name in episodes for name in wanted):
        return None
    chunks, numbers, starts = (episodes[name] for name in wanted)
    return Films(
        files=_film_files(layout, key, chunks, numbers),
        starts=torch.tensor(starts, dtype=torch.float64),
    )


def _film_files(layout: Layout, key: str, chunks: Sequence[int], numbers: Sequence[int]) -> tuple[Path, ...]:
    template = layout.video_path or ""
    return tuple(
        layout.place(template, video_key=key, chunk_index=chunk, file_index=number)
        for chunk, number in zip(chunks, numbers, strict=True)
    )


def _final_states(layout: Layout, stored: list[Any] | None) -> Tensor | None:
    if stored is None or layout.ours is None:
        return None
    dtype = DTYPES.get(str(layout.ours.get("final_states")), torch.float64)
    return torch.tensor(stored, dtype=torch.float64).to(dtype)
