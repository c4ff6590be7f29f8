"""Small data sets with a depth camera, written as other programs write them."""

import h5py
import numpy as np
import zarr

RNG = np.random.default_rng(0)
DEPTH = RNG.integers(500, 1500, (30, 12, 16)).astype(np.uint16)
"""Millimetres, with two rows that see nothing."""
DEPTH[:, :2] = 0
STATES, ACTIONS = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2))
ENDS = np.array([10, 20, 30])
PARTS = [slice(first, first + 10) for first in (0, 10, 20)]


def npz(path):
    np.savez(path / "data.npz", actions=ACTIONS, states=STATES, episode_ends=ENDS, top_depth=DEPTH)
    return path / "data.npz"


def npy(path):
    folder = path / "arrays"
    folder.mkdir()
    for name, values in {"actions": ACTIONS, "states": STATES, "episode_ends": ENDS, "top_depth": DEPTH}.items():
        np.save(folder / f"{name}.npy", values)
    return folder


def groups(path):
    with h5py.File(path / "groups.hdf5", "w") as file:
        for episode, rows in enumerate(PARTS):
            group = file.create_group(f"traj_{episode}")
            group["actions"], group["obs/arm"], group["obs/top_depth"] = ACTIONS[rows], STATES[rows], DEPTH[rows]
    return path / "groups.hdf5"


def files(path):
    folder = path / "episodes"
    folder.mkdir()
    for episode, rows in enumerate(PARTS):
        with h5py.File(folder / f"episode_{episode}.hdf5", "w") as file:
            file["action"], file["observations/qpos"] = ACTIONS[rows], STATES[rows]
            file["observations/images/top_depth"] = DEPTH[rows, None]
    return folder


def end_to_end(path):
    with h5py.File(path / "flat.hdf5", "w") as file:
        file["actions"], file["observations"], file["top_depth"] = ACTIONS, STATES, DEPTH[..., None]
        file["terminals"] = np.isin(np.arange(30), ENDS - 1)
    return path / "flat.hdf5"


def robomimic(path):
    with h5py.File(path / "robomimic.hdf5", "w") as file:
        for episode, rows in enumerate(PARTS):
            group = file.create_group(f"data/demo_{episode}")
            group.attrs["num_samples"] = 10
            group["actions"], group["rewards"], group["dones"] = ACTIONS[rows], np.zeros(10), np.zeros(10)
            group["obs/robot0_eef_pos"], group["obs/top_depth"] = STATES[rows], DEPTH[rows][..., None]
            group["states"] = STATES[rows]
    return path / "robomimic.hdf5"


def replay(path):
    group = zarr.open_group(path / "replay.zarr", mode="w", zarr_format=2)
    for name, values in {"action": ACTIONS, "state": STATES, "top_depth": DEPTH}.items():
        group.create_array(f"data/{name}", data=values, chunks=(7, *values.shape[1:]))
    group.create_array("meta/episode_ends", data=ENDS)
    return path / "replay.zarr"


READERS = {made.__name__: made for made in (npz, npy, groups, files, end_to_end, robomimic, replay)}
