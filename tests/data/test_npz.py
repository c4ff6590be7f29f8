"""NumPy files: the names that people use, equal and ragged episodes, the published kinds, and what is refused."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.data import read, write
from holdfast.errors import DataError
from holdfast.types import Episodes

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data"))
AVOIDING = DATA / "avoiding" / "avoiding.npz"
HOPPER = DATA / "mujoco_experts" / "Hopper_v4_demos.npz"


def rows(count=6, width=2):
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("actions", ["actions", "action"])
@pytest.mark.parametrize("states", ["states", "state", "obs", "observation", "observations", "observation.state"])
def test_names_of_arrays(tmp_path, actions, states):
    arrays = {actions: rows(width=1), states: rows(), "episode_ends": np.array([2, 6])}
    episodes = read(saved(tmp_path / "a.npz", **arrays))
    assert np.array_equal(episodes.actions.numpy(), rows(width=1))
    assert np.array_equal(episodes.states.numpy(), rows())
    assert episodes.lengths.tolist() == [2, 4]
    assert episodes.meta == {}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("episode_ends", np.array([2, 3, 6])),
        ("lengths", np.array([2, 1, 3], dtype=np.int32)),
        ("episode_lengths", np.array([2, 1, 3], dtype=np.uint8)),
        ("episode_starts", np.array([0, 2, 3])),
        ("episode_starts", np.array([True, False, True, True, False, False])),
    ],
)
def test_where_episodes_end(tmp_path, name, values):
    episodes = read(saved(tmp_path / "a.npz", actions=rows(), states=rows(), **{name: values}))
    assert episodes.lengths.tolist() == [2, 1, 3]


def test_everything_that_may_be_there(tmp_path):
    path = saved(
        tmp_path / "a.npz",
        action=rows(width=1),
        state=rows().astype(np.float64),
        episode_ends=np.array([2, 6]),
        final_states=np.array([[9.0, 8.0], [7.0, 6.0]]),
        reward=np.arange(6.0)[:, None],
        timestamp=np.arange(6.0) / 30,
        dt=np.array(0.05),
        state_names=np.array(["x", "v"]),
        action_names=np.array(["force"]),
        **{"observation.environment_state": rows(width=3)},
        success=np.array([True, False]),
    )
    episodes = read(path)
    assert episodes.final_states.tolist() == [[9.0, 8.0], [7.0, 6.0]]
    assert episodes.rewards.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert torch.equal(episodes.timestamps, torch.arange(6, dtype=torch.float64) / 30)
    assert (episodes.dt, episodes.names) == (0.05, {"state": ("x", "v"), "action": ("force",)})
    assert torch.equal(episodes.observed.state, episodes.states)
    assert episodes.observed.environment_state.shape == (6, 3)
    assert episodes.episode_columns["success"].tolist() == [True, False]
    assert episodes.meta == {}


@pytest.mark.parametrize("more", [0, 1])
def test_episodes_of_equal_length_as_blocks(tmp_path, more):
    states = np.arange(3 * (4 + more) * 2, dtype=np.float64).reshape(3, 4 + more, 2)
    actions, rewards = rows(12, 1).reshape(3, 4, 1), np.arange(12.0).reshape(3, 4)
    episodes = read(saved(tmp_path / "a.npz", states=states, actions=actions, rewards=rewards))
    assert episodes.lengths.tolist() == [4, 4, 4]
    assert episodes.states[4:8].tolist() == states[1, :4].tolist()
    assert episodes.actions.flatten().tolist() == list(range(12))
    assert episodes.rewards.tolist() == list(range(12))
    assert (episodes.final_states is not None) == bool(more)
    if more:
        assert episodes.trajectory(2).states.tolist() == states[2].tolist()


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("<f8", torch.float64),
        (">f4", torch.float32),
        ("i8", torch.float64),
        ("u1", torch.float32),
        ("?", torch.float32),
    ],
)
def test_dtypes(tmp_path, dtype, stored):
    states = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    episodes = read(saved(tmp_path / "a.npz", states=states, actions=rows(3), lengths=np.array([3])))
    assert episodes.states.dtype == stored
    assert episodes.states.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_compressed(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", states=rows(), actions=rows(), lengths=np.array([6]))
    assert len(read(tmp_path / "a.npz").states) == 6


def test_numpy_reads_what_is_written_without_pickles(tmp_path):
    episodes = Episodes(
        actions=torch.ones(3, 1), states=torch.zeros(3, 2), lengths=torch.tensor([1, 2]), tasks=("pick", "place")
    )
    write(episodes, tmp_path / "a.npz")
    write(episodes, tmp_path / "b.npz")
    found = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert found["episode_ends"].tolist() == [1, 3]
    assert found["actions"].tolist() == [[1.0], [1.0], [1.0]]
    # the same episodes, the same bytes
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


class TestRefused:
    def test_pickled_arrays(self, tmp_path):
        ragged = np.array([np.zeros(2), np.zeros(3)], dtype=object)
        with pytest.raises(DataError, match=r"holds a pickled array \(actions\).*np.savez"):
            read(saved(tmp_path / "a.npz", actions=ragged, states=ragged))

    def test_pickled_names_beside_good_arrays(self, tmp_path):
        names = np.array(["a", "b"], dtype=object)
        with pytest.raises(DataError, match=r"pickled array \(names\)"):
            read(saved(tmp_path / "a.npz", actions=rows(), states=rows(), lengths=np.array([6]), names=names))

    def test_missing_arrays_list_what_is_there(self, tmp_path):
        with pytest.raises(DataError, match=r"expected states under one of states, state.*found actions, lengths"):
            read(saved(tmp_path / "a.npz", actions=rows(), lengths=np.array([6])))
        with pytest.raises(DataError, match=r"expected the episodes' ends under one of episode_ends.*found actions, s"):
            read(saved(tmp_path / "b.npz", actions=rows(), states=rows()))
        with pytest.raises(DataError, match="found W0"):
            read(saved(tmp_path / "c.npz", W0=rows()))
        with pytest.raises(DataError, match="found no arrays"):
            read(saved(tmp_path / "d.npz"))

    @pytest.mark.parametrize(
        ("arrays", "says"),
        [
            ({"lengths": [2, 3]}, "lengths gives 5 steps, but there are 6 actions"),
            ({"episode_ends": [3, 3, 6]}, r"episode 1 is empty .* --drop-episodes 1. Read .* --episodes 0 2"),
            ({"episode_ends": [6, 3]}, "episode 1 would have -3 steps"),
            ({"episode_starts": [1, 3]}, "must begin with row 0"),
            ({"lengths": [2.5, 3.5]}, "must be a list of whole numbers, but entry 0 is 2.5"),
            (
                {"lengths": [6], "states": np.zeros((5, 2))},
                r"states has shape \[5, 2\], but there are 6 actions",
            ),
            ({"lengths": [6], "final_states": np.zeros((2, 2))}, r"final_states .* expected 1 rows"),
            ({"lengths": [6], "states": np.array(["a"] * 6)}, "states holds no rows of numbers"),
            ({"lengths": [6], "states": np.zeros((6, 2), complex)}, "states holds no rows of numbers"),
            ({"actions": np.zeros((2, 3, 1)), "states": np.zeros((2, 5, 1))}, r"\[2, 3, 1\] and states \[2, 5, 1\] do"),
            ({"actions": np.zeros((2, 3, 1)), "states": np.zeros((6, 1))}, "do not fit"),
            ({"lengths": [6], "dt": np.array([0.1, 0.2])}, "dt must be one number above 0"),
            ({"lengths": [6], "state_names": np.array(["x"])}, "1 names for the 2 coordinates of state"),
            ({"lengths": [6], "states": np.full((6, 2), np.nan)}, "states holds nan at episode 0, step 0"),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, arrays, says):
        with pytest.raises(DataError, match=says):
            read(saved(tmp_path / "a.npz", **({"actions": rows(), "states": rows()} | arrays)))

    def test_damage(self, tmp_path):
        path = saved(tmp_path / "a.npz", actions=rows(), states=rows(), lengths=np.array([6]))
        content = bytearray(path.read_bytes())
        content[200] ^= 255
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a.npz.*damaged"):
            read(path)

    def test_a_header_that_lies(self, tmp_path):
        np.save(tmp_path / "a.npy", rows(3))
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            content = (tmp_path / "a.npy").read_bytes()
            archive.writestr("actions.npy", content)
            archive.writestr("states.npy", content + b"more")
            archive.writestr("lengths.npy", content[:40])
        with pytest.raises(DataError, match=r"states.npy is longer than its header states"):
            read(tmp_path / "a.npz")

    def test_a_description_of_another_kind(self, tmp_path):
        path = saved(tmp_path / "a.npz", actions=rows(), states=rows(), episode_ends=[6], holdfast=rows())
        with pytest.raises(DataError, match="its description is damaged"):
            read(path)
        text = np.frombuffer(b'{"dt": 1}', dtype=np.uint8)
        path = saved(tmp_path / "b.npz", actions=rows(), states=rows(), episode_ends=[6], holdfast=text)
        with pytest.raises(DataError, match="lacks 'system'"):
            read(path)


class TestAvoiding:
    def test_alignment(self, tmp_path):
        """Two episodes of 3 and 2 frames whose numbers say their frame."""
        desired = np.array([[1, 1, 0], [2, 4, 0], [4, 9, 0], [0, 0, 0], [5, 7, 0]], dtype=np.float32)
        episodes = read(
            saved(tmp_path / "a.npz", des_c_pos=desired, c_pos=desired + 100, episode_ends=[3, 5], names=["a", "b"])
        )
        assert episodes.lengths.tolist() == [2, 1]
        assert episodes.actions.tolist() == [[1, 3], [2, 5], [5, 7]]
        seen = [[1, 1, 101, 101], [2, 4, 102, 104], [0, 0, 100, 100]]
        assert episodes.states[:, :4].tolist() == episodes.observed.state.tolist() == seen
        assert episodes.final_states[:, :4].tolist() == [[4, 9, 104, 109], [5, 7, 105, 107]]
        # how fast the hand came to where it is: not at all at the start, and nothing from the episode before
        rates = episodes.states[:, 4:] * 0.035, episodes.final_states[:, 4:] * 0.035
        assert rates[0].numpy() == pytest.approx(np.array([[0, 0], [1, 3], [0, 0]]), abs=1e-4)
        assert rates[1].numpy() == pytest.approx(np.array([[2, 5], [5, 7]]), abs=1e-4)
        assert (episodes.dt, episodes.system) == (0.035, "avoid")

    def test_damage(self, tmp_path):
        frames = np.zeros((5, 3), dtype=np.float32)
        with pytest.raises(DataError, match="episode 1 has 1 frames, expected at least 2"):
            read(saved(tmp_path / "a.npz", des_c_pos=frames, c_pos=frames, episode_ends=[4, 5]))
        with pytest.raises(DataError, match="gives 6 frames, but there are 5"):
            read(saved(tmp_path / "b.npz", des_c_pos=frames, c_pos=frames, episode_ends=[3, 6]))
        with pytest.raises(DataError, match=r"must be \[frames, 3\]"):
            read(saved(tmp_path / "c.npz", des_c_pos=frames, c_pos=frames[:4], episode_ends=[3, 5]))

    @pytest.mark.skipif(not AVOIDING.exists(), reason=f"the real demonstrations of avoiding are not at {AVOIDING}")
    def test_real(self):
        episodes = read(AVOIDING)
        # 7401 frames in 96 episodes: one step fewer each
        assert (len(episodes), int(episodes.lengths.sum())) == (96, 7401 - 96)
        assert (int(episodes.lengths.min()), int(episodes.lengths.max())) == (60, 106)
        # as published: x in ± 0.0125, y in [0, 0.0125], but for rounding
        assert float(episodes.actions[:, 0].abs().max()) == pytest.approx(0.0125, abs=1e-6)
        assert -1e-6 < float(episodes.actions[:, 1].min()) < float(episodes.actions[:, 1].max()) < 0.0125 + 1e-6
        assert episodes.states[episodes.starts, :2].numpy() == pytest.approx(np.tile([0.525, -0.28], (96, 1)), abs=0.01)
        # success: the hand ends beyond the obstacles
        assert float(episodes.final_states[:, 3].min()) > 0.35
        # summing actions arrives where the target ends
        ends = torch.stack([episodes.trajectory(e).actions.double().sum(0) for e in range(96)])
        start, final = episodes.states[episodes.starts, :2], episodes.final_states[:, :2]
        assert (start + ends - final).abs().max() < 1e-5


@pytest.mark.skipif(not HOPPER.exists(), reason=f"the experts' runs are not at {HOPPER}")
@pytest.mark.parametrize(
    ("task", "returns", "dt"), [("Hopper", [3717, 3718], 0.008), ("HalfCheetah", [4068, 4002], 0.05)]
)
def test_real_mujoco_experts(task, returns, dt):
    episodes = read(HOPPER.with_name(f"{task}_v4_demos.npz"))
    assert episodes.lengths.tolist() == [1000, 1000]
    assert (episodes.system, episodes.dt) == (f"gym:{task}-v4", dt)
    assert (episodes.states.dtype, episodes.actions.dtype) == (torch.float64, torch.float32)
    found = episodes.rewards.reshape(2, 1000).sum(dim=1)
    assert [round(float(value)) for value in found] == returns


@pytest.mark.skipif(not HOPPER.exists(), reason=f"the experts' runs are not at {HOPPER}")
def test_the_weights_of_a_policy_are_no_demonstrations():
    with pytest.raises(DataError, match="found obs_mean, obs_meansq"):
        read(HOPPER.with_name("Hopper_policy.npz"))
