"""Diffusion Policy's replay buffer: a zarr folder whose arrays hold all steps end to end.

    REPLAY.zarr/
      data/<name>          one row a step
      meta/episode_ends    row after the last one of each episode

The low-dimensional arrays are read, pictures are not. The final state of an episode is not recorded in this format.
(Chi et al. 2023, Diffusion Policy, arXiv 2303.04137; `diffusion_policy/common/replay_buffer.py`.)

Push-T is recognised by what it holds, and its arrays get their meaning:

    state [·, 5]         agent xy [px] → `observation.state`, and `states`: what the environment's own servo feeds back
    keypoint [·, 9, 2]   9 points of the block [px] → `observation.environment_state`, x and y in turn
    action [·, 2]        target xy of the agent [px]
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...types import Episodes, Observation

__all__ = ["read"]

STATE_NAMES = ("state", "obs")
LOW_DIMENSIONAL = (*STATE_NAMES, "action", "keypoint")


def read(path: Path | str) -> Episodes:
    """Read a replay buffer: `action`, and `state` or `obs`; for Push-T also `keypoint`.

    Raises:
        DataError: Not such a folder, a file of it is damaged, or it lacks these arrays; the message lists those found.
    """
    folder = Path(path)
    arrays, ends, found = _load(folder)
    lengths = _lengths(ends, folder)
    _check_rows(arrays, int(lengths.sum()), folder)
    if _is_pusht(arrays):
        return _pusht(arrays, lengths)
    state = next((name for name in STATE_NAMES if name in arrays), None)
    if state is None or "action" not in arrays:
        raise DataError(
            f"{folder}: expected the arrays data/action, and data/state or data/obs; found "
            f"{', '.join(found) or 'none'}. Make episodes of them yourself with `episodes_from_arrays`."
        )
    return Episodes(actions=_flat(arrays["action"]), states=_flat(arrays[state]), lengths=lengths)


def _load(folder: Path) -> tuple[dict[str, NDArray[Any]], NDArray[Any], list[str]]:
    """The low-dimensional arrays, the episodes' ends, and the names of all arrays."""
    import zarr  # here, because it is slow to import and most programs read other formats

    try:
        group = zarr.open_group(folder, mode="r")  # pyright: ignore[reportUnknownMemberType]
        ends = group["meta/episode_ends"]
        data = group["data"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} is no replay buffer with data/ and meta/episode_ends: {error}.") from error
    if not isinstance(ends, zarr.Array) or not isinstance(data, zarr.Group):
        raise DataError(f"{folder}: expected a group data/ and an array meta/episode_ends. Was it copied whole?")
    try:
        stored = dict(data.arrays())
        arrays = {name: np.asarray(stored[name][:]) for name in LOW_DIMENSIONAL if name in stored}
        return arrays, np.asarray(ends[:]), sorted(stored)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{folder} is damaged: {error}. Copy or download it again.") from error


def _lengths(ends: NDArray[Any], folder: Path) -> Tensor:
    lengths = np.diff(ends.astype(np.int64), prepend=0)
    if (empty := np.flatnonzero(lengths < 1)).size:
        raise DataError(f"{folder}: episode {empty[0]} is empty: meta/episode_ends does not rise there. Leave it out.")
    return torch.as_tensor(lengths)


def _check_rows(arrays: Mapping[str, NDArray[Any]], expected: int, folder: Path) -> None:
    for name, values in arrays.items():
        if not values.ndim or len(values) != expected:
            raise DataError(
                f"{folder}: meta/episode_ends says {expected} steps, but data/{name} has shape {list(values.shape)}. "
                "Copy or download it again."
            )


def _is_pusht(arrays: Mapping[str, NDArray[Any]]) -> bool:
    shapes = {name: values.shape[1:] for name, values in arrays.items()}
    return {"state": (5,), "keypoint": (9, 2), "action": (2,)}.items() <= shapes.items()


def _pusht(arrays: Mapping[str, NDArray[Any]], lengths: Tensor) -> Episodes:
    agent = _flat(arrays["state"])[:, :2].contiguous()
    return Episodes(
        actions=_flat(arrays["action"]),
        states=agent,
        lengths=lengths,
        observations=Observation(state=agent, environment_state=_flat(arrays["keypoint"])),
        dt=0.1,
        system="pusht",
    )


def _flat(values: NDArray[Any]) -> Tensor:
    """Rows of numbers, in the dtype that was stored; whole numbers become float32."""
    tensor = torch.as_tensor(values.reshape(len(values), math.prod(values.shape[1:])))
    return tensor if tensor.is_floating_point() else tensor.float()
