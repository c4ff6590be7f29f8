"""Version 2.1 of LeRobot's format: episodes and tasks in JSON lines, one table and one video file an episode."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from ....errors import DataError
from ....files import parse_json, read_text
from ..stored import check_whole
from .info import EpisodeTable, Info, VideoFiles

TASKS, EPISODES = "meta/tasks.jsonl", "meta/episodes.jsonl"
COMPUTED = ("episode_index", "tasks", "length")
WHOLE = {"episode_index", "length", "task_index"}


def read_episode_table(info: Info) -> EpisodeTable:
    """Read the lists of tasks and episodes."""
    episodes = sorted(_lines(info.folder / EPISODES, "episode_index", "length"), key=lambda e: e["episode_index"])
    tasks = _lines(info.folder / TASKS, "task_index", "task")
    if info.total_episodes not in (None, len(episodes)):
        raise DataError(
            f"{info.folder}: meta/info.json lists {info.total_episodes} episodes, {EPISODES} has {len(episodes)}. "
            "Copy or download it again."
        )
    indices = [int(episode["episode_index"]) for episode in episodes]
    return EpisodeTable(
        files=tuple(info.place(info.data_path, **_numbers(info, index)) for index in indices),
        indices=torch.tensor(indices, dtype=torch.int64),
        lengths=torch.tensor([int(episode["length"]) for episode in episodes], dtype=torch.int64),
        tasks={int(task["task_index"]): str(task["task"]) for task in tasks},
        videos={
            key: _videos(info, info.video_path, key, indices)
            for key, feature in info.features.items()
            if feature.is_camera and feature.dtype == "video" and info.video_path is not None
        },
        further={
            name: [episode[name] for episode in episodes]
            for name in (episodes[0] if episodes else ())
            if name not in COMPUTED and all(name in episode for episode in episodes)
        },
    )


def _numbers(info: Info, index: int) -> dict[str, int]:
    return {"episode_chunk": index // info.chunks_size, "episode_index": index}


def _videos(info: Info, template: str, key: str, indices: list[int]) -> VideoFiles:
    files = tuple(info.place(template, video_key=key, **_numbers(info, index)) for index in indices)
    return VideoFiles(files=files, starts=torch.zeros(len(indices), dtype=torch.float64))


def _lines(file: Path, *fields: str) -> list[dict[str, Any]]:
    try:
        written = read_text(file).splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing. Was the set copied or downloaded whole?") from error
    lines = [parse_json(line, str(file)) for line in written if line.strip()]
    return [_line(line, f"{file}, line {number}", fields) for number, line in enumerate(lines, start=1)]


def _line(stored: Any, where: str, fields: Sequence[str]) -> dict[str, Any]:
    if not isinstance(stored, dict) or any(field not in stored for field in fields):
        raise DataError(f"{where}: expected {' and '.join(fields)}. Copy or download it again.")
    line = cast("dict[str, Any]", stored)
    for name in WHOLE & line.keys():
        check_whole(line[name], f"{where}: {name}")
    return line
