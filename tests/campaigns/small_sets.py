"""Small data sets of every format that Holdfast writes, and as other programs leave them: without any checksum."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from holdfast.data import FORMATS, write
from holdfast.data.formats import lerobot
from holdfast.data.pictures import Frames
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

SUFFIXES = {"npz": ".npz", "robomimic": ".hdf5", "zarr": ".zarr", "minari": "-v0"}
LENGTHS = (9, 4, 7)


def small_set(*, camera: bool = True) -> Episodes:
    """Three episodes with everything that a set can hold."""
    rng, rows = stream(0, "campaign", "set"), sum(LENGTHS)
    states = torch.randn(rows, 3, generator=rng, dtype=torch.float64)
    pixels = torch.randint(0, 256, (rows, 16, 16, 3), generator=rng, dtype=torch.uint8)
    return Episodes(
        actions=torch.randn(rows, 2, generator=rng, dtype=torch.float64),
        states=states,
        lengths=torch.tensor(LENGTHS),
        final_states=torch.randn(len(LENGTHS), 3, generator=rng, dtype=torch.float64),
        observations=Observation(state=states[:, :2].clone(), environment_state=states * 2),
        rewards=torch.randn(rows, generator=rng, dtype=torch.float64),
        cameras={"top": Frames(pixels)} if camera else {},
        tasks=("push", "pull", "push"),
        names={"action": ("left", "right")},
        dt=0.05,
        system="toy",
        columns={"force": torch.randn(rows, 2, generator=rng)},
        episode_columns={"operator": ("ann", "bob", "eve"), "success": torch.tensor([True, False, True])},
        meta={"seed": 3},
    )


def _foreign_npz(path: Path) -> None:
    made = small_set()
    np.savez(path, actions=made.actions.numpy(), states=made.states.numpy(), episode_ends=made.lengths.cumsum(0))


def _foreign_hdf5(path: Path) -> None:
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    made, first = small_set(), 0
    with h5py.File(path, "w") as file:
        for episode, length in enumerate(LENGTHS):
            rows = slice(first, first := first + length)
            group = file.create_group(f"data/demo_{episode}")
            group["actions"], group["obs/eef"] = made.actions[rows].numpy(), made.states[rows].numpy()


def _foreign_zarr(path: Path) -> None:
    import zarr

    made = small_set()
    group = zarr.open_group(path, mode="w", zarr_format=2)
    ends = made.lengths.cumsum(0)
    for place, values in {"data/action": made.actions, "data/state": made.states, "meta/episode_ends": ends}.items():
        group.create_array(place, shape=tuple(values.shape), dtype=values.numpy().dtype)[:] = values.numpy()


def _groups_hdf5(path: Path) -> None:
    """As ManiSkill records: a group an episode, one observation more than actions."""
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    made, first = small_set(), 0
    with h5py.File(path, "w") as file:
        for episode, length in enumerate(LENGTHS):
            rows = slice(first, first := first + length)
            group = file.create_group(f"traj_{episode}")
            group["actions"] = made.actions[rows].numpy()
            group["obs/agent/qpos"] = np.concatenate([made.states[rows].numpy(), np.ones((1, 3))])


def _flat_hdf5(path: Path) -> None:
    """As D4RL: all steps end to end, with flags at the end of an episode."""
    import h5py  # pyright: ignore[reportMissingTypeStubs]

    made = small_set()
    with h5py.File(path, "w") as file:
        file["actions"], file["observations"] = made.actions.numpy(), made.states.numpy()
        file["timeouts"] = np.isin(np.arange(sum(LENGTHS)), np.cumsum(LENGTHS) - 1)
        file["rewards"] = np.ones(sum(LENGTHS), np.float32)


def _aloha(path: Path) -> None:
    """As ALOHA and ACT record: a file an episode; one camera is compressed, in rows that are filled up with zeros."""
    import h5py  # pyright: ignore[reportMissingTypeStubs]
    from PIL import Image

    made, first = small_set(), 0
    path.mkdir()
    for episode, length in enumerate(LENGTHS):
        rows = range(first, first := first + length)
        pixels = made.cameras["top"].read(torch.tensor(rows)).numpy()
        packed = np.zeros((length, 4096), np.uint8)
        for row, picture in zip(packed, pixels, strict=True):
            Image.fromarray(picture).save(content := io.BytesIO(), "JPEG")
            row[: content.tell()] = np.frombuffer(content.getvalue(), np.uint8)
        with h5py.File(path / f"episode_{episode}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file.attrs["task"] = made.tasks[episode] if made.tasks else ""
            file["action"], file["observations/qpos"] = made.actions[rows].numpy(), made.states[rows].numpy()
            file["observations/images/cam_high"], file["observations/images/cam_low"] = pixels, packed


def _shards(path: Path) -> None:
    import zarr

    made = small_set()
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for place, values in {"data/action": made.actions, "data/state": made.states}.items():
        plain = values.numpy()
        group.create_array(
            place, shape=plain.shape, dtype=plain.dtype, chunks=(2, plain.shape[1]), shards=(8, plain.shape[1])
        )[:] = plain
    group.create_array("meta/episode_ends", data=made.lengths.cumsum(0).numpy())


def _npy_folder(path: Path) -> None:
    made = small_set()
    path.mkdir()
    for name, values in {"actions": made.actions, "observations": made.states, "lengths": made.lengths}.items():
        np.save(path / f"{name}.npy", values.numpy())


def _table(path: Path) -> None:
    made = small_set()
    episode = np.repeat(np.arange(len(LENGTHS)), LENGTHS)[:, None]
    rows = np.concatenate([episode, made.states.numpy(), made.actions.numpy()], axis=1)
    np.savetxt(path, rows, delimiter=",", header="episode,state_x,state_y,state_z,action_x,action_y")


def _edited_lerobot(path: Path) -> None:
    """As LeRobot leaves a set that it edits: without Holdfast's part of meta/info.json."""
    lerobot.write(replace(small_set(), columns={}, episode_columns={}), path)
    info = json.loads((path / "meta/info.json").read_text())
    del info["holdfast"]
    (path / "meta/info.json").write_text(json.dumps(info))


def _written(format: str) -> Callable[[Path], None]:
    return lambda path: write(small_set(), path, format=format)


# the name of a set, its file's suffix, and what writes it; `checked` lists those that a change of a number cannot pass
SETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    **{format: (SUFFIXES.get(format, ""), _written(format)) for format in FORMATS},
    "zarr zip": (".zarr.zip", _written("zarr")),
    "lerobot video": ("", lambda path: lerobot.write(small_set(), path, video=True)),
    "npz, foreign": (".npz", _foreign_npz),
    "robomimic, foreign": (".hdf5", _foreign_hdf5),
    "zarr, foreign": (".zarr", _foreign_zarr),
    "lerobot, foreign": ("", _edited_lerobot),
    "zarr shards, foreign": (".zarr", _shards),
    "hdf5, foreign": (".hdf5", _groups_hdf5),
    "hdf5 flat, foreign": (".hdf5", _flat_hdf5),
    "aloha, foreign": ("", _aloha),
    "npy, foreign": ("", _npy_folder),
    "csv, foreign": (".csv", _table),
}
