"""Version 2.1 of LeRobot's format: episodes and tasks in JSON lines, one table and one video file an episode."""

import json
from pathlib import Path
from typing import Any

import torch

from ....errors import DataError
from .info import EpisodeTable, Info, VideoFiles

TASKS, EPISODES = "meta/tasks.jsonl", "meta/episodes.jsonl"
COMPUTED = ("episode_index", "tasks", "length")


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
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing. Was the set copied or downloaded whole?") from error
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}). Copy or download it again.") from error
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or any(field not in line for field in fields):
            raise DataError(f"{file}, line {number}: expected {' and '.join(fields)}. Copy or download it again.")
    return lines
