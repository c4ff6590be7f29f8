"""`holdfast convert`: what it says, what it writes, what it refuses."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from holdfast.data import format_of, read, write
from holdfast.types import Episodes

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
AVOIDING = DATA / "avoiding" / "avoiding.npz"


@pytest.fixture
def arrays(tmp_path):
    np.savez(
        tmp_path / "mine.npz",
        actions=np.arange(6.0).reshape(6, 1),
        states=np.arange(12.0).reshape(6, 2),
        episode_ends=np.array([2, 6]),
        force=np.zeros(6),
        depth=np.zeros((6, 2, 2)),
    )
    return tmp_path / "mine.npz"


def test_there_and_back_through_all(cli, arrays, tmp_path):
    source = arrays
    steps = [("set", "lerobot"), ("a.hdf5", None), ("b-v0", "minari"), ("c.zarr.zip", None), ("d", "holdfast")]
    for out, name in [*steps, ("e.npz", None)]:
        status, said = cli("convert", source, tmp_path / out, *(("--format", name) if name else ()))
        assert status == 0, said
        assert "2 episodes, 6 steps, action 1, observation.state 2" in said
        assert "read again and compared: no difference" in said
        assert said.endswith(f"wrote {tmp_path / out}")
        source = tmp_path / out
    a, b = read(arrays), read(source)
    assert torch.equal(a.actions, b.actions)
    assert torch.equal(a.states, b.states)
    assert a.lengths.tolist() == b.lengths.tolist() == [2, 4]


def test_says_what_it_read(cli, arrays, tmp_path):
    status, said = cli("convert", arrays, tmp_path / "set")
    assert status == 0
    assert said.startswith("read npz: 2 episodes, 6 steps")
    assert "columns force" in said
    assert "not read: depth" in said
    assert format_of(tmp_path / "set") == "lerobot"


def test_filter_keys_and_observations(cli, tmp_path):
    with h5py.File(tmp_path / "lift.hdf5", "w") as file:
        for i in range(3):
            file[f"data/demo_{i}/actions"] = np.zeros((2 + i, 1))
            file[f"data/demo_{i}/obs/object"] = np.zeros((2 + i, 4))
            file[f"data/demo_{i}/obs/robot0_eef_pos"] = np.zeros((2 + i, 3))
        file["mask/train"] = np.array([b"demo_2", b"demo_0"])
    status, said = cli("convert", tmp_path / "lift.hdf5", tmp_path / "a.npz", "--filter-key", "train")
    assert status == 0
    assert "read robomimic: 2 episodes, 6 steps, action 1, observation.state 3, observation.environment_state 4" in said
    chosen = ("--observations", "object", "robot0_eef_pos")
    assert "observation.state 3" in cli("convert", tmp_path / "lift.hdf5", tmp_path / "b.npz", *chosen)[1]
    for other in (("--state", "object"), ("--camera", "front"), ("--episodes", "0")):
        status, said = cli("convert", tmp_path / "lift.hdf5", tmp_path / "c.npz", *chosen, *other)
        assert (status, "cannot be combined with a choice of" in said, (tmp_path / "c.npz").exists()) == (
            1,
            True,
            False,
        )
    status, said = cli("convert", tmp_path / "lift.hdf5", tmp_path / "c.npz", "--filter-key", "valid")
    assert (status, "unknown filter key 'valid'. Known: train" in said) == (1, True)


def test_a_camera_of_data_without_pictures(cli, arrays, tmp_path):
    status, said = cli("convert", arrays, tmp_path / "set", "--camera", "front")
    assert status == 1
    assert "the data hold no pictures, and so no camera 'front'. Omit --camera" in " ".join(said.split())
    assert not (tmp_path / "set").exists()


def test_overwrite(cli, arrays, tmp_path):
    write(Episodes(actions=torch.zeros(1, 1), states=torch.zeros(1, 1), lengths=torch.tensor([1])), tmp_path / "old")
    status, said = cli("convert", arrays, tmp_path / "old")
    assert (status, "exists already" in said, len(read(tmp_path / "old"))) == (1, True, 1)
    assert cli("convert", arrays, tmp_path / "old", "--overwrite")[0] == 0
    assert len(read(tmp_path / "old")) == 2
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    status, said = cli("convert", arrays, tmp_path / "home", "--overwrite")
    assert (status, "is not a data set of a known format" in said) == (1, True)
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_refusals(cli, arrays, tmp_path):
    (tmp_path / "demos.pkl").write_bytes(b"\x80\x04.")
    status, said = cli("convert", tmp_path / "demos.pkl", tmp_path / "out")
    assert (status, "is a pickle, and loading one runs" in said) == (1, True)
    status, said = cli("convert", arrays, tmp_path / "out", "--format", "csv")
    assert status == 2
    assert all(name in said for name in ("lerobot", "robomimic", "zarr", "minari", "npz", "holdfast"))
    status, said = cli("convert", arrays, tmp_path / "out", "--filter-key", "train")
    assert (status, "unknown filter key 'train'" in said) == (1, True)
    status, said = cli("convert", tmp_path / "gone", tmp_path / "out")
    assert (status, "does not exist" in said) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("out", "name"), [("demos.npz", "npz"), ("demos", "lerobot")])
def test_demonstrations_in_any_format(cli, tmp_path, out, name):
    status, said = cli("demonstrate", "scalar", "--episodes", 2, "--seed", 3, "--out", tmp_path / out)
    assert status == 0, said
    assert format_of(tmp_path / out) == name
    episodes = read(tmp_path / out)
    assert (len(episodes), episodes.system) == (2, "scalar")
    assert episodes.names.keys() == {"state", "action"}
    assert episodes.meta["seed"] == 3
    assert "model-predictive" in episodes.meta["expert"]
    assert episodes.final_states is not None
    assert json.dumps(dict(episodes.meta))


@pytest.mark.skipif(not AVOIDING.exists(), reason=f"the real demonstrations of avoiding are not at {AVOIDING}")
def test_real_demonstrations(cli, tmp_path):
    status, said = cli("convert", AVOIDING, tmp_path / "avoid")
    assert status == 0
    assert "96 episodes, 7305 steps, action 2, observation.state 4" in said
    assert "read again and compared: no difference" in said
    assert read(tmp_path / "avoid").system == "avoid"


def test_the_source_stays(cli, arrays, tmp_path):
    cli("convert", arrays, tmp_path / "set")
    before = sorted(path.name for path in (tmp_path / "set").rglob("*"))
    for out in (tmp_path / "set", tmp_path / "set" / "inner", tmp_path):
        status, said = cli("convert", tmp_path / "set", out, "--overwrite")
        assert status == 1
        assert "are the same or contain one another" in said
    assert sorted(path.name for path in (tmp_path / "set").rglob("*")) == before
