"""Layouts of public reports, from files outside the repository: each row reads as asked, with the numbers of the files.

Numbers are compared with those that h5py, pyarrow, zarr and NumPy read from the same files.
"""

import os
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]
import pytest
import torch
import zarr

from holdfast.data import Selection, measurements, read
from holdfast.data.doctor import inspect_episodes
from holdfast.data.unseen import Unseen
from holdfast.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("HOLDFAST_CASES", ROOT.parent / "shared" / "cases")) / "formats"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"needs the layouts in {CASES}")


def column(folder, name):
    """A column of all tables, flattened row by row."""
    tables = [pq.read_table(file) for file in sorted((CASES / folder / "data").rglob("*.parquet"))]
    rows = [row for table in tables for row in table.column(name).to_pylist()]
    return np.array(rows).reshape(len(rows), -1)


def same(found, states, actions):
    assert np.array_equal(found.states.double().numpy(), np.asarray(states, dtype=np.float64))
    assert np.array_equal(found.actions.double().numpy(), np.asarray(actions, dtype=np.float64))


def notes(found):
    return " ".join(found.meta.get("reading_notes", ()))


@pytest.mark.parametrize("name", ["a_v20", "d_scalars", "q_dtype", "k_2d", "datasets--someone--arm"])
def test_lerobot(name):
    found = read(CASES / name)
    folder = f"{name}/snapshots/abc" if name.startswith("datasets") else name
    same(found, column(folder, "observation.state"), column(folder, "action"))


def test_odd_features_are_said_and_block_nothing():
    scalars = read(CASES / "d_scalars")
    assert np.array_equal(scalars.rewards.numpy(), column("d_scalars", "next.reward")[:, 0])
    assert "next.reward has the shape []: read as one number a row." in notes(scalars)
    assert scalars.meta["features_left_out"] == ["language_instruction"]
    assert "observation.state has the shape [1, 6]: read as 6 numbers a row." in notes(read(CASES / "k_2d"))
    assert "action is int64 in meta/info.json, float32 in the tables: cast to float32." in notes(
        read(CASES / "q_dtype")
    )


def test_split_columns():
    parts = {
        quantity: np.concatenate(
            [column("c_split", f"{quantity}.{part}") for part in ("joint_position", "gripper_position")], axis=1
        )
        for quantity in ("observation.state", "action")
    }
    found = read(CASES / "c_split")
    same(found, parts["observation.state"], parts["action"])
    assert found.names["state"] == (*(f"joint_position_{i}" for i in range(6)), "gripper_position_0")
    turned = read(CASES / "c_split", selection=Selection(state=("gripper_position", "joint_position")))
    assert np.array_equal(turned.states.numpy(), np.roll(parts["observation.state"], 1, axis=1))


def test_a_deleted_episode():
    with pytest.raises(DataError, match=r"episode 4 is missing.*set total_episodes to 11 and total_frames to 502"):
        read(CASES / "g_deleted")


def test_several_instructions():
    found = read(CASES / "multitask")
    warned = [finding for finding in inspect_episodes(found).findings if finding.check == "instructions"]
    assert [finding.severity for finding in warned] == ["warning"]
    assert any(
        "'put it left', 'put it right'): let it follow them with --instructions, or choose one with --task" in text
        for text in Unseen.of(found).sentences()
    )
    left = read(CASES / "multitask", selection=Selection(task="put it left"))
    assert set(left.tasks or ()) == {"put it left"}
    assert len(left) == 8
    told = read(CASES / "multitask", selection=Selection(state=("observation.state", "task_index")))
    assert np.array_equal(told.states[:, 6].numpy(), column("multitask", "task_index")[:, 0])


@pytest.mark.parametrize("name", ["lfs3", "lfs.npz", "lfs.hdf5"])
def test_pointers(name):
    with pytest.raises(DataError, match=r"is a Git LFS pointer.*Run git lfs pull"):
        read(CASES / name)


def test_aloha():
    raw = []
    for number in range(4):
        with h5py.File(CASES / "aloha" / f"episode_{number}.hdf5") as file:
            raw.append((file["observations/qpos"][()], file["action"][()], file["observations/qvel"][()]))
    x, u, v = (np.concatenate(parts) for parts in zip(*raw, strict=True))
    found = read(CASES / "aloha")
    same(found, x, u)
    assert np.array_equal(found.columns["observations/qvel"].numpy(), v)
    assert "observations/images/cam_high" in found.meta["features_left_out"]
    same(read(CASES / "aloha", selection=Selection(state=("qvel", "qpos"))), np.concatenate([v, x], axis=1), u)


def groups(name, place=""):
    """Arrays of each episode of an HDF5 file by key, episodes in order of their numbers."""
    with h5py.File(CASES / name) as file:
        top = file[place] if place else file
        names = sorted(top, key=lambda text: int(text.rsplit("_", 1)[1]))
        found = []
        for one in names:
            arrays = {}
            top[one].visititems(
                lambda key, value, to=arrays: to.update({key: value[()]}) if hasattr(value, "dtype") else None
            )
            found.append(arrays)
        return found


def joined(parts, *keys, cut=None):
    return np.concatenate([np.concatenate([part[key][:cut] for key in keys], axis=1) for part in parts])


def test_maniskill():
    raw = groups("maniskill.h5")
    found = read(CASES / "maniskill.h5")
    keys = ("obs/agent/qpos", "obs/extra/tcp_pose")
    same(found, joined(raw, *keys, cut=-1), joined(raw, "actions"))
    final = np.stack([np.concatenate([part[key][-1] for key in keys]) for part in raw])
    assert np.array_equal(found.final_states.numpy(), final)


def test_raw_demonstrations():
    raw = groups("rawdemo.hdf5", "data")
    same(read(CASES / "rawdemo.hdf5"), joined(raw, "states"), joined(raw, "actions"))
    assert "has no observations, so the state is states" in notes(read(CASES / "rawdemo.hdf5"))


def test_d4rl():
    with h5py.File(CASES / "d4rl.hdf5") as file:
        raw = {name: file[name][()] for name in ("observations", "actions", "timeouts", "terminals")}
    found = read(CASES / "d4rl.hdf5")
    same(found, raw["observations"], raw["actions"])
    ends = np.flatnonzero(raw["timeouts"] | raw["terminals"]) + 1
    assert found.lengths.cumsum(0).tolist() == ends.tolist()


def test_isaac():
    raw = groups("isaac.hdf5", "data")
    found = read(CASES / "isaac.hdf5")
    assert found.dt == pytest.approx(0.01 * 5)
    assert Unseen.of(found).failed == ("success", (3,))
    assert "obs/actions repeats the action of the step before" in notes(found)
    assert "obs/datagen_info/eef_pose/franka" in found.meta["features_left_out"]
    assert np.array_equal(
        measurements(found.cameras["wrist_depth"], torch.arange(len(found.actions))), joined(raw, "obs/wrist_depth")
    )
    chosen = Selection(state=("eef_pos", "eef_quat", "gripper_pos"), filter_key="success")
    good = [part for number, part in enumerate(raw) if number != 3]
    keys = ("obs/eef_pos", "obs/eef_quat", "obs/gripper_pos")
    same(read(CASES / "isaac.hdf5", selection=chosen), joined(good, *keys), joined(good, "actions"))


def test_libero_and_robocasa():
    libero, robocasa = read(CASES / "libero.hdf5"), read(CASES / "robocasa.hdf5")
    assert set(libero.tasks or ()) == {"open the top drawer"}
    assert set(robocasa.tasks or ()) == {"pick the pan", "pick the mug"}
    raw = groups("robocasa.hdf5", "data")
    pictures = np.concatenate([part["obs/robot0_agentview_left_image"] for part in raw]).transpose(0, 2, 3, 1)
    shown = robocasa.cameras["robot0_agentview_left_image"].read(torch.arange(len(pictures))).numpy()
    assert np.array_equal(shown, pictures)
    assert np.array_equal(robocasa.columns["actions_abs"].numpy(), joined(raw, "actions_abs"))
    said = " ".join(Unseen.of(robocasa).sentences())
    assert all(part in said for part in ("robot0_agentview_left_image", "actions_abs", "pick the mug"))
    found = read(CASES / "libero.hdf5", selection=Selection(state=("ee_pos", "gripper_states")))
    raw = groups("libero.hdf5", "data")
    same(found, joined(raw, "obs/ee_pos", "obs/gripper_states"), joined(raw, "actions"))


@pytest.mark.parametrize(
    ("name", "time_first"), [("padded.npz", False), ("padded_timefirst.npz", True), ("kitchen", True)]
)
def test_padding_is_no_data(name, time_first):
    if name == "kitchen":
        raw = {file.stem.removesuffix("_seq"): np.load(file) for file in (CASES / name).glob("*.npy")}
    else:
        raw = dict(np.load(CASES / name))
    turned = {key: values.swapaxes(0, 1) if time_first else values for key, values in raw.items()}
    inside = turned["existence_mask"] == 1
    found = read(CASES / name)
    same(found, turned["observations"][inside], turned["actions"][inside])
    assert found.lengths.tolist() == inside.sum(axis=1).tolist() == list(range(30, 42))


def test_no_axis_is_guessed():
    with pytest.raises(DataError, match=r"7 episodes of 2 steps with 1000 numbers each, but .*np.swapaxes"):
        read(CASES / "chfirst.npz")


@pytest.mark.parametrize("name", ["dones", "terminals_timeouts", "starts_float_flags"])
def test_flags(name):
    raw = dict(np.load(CASES / f"{name}.npz"))
    found = read(CASES / f"{name}.npz")
    same(found, raw.get("observations", raw.get("obs")), raw["actions"])
    assert found.lengths.tolist() == [60] * 12


def test_zarr():
    raw = zarr.open_group(CASES / "dp_real.zarr", mode="r")
    with pytest.raises(DataError, match=r"found action, robot_eef_pose, .*--state KEY"):
        read(CASES / "dp_real.zarr")
    found = read(CASES / "dp_real.zarr", selection=Selection(state=("robot_eef_pose", "robot_joint")))
    states = np.concatenate([raw["data/robot_eef_pose"][:], raw["data/robot_joint"][:]], axis=1)
    same(found, states, raw["data/action"][:])
    assert found.lengths.cumsum(0).tolist() == raw["meta/episode_ends"][:].tolist()
    said = " ".join(Unseen.of(found).sentences())
    assert all(name in said for name in ("robot_eef_pose_vel", "robot_joint_vel", "stage"))
    robotwin = zarr.open_group(CASES / "robotwin.zarr", mode="r")
    found = read(CASES / "robotwin.zarr")
    same(found, robotwin["data/state"][:], robotwin["data/action"][:])
    assert any("head_camera" in text for text in found.meta["features_left_out"])


def test_tables_and_logs():
    raw = np.loadtxt(CASES / "log.csv", delimiter=",")
    found = read(CASES / "log.csv", selection=Selection(state=("1-6",), action=("7-12",)))
    same(found, raw[:, 1:7], raw[:, 7:13])
    with pytest.raises(DataError, match=r"no array is named as states usually are.*--state KEY"):
        read(CASES / "log.csv")
    with pytest.raises(DataError, match=r"is an MCAP log.*save np.savez"):
        read(CASES / "run.mcap")
