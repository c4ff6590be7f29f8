"""Writing LeRobot's format 3.0: what `Episodes` hold comes back with the same bits, and LeRobot loads the set.

What the format has no place for stands under the key `holdfast` of `meta/info.json` (which LeRobot passes over): the
exact step, the names, `meta`, and which of the columns that the format demands were not recorded but filled in.
Final states are a column of `meta/episodes`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ...types import Episodes
from ..film import CODEC, PIXELS, write_film
from . import lerobot_stats
from .arrow import parquet, pyarrow
from .lerobot_info import INFO, OUR_VERSION, OURS
from .lerobot_plan import FILE_MEGABYTES, Plan, files, lay_out
from .lerobot_rows import CAMERA
from .lerobot_tables import Table, write_table
from .lerobot_v3 import EPISODES, FINAL_STATE, TASKS

__all__ = ["write"]

STATS = "meta/stats.json"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = EPISODES + "/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK, FILM_MEGABYTES = 1000, 200


def write(episodes: Episodes, path: Path | str, *, video: bool = False) -> None:
    """Write a set of version 3.0 into a new folder; `validate` the episodes first.

    Args:
        episodes: What to store.
        path: The folder, which does not exist yet.
        video: Store cameras as films, much smaller and with losses, instead of as PNG.

    Raises:
        DataError: What the format cannot hold: brain floats, names of cameras with a slash, `meta` that is no JSON, or
            films of uneven times.
        MissingExtraError: `video` without PyAV.
    """
    folder = Path(path)
    plan = lay_out(episodes, video=video)
    info = _info(plan)
    folder.mkdir(parents=True)
    (folder / "meta").mkdir()
    for file, rows in files(plan.file_of, episodes.lengths):
        write_table(_place(folder, DATA_PATH, file), _table(plan, rows))
    if video:
        _write_films(folder, plan)
    _write_tasks(folder, plan)
    _write_episodes(folder, plan)
    (folder / STATS).write_text(json.dumps(_statistics(plan, slice(0, len(episodes.actions))), indent=1))
    # last, because it is what a set is recognised by
    (folder / INFO).write_text(info, encoding="utf-8")


def _place(folder: Path, template: str, file: int, **values: str) -> Path:
    return folder / template.format(chunk_index=file // CHUNK, file_index=file % CHUNK, **values)


def _table(plan: Plan, rows: slice) -> Table:
    cameras = {} if plan.video else {CAMERA + name: pictures for name, pictures in plan.episodes.cameras.items()}
    return Table(numbers=plan.numbers, pictures=cameras, rows=rows)


def _write_films(folder: Path, plan: Plan) -> None:
    for name, pictures in plan.episodes.cameras.items():
        for file, rows in files(plan.film_of, plan.episodes.lengths):
            place = _place(folder, VIDEO_PATH, file, video_key=CAMERA + name)
            write_film(place, pictures, torch.arange(rows.start, rows.stop), fps=plan.fps)


def _write_tasks(folder: Path, plan: Plan) -> None:
    """A table whose column `task` is an index, as pandas calls it: LeRobot looks instructions up by it."""
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
    parquet().write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), folder / TASKS)


def _write_episodes(folder: Path, plan: Plan) -> None:
    place = _place(folder, EPISODES_PATH, 0)
    place.parent.mkdir(parents=True)
    parquet().write_table(pyarrow().Table.from_pylist(list(_episode_rows(plan))), place)


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
        statistics = _statistics(plan, slice(start, start + length))
        row |= {f"stats/{name}/{key}": value for name, found in statistics.items() for key, value in found.items()}
        row |= _film_columns(plan, episode, start, length) if plan.video else {}
        yield row | ({} if final is None else {FINAL_STATE: final[episode].double().cpu().numpy().tolist()})


def _film_columns(plan: Plan, episode: int, start: int, length: int) -> dict[str, Any]:
    """Where in which film an episode lies, for every camera alike."""
    film = int(plan.film_of[episode])
    first = start - int(plan.episodes.starts[int(np.argmax(plan.film_of == film))])
    place = {
        "chunk_index": film // CHUNK,
        "file_index": film % CHUNK,
        "from_timestamp": first / plan.fps,
        "to_timestamp": (first + length) / plan.fps,
    }
    return {f"videos/{CAMERA}{camera}/{key}": value for camera in plan.episodes.cameras for key, value in place.items()}


def _statistics(plan: Plan, rows: slice) -> dict[str, lerobot_stats.Statistics]:
    numbers = lerobot_stats.of_numbers(plan.numbers, rows)
    chosen = torch.arange(rows.start, rows.stop)
    return numbers | {
        CAMERA + name: lerobot_stats.of_pictures(pictures, chosen) for name, pictures in plan.episodes.cameras.items()
    }


def _info(plan: Plan) -> str:
    episodes = plan.episodes
    content = {
        "codebase_version": "v3.0",
        "robot_type": episodes.system,
        "total_episodes": len(episodes),
        "total_frames": len(episodes.actions),
        "total_tasks": len(plan.tasks),
        "chunks_size": CHUNK,
        "data_files_size_in_mb": FILE_MEGABYTES,
        "video_files_size_in_mb": FILM_MEGABYTES,
        "fps": plan.fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if plan.video else None,
        "features": _features(plan),
        OURS: _ours(episodes),
    }
    try:
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"meta cannot be stored as JSON: {error}. Use numbers, strings, lists and dictionaries."
        ) from error


def _features(plan: Plan) -> dict[str, Any]:
    names = {name: list(given) for name, given in plan.episodes.names.items()}
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


def _ours(episodes: Episodes) -> dict[str, Any]:
    final = episodes.final_states
    return {
        "version": OUR_VERSION,
        "dt": episodes.dt,
        "system": episodes.system,
        "names": {quantity: list(names) for quantity, names in episodes.names.items()},
        "meta": dict(episodes.meta),
        "observations": episodes.observations is not None,
        "timestamps": episodes.timestamps is not None,
        "tasks": episodes.tasks is not None,
        "final_states": None if final is None else str(final.dtype).removeprefix("torch."),
    }
