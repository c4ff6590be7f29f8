"""Versions 2.0 and 2.1 of LeRobot's format: episodes and tasks in JSON lines, one table and one video file an episode.

They differ in the statistics alone, which are not read: of the whole set in `meta/stats.json` (2.0), or of each episode
in `meta/episodes_stats.jsonl` (2.1).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from ....errors import DataError
from ....files import parse_json, read_text
from ..stored import check_whole
from .info import EpisodeTable, Info, VideoFiles, check_count, told_of

TASKS, EPISODES = "meta/tasks.jsonl", "meta/episodes.jsonl"
COMPUTED = ("episode_index", "tasks", "length")
WHOLE = {"episode_index", "length", "task_index"}


def read_episode_table(info: Info) -> EpisodeTable:
    """Read the lists of tasks and episodes."""
    episodes = sorted(_lines(info.folder / EPISODES, "episode_index", "length"), key=lambda e: e["episode_index"])
    tasks = _lines(info.folder / TASKS, "task_index", "task")
    indices = [int(episode["episode_index"]) for episode in episodes]
    frames = sum(int(episode["length"]) for episode in episodes)
    check_count(info, indices, frames, EPISODES, cause="the last ones are missing.")
    files = {index: info.place(info.data_path, **_numbers(info, index)) for index in indices}
    _check_files(files)
    return EpisodeTable(
        files=tuple(files.values()),
        indices=torch.tensor(indices, dtype=torch.int64),
        lengths=torch.tensor([int(episode["length"]) for episode in episodes], dtype=torch.int64),
        tasks={int(task["task_index"]): str(task["task"]) for task in tasks},
        told=told_of([episode.get("tasks") for episode in episodes]),
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


def _check_files(files: Mapping[int, Path]) -> None:
    if missing := [index for index, file in files.items() if not file.exists()]:
        raise DataError(
            f"{files[missing[0]]} is missing: the table of episode {missing[0]}"
            f"{f', and {len(missing) - 1} more' if len(missing) > 1 else ''}. Was the set copied or downloaded whole? "
            f"If episodes were deleted on purpose, remove their lines from {EPISODES} and lower total_episodes in "
            "meta/info.json by their number."
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
