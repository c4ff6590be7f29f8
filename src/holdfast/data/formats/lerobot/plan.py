"""Content of a LeRobot data set to be written: columns of numbers as the format requires, and files of episodes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....errors import DataError
from ....types import Episodes
from ..layout import unique_keys
from .rows import ACTION, EXACT_TIME, REST, REWARD, SEEN, STATE, TOLERANCE
from .v3 import COMPUTED

FILE_MEGABYTES = 100
# rows of a video file: about 200 MB of 640 × 480 pictures at LeRobot's usual compression of a hundred to one
VIDEO_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A data set to be written.

    Attributes:
        keys: Feature of each column.
        episode_keys: Name of each episode column in `meta/episodes`.
        file_of: Table of each episode.
    """

    episodes: Episodes
    numbers: Mapping[str, NDArray[Any]]
    keys: Mapping[str, str]
    episode_keys: Mapping[str, str]
    fps: int | float
    tasks: tuple[str, ...]
    file_of: NDArray[np.int64]
    video_of: NDArray[np.int64]
    video: bool


def lay_out(episodes: Episodes, *, video: bool) -> Plan:
    """Prepare a data set for writing."""
    if slashed := [camera for camera in episodes.cameras if "/" in camera or "\\" in camera or not camera]:
        raise DataError(f"camera {slashed[0]!r} cannot name a folder. Give it a name without slashes.")
    fps = _fps(episodes.dt)
    tasks = tuple(dict.fromkeys(episodes.tasks or ("",)))
    keys = unique_keys(episodes.columns, (STATE, EXACT_TIME))
    numbers = _numbers(episodes, keys, fps, tasks)
    row_bytes = sum(values.nbytes // len(values) for values in numbers.values())
    row_bytes += 0 if video else sum(math.prod(pictures.shape) for pictures in episodes.cameras.values())
    if video:
        _check_video_times(numbers["timestamp"][:, 0], numbers["frame_index"][:, 0], fps)
    return Plan(
        episodes=episodes,
        numbers=numbers,
        keys=keys,
        episode_keys=unique_keys(episodes.episode_columns, COMPUTED),
        fps=fps,
        tasks=tasks,
        file_of=_packed(episodes.lengths, max(1, FILE_MEGABYTES * 2**20 // row_bytes)),
        video_of=_packed(episodes.lengths, VIDEO_ROWS),
        video=video and bool(episodes.cameras),
    )


def _fps(dt: float | None) -> int | float:
    """Steps per second, rounded to an integer if it differs only by rounding; LeRobot loads fractions too."""
    if dt is None:
        return 1
    rate = 1 / dt
    return round(rate) if round(rate) >= 1 and math.isclose(rate, round(rate), rel_tol=1e-9) else rate


def _numbers(
    episodes: Episodes, keys: Mapping[str, str], fps: int | float, tasks: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """Every feature of numbers; LeRobot's own bookkeeping last."""
    seen = episodes.observed
    found: dict[str, Tensor | None] = {
        SEEN: seen.state,
        REST: seen.environment_state,
        STATE: None if _same_bits(seen.state, episodes.states) else episodes.states,
        ACTION: episodes.actions,
        REWARD: None if episodes.rewards is None else episodes.rewards[:, None],
    }
    times = episodes.timestamps
    if times is not None and times.dtype != torch.float32:
        found[EXACT_TIME] = times[:, None]
    found |= {keys[name]: values.reshape(len(values), -1) for name, values in episodes.columns.items()}
    stored = {name: _array(name, values) for name, values in found.items() if values is not None}
    return stored | _bookkeeping(episodes, fps, tasks)


def _bookkeeping(episodes: Episodes, fps: int | float, tasks: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    lengths = episodes.lengths.cpu().numpy()
    episode = np.repeat(np.arange(len(lengths)), lengths)
    index = np.arange(len(episode))
    step = index - np.repeat(np.cumsum(lengths) - lengths, lengths)
    number = {task: place for place, task in enumerate(tasks)}
    task = np.repeat([number[text] for text in episodes.tasks or [""] * len(lengths)], lengths)
    times = step / fps if episodes.timestamps is None else episodes.timestamps.detach().cpu().numpy()
    with np.errstate(over="ignore"):
        coarse = times.astype(np.float32)
    columns = {
        "next.done": step == np.repeat(lengths, lengths) - 1,
        "timestamp": coarse,
        "frame_index": step,
        "episode_index": episode,
        "index": index,
        "task_index": task,
    }
    return {name: values[:, None] for name, values in columns.items()}


def _array(name: str, values: Tensor) -> NDArray[Any]:
    if values.dtype == torch.bfloat16:
        raise DataError(f"{name} is bfloat16, which the format lacks. Convert it: float32 holds its every bit.")
    if not values.shape[1]:
        raise DataError(f"{name} has no coordinates, which the format cannot hold. Remove it.")
    return np.ascontiguousarray(values.detach().cpu().numpy())


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit; 0 and −0 are not."""
    if a is b:
        return True
    alike = a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b))
    return alike and bool(torch.equal(a.signbit(), b.signbit()))


def _packed(lengths: Tensor, limit: int) -> NDArray[np.int64]:
    """File of each episode: whole episodes in order, at most `limit` rows a file unless an episode is longer."""
    chosen, file, rows = list[int](), 0, 0
    for length in map(int, lengths):
        if rows and rows + length > limit:
            file, rows = file + 1, 0
        chosen.append(file)
        rows += length
    return np.array(chosen)


def files(file_of: NDArray[np.int64], lengths: Tensor) -> Iterator[tuple[int, slice]]:
    """Index and rows of each file."""
    ends = np.cumsum(lengths.cpu().numpy())
    first = 0
    for file in range(int(file_of[-1]) + 1):
        last = int(ends[np.flatnonzero(file_of == file)[-1]])
        yield file, slice(first, last)
        first = last


def _check_video_times(times: NDArray[np.float32], steps: NDArray[np.int64], fps: int | float) -> None:
    uneven = np.flatnonzero(np.abs(times - steps / fps) > TOLERANCE / fps)
    if uneven.size:
        row = uneven[0]
        raise DataError(
            f"row {row} has the timestamp {times[row]:g} s, but its time in a video is {steps[row] / fps:g} s. "
            "Store the cameras as pictures, or remove the timestamps."
        )
