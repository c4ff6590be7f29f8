"""Replay buffers in zarr: small ones made here, the real Push-T set, and what Diffusion Policy demands of one."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from holdfast.data import format_of, read, write
from holdfast.data.pictures import Frames
from holdfast.errors import DataError, DataWarning
from holdfast.types import Episodes, Observation

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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", ["img", "image", "camera_0"])
def test_pictures_stay_on_disk_until_they_are_wanted(tmp_path, name, dtype):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 4, 5, 3)).astype(dtype)
    path = replay(tmp_path / "replay.zarr", pusht_arrays() | {name: pictures}, [8])
    episodes = read(path)
    camera = episodes.cameras[name]
    assert (camera.shape, len(camera)) == ((4, 5, 3), 8)
    rows = torch.tensor([7, 0, 3, 3])
    assert np.array_equal(camera.read(rows).numpy(), pictures[rows].astype(np.uint8))
    assert episodes.columns.keys() == {"n_contacts", "simulator_state"}
    assert episodes.meta == {}
    for chunk in (path / "data" / name).iterdir():
        if not chunk.name.startswith("."):
            chunk.write_bytes(b"not a picture")
    assert len(read(path).cameras[name]) == 8
    with pytest.raises(DataError, match=r"replay.zarr is damaged"):
        camera.read(rows)


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        (np.linspace(0, 1, 8 * 12).reshape(8, 2, 2, 3), "fractions from 0 to 1, expected 0 to 255. Multiply"),
        (np.full((8, 2, 2, 3), 300.0), "numbers from 300.0 to 300.0, expected 0 to 255"),
        (np.full((8, 2, 2, 3), -1.0), "numbers from -1.0"),
        (np.full((8, 2, 2, 3), np.nan), "numbers from nan"),
    ],
)
def test_numbers_that_are_no_pixels(tmp_path, pictures, says):
    camera = read(replay(tmp_path / "replay.zarr", pusht_arrays() | {"img": pictures}, [8])).cameras["img"]
    with pytest.raises(DataError, match=f"data/img: pictures hold {says}"):
        camera.read(torch.arange(8))


@pytest.mark.filterwarnings("ignore:.*which are read as 0:holdfast.errors.DataWarning")
def test_dark_pictures_are_pictures(tmp_path):
    dark = np.zeros((8, 2, 2, 3), dtype=np.float32)
    dark[0, 0, 0, 0] = 1
    camera = read(replay(tmp_path / "replay.zarr", pusht_arrays() | {"img": dark}, [8])).cameras["img"]
    assert int(camera.read(torch.arange(8)).sum()) == 1


def test_arrays_that_look_like_pictures_are_none(tmp_path):
    arrays = pusht_arrays() | {"heights": np.zeros((8, 4, 4, 1), dtype=np.float32)}
    episodes = read(replay(tmp_path / "replay.zarr", arrays, [8]))
    assert episodes.cameras == {}
    assert episodes.meta == {"features_left_out": ["heights"]}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zip_files(tmp_path, zarr_format):
    arrays = pusht_arrays() | {"img": np.full((8, 4, 4, 3), 7, dtype=np.uint8)}
    folder = replay(tmp_path / "replay.zarr", arrays, [5, 8], zarr_format=zarr_format)
    shutil.make_archive(str(folder), "zip", folder)
    episodes = read(tmp_path / "replay.zarr.zip")
    assert np.array_equal(episodes.actions.numpy(), arrays["action"])
    assert int(episodes.cameras["img"].read(torch.tensor([5]))[0, 0, 0, 0]) == 7
    # recognised without its suffix, too
    (tmp_path / "replay.zarr.zip").rename(tmp_path / "archive.zip")
    assert format_of(tmp_path / "archive.zip") == "zarr"


def test_as_diffusion_policy_reads_it(tmp_path):
    """What its ReplayBuffer asserts when it opens one: format 2, and every array of data/ as long as the last end."""
    states = torch.arange(8, dtype=torch.float64).reshape(4, 2)
    episodes = Episodes(
        actions=torch.zeros(4, 1),
        states=states,
        lengths=torch.tensor([1, 3]),
        final_states=torch.ones(2, 2, dtype=torch.float64),
        observations=Observation(state=states, environment_state=torch.zeros(4, 3)),
        cameras={"front": Frames(torch.zeros(4, 6, 6, 3, dtype=torch.uint8))},
        rewards=torch.zeros(4),
    )
    write(episodes, tmp_path / "a.zarr")
    assert json.loads((tmp_path / "a.zarr" / "data" / "state" / ".zarray").read_text())["zarr_format"] == 2
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert set(root) == {"data", "meta"}
    assert root["meta/episode_ends"][:].tolist() == [1, 4]
    assert {array.shape[0] for _, array in root["data"].arrays()} == {4}
    assert root["data/state"][:].tolist() == states.tolist()
    assert root["data/state"].dtype == np.float64


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
    with pytest.raises(DataError, match=r"data/state or data/obs; found action, img\. Give"):
        read(path)


def test_damage(tmp_path):
    arrays = {"state": np.ones((6, 2)), "action": np.ones((6, 1))}
    with pytest.raises(DataError, match=r"gives 7 steps, but data/\w+ has shape \[6, .\]"):
        read(replay(tmp_path / "long.zarr", arrays, [3, 7]))
    with pytest.raises(DataError, match="episode 1 is empty"):
        read(replay(tmp_path / "empty.zarr", arrays, [3, 3, 6]))
    with pytest.raises(DataError, match="expected the episodes' ends under one of episode_ends"):
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


def test_a_description_of_another_kind(tmp_path):
    path = tmp_path / "a.zarr"
    write(Episodes(actions=torch.zeros(4, 1), states=torch.zeros(4, 2), lengths=torch.tensor([4])), path)
    marks = json.loads((path / ".zattrs").read_text())
    (path / ".zattrs").write_text(json.dumps({"holdfast": marks["holdfast"] | {"cameras": {"top": "gone"}}}))
    with pytest.raises(DataError, match=r"a.zarr is damaged"):
        read(path)
    (path / ".zattrs").write_text(json.dumps({"holdfast": {"cameras": {}}}))
    with pytest.raises(DataError, match="attribute holdfast lacks 'system'"):
        read(path)
    (path / ".zattrs").write_text("{")
    with pytest.raises(DataError, match=r"a.zarr is damaged"):
        read(path)


def test_zarr_to_native_keeps_every_bit(tmp_path):
    episodes = read(replay(tmp_path / "replay.zarr", pusht_arrays(), [5, 6, 8]))
    write(episodes, tmp_path / "native", format="holdfast")
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
    # Neighbours look alike.
    camera = episodes.cameras["img"]
    assert (camera.shape, len(camera)) == ((96, 96, 3), 25650)
    first, second, far = camera.read(torch.tensor([0, 1, 20000])).float()
    assert float((first - second).abs().mean()) < float((first - far).abs().mean())
    # Demonstrators steer: the agent goes where the action points, so next positions are nearer to it than others.
    starts = episodes.starts[1:]
    moved = torch.ones(25650, dtype=torch.bool)
    moved[-1] = moved[starts - 1] = False
    rows = moved.nonzero().flatten()
    before = (episodes.actions[rows] - episodes.states[rows]).norm(dim=-1)
    after = (episodes.actions[rows] - episodes.states[rows + 1]).norm(dim=-1)
    assert float(after.median()) < float(before.median())


def sparse_replay(path, *, zero, fill=0.0, name="state"):
    """A replay of twelve steps in four chunks, of which some hold zeros and are not stored, as is zarr's default."""
    arrays = {"state": np.ones((12, 2)), "action": np.ones((12, 2)), "img": np.ones((12, 4, 4, 3), dtype=np.uint8)}
    arrays[name][3 : 3 + 3 * zero] = 0
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for key, values in arrays.items():
        config = {"write_empty_chunks": False}
        shape, chunks = values.shape, (3, *values.shape[1:])
        array = group.create_array(
            f"data/{key}", shape=shape, dtype=values.dtype, chunks=chunks, fill_value=fill, config=config
        )
        array[:] = values
    group.create_array("meta/episode_ends", data=np.asarray([6, 12], dtype=np.int64))
    return path, arrays


@pytest.mark.parametrize("name", ["state", "action", "img"])
def test_chunks_of_zeros_that_zarr_does_not_store(tmp_path, name):
    path, arrays = sparse_replay(tmp_path / "a.zarr", zero=2, name=name)
    with pytest.warns(DataWarning, match=f"data/{name} lacks 2 of its 4 chunks, which are read as 0") as said:
        episodes = read(path)
    assert len(said) == 1
    assert np.array_equal(episodes.states.numpy(), arrays["state"])
    assert np.array_equal(episodes.actions.numpy(), arrays["action"])
    assert np.array_equal(episodes.cameras["img"].read(torch.arange(12)).numpy(), arrays["img"])


@pytest.mark.parametrize("name", ["state", "action", "img"])
def test_an_array_without_any_chunk(tmp_path, name):
    path, _ = sparse_replay(tmp_path / "a.zarr", zero=0)
    for chunk in (path / "data" / name).iterdir():
        if not chunk.name.startswith("."):
            chunk.unlink()
    if name == "img":
        # pictures are no reason to refuse the numbers, and are named
        episodes = read(path)
        assert not episodes.cameras
        assert episodes.meta["features_left_out"] == ["data/img (lacks 4 of its 4 chunks, which would read as 0)"]
        return
    with pytest.raises(DataError, match=f"data/{name} lacks 4 of its 4 chunks"):
        read(path)


def test_a_missing_chunk_without_a_fill_value(tmp_path):
    path, _ = sparse_replay(tmp_path / "a.zarr", zero=1)
    header = path / "data" / "state" / ".zarray"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"fill_value": None}))
    with pytest.raises(DataError, match="data/state lacks 1 of its 4 chunks"):
        read(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lost", [False, True])
def test_checksums_tell_whether_a_missing_chunk_was_stored(tmp_path, monkeypatch, lost):
    monkeypatch.setattr("holdfast.data.zarr_store.CHUNK_BYTES", 48)
    actions = torch.ones(12, 2, dtype=torch.float64)
    actions[:3] = 0
    states = actions + 1
    path = tmp_path / "a.zarr"
    write(Episodes(actions=actions, states=states, lengths=torch.tensor([6, 6])), path)
    (path / "data" / "action" / ("1.0" if lost else "0.0")).unlink()
    if lost:
        with pytest.raises(DataError, match="actions changed after the data set was written"):
            read(path)
    else:
        assert torch.equal(read(path).actions, actions)


@pytest.mark.parametrize(("pose", "system"), [((256, 256, np.pi / 4), "pusht"), ((120, 330, 2.0), None)])
def test_another_goal_of_pusht(tmp_path, pose, system):
    rng = np.random.default_rng(0)
    arrays = {
        "state": rng.uniform(0, 512, (24, 5)),
        "keypoint": rng.uniform(0, 512, (24, 9, 2)),
        "action": rng.uniform(0, 512, (24, 2)),
    }
    ends = [6, 12, 18, 24]
    for end in ends:
        # a whole turn more is the same angle
        turn = 2 * np.pi if end == 12 else 0.0
        arrays["state"][end - 1, 2:] = (*rng.normal(pose[:2], 5), pose[2] + turn + rng.normal(0, 0.05))
    found = read(replay(tmp_path / "replay.zarr", arrays, ends))
    assert found.system == system
    assert ("reading_notes" in found.meta) == (system is None)
    if system is None:
        assert "--environment pusht:1" in found.meta["reading_notes"][0]
