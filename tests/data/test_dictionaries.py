"""One order for dictionaries of observations: Minari's files and gymnasium's environments agree."""

import json
from itertools import permutations

import numpy as np
import pytest
import torch

from holdfast.data import read
from holdfast.data.dictionaries import GOAL, in_order_of, parts_of
from holdfast.envs.gym_layout import layout_of
from holdfast.policy.coordinate_names import matched

h5py = pytest.importorskip("h5py")
gymnasium = pytest.importorskip("gymnasium")


def minari_set(folder, observations, *, space=True):
    """A Minari data set of one episode, as the package writes it, with keys sorted by the file."""
    (folder / "data").mkdir(parents=True)
    boxes = {
        key: {"type": "Box", "dtype": "float64", "shape": list(rows.shape[1:]), "low": -9, "high": 9}
        for key, rows in observations.items()
    }
    metadata = {"total_episodes": 1, "total_steps": 4}
    if space:
        metadata["observation_space"] = json.dumps({"type": "Dict", "subspaces": boxes})
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        group["actions"] = np.zeros((4, 1))
        for key, rows in observations.items():
            group[f"observations/{key}"] = rows
    return folder


def rows(*widths):
    numbers = iter(range(100))
    return [np.stack([np.full(5, float(next(numbers))) for _ in range(width)], axis=1) for width in widths]


def vector(episodes):
    return episodes.observed.vector[0].tolist()


@pytest.mark.parametrize("order", list(permutations(GOAL)))
def test_a_goal_has_one_order_whatever_the_file_and_the_space_say(tmp_path, order):
    observation, achieved, desired = rows(4, 2, 2)
    parts = {"observation": observation, "achieved_goal": achieved, "desired_goal": desired}
    episodes = read(minari_set(tmp_path / "set", {key: parts[key] for key in order}))
    assert vector(episodes) == list(range(8))
    boxes = [(key, gymnasium.spaces.Box(-1, 1, parts[key].shape[1:])) for key in order]
    layout = layout_of(gymnasium.spaces.Dict(boxes), images=False, name="goals")
    assert layout.state == GOAL
    assert matched(episodes.names["state"], layout.names["observation.state"]).index == tuple(range(8))


def test_other_keys_have_the_order_of_the_space(tmp_path):
    velocity, angle, goal = rows(2, 1, 3)
    parts = {"velocity": velocity, "angle": angle, "goal": goal}
    assert vector(read(minari_set(tmp_path / "spaced", parts))) == list(range(6))
    # without a space the file's own order, which is alphabetical here
    assert vector(read(minari_set(tmp_path / "bare", parts, space=False))) == [2, 3, 4, 5, 0, 1]
    boxes = [(key, gymnasium.spaces.Box(-1, 1, part.shape[1:])) for key, part in parts.items()]
    assert layout_of(gymnasium.spaces.Dict(boxes), images=False, name="own").state == ("velocity", "angle", "goal")


def test_the_robots_own_readings_come_first_and_the_rest_is_the_environments(tmp_path):
    own, block, area = rows(2, 3, 1)
    parts = {"block": block, "area": area, "agent_pos": own}
    episodes = read(minari_set(tmp_path / "set", parts))
    assert torch.equal(episodes.states[0], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert vector(episodes) == list(range(6))
    boxes = [(key, gymnasium.spaces.Box(-1, 1, part.shape[1:])) for key, part in parts.items()]
    layout = layout_of(gymnasium.spaces.Dict(boxes), images=False, name="table")
    assert (layout.state, layout.rest) == (("agent_pos",), ("block", "area"))
    written = episodes.names["observation.environment_state"]
    assert matched(written, layout.names["observation.environment_state"]).index == (0, 1, 2, 3)


def test_keys_beside_a_goal_come_last():
    assert parts_of(["time", *sorted(GOAL), "aid"]) == ((*GOAL, "time", "aid"), ())
    assert in_order_of(["b", "c", "a"], ["c", "a"]) == ["c", "a", "b"]
