"""Replay buffers in zarr, small ones made here and the real Push-T set; and how formats are recognised."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from holdfast.data import read, write
from holdfast.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
PUSHT = DATA / "pusht" / "pusht_cchi_v7_replay.zarr"


def replay(path, arrays, ends, *, zarr_format=2):
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name, values in arrays.items():
        group.create_array(f"data/{name}", data=np.asarray(values), chunks=(3, *np.shape(values)[1:]))
    if ends is not None:
        group.create_array("meta/episode_ends", data=np.asarray(ends, dtype=np.int64))
    return path


def pusht_arrays(rows=8):
    rng = np.random.default_rng(0)
    shapes = {"state": (5,), "action": (2,), "keypoint": (9, 2), "n_contacts": (1,)}
    return {name: rng.uniform(0, 512, (rows, *shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_pusht(tmp_path, zarr_format):
    arrays = pusht_arrays()
    episodes = read(replay(tmp_path / "replay.zarr", arrays, [5, 6, 8], zarr_format=zarr_format))
    assert episodes.lengths.tolist() == [5, 1, 2]
    assert np.array_equal(episodes.states.numpy(), arrays["state"][:, :2])
    assert np.array_equal(episodes.actions.numpy(), arrays["action"])
    seen = episodes.observed
    assert torch.equal(seen.state, episodes.states)
    # x and y in turn: coordinate 2 k + c is coordinate c of keypoint k.
    assert float(seen.environment_state[4, 2 * 7 + 1]) == float(arrays["keypoint"][4, 7, 1])
    assert seen.vector.shape == (8, 20)
    assert (episodes.dt, episodes.system, episodes.final_states) == (0.1, "pusht", None)
    assert episodes.states.dtype == torch.float32


def test_pictures_are_not_read(tmp_path):
    arrays = pusht_arrays() | {"img": np.zeros((8, 4, 4, 3), dtype=np.float32)}
    path = replay(tmp_path / "replay.zarr", arrays, [8])
    for chunk in (path / "data" / "img").iterdir():
        if not chunk.name.startswith("."):
            chunk.write_bytes(b"not a picture")
    assert read(path).observed.images == {}


@pytest.mark.parametrize("name", ["state", "obs"])
def test_any_other_task(tmp_path, name):
    arrays = {name: np.arange(12.0).reshape(6, 2), "action": np.arange(6).reshape(6, 1)}
    episodes = read(replay(tmp_path / "replay.zarr", arrays, [2, 6]))
    assert np.array_equal(episodes.states.numpy(), arrays[name])
    assert episodes.states.dtype == torch.float64
    assert episodes.actions.flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert (episodes.dt, episodes.system, episodes.observations) == (None, None, None)


def test_lists_the_arrays_that_it_found(tmp_path):
    path = replay(tmp_path / "replay.zarr", {"action": np.zeros((6, 1)), "img": np.zeros((6, 2))}, [6])
    with pytest.raises(DataError, match=r"data/state or data/obs; found action, img\. Make"):
        read(path)


def test_damage(tmp_path):
    arrays = {"state": np.ones((6, 2)), "action": np.ones((6, 1))}
    with pytest.raises(DataError, match=r"says 7 steps, but data/\w+ has shape \[6, .\]"):
        read(replay(tmp_path / "long.zarr", arrays, [3, 7]))
    with pytest.raises(DataError, match="episode 1 is empty"):
        read(replay(tmp_path / "empty.zarr", arrays, [3, 3, 6]))
    with pytest.raises(DataError, match="no replay buffer with data/ and meta/episode_ends"):
        read(replay(tmp_path / "endless.zarr", arrays, None))
    with pytest.raises(DataError, match="holds no episodes"):
        read(replay(tmp_path / "none.zarr", {name: a[:0] for name, a in arrays.items()}, []))
    path = replay(tmp_path / "cut.zarr", arrays, [3, 6])
    (path / "data" / "state" / "1.0").write_bytes(b"\x02\x01")
    with pytest.raises(DataError, match="is damaged"):
        read(path)
    bad = arrays | {"state": np.where(np.arange(12).reshape(6, 2) == 9, np.nan, 1.0)}
    with pytest.raises(DataError, match=r"nan\.zarr: states holds nan at episode 1, step 1, coordinate 1"):
        read(replay(tmp_path / "nan.zarr", bad, [3, 6]))


def test_format_not_recognised(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist.*known formats: a folder with episodes.json"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is an empty folder. Known formats"):
        read(tmp_path)
    (tmp_path / "demos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"demos.zip is a file of no known format.*Unpack"):
        read(tmp_path / "demos.zip")
    with pytest.raises(DataError, match=r"is no data set: it holds demos\.zip"):
        read(str(tmp_path))


def test_zarr_to_native_keeps_every_bit(tmp_path):
    episodes = read(replay(tmp_path / "replay.zarr", pusht_arrays(), [5, 6, 8]))
    write(episodes, tmp_path / "native")
    again = read(tmp_path / "native")
    assert torch.equal(again.observed.vector, episodes.observed.vector)
    assert torch.equal(again.actions, episodes.actions)
    assert (again.dt, again.system) == (0.1, "pusht")


@pytest.mark.skipif(not PUSHT.exists(), reason=f"the real Push-T demonstrations are not at {PUSHT}")
def test_real_pusht():
    episodes = read(PUSHT)
    assert len(episodes) == 206
    assert int(episodes.lengths.sum()) == 25650
    assert (int(episodes.lengths.min()), int(episodes.lengths.max())) == (49, 246)
    assert (episodes.dt, episodes.system) == (0.1, "pusht")
    assert 12 <= float(episodes.actions.min()) <= float(episodes.actions.max()) <= 511
    # The first recorded step, read off the array by eye.
    assert episodes.states[0].tolist() == [222.0, 97.0]
    assert episodes.observed.vector.shape == (25650, 20)
    # Demonstrators steer: the agent goes where the action points, so next positions are nearer to it than others.
    starts = episodes.starts[1:]
    moved = torch.ones(25650, dtype=torch.bool)
    moved[-1] = moved[starts - 1] = False
    rows = moved.nonzero().flatten()
    before = (episodes.actions[rows] - episodes.states[rows]).norm(dim=-1)
    after = (episodes.actions[rows] - episodes.states[rows + 1]).norm(dim=-1)
    assert float(after.median()) < float(before.median())
