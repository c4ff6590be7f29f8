"""Depth cameras: measurements of more than 8 bits become bytes with a stored range, in every format."""

import h5py
import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.data import Depth, Selection, concatenate, differences, measurements, ranges_of, read, write
from holdfast.data.depth import measured_size, usual_range
from holdfast.data.measured import Held, Measured
from holdfast.data.resizing import resized
from holdfast.errors import DataError, RecipeError

from .measured_sets import ACTIONS, DEPTH, ENDS, READERS, STATES, groups, npz


def test_measurements_by_hand():
    """near = 100, far = 608: one byte for each 2 units."""
    depth = Depth(100, 608)
    assert depth.resolution == 2
    given = np.array([0, -5, np.nan, np.inf, -np.inf, 1, 100, 101, 103, 102, 354, 607.5, 608, 9999])
    #                 no measurement                nearer  near  0.5→0  1.5→2  1  middle          far  farther
    assert depth.bytes_of(given).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 3, 2, 128, 255, 255, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float16, np.float32, np.float64, ">u2", "<f4"])
def test_every_dtype_gives_the_same_bytes(dtype):
    assert Depth(0, 254).bytes_of(np.array([0, 1, 100, 254, 300]).astype(dtype)).tolist() == [0, 2, 101, 255, 255]


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (-1, 1), (0, float("inf")), (float("nan"), 1)])
def test_what_is_no_range_is_refused(ends):
    with pytest.raises(RecipeError, match="0 <= NEAR < FAR"):
        Depth(*ends)
    with pytest.raises(RecipeError, match="0 <= NEAR < FAR"):
        Selection(depth_range=ends)
    with pytest.raises(RecipeError, match="two numbers"):
        Selection(depth_range=(1.0, 2.0, 3.0))


def test_the_usual_range_is_rounded_outward():
    values = np.concatenate([np.full(3000, 431.0), np.full(3000, 1234.0), [9000.0, 2.0, np.nan], np.zeros(500)])
    assert usual_range(values) == Depth(430, 1300)
    assert usual_range(values / 1000) == Depth(0.43, 1.3)
    # the same everywhere: a range all the same
    assert usual_range(np.full(10, 700.0)) == Depth(700, 710)
    assert usual_range(np.zeros(10)) is None


@pytest.mark.parametrize(
    ("name", "row", "dtype", "size"),
    [
        ("obs/front", (48, 64, 1), "u2", (48, 64)),
        ("obs/front", (48, 64, 1), "f4", (48, 64)),
        ("obs/front", (48, 64, 1), "i4", None),  # numbers of classes or objects
        ("obs/front_depth", (48, 64, 1), "i4", (48, 64)),
        ("obs/front_depth", (1, 48, 64), "f4", (48, 64)),
        ("obs/front_depth", (48, 64, 1), "u1", None),
        ("tactile", (4, 4), "i2", (4, 4)),
        ("jacobian", (48, 64), "f8", None),
        ("depth_intrinsics", (9, 9), "f8", None),
        ("depth/pose", (4, 4, 1), "f8", None),
        ("depth", (3, 3), "f8", None),
        ("depth", (), "f8", None),
        ("front_segmentation", (48, 64, 1), "u2", None),
    ],
)
def test_which_arrays_are_pictures_of_measurements(name, row, dtype, size):
    assert measured_size(name, row, np.dtype(dtype)) == size


def test_no_depth_between_two_objects_is_invented():
    picture = torch.tensor([[[10], [10], [200], [200]]] * 4, dtype=torch.uint8)
    assert set(resized(picture, (3, 3), nearest=True).flatten().tolist()) == {10, 200}
    assert set(resized(picture, (3, 3)).flatten().tolist()) != {10, 200}
    assert resized(picture, (8, 8), nearest=True)[0, :, 0].tolist() == [10] * 4 + [200] * 4


@pytest.mark.parametrize("made", READERS.values(), ids=READERS)
def test_every_reader_reads_depth(tmp_path, made):
    episodes = read(made(tmp_path))
    assert list(episodes.cameras) == ["top_depth"]
    assert not any("top_depth" in name for name in (*episodes.columns, *episodes.meta.get("features_left_out", ())))
    pictures, rows = episodes.cameras["top_depth"], torch.tensor([29, 0, 15])
    assert (pictures.shape, len(pictures)) == ((12, 16, 1), 30)
    stored = measurements(pictures, rows)
    assert stored.dtype == np.uint16
    assert np.array_equal(stored[..., 0], DEPTH[rows])
    assert ranges_of(episodes) == {"top_depth": Depth(500, 1500)}
    assert np.array_equal(pictures.read(rows).numpy(), Depth(500, 1500).bytes_of(DEPTH[rows])[..., None])
    notes = [note for note in episodes.meta["reading_notes"] if "top_depth" in note]
    assert len(notes) == 1
    assert "(uint16) from 500 to 1500, in the units of the data, become bytes in steps of 3.94" in notes[0]
    assert "16.7 % of the sample are no measurement" in notes[0]


@pytest.mark.parametrize("made", READERS.values(), ids=READERS)
def test_a_choice_of_episodes_and_keys(tmp_path, made):
    path = made(tmp_path)
    episodes = read(path, selection=Selection(episodes=("2", "0"), depth_range=(0.0, 2540.0)))
    pictures = episodes.cameras["top_depth"]
    assert ranges_of(episodes) == {"top_depth": Depth(0, 2540)}
    assert np.array_equal(measurements(pictures, torch.tensor([0, 10]))[..., 0], DEPTH[[20, 0]])
    assert np.array_equal(pictures.read(torch.tensor([3]))[0, ..., 0], Depth(0, 2540).bytes_of(DEPTH[23]))
    assert read(path, selection=Selection(cameras=())).meta.get("depth_ranges") is None


@pytest.mark.parametrize(
    "made", [READERS["npz"], READERS["groups"], READERS["replay"]], ids=["npz", "groups", "replay"]
)
def test_measurements_that_are_the_state_are_no_camera(tmp_path, made):
    chosen = read(made(tmp_path), selection=Selection(state=("top_depth",)))
    assert chosen.cameras == {}
    assert np.array_equal(chosen.states.numpy(), DEPTH.reshape(30, -1))


@pytest.mark.parametrize("format", ["holdfast", "npz", "zarr", "robomimic", "minari", "lerobot"])
def test_written_as_bytes_with_their_range(tmp_path, format):
    episodes = read(groups(tmp_path))
    write(episodes, tmp_path / "again", format=format)
    again = read(tmp_path / "again")
    assert differences(episodes, again) == []
    assert ranges_of(again) == {"top_depth": Depth(500, 1500)}
    assert read(tmp_path / "again", selection=Selection(depth_range=(500, 1500))).meta == again.meta
    with pytest.raises(DataError, match="stored as bytes with the range 500 to 1500, which cannot be changed"):
        read(tmp_path / "again", selection=Selection(depth_range=(0, 1500)))
    with pytest.raises(DataError, match="stored as bytes; there are no measurements"):
        measurements(again.cameras["top_depth"], torch.tensor([0]))


def test_a_robomimic_episode_without_depth_does_not_block_the_others(tmp_path):
    path = READERS["robomimic"](tmp_path)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/top_depth"]
    episodes = read(path)
    assert episodes.cameras == {}
    assert episodes.meta["features_left_out"] == ["obs/top_depth"]
    assert len(episodes) == 3


def test_sets_with_different_ranges_are_not_joined(tmp_path):
    path = npz(tmp_path)
    one = read(path)
    other = read(path, selection=Selection(depth_range=(0, 1000)))
    both = concatenate([one, one])
    assert ranges_of(both) == ranges_of(one)
    assert np.array_equal(measurements(both.cameras["top_depth"], torch.tensor([31, 2]))[..., 0], DEPTH[[1, 2]])
    with pytest.raises(DataError, match="top_depth 500 to 1500 and top_depth 0 to 1000"):
        concatenate([one, other])


def test_a_range_for_data_without_measurements_is_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", actions=ACTIONS, states=STATES, episode_ends=ENDS)
    with pytest.raises(DataError, match="no camera of measurements"):
        read(tmp_path / "plain.npz", selection=Selection(depth_range=(0, 1)))


def test_cameras_without_any_measurement_are_left_out_and_named(tmp_path):
    np.savez(tmp_path / "dark.npz", actions=ACTIONS, states=STATES, episode_ends=ENDS, depth=np.zeros_like(DEPTH))
    episodes = read(tmp_path / "dark.npz")
    assert episodes.cameras == {}
    assert episodes.meta == {"features_left_out": ["depth (no measurement in 30 pictures)"]}


def test_reading_holds_only_the_rows_that_are_asked_for(tmp_path):
    asked = []

    class Counted(Held):
        def values(self, rows):
            asked.append(len(rows))
            return super().values(rows)

    from holdfast.data.depth_ranges import ranged

    episodes = hf.types.Episodes(
        actions=torch.zeros(900, 1),
        states=torch.zeros(900, 1),
        lengths=torch.tensor([900]),
        cameras={"depth": Measured(Counted(np.full((900, 8, 8), 5, np.uint16), (8, 8, 1)))},
    )
    assert ranges_of(ranged(episodes, None, "data")) == {"depth": Depth(5, 5.1)}
    assert asked == [1] * 64
