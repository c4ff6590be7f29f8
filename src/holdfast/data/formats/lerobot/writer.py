"""Writing LeRobot's format 3.0: every bit is preserved, and LeRobot loads the data set.

Everything for which the format has no place is stored under the key `holdfast` of `meta/info.json`, which LeRobot
ignores: the exact time step, names, `meta`, and which of the features that the format requires were not recorded but
filled in. Final states and episode columns are columns of `meta/episodes`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....types import Episodes
from ...checksums import FileSum, of_file
from ...video import CODEC, PIXELS, write_video
from ..sealed import sealed
from ..stored import as_numpy, to_json
from . import statistics
from .arrow import parquet, pyarrow
from .info import INFO, OUR_VERSION, OURS
from .plan import FILE_MEGABYTES, Plan, files, lay_out
from .rows import CAMERA
from .tables import Table, write_table
from .v3 import EPISODES, FINAL_STATE, TASKS

STATS = "meta/stats.json"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = EPISODES + "/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK, VIDEO_MEGABYTES = 1000, 200


def write(episodes: Episodes, path: Path | str, *, video: bool = False) -> None:
    """Write a data set of version 3.0 into a new folder; `validate` the episodes first.

    Args:
        episodes: Episodes to store.
        path: The folder, which does not exist yet.
        video: Whether to store cameras as lossy video, which is much smaller, instead of as PNG.
    """
    folder = Path(path)
    plan = lay_out(episodes, video=video)
    to_json(_ours(plan))
    folder.mkdir(parents=True)
    (folder / "meta").mkdir()
    for file, rows in files(plan.file_of, episodes.lengths):
        write_table(_place(folder, DATA_PATH, file), _table(plan, rows))
    videos = _write_videos(folder, plan) if video else {}
    _write_tasks(folder, plan)
    _write_episodes(folder, plan)
    (folder / STATS).write_text(json.dumps(_statistics(plan, slice(0, len(episodes.actions))), indent=1))
    # last, because a data set is recognised by it
    (folder / INFO).write_text(_info(plan, videos), encoding="utf-8")


def _place(folder: Path, template: str, file: int, **values: str) -> Path:
    return folder / template.format(chunk_index=file // CHUNK, file_index=file % CHUNK, **values)


def _table(plan: Plan, rows: slice) -> Table:
    cameras = {} if plan.video else {CAMERA + name: pictures for name, pictures in plan.episodes.cameras.items()}
    return Table(numbers=plan.numbers, pictures=cameras, rows=rows)


def _write_videos(folder: Path, plan: Plan) -> dict[str, FileSum]:
    """Write the videos, and return size and checksum of each file."""
    sums = dict[str, FileSum]()
    for name, pictures in plan.episodes.cameras.items():
        for file, rows in files(plan.video_of, plan.episodes.lengths):
            place = _place(folder, VIDEO_PATH, file, video_key=CAMERA + name)
            write_video(place, pictures, torch.arange(rows.start, rows.stop), fps=plan.fps)
            sums[place.relative_to(folder).as_posix()] = of_file(place)
    return sums


def _write_tasks(folder: Path, plan: Plan) -> None:
    """A table whose column `task` is its index in pandas: LeRobot looks up instructions by it."""
    column = {"metadata": None, "field_name": "task_index", "name": "task_index"}
    index = {"metadata": None, "field_name": "task", "name": "task"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            column | {"pandas_type": "int64", "numpy_type": "int64"},
            index | {"pandas_type": "unicode", "numpy_type": "object"},
        ],
        "creator": {"library": "pyarrow", "version": pyarrow().__version__},
        "pandas_version": "2.0.0",
    }
    table = pyarrow().table({"task_index": list(range(len(plan.tasks))), "task": list(plan.tasks)})
    parquet().write_table(
        table.replace_schema_metadata({"pandas": json.dumps(pandas)}), folder / TASKS, write_page_checksum=True
    )


def _write_episodes(folder: Path, plan: Plan) -> None:
    place = _place(folder, EPISODES_PATH, 0)
    place.parent.mkdir(parents=True)
    table = pyarrow().Table.from_pylist(list(_episode_rows(plan)))
    for name, key in plan.episode_keys.items():
        values = plan.episodes.episode_columns[name]
        stored = as_numpy(name, values) if isinstance(values, Tensor) else list(values)
        table = table.append_column(key, pyarrow().array(stored))
    parquet().write_table(table, place, write_page_checksum=True)


def _episode_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    final, starts = plan.episodes.final_states, plan.episodes.starts
    for episode, length in enumerate(map(int, plan.episodes.lengths)):
        start = int(starts[episode])
        file = int(plan.file_of[episode])
        row = {
            "episode_index": episode,
            "tasks": [plan.episodes.tasks[episode] if plan.episodes.tasks else ""],
            "length": length,
            "data/chunk_index": file // CHUNK,
            "data/file_index": file % CHUNK,
            "dataset_from_index": start,
            "dataset_to_index": start + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        found = _statistics(plan, slice(start, start + length))
        row |= {f"stats/{name}/{key}": value for name, values in found.items() for key, value in values.items()}
        row |= _video_columns(plan, episode, start, length) if plan.video else {}
        yield row | ({} if final is None else {FINAL_STATE: final[episode].double().cpu().numpy().tolist()})


def _video_columns(plan: Plan, episode: int, start: int, length: int) -> dict[str, Any]:
    """Video file of an episode and its time in it, the same for every camera."""
    number = int(plan.video_of[episode])
    first = start - int(plan.episodes.starts[int(np.argmax(plan.video_of == number))])
    place = {
        "chunk_index": number // CHUNK,
        "file_index": number % CHUNK,
        "from_timestamp": first / plan.fps,
        "to_timestamp": (first + length) / plan.fps,
    }
    return {f"videos/{CAMERA}{camera}/{key}": value for camera in plan.episodes.cameras for key, value in place.items()}


def _statistics(plan: Plan, rows: slice) -> dict[str, statistics.Statistics]:
    numbers = statistics.of_numbers(plan.numbers, rows)
    chosen = torch.arange(rows.start, rows.stop)
    return numbers | {
        CAMERA + name: statistics.of_pictures(pictures, chosen) for name, pictures in plan.episodes.cameras.items()
    }


def _info(plan: Plan, files_of_cameras: Mapping[str, FileSum]) -> str:
    episodes = plan.episodes
    return to_json(
        {
            "codebase_version": "v3.0",
            "robot_type": episodes.system,
            "total_episodes": len(episodes),
            "total_frames": len(episodes.actions),
            "total_tasks": len(plan.tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": FILE_MEGABYTES,
            "video_files_size_in_mb": VIDEO_MEGABYTES,
            "fps": plan.fps,
            "splits": {"train": f"0:{len(episodes)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if plan.video else None,
            "features": _features(plan),
            OURS: sealed({**_ours(plan), "files": files_of_cameras}, plan.episodes),
        }
    )


def _features(plan: Plan) -> dict[str, Any]:
    names = {plan.keys.get(name, name): list(given) for name, given in plan.episodes.names.items()}
    numbers = {
        name: {"dtype": str(values.dtype), "shape": [values.shape[1]], "names": names.get(name)}
        for name, values in plan.numbers.items()
    }
    return numbers | {CAMERA + name: _camera(plan, camera.shape) for name, camera in plan.episodes.cameras.items()}


def _camera(plan: Plan, shape: tuple[int, int, int]) -> dict[str, Any]:
    feature = {"shape": list(shape), "names": ["height", "width", "channels"]}
    if not plan.video:
        return feature | {"dtype": "image"}
    sizes = dict(zip(("video.height", "video.width", "video.channels"), shape, strict=True))
    kind = {"video.codec": CODEC, "video.pix_fmt": PIXELS, "video.fps": plan.fps, "video.is_depth_map": False}
    return feature | {"dtype": "video", "info": {**sizes, **kind, "has_audio": False}}


def _ours(plan: Plan) -> dict[str, Any]:
    episodes, final = plan.episodes, plan.episodes.final_states
    return {
        "version": OUR_VERSION,
        "dt": episodes.dt,
        "system": episodes.system,
        "names": {quantity: list(names) for quantity, names in episodes.names.items()},
        "meta": dict(episodes.meta),
        "observations": episodes.observations is not None,
        "timestamps": episodes.timestamps is not None,
        "tasks": episodes.tasks is not None,
        "columns": dict(plan.keys),
        "scalars": [name for name, values in episodes.columns.items() if values.ndim == 1],
        "attributes": dict(plan.episode_keys),
        "final_states": None if final is None else str(final.dtype).removeprefix("torch."),
    }
