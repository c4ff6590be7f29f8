"""Masks of rows, times in other units, ends that are no integers, and keys or episodes that are named twice."""

import h5py
import numpy as np
import pytest
import torch
import zarr

from holdfast.data import Selection, read
from holdfast.data.doctor import inspect_episodes
from holdfast.errors import DataError, RecipeError
from holdfast.types import Episodes

LENGTHS = (6, 5, 4)
ROWS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)


@pytest.fixture
def numbers():
    rng = np.random.default_rng(3)
    return {"actions": rng.normal(size=(ROWS, 2)), "states": rng.normal(size=(ROWS, 3))}


def npz(path, numbers, **more):
    np.savez(path / "a.npz", **numbers, episode_ends=ENDS, **more)
    return path / "a.npz"


def hdf5(path, numbers, **more):
    ends = np.zeros(ROWS, bool)
    ends[ENDS - 1] = True
    with h5py.File(path / "a.hdf5", "w") as file:
        for name, values in {**numbers, **more, "terminals": ends}.items():
            file[{"states": "observations"}.get(name, name)] = values
    return path / "a.hdf5"


def groups(path, numbers, **more):
    with h5py.File(path / "a.hdf5", "w") as file:
        for name, values in {**numbers, **more}.items():
            for number, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
                file[f"demo_{number}/{name}"] = values[end - length : end]
    return path / "a.hdf5"


def csv(path, numbers, **more):
    columns = {f"{name[:-1]}_{i}": numbers[name][:, i] for name in numbers for i in range(numbers[name].shape[1])}
    columns |= {name: values.astype(float) for name, values in more.items()}
    columns["episode"] = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    rows = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True))]
    (path / "a.csv").write_text("\n".join(rows))
    return path / "a.csv"


def replay(path, numbers, **more):
    store = zarr.open_group(path / "a.zarr", mode="w", zarr_format=2)
    for name, values in {"action": numbers["actions"], "state": numbers["states"], **more}.items():
        store.create_array(f"data/{name}", data=values)
    store.create_array("meta/episode_ends", data=ENDS)
    return path / "a.zarr"


def plain_zarr(path, numbers, **more):
    store = zarr.open_group(path / "b.zarr", mode="w", zarr_format=3)
    for name, values in {**numbers, **more, "episode_ends": ENDS}.items():
        store.create_array(name, data=values)
    return path / "b.zarr"


def zarr_groups(path, numbers, **more):
    store = zarr.open_group(path / "c.zarr", mode="w", zarr_format=2)
    for name, values in {**numbers, **more}.items():
        for number, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
            store.create_array(f"demo_{number}/{name}", data=values[end - length : end])
    return path / "c.zarr"


def episode_files(path, numbers, **more):
    (path / "set").mkdir()
    for number, (end, length) in enumerate(zip(ENDS, LENGTHS, strict=True)):
        found = {name: values[end - length : end] for name, values in {**numbers, **more}.items()}
        np.savez(path / "set" / f"episode_{number}.npz", **found)
    return path / "set"


FILES = {"npz": npz, "hdf5": hdf5, "groups": groups, "csv": csv, "zarr": replay, "plain zarr": plain_zarr}
FILES |= {"zarr groups": zarr_groups, "episode files": episode_files}


@pytest.mark.parametrize("kind", FILES)
class TestMasks:
    @pytest.mark.parametrize(("name", "sign"), [("mask", True), ("valid", True), ("is_pad", False)])
    def test_rows_outside_are_left_out(self, tmp_path, numbers, kind, name, sign):
        kept = np.ones(ROWS, bool)
        kept[[4, 5, 6, 14]] = False
        found = read(FILES[kind](tmp_path, numbers, **{name: kept == sign}))
        assert found.lengths.tolist() == [4, 4, 3]
        assert np.array_equal(found.actions.numpy(), numbers["actions"][kept])
        assert np.array_equal(found.states.numpy(), numbers["states"][kept])
        assert f"4 rows outside {name} are left out, in 3 of 3 episodes." in found.meta["reading_notes"]

    def test_holes_leave_all_rows_and_are_said(self, tmp_path, numbers, kind):
        kept = np.ones(ROWS, bool)
        kept[8] = False
        found = read(FILES[kind](tmp_path, numbers, mask=kept))
        assert found.lengths.tolist() == list(LENGTHS)
        assert "mask" in found.columns
        assert any("mask has holes within episodes, first in episode 1" in note for note in found.meta["reading_notes"])

    def test_a_full_mask_is_quiet(self, tmp_path, numbers, kind):
        found = read(FILES[kind](tmp_path, numbers, mask=np.ones(ROWS, bool)))
        assert found.lengths.tolist() == list(LENGTHS)
        assert "mask" not in found.columns
        assert not any("mask" in note for note in found.meta.get("reading_notes", ()))


@pytest.mark.parametrize("kind", ["npz", "hdf5", "zarr", "plain zarr"])
@pytest.mark.parametrize("length", [ROWS - 1, ROWS + 2])
def test_a_mask_of_another_length_is_refused(tmp_path, numbers, kind, length):
    path = FILES[kind](tmp_path, numbers, mask=np.ones(length, bool))
    with pytest.raises(DataError, match=rf"mask has {length} entries .* there are {ROWS} steps in 3 episodes"):
        read(path)


def test_a_mask_of_another_length_in_groups(tmp_path, numbers):
    path = groups(tmp_path, numbers)
    with h5py.File(path, "a") as file:
        for number, length in enumerate(LENGTHS):
            file[f"demo_{number}/mask"] = np.ones(length - 2, bool)
    with pytest.raises(DataError, match=r"demo_0: mask has 4 entries .* there are 6 steps in 1 episode"):
        read(path)


def test_one_flag_an_episode_is_no_mask_of_rows(tmp_path, numbers):
    found = read(npz(tmp_path, numbers, valid=np.array([True, False, True])))
    assert found.lengths.tolist() == list(LENGTHS)
    assert found.episode_columns["valid"].tolist() == [True, False, True]


class TestPlainZarr:
    """Zarr stores without `meta/episode_ends`."""

    @pytest.mark.parametrize("kind", ["plain zarr", "zarr groups"])
    def test_numbers_columns_and_pictures(self, tmp_path, numbers, kind):
        top = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 5, 3), dtype=np.uint8)
        found = read(FILES[kind](tmp_path, numbers, force=np.arange(ROWS), top=top))
        assert found.lengths.tolist() == list(LENGTHS)
        assert np.array_equal(found.actions.numpy(), numbers["actions"])
        assert np.array_equal(found.states.numpy(), numbers["states"])
        assert found.columns["force"].tolist() == list(range(ROWS))
        assert np.array_equal(found.cameras["top"].read(torch.arange(ROWS)).numpy(), top)
        turned = read(tmp_path / f"{'b' if kind == 'plain zarr' else 'c'}.zarr", selection=Selection(state=("force",)))
        assert turned.states.flatten().tolist() == list(range(ROWS))

    def test_groups_by_natural_order_with_observations_below(self, tmp_path):
        store = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
        for number in (10, 9):
            group = store.create_group(f"data/demo_{number}")
            group.create_array("actions", data=np.full((2, 1), float(number)))
            group.create_array("obs/arm", data=np.arange(3.0)[:, None] + number)
            group.attrs.update({"success": number == 10, "fps": 20})
        found = read(tmp_path / "a.zarr")
        assert found.actions.flatten().tolist() == [9, 9, 10, 10]
        assert found.final_states.flatten().tolist() == [11, 12]
        assert found.dt == 0.05
        assert found.episode_columns["success"].tolist() == [False, True]

    def test_a_group_that_is_not_as_the_others(self, tmp_path, numbers):
        path = zarr_groups(tmp_path, numbers)
        store = zarr.open_group(path, mode="a")
        del store["demo_1/states"]
        with pytest.raises(DataError, match=r"episode 1 \(demo_1\) has no such array.* --episodes 0 2"):
            read(path)
        assert read(path, selection=Selection(episodes=("0", "2"))).lengths.tolist() == [6, 4]

    def test_arrays_that_tell_no_episodes(self, tmp_path, numbers):
        store = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
        for name, values in numbers.items():
            store.create_array(name, data=values)
        with pytest.raises(DataError, match="expected the episodes' ends under one of episode_ends"):
            read(tmp_path / "a.zarr")


def test_the_state_after_the_last_row_that_is_left(tmp_path):
    states = np.arange(7.0)[:, None]
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for number, kept in enumerate(([1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1])):
            group = file.create_group(f"demo_{number}")
            group["actions"], group["obs/x"] = np.zeros((6, 1)), states + 10 * number
            group["mask"] = np.array(kept, bool)
    found = read(tmp_path / "a.hdf5")
    assert found.final_states is not None
    assert found.final_states.flatten().tolist() == [4.0, 16.0]


class TestUnits:
    SECONDS = np.concatenate([np.arange(length) for length in LENGTHS]) / 50

    @pytest.mark.parametrize("kind", FILES)
    @pytest.mark.parametrize(("unit", "scale"), [("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)])
    @pytest.mark.parametrize("start", [0, 1.7e9])
    def test_times_become_seconds_and_it_is_said(self, tmp_path, numbers, kind, unit, scale, start):
        times = np.round((self.SECONDS + start) * scale)
        found = read(FILES[kind](tmp_path, numbers, timestamp=times))
        assert found.timestamps is not None
        assert np.allclose(found.timestamps.numpy() - start, self.SECONDS, atol=1e-6)
        said = f"timestamp is read as {unit}: its steps of {0.02 * scale:.4g} are 50 Hz."
        assert said in found.meta["reading_notes"]

    @pytest.mark.parametrize("kind", FILES)
    @pytest.mark.parametrize(("start", "rate"), [(0, 5), (0, 900), (1.7e9, 0.5), (1.7e9, 50)])
    def test_seconds_stay(self, tmp_path, numbers, kind, start, rate):
        times = self.SECONDS * 50 / rate + start
        found = read(FILES[kind](tmp_path, numbers, timestamp=times))
        assert found.timestamps is not None
        assert np.array_equal(found.timestamps.numpy(), times)
        assert not any("timestamp is" in note for note in found.meta.get("reading_notes", ()))

    def test_counted_rows_stay(self, tmp_path, numbers):
        found = read(npz(tmp_path, numbers, timestamp=self.SECONDS * 50))
        assert found.timestamps is not None
        assert float(found.timestamps.max()) == 5.0

    @pytest.mark.parametrize(("dt", "step"), [(0.0005, 0.5), (2.0, 2000)])
    def test_the_known_time_step_tells(self, tmp_path, numbers, dt, step):
        found = read(npz(tmp_path, numbers, timestamp=self.SECONDS * 50 * step, dt=dt))
        assert "timestamp is read as milliseconds" in found.meta["reading_notes"][0]

    def test_the_name_tells(self, tmp_path, numbers):
        found = read(csv(tmp_path, numbers, timestamp_us=self.SECONDS * 50 * 1e7))
        assert found.timestamps is not None
        assert float(found.timestamps.max()) == 50.0
        assert "timestamp_us is read as microseconds" in found.meta["reading_notes"][-1]


def test_ends_that_are_whole_numbers_in_another_type(tmp_path, numbers):
    np.savez(tmp_path / "a.npz", **numbers, episode_ends=ENDS.astype(float))
    found = read(tmp_path / "a.npz")
    assert found.lengths.tolist() == list(LENGTHS)
    assert "episode_ends is float64 and holds whole numbers: read as whole numbers." in found.meta["reading_notes"]
    np.savez(tmp_path / "a.npz", **numbers, episode_ends=ENDS + np.array([0.5, 0, 0]))
    with pytest.raises(DataError, match=r"whole numbers, but entry 0 is 6\.5"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("given", [("1", "1"), ("0-2", "1"), ("0:2", "1-2")])
def test_an_episode_that_is_named_twice(tmp_path, numbers, given):
    with pytest.raises(RecipeError, match="episodes: 1 is named more than once"):
        read(npz(tmp_path, numbers), selection=Selection(episodes=given))


@pytest.mark.parametrize("option", ["state", "action"])
def test_a_key_that_is_named_twice(tmp_path, numbers, option):
    for path in (npz(tmp_path, numbers), groups(tmp_path, numbers)):
        with pytest.raises(RecipeError, match=f"{option}: {option}s is named more than once"):
            read(path, selection=Selection(**{option: (f"{option}s", f"{option}s")}))


def test_a_pattern_after_a_key_stands_for_the_rest(tmp_path, numbers):
    path = csv(tmp_path, numbers)
    found = read(path, selection=Selection(state=("state_2", "state_*")))
    assert np.array_equal(found.states.numpy(), numbers["states"][:, [2, 0, 1]])


def signs(values, *, count=12):
    """Warnings on sign changes of a state whose steps are some rows, repeated in each of several episodes."""
    states = torch.as_tensor(np.array(values * count, dtype=float))
    rows = torch.randn(len(states), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = Episodes(actions=rows, states=states, lengths=torch.tensor([len(values)] * count))
    return [one for one in inspect_episodes(made).findings if "quaternion" in one.what]


def test_a_switch_beside_constant_zeros_is_no_quaternion():
    switch = [[0, 0, 0, 1.0]] * 10 + [[0, 0, 0, -1.0]] * 10
    assert not signs(switch)
    turned = [[0.6, 0, 0.8, 0]] * 10 + [[-0.6, 0, -0.8, 0]] * 10
    assert signs(turned)
