"""Published `.npz` files, recognised by their arrays.

    D3IL's avoiding    des_c_pos, c_pos [·, 3]     desired and actual position of the end effector [m]
    MuJoCo experts     observation, action, reward in a file NAME_v4_demos.npz

Avoiding records frames: the target and the position of the end effector at the same instant. Its policies observe both,
and an action is the displacement of the target until the next frame, so an episode of `F` frames has `F - 1` steps, and
its last frame is its final state (Jia et al. 2024, Towards Diverse Behaviors, arXiv 2402.14606; `gym_avoiding_env` of
the authors' code):

    observation t = (desired xy, actual xy) of frame t      state t = (desired xy, actual xy, rate of the actual xy)
    action t      = desired xy of frame t + 1 − desired xy of frame t
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....errors import DataError
from ....types import Episodes
from ...arrays import episodes_of
from ..stored import NOTHING, as_columns, assemble, to_rows

AVOIDING = frozenset({"des_c_pos", "c_pos", "episode_ends"})
AVOIDING_DT = 0.035
AVOIDING_NAMES = ("desired_dx", "desired_dy", "desired_x", "desired_y", "x", "y", "x_dot", "y_dot")
MUJOCO = frozenset({"observation", "action", "reward", "episode_ends"})
MUJOCO_FILE = re.compile(r"([A-Za-z0-9]+)_(v\d+)_demos")
# seconds per control step: frame skip times the simulator's step (Gymnasium's documentation of each environment)
MUJOCO_DT = {"Hopper-v4": 0.008, "HalfCheetah-v4": 0.05}


def read_published(found: Mapping[str, NDArray[Any]], path: Path) -> Episodes | None:
    """Episodes of a published file, or `None` if the arrays are of no known file."""
    if found.keys() >= AVOIDING and "action" not in found:
        return _avoiding(found, path)
    if frozenset(found) == MUJOCO and (match := MUJOCO_FILE.fullmatch(path.stem)):
        return _mujoco(found, "-".join(match.groups()), path)
    return None


def _avoiding(found: Mapping[str, NDArray[Any]], path: Path) -> Episodes:
    desired, actual = found["des_c_pos"], found["c_pos"]
    frames = _lengths(found, len(desired), path, least=2)
    if desired.ndim != 2 or desired.shape != actual.shape or desired.shape[1] < 2:
        raise DataError(f"{path}: des_c_pos {list(desired.shape)} and c_pos {list(actual.shape)} must be [frames, 3].")
    last = np.cumsum(frames) - 1
    steps = np.delete(np.arange(len(desired)), last)
    seen = np.concatenate([desired[:, :2], actual[:, :2]], axis=1)
    # the tracker's next move depends on the rate of its last step too, which is 0 at the start of an episode
    velocity = np.diff(actual[:, :2], axis=0, prepend=actual[:1, :2]) / AVOIDING_DT
    velocity[last[:-1] + 1] = 0
    others = {name: values for name, values in found.items() if name not in AVOIDING}
    columns, rest = as_columns(others, len(desired))
    state = to_rows(np.concatenate([seen, velocity], axis=1), "des_c_pos, c_pos", str(path))
    rows = torch.as_tensor(steps)
    arrays = {
        "actions": to_rows(seen[steps + 1, :2] - seen[steps, :2], "des_c_pos", str(path)),
        "states": state[rows],
        "final_states": state[torch.as_tensor(last)],
        "observation.state": state[rows, :4],
    }
    return episodes_of(
        arrays | {name: values[rows] for name, values in columns.items()},
        torch.as_tensor(frames - 1),
        names={"action": AVOIDING_NAMES[:2], "state": AVOIDING_NAMES[2:], "observation.state": AVOIDING_NAMES[2:6]},
        dt=AVOIDING_DT,
        system="avoid",
        meta={"features_left_out": rest},
    )


def _mujoco(found: Mapping[str, NDArray[Any]], name: str, path: Path) -> Episodes:
    lengths = _lengths(found, len(found["action"]), path, least=1)
    roles = {"observation": "states", "action": "actions", "reward": "rewards"}
    tensors = {role: to_rows(found[key], key, str(path)) for key, role in roles.items()}
    tensors["rewards"] = tensors["rewards"].flatten()
    # the prefix mujoco: would mean that the states are the simulator's own, but they are the observations
    description = {**NOTHING, "system": f"gym:{name}", "dt": MUJOCO_DT.get(name)}
    return assemble(tensors, torch.as_tensor(lengths), description, str(path))


def _lengths(found: Mapping[str, NDArray[Any]], rows: int, path: Path, *, least: int) -> NDArray[np.int64]:
    lengths = np.diff(found["episode_ends"].astype(np.int64), prepend=0)
    if (short := np.flatnonzero(lengths < least)).size:
        raise DataError(f"{path}: episode {short[0]} has {lengths[short[0]]} frames, expected at least {least}.")
    if int(lengths.sum()) != rows:
        raise DataError(f"{path}: episode_ends gives {int(lengths.sum())} frames, but there are {rows}.")
    return lengths
