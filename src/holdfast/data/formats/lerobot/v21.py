"""Version 2.1 of LeRobot's format: lists of episodes and tasks in JSON lines, one table and one film an episode."""

import json
from pathlib import Path
from typing import Any

import torch

from ...errors import DataError
from .lerobot_info import Films, Layout, Recording

__all__ = ["read_recording"]

TASKS, EPISODES = "meta/tasks.jsonl", "meta/episodes.jsonl"


def read_recording(layout: Layout) -> Recording:
    """Read the lists of tasks and episodes.

    Raises:
        DataError: One is missing or damaged, or lacks a field.
    """
    episodes = sorted(_lines(layout.folder / EPISODES, "episode_index", "length"), key=lambda e: e["episode_index"])
    tasks = _lines(layout.folder / TASKS, "task_index", "task")
    if layout.total_episodes not in (None, len(episodes)):
        raise DataError(
            f"{layout.folder}: meta/info.json says {layout.total_episodes} episodes, {EPISODES} has {len(episodes)}. "
            "Copy or download it again."
        )
    indices = [int(episode["episode_index"]) for episode in episodes]
    return Recording(
        files=tuple(layout.place(layout.data_path, **_numbers(layout, index)) for index in indices),
        indices=torch.tensor(indices, dtype=torch.int64),
        lengths=torch.tensor([int(episode["length"]) for episode in episodes], dtype=torch.int64),
        tasks={int(task["task_index"]): str(task["task"]) for task in tasks},
        films={
            key: _films(layout, layout.video_path, key, indices)
            for key, feature in layout.features.items()
            if feature.is_camera and feature.dtype == "video" and layout.video_path is not None
        },
    )


def _numbers(layout: Layout, index: int) -> dict[str, int]:
    return {"episode_chunk": index // layout.chunks_size, "episode_index": index}


def _films(layout: Layout, template: str, key: str, indices: list[int]) -> Films:
    files = tuple(layout.place(template, video_key=key, **_numbers(layout, index)) for index in indices)
    return Films(files=files, starts=torch.zeros(len(indices), dtype=torch.float64))


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
