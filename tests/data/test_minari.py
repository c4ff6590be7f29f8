"""Minari's data sets: those that Minari's own collector writes are read, and Minari loads those written here."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from holdfast.data import measurements, read, write
from holdfast.data.pictures import Frames
from holdfast.errors import DataError
from holdfast.types import Episodes, Observation

gymnasium = pytest.importorskip("gymnasium")


class Drift(gymnasium.Env):
    """A point that goes where it is pushed; what is observed is said by `space`."""

    def __init__(self, space):
        self.observation_space = space
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), dtype=np.float32)
        self.x = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.normal(size=2), 0
        return self.seen(self.observation_space), {}

    def step(self, action):
        self.x, self.t = self.x + 0.1 * action, self.t + 1
        return self.seen(self.observation_space), float(-(self.x**2).sum()), False, self.t == 4, {}

    def seen(self, space):
        if isinstance(space, gymnasium.spaces.Dict):
            return {key: self.seen(part) for key, part in space.items()}
        if isinstance(space, gymnasium.spaces.Tuple):
            return tuple(self.seen(part) for part in space)
        if isinstance(space, gymnasium.spaces.Text):
            return "go"
        if space.dtype == np.uint8:
            return np.full(space.shape, 10 * self.t, dtype=np.uint8)
        return np.resize(self.x, space.shape).astype(space.dtype)


def box(*shape, dtype=np.float64):
    return gymnasium.spaces.Box(-np.inf, np.inf, shape, dtype=dtype)


def pixels(*shape):
    return gymnasium.spaces.Box(0, 255, shape, dtype=np.uint8)


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return pytest.importorskip("minari")


def stacked(space, steps):
    """Observations of several steps as Minari's buffers want them: lists where the space has no parts."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: stacked(part, [step[key] for step in steps]) for key, part in space.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(stacked(part, [step[i] for step in steps]) for i, part in enumerate(space))
    return steps


@pytest.fixture
def collect(minari, tmp_path):
    """Episodes of random actions, stored by Minari: the set's folder, and the episodes as Minari gives them."""
    from minari.data_collector import EpisodeBuffer

    def run(env, *, episodes=3, name="toy/drift-v0", **options):
        buffers = []
        env.action_space.seed(0)
        for index in range(episodes):
            seen, rewards, actions, ends = [env.reset(seed=index)[0]], [], [], []
            while not any(ends):
                actions.append(env.action_space.sample())
                observation, reward, terminated, truncated, _ = env.step(actions[-1])
                seen.append(observation)
                rewards.append(reward)
                ends.append(terminated or truncated)
            buffers.append(
                EpisodeBuffer(
                    id=index,
                    seed=index,
                    observations=stacked(env.observation_space, seen),
                    actions=actions,
                    rewards=rewards,
                    terminations=[False] * len(ends),
                    truncations=ends,
                )
            )
        about = {"algorithm_name": "random", "author": "me", "author_email": "me@example.org"}
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        spec = {"env": env.spec} if env.spec is not None else {}
        minari.create_dataset_from_buffers(name, buffers, **spec, **spaces, **about, **options)
        return tmp_path / name, list(minari.load_dataset(name).iterate_episodes())

    return run


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestCollected:
    def test_an_array(self, collect):
        folder, recorded = collect(Drift(box(2)))
        for path in (folder, folder / "data"):
            episodes = read(path)
            assert episodes.lengths.tolist() == [4, 4, 4]
            for e, one in enumerate(recorded):
                flight = episodes.trajectory(e)
                # T + 1 observations are T states and the final one
                assert np.array_equal(flight.states.numpy(), one.observations)
                assert np.array_equal(flight.actions.numpy(), one.actions)
            assert torch.equal(episodes.rewards, torch.cat([torch.as_tensor(one.rewards) for one in recorded]))
        assert (episodes.names, episodes.dt) == ({}, None)
        assert episodes.meta["minari"]["algorithm_name"] == "random"
        assert episodes.meta["minari"]["dataset_id"] == "toy/drift-v0"
        assert "features_left_out" not in episodes.meta
        ends = torch.cat([torch.as_tensor(one.truncations) for one in recorded])
        assert torch.equal(episodes.columns["truncations"], ends)

    def test_groups_are_laid_side_by_side(self, collect):
        inner = gymnasium.spaces.Dict({"b": box(2, 2), "a": box(1)})
        space = gymnasium.spaces.Dict({"goal": box(3), "arm": inner, "pair": gymnasium.spaces.Tuple([box(1), box(2)])})
        folder, recorded = collect(Drift(space))
        episodes = read(folder)
        seen = recorded[1].observations
        expected = np.concatenate(
            [seen["arm"]["a"], seen["arm"]["b"].reshape(5, 4), seen["goal"], *seen["pair"]], axis=1
        )
        assert np.array_equal(episodes.trajectory(1).states.numpy(), expected)
        names = ["arm/a_0", *(f"arm/b_{i}" for i in range(4)), *(f"goal_{i}" for i in range(3))]
        assert episodes.names["state"] == (*names, "pair/_index_0_0", "pair/_index_1_0", "pair/_index_1_1")

    def test_keys_keep_the_order_of_their_space(self, collect):
        space = gymnasium.spaces.Dict([("velocity", box(2)), ("angle", box(1)), ("goal", box(3))])
        folder, recorded = collect(Drift(space))
        episodes, seen = read(folder), recorded[0].observations
        expected = np.concatenate([seen["velocity"], seen["angle"], seen["goal"]], axis=1)
        assert np.array_equal(episodes.trajectory(0).states.numpy(), expected)
        assert episodes.names["state"][:3] == ("velocity_0", "velocity_1", "angle_0")

    @pytest.mark.parametrize("jpeg", [True, False])
    @pytest.mark.parametrize("shape", [(32, 40, 3), (32, 40)])
    def test_pictures(self, collect, jpeg, shape):
        space = gymnasium.spaces.Dict({"eye": pixels(*shape), "state": box(2)})
        folder, recorded = collect(Drift(space), jpeg_encoding=jpeg)
        camera = read(folder).cameras["eye"]
        assert (camera.shape, len(camera)) == ((*shape, 1)[:3], 12)
        # step 1 of episode 2; the picture after the last action is not among them
        found = camera.read(torch.tensor([9, 0, 4]))
        assert found[:, 0, 0, 0].tolist() == [10, 0, 0]
        assert np.array_equal(found[0].reshape(shape).numpy(), recorded[2].observations["eye"][1])

    def test_depth(self, collect):
        space = gymnasium.spaces.Dict({"top_depth": box(12, 10, 1, dtype=np.float32), "state": box(2)})
        folder, recorded = collect(Drift(space))
        camera = read(folder).cameras["top_depth"]
        assert (camera.shape, len(camera)) == ((12, 10, 1), 12)
        # step 1 of episode 2; the picture after the last action is not among them
        assert np.array_equal(measurements(camera, torch.tensor([9]))[0], recorded[2].observations["top_depth"][1])

    def test_words_are_left_out(self, collect):
        space = gymnasium.spaces.Dict({"mission": gymnasium.spaces.Text(5), "state": box(2)})
        folder, _ = collect(Drift(space))
        episodes = read(folder)
        assert episodes.states.shape == (12, 2)
        assert episodes.meta["features_left_out"][0] == "observations/mission"

    def test_more_than_ten_episodes(self, collect):
        folder, recorded = collect(Drift(box(2)), episodes=12)
        first = np.stack([one.observations[0] for one in recorded])
        episodes = read(folder)
        assert np.array_equal(episodes.states[episodes.starts].numpy(), first)

    def test_discrete_actions(self, collect):
        class Buttons(Drift):
            def __init__(self, space):
                super().__init__(space)
                self.action_space = gymnasium.spaces.Discrete(3)

        folder, _ = collect(Buttons(box(2)))
        with pytest.raises(DataError, match=r"actions of kind Discrete; expected continuous ones"):
            read(folder)

    def test_another_data_format(self, collect):
        pytest.importorskip("pyarrow")
        folder, _ = collect(Drift(box(2)), data_format="arrow")
        with pytest.raises(DataError, match=r"data_format 'arrow'; expected 'hdf5'.*data_format='hdf5'"):
            read(folder)

    def test_what_minari_knew_is_written_back(self, collect, minari, tmp_path):
        folder, recorded = collect(Drift(box(2, dtype=np.float32)))
        write(read(folder), tmp_path / "copy-v0", format="minari")
        again = minari.load_dataset("copy-v0")
        assert again.spec.dataset_id == "toy/drift-v0"
        assert again.storage.metadata["algorithm_name"] == "random"
        assert again.spec.observation_space.dtype == np.float32
        for old, new in zip(recorded, again.iterate_episodes(), strict=True):
            assert np.array_equal(old.observations, new.observations)
            assert np.array_equal(old.actions, new.actions)
            assert np.array_equal(old.rewards, new.rewards)

    def test_mujoco_tasks_are_named(self, collect):
        pytest.importorskip("mujoco")
        folder, _ = collect(gymnasium.make("InvertedPendulum-v5", max_episode_steps=3))
        assert read(folder).system == "mujoco:InvertedPendulum-v5"


def made(**parts) -> Episodes:
    states = torch.arange(12, dtype=torch.float64).reshape(6, 2)
    return Episodes(actions=states[:, :1] / 7, states=states, lengths=torch.tensor([4, 2]), **parts)


class TestWritten:
    def test_minari_loads_it(self, minari, tmp_path):
        episodes = made(final_states=torch.tensor([[90.0, 91.0], [92.0, 93.0]], dtype=torch.float64))
        write(replace(episodes, rewards=torch.arange(6.0)), tmp_path / "toy-v3", format="minari")
        loaded = minari.load_dataset("toy-v3")
        assert (loaded.spec.dataset_id, loaded.total_episodes, loaded.total_steps) == ("toy-v3", 2, 6)
        first, second = loaded.iterate_episodes()
        assert second.observations.tolist() == [[8.0, 9.0], [10.0, 11.0], [92.0, 93.0]]
        assert first.rewards.tolist() == [0.0, 1.0, 2.0, 3.0]
        assert (first.truncations.tolist(), first.terminations.any()) == ([False, False, False, True], False)
        assert loaded.observation_space.contains(first.observations[0])
        assert loaded.action_space.contains(first.actions[0])
        assert repr(first)
        assert "toy-v3" in minari.list_local_datasets()

    def test_with_groups_and_pictures(self, minari, tmp_path):
        pictures = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 40, 40, 3)
        episodes = made(
            observations=Observation(state=torch.ones(6, 3), environment_state=torch.zeros(6, 1)),
            cameras={"top": Frames(pictures)},
        )
        write(episodes, tmp_path / "toy-v0", format="minari")
        loaded = minari.load_dataset("toy-v0")
        seen = list(loaded.iterate_episodes())[1].observations
        assert set(seen) == {"state", "observation_state", "object", "top"}
        # what follows the last action was not recorded: the last one stands there twice
        assert seen["state"].tolist() == [[8.0, 9.0], [10.0, 11.0], [10.0, 11.0]]
        assert seen["top"][:, 0, 0, 0].tolist() == [4, 5, 5]
        one = {key: values[0] for key, values in seen.items()}
        assert loaded.observation_space.contains(one)
        assert read(tmp_path / "toy-v0").final_states is None

    def test_a_name_that_minari_would_refuse(self, minari, tmp_path):
        write(made(), tmp_path / "my demos", format="minari")
        assert minari.load_dataset("my demos").spec.dataset_id == "my_demos-v0"


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        write(made(), tmp_path / "toy-v0", format="minari")
        return tmp_path / "toy-v0" / "data"

    def change(self, folder, **fields):
        header = json.loads((folder / "metadata.json").read_text())
        (folder / "metadata.json").write_text(json.dumps(header | fields))

    @pytest.mark.parametrize("keep", [0, 100, -1])
    def test_cut_short(self, folder, keep):
        file = folder / "main_data.hdf5"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(DataError, match=r"main_data.hdf5 is damaged or cut short"):
            read(folder.parent)

    def test_metadata(self, folder):
        text = (folder / "metadata.json").read_text()
        self.change(folder, total_episodes=3)
        with pytest.raises(DataError, match=r"holds 2 episodes, but metadata.json gives 3"):
            read(folder)
        self.change(folder, total_episodes=2, holdfast={"layout": {}})
        with pytest.raises(DataError, match=r"holdfast: layout cannot be {}"):
            read(folder)
        self.change(folder, holdfast=[])
        with pytest.raises(DataError, match="expected a JSON object"):
            read(folder)
        (folder / "metadata.json").write_text("[]")
        with pytest.raises(DataError, match="is not a JSON object"):
            read(folder)
        (folder / "metadata.json").write_text(text[:-10])
        with pytest.raises(DataError, match=r"metadata.json is damaged"):
            read(folder)
        (folder / "metadata.json").unlink()
        with pytest.raises(DataError, match=r"has no metadata.json, which Minari needs"):
            read(folder.parent)

    def test_a_space_of_another_kind(self, folder):
        self.change(folder, action_space="{")
        with pytest.raises(DataError, match="action_space is damaged"):
            read(folder)

    def test_no_episodes_file(self, folder):
        (folder / "main_data.hdf5").unlink()
        with pytest.raises(DataError, match=r"data_format 'hdf5'; expected 'hdf5', in main_data.hdf5. Was it copied"):
            read(folder.parent)

    @pytest.mark.parametrize(
        ("place", "values", "says"),
        [
            (
                "episode_1/observations",
                np.zeros((2, 2)),
                r"observations is not .*: episode 1 \(.* one per step, but",
            ),
            (
                "episode_1/observations",
                np.zeros((3, 5)),
                r"episode 1 \(episode_1\) has rows of 5 numbers, but one other has rows of 2",
            ),
            (
                "episode_1/actions",
                np.zeros((3, 1)),
                r"observations is not .*: episode 1 \(.* one per step, but",
            ),
            ("episode_1/rewards", np.zeros(1), r"rewards is not .*: episode 1 \(episode_1\) has .*, 1 for 2 steps"),
            ("episode_1/actions", None, r"actions is not .*: episode 1 \(episode_1\) has no such array"),
            ("episode_0/observations", None, r"observations is not .*: episode 0 \(episode_0\) has no such array"),
            ("episode_0/actions", None, r"actions is not .*: episode 0 \(episode_0\) has no such array"),
        ],
    )
    def test_episodes_that_differ(self, folder, place, values, says):
        write(made(rewards=torch.zeros(6)), folder.parent, format="minari", overwrite=True)
        with h5py.File(folder / "main_data.hdf5", "a") as file:
            del file[place]
            if values is not None:
                file[place] = values
        with pytest.raises(DataError, match=says):
            read(folder)
