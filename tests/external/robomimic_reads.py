"""robomimic itself reads what Holdfast writes, and both read robomimic's own file alike, number for number.

robomimic's dataset needs neither its simulators nor torchvision, but its other modules do, so it has an environment of
its own, and this is no test of the suite:

    python3.11 -m venv robomimic-env
    robomimic-env/bin/pip install torch h5py numpy termcolor tqdm
    robomimic-env/bin/pip install --no-deps robomimic==0.3.0

    .venv/bin/python        tests/external/robomimic_reads.py write   FOLDER    Holdfast writes files, and their arrays
    robomimic-env/bin/python tests/external/robomimic_reads.py compare FOLDER    robomimic loads them and compares

The set robomimic_square is compared too, as it is and with absolute actions, where $HOLDFAST_DATA or ../shared/data has
it. Each step ends with a line that says what was compared, or with the first difference.
"""

import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
SQUARE = DATA / "robomimic_square" / "square_ph_low_dim.hdf5"
KEYS = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "robot0_joint_pos": 7}
OBJECT = {"object": 14}
LENGTHS = (7, 1, 4)
STACKED, AHEAD = 2, 3


def write(folder):
    """In Holdfast's environment: a small set with final states, Square as it is and with absolute goals."""
    import torch

    from holdfast.data import Preparation, prepared, read, select
    from holdfast.data.formats import robomimic
    from holdfast.types import Episodes, Observation

    rng = np.random.default_rng(0)
    rows = sum(LENGTHS)
    state, rest = (torch.as_tensor(rng.normal(size=(rows, sum(part.values())))) for part in (KEYS, OBJECT))
    small = Episodes(
        actions=torch.as_tensor(rng.uniform(-1, 1, size=(rows, 7))),
        states=state,
        observations=Observation(state=state, environment_state=rest),
        rewards=torch.as_tensor(rng.normal(size=rows)),
        lengths=torch.tensor(LENGTHS),
        names={
            "state": names(KEYS),
            "observation.state": names(KEYS),
            "observation.environment_state": names(OBJECT),
            "action": tuple("abcdefg"),
        },
        dt=0.05,
    )
    _write(robomimic, small, folder / "small")
    if SQUARE.exists():
        square = select(read(SQUARE), torch.arange(10))
        _write(robomimic, square, folder / "square")
        _write(robomimic, prepared(square, Preparation(absolute_actions=True)), folder / "absolute")
        # robomimic's own file, by Holdfast's reader
        _arrays(square, folder / "own.npz")
    print(f"wrote {', '.join(sorted(path.name for path in folder.iterdir()))}")


def names(keys):
    return tuple(f"{key}_{index}" for key, width in keys.items() for index in range(width))


def _write(robomimic, episodes, place):
    robomimic.write(episodes, place.with_suffix(".hdf5"))
    _arrays(episodes, place.with_suffix(".npz"))


def _arrays(episodes, path):
    """What Holdfast holds, by the names of robomimic."""
    seen = episodes.observed
    arrays = {"actions": episodes.actions, "rewards": episodes.rewards, "lengths": episodes.lengths}
    parts = (("observation.state", seen.state), ("observation.environment_state", seen.environment_state))
    for quantity, values in parts:
        called = episodes.names[quantity]
        for key in dict.fromkeys(name.rpartition("_")[0] for name in called):
            columns = [index for index, name in enumerate(called) if name.rpartition("_")[0] == key]
            arrays[f"obs/{key}"] = values[:, columns]
    np.savez(path, **{name: values.numpy() for name, values in arrays.items()})


def compare(folder):
    """In robomimic's environment: every window of every set."""
    for arrays in sorted(folder.glob("*.npz")):
        own = arrays.stem == "own"
        _compare(SQUARE if own else arrays.with_suffix(".hdf5"), dict(np.load(arrays)), first=10 if own else None)


def _compare(path, arrays, *, first):
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    keys = [name.removeprefix("obs/") for name in arrays if name.startswith("obs/")]
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": keys, "rgb": []}})
    windows = SequenceDataset(
        hdf5_path=str(path),
        obs_keys=tuple(keys),
        dataset_keys=("actions", "rewards"),
        frame_stack=STACKED,
        seq_length=AHEAD,
        hdf5_cache_mode="all",
        filter_by_attribute=None if first else "all",
        load_next_obs=False,
    )
    lengths = arrays["lengths"]
    assert first or windows.n_demos == len(lengths), (windows.n_demos, len(lengths))
    assert windows.demos[: len(lengths)] == [f"demo_{index}" for index in range(len(lengths))]
    bounds = np.cumsum([0, *lengths])
    for row in range(bounds[-1]):
        episode = int(np.searchsorted(bounds, row, side="right")) - 1
        # a window of the last observations and the next actions, padded by repetition within the episode
        rows = np.clip(row + np.arange(1 - STACKED, AHEAD), bounds[episode], bounds[episode + 1] - 1)
        found = windows[row]
        # robomimic hands out actions and rewards as float32 whatever is stored, and observations as they are
        for name in ("actions", "rewards"):
            assert np.array_equal(found[name], arrays[name][rows].astype(np.float32)), (path.name, name, row)
        for key in keys:
            assert np.array_equal(found["obs"][key], arrays[f"obs/{key}"][rows]), (path.name, key, row)
    print(f"{path.name}: {bounds[-1]} windows of {len(lengths)} episodes, {len(keys)} observations agree")


if __name__ == "__main__":
    steps = {step.__name__: step for step in (write, compare)}
    if len(sys.argv) != 3 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]](Path(sys.argv[2]))
