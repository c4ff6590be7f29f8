"""robomimic's HDF5: files as robomimic writes them, made here, and as robomimic reads them."""

import json

import h5py
import numpy as np
import pytest
import torch

from holdfast.data import read, write
from holdfast.data.formats import robomimic
from holdfast.errors import DataError, UnknownNameError
from holdfast.types import Episodes, Observation

ENVIRONMENT = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}
WIDTHS = {
    "robot0_eef_pos": 3,
    "robot0_eef_quat": 4,
    "robot0_gripper_qpos": 2,
    "object": 10,
    "robot0_joint_pos": 7,
}


def value(demo, key, step):
    """A number that says where it comes from."""
    return 1000 * demo + 100 * sorted(WIDTHS).index(key) + step


def made(path, *, demos=3, steps=4, next_obs=True, images=True):
    """As robomimic's scripts write: episode `i` has `steps + i` steps."""
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps(ENVIRONMENT)
        for i in range(demos):
            demo, count = file.create_group(f"data/demo_{i}"), steps + i
            demo.attrs["num_samples"] = count
            demo["actions"] = np.full((count, 7), i, dtype=np.float64)
            demo["rewards"], demo["dones"] = np.arange(count) / 10, np.arange(count) == count - 1
            demo["states"] = np.zeros((count, 32))
            for key, width in WIDTHS.items():
                numbers = np.array([value(i, key, t) for t in range(count + 1)], dtype=np.float32)
                demo[f"obs/{key}"] = np.tile(numbers[:-1, None], (1, width))
                if next_obs:
                    demo[f"next_obs/{key}"] = np.tile(numbers[1:, None], (1, width))
            if images:
                pixels = (10 * i + np.arange(count)).astype(np.uint8)[:, None, None, None]
                demo["obs/agentview_image"] = np.broadcast_to(pixels, (count, 6, 5, 3))
                demo["obs/agentview_depth"] = np.zeros((count, 6, 5, 1), dtype=np.float32)
        file["mask/train"] = np.array([b"demo_0", b"demo_2"][: demos - 1])
        file["mask/valid"] = np.array([b"demo_1"])
    return path


def test_what_is_read(tmp_path):
    episodes = read(made(tmp_path / "lift.hdf5"))
    assert episodes.lengths.tolist() == [4, 5, 6]
    # the hand first, as robomimic's own configurations have it; then the rest of the robot
    assert episodes.names["state"][:3] == ("robot0_eef_pos_0", "robot0_eef_pos_1", "robot0_eef_pos_2")
    assert [name.rsplit("_", 1)[0] for name in episodes.names["state"]] == (
        ["robot0_eef_pos"] * 3 + ["robot0_eef_quat"] * 4 + ["robot0_gripper_qpos"] * 2 + ["robot0_joint_pos"] * 7
    )
    # row 4 is step 0 of the second episode
    assert episodes.states[4].tolist() == [
        *[value(1, "robot0_eef_pos", 0)] * 3,
        *[value(1, "robot0_eef_quat", 0)] * 4,
        *[value(1, "robot0_gripper_qpos", 0)] * 2,
        *[value(1, "robot0_joint_pos", 0)] * 7,
    ]
    assert torch.equal(episodes.observed.state, episodes.states)
    assert episodes.observed.environment_state[4].tolist() == [value(1, "object", 0)] * 10
    assert episodes.names["observation.environment_state"] == tuple(f"object_{i}" for i in range(10))
    assert episodes.final_states[2, :3].tolist() == [value(2, "robot0_eef_pos", 6)] * 3
    assert episodes.rewards[:5].tolist() == [0.0, 0.1, 0.2, 0.3, 0.0]
    assert (episodes.actions.dtype, episodes.states.dtype) == (torch.float64, torch.float32)
    assert (episodes.dt, episodes.system) == (0.05, "robosuite:Lift")
    assert episodes.meta["env_args"] == ENVIRONMENT
    assert episodes.columns.keys() == {"dones", "simulator_state"}
    assert episodes.meta["features_left_out"] == ["obs/agentview_depth"]


def test_pictures_are_read_when_they_are_wanted(tmp_path):
    path = made(tmp_path / "lift.hdf5")
    camera = read(path).cameras["agentview_image"]
    assert (camera.shape, len(camera)) == ((6, 5, 3), 15)
    assert camera.read(torch.tensor([14, 4, 4, 0]))[:, 0, 0, 0].tolist() == [25, 10, 10, 0]
    path.unlink()
    with pytest.raises(DataError, match=r"lift.hdf5 is damaged or cut short"):
        camera.read(torch.tensor([0]))


def test_episodes_in_the_order_of_their_numbers(tmp_path):
    episodes = read(made(tmp_path / "lift.hdf5", demos=12, images=False))
    assert episodes.lengths.tolist() == list(range(4, 16))


def test_filter_keys(tmp_path):
    path = made(tmp_path / "lift.hdf5")
    assert read(path, filter_key="train").lengths.tolist() == [4, 6]
    assert read(path, filter_key="valid").cameras["agentview_image"].read(torch.tensor([0]))[0, 0, 0, 0] == 10
    with pytest.raises(UnknownNameError, match=r"unknown filter key 'test'. Known: train, valid"):
        read(path, filter_key="test")
    with h5py.File(path, "a") as file:
        del file["data/demo_1"]
    with pytest.raises(DataError, match="mask/valid names demo_1, which the file lacks"):
        read(path, filter_key="valid")
    with h5py.File(path, "a") as file:
        del file["mask"]
    with pytest.raises(DataError, match="has no filter keys"):
        read(path, filter_key="train")


def test_chosen_observations(tmp_path):
    path = made(tmp_path / "lift.hdf5")
    episodes = read(path, observations=["robot0_gripper_qpos", "robot0_eef_pos"])
    assert episodes.states[0].tolist() == [
        *[value(0, "robot0_gripper_qpos", 0)] * 2,
        *[value(0, "robot0_eef_pos", 0)] * 3,
    ]
    assert (episodes.observations, episodes.cameras) == (None, {})
    episodes = read(path, observations=["object", "agentview_image"])
    assert episodes.states.shape == (15, 10)
    assert list(episodes.cameras) == ["agentview_image"]
    with pytest.raises(UnknownNameError, match=r"unknown observation 'eef'. Known: agentview_image, object, robot0"):
        read(path, observations=["eef"])
    with pytest.raises(DataError, match="no low-dimensional observations"):
        read(path, observations=["agentview_image"])
    # a choice among what Holdfast wrote, too
    write(read(path), tmp_path / "own.hdf5")
    again = read(tmp_path / "own.hdf5", observations=["robot0_eef_pos"])
    assert again.names["state"] == ("robot0_eef_pos_0", "robot0_eef_pos_1", "robot0_eef_pos_2")
    assert again.dt == 0.05


def test_without_next_observations(tmp_path):
    assert read(made(tmp_path / "lift.hdf5", next_obs=False)).final_states is None


def test_keys_come_back_under_their_names(tmp_path):
    write(read(made(tmp_path / "lift.hdf5")), tmp_path / "again.hdf5")
    with h5py.File(tmp_path / "lift.hdf5") as old, h5py.File(tmp_path / "again.hdf5") as new:
        for i in range(3):
            for kind in ("obs", "next_obs"):
                for key in WIDTHS:
                    if kind == "next_obs" and key == "object":
                        # the object after the last action is not part of an episode
                        continue
                    assert np.array_equal(old[f"data/demo_{i}/{kind}/{key}"], new[f"data/demo_{i}/{kind}/{key}"])
            assert np.array_equal(old[f"data/demo_{i}/obs/agentview_image"], new[f"data/demo_{i}/obs/agentview_image"])
        assert json.loads(new["data"].attrs["env_args"]) == ENVIRONMENT


def test_as_robomimic_reads_it(tmp_path):
    """What its SequenceDataset looks at: totals, lists of episodes, one row a step of each array."""
    states = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    episodes = Episodes(actions=torch.zeros(3, 1), states=states, lengths=torch.tensor([1, 2]), system="toy")
    write(episodes, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert file["data"].attrs["total"] == 3
        assert [name.decode() for name in file["mask/all"]] == ["demo_0", "demo_1"]
        assert json.loads(file["data"].attrs["env_args"]) == {"env_name": "toy", "type": 2, "env_kwargs": {}}
        for name, count in (("demo_0", 1), ("demo_1", 2)):
            demo = file["data"][name]
            assert demo.attrs["num_samples"] == count
            assert {len(demo[key]) for key in ("actions", "rewards", "dones", "obs/state")} == {count}
            assert demo["dones"][-1] == 1
            assert "next_obs" not in demo
        assert file["data/demo_1/obs/state"][()].tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_observations_that_are_not_the_state(tmp_path):
    seen = Observation(state=torch.ones(3, 4), environment_state=torch.zeros(3, 1))
    episodes = Episodes(
        actions=torch.zeros(3, 1), states=torch.zeros(3, 2), lengths=torch.tensor([3]), observations=seen
    )
    write(episodes, tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert set(file["data/demo_0/obs"]) == {"state", "observation_state", "object"}
    assert torch.equal(read(tmp_path / "a.hdf5").observed.state, seen.state)


class TestDamage:
    def change(self, path, action):
        with h5py.File(made(path), "a") as file:
            action(file)
        return path

    def replaced(self, file, place, values):
        del file[place]
        file[place] = values

    @pytest.mark.parametrize(
        ("action", "says"),
        [
            (
                lambda f: f.pop("data/demo_1/actions"),
                r"actions is not .*: episode 1 \(demo_1\) has no .* --episodes 0 2",
            ),
            (lambda f: f.pop("data/demo_1/obs"), r"obs/.* episode 1 \(demo_1\) has no such array"),
            (
                lambda f: f.pop("data/demo_2/obs/object"),
                r"obs/object is not .*: episode 2 \(demo_2\) has no such",
            ),
            (
                lambda f: f.pop("data/demo_2/obs/agentview_image"),
                r"agentview_image is not .*: episode 2 \(demo_2\) has no such array",
            ),
            (lambda f: f["data"].attrs.__setitem__("env_args", "{"), "attribute env_args is damaged"),
            (lambda f: [f.pop(f"data/demo_{i}") for i in range(3)], "holds no episodes"),
            (lambda f: f.pop("data"), "is not a robomimic file: expected data/demo_0 and so on; it holds mask"),
        ],
    )
    def test_missing(self, tmp_path, action, says):
        with pytest.raises(DataError, match=says):
            read(self.change(tmp_path / "lift.hdf5", action))

    @pytest.mark.parametrize(
        ("place", "values", "says"),
        [
            (
                "demo_2/obs/robot0_eef_pos",
                np.zeros((6, 2)),
                r"eef_pos is not .*: episode 2 \(demo_2\) has rows of 2 numbers, but the other 2 have rows of 3",
            ),
            ("demo_2/actions", np.zeros((6, 3)), r"actions is not .*: episode 2 \(demo_2\) has rows of 3 numbers"),
            ("demo_1/obs/object", np.zeros((3, 10)), r"object is not .*: episode 1 \(demo_1\) has .*, 3 for 5 steps"),
            ("demo_1/rewards", np.zeros(9), r"rewards is not .*: episode 1 \(demo_1\) has .*, 9 for 5 steps"),
            ("demo_1/obs/object", np.array([b"a"] * 5), r"episode 1 \(demo_1\) has no rows of numbers \(\|S1"),
            (
                "demo_1/obs/agentview_image",
                np.zeros((5, 7, 5, 3), np.uint8),
                r"image is not .*: episode 1 \(demo_1\) has rows of shape \[7, 5, 3\]",
            ),
            ("demo_1/obs/object", np.full((5, 10), np.inf), r"environment_state holds inf at episode 1, step 0"),
            ("demo_1/actions", np.zeros((0, 7)), r"episode 1 \(demo_1\) has .* 5 for 0 steps"),
        ],
    )
    def test_episodes_that_differ(self, tmp_path, place, values, says):
        path = self.change(tmp_path / "lift.hdf5", lambda f: self.replaced(f, f"data/{place}", values))
        with pytest.raises(DataError, match=says):
            read(path)

    def test_a_damaged_chunk(self, tmp_path):
        path = tmp_path / "lift.hdf5"
        with h5py.File(made(path), "a") as file:
            del file["data/demo_1/obs/object"]
            entry = file["data/demo_1/obs"].create_dataset(
                "object", data=np.random.default_rng(0).normal(size=(5, 10)), compression="gzip", chunks=(5, 10)
            )
            offset = entry.id.get_chunk_info(0).byte_offset
        content = bytearray(path.read_bytes())
        content[offset : offset + 40] = bytes(40)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"episode data/demo_1/obs: object is damaged"):
            read(path)

    def test_an_attribute_of_another_kind(self, tmp_path):
        def damage(text):
            return self.change(tmp_path / "lift.hdf5", lambda f: f["data"].attrs.__setitem__("holdfast", text))

        with pytest.raises(DataError, match="attribute holdfast is damaged"):
            read(damage("{"))
        with pytest.raises(DataError, match="attribute holdfast: expected a JSON object"):
            read(damage("[]"))
        with pytest.raises(DataError, match="attribute holdfast lacks 'layout'"):
            read(damage("{}"))
        with pytest.raises(DataError, match="no such array called obs/ghost"):
            read(damage('{"layout": {"state": ["ghost"]}, "cameras": {}, "filled_in": []}'))

    def test_other_files(self, tmp_path):
        (tmp_path / "a.hdf5").write_bytes(b"")
        with pytest.raises(DataError, match=r"a.hdf5 is damaged or cut short"):
            read(tmp_path / "a.hdf5")
        assert not robomimic.FORMAT.recognises(tmp_path / "a.hdf5")
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file["observations"] = np.zeros((3, 2))
        with pytest.raises(DataError, match=r"is not a robomimic file: .* it holds observations"):
            read(tmp_path / "b.h5")
