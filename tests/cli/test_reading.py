"""Choosing keys and episodes on the command line: what is read, what is stored, and what is said to be unseen."""

import json

import h5py
import numpy as np
import pytest

from holdfast.data import Selection
from holdfast.learn import load_recipe


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Three demonstrations with two instructions, a camera and more observations than usual names tell."""
    path = tmp_path_factory.mktemp("demos") / "demos.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for episode, text in enumerate(["pick", "place", "pick"]):
            group = file.create_group(f"data/demo_{episode}")
            walk = rng.normal(size=(30, 3)).cumsum(0)
            group["actions"], group["obs/arm"], group["obs/hand"] = np.diff(walk, axis=0, append=0), walk, walk[:, :1]
            group["obs/front_image"] = np.zeros((30, 4, 4, 3), np.uint8)
            group["obs/pose"] = np.tile(np.eye(4), (30, 1, 1))
            group.attrs["lang"], group.attrs["success"] = text, episode != 1
    return path


def test_train_names_what_is_unseen_and_stores_the_selection(cli, demos, tmp_path):
    run = tmp_path / "run"
    options = ["--state", "hand", "arm", "--episodes", "0-1", "--steps", "2", "--threads", "1"]
    status, said = cli("train", demos, "--out", run, *options)
    assert status == 0, said
    assert "not seen by the policy: camera front_image" in said
    assert "which of the 2 instructions is meant ('pick', 'place'): let it follow them with --instructions" in said
    assert "1 episode is marked as failed by success: 1" in said
    assert "not read: obs/pose" in said
    recipe = load_recipe(run)
    assert recipe.selection == Selection(state=("hand", "arm"), episodes=("0-1",))
    assert recipe.policy.n_observed == 4
    assert "2 episodes, 60 steps" in said
    # a recipe file brings its selection along, and options override it
    again = ["--recipe", run / "recipe.json", "--task", "pick", "--episodes", "0:3", "--steps", "2", "--threads", "1"]
    status, said = cli("train", demos, "--out", tmp_path / "again", *again)
    assert status == 0, said
    chosen = load_recipe(tmp_path / "again").selection
    assert chosen == Selection(state=("hand", "arm"), episodes=("0:3",), task="pick")
    assert "the instruction 'pick'" in said


def test_inspect_lists_everything_that_is_left_aside(cli, demos, tmp_path):
    status, said = cli("inspect", demos, "--out", tmp_path / "out", "--no-pictures", "--state", "arm")
    assert status == 0, said
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    by_check = {finding["check"]: finding for finding in found["findings"]}
    assert by_check["instructions"]["values"]["tasks"] == {"pick": 2, "place": 1}
    assert by_check["pictures"]["values"]["cameras"] == ["front_image"]
    assert by_check["not read"]["values"]["left_out"] == ["obs/pose"]
    assert by_check["columns"]["values"]["columns"] == ["obs/hand"]
    assert found["observed_coordinates"] == 3


def test_convert_writes_the_selection(cli, demos, tmp_path):
    status, said = cli(
        "convert", demos, tmp_path / "out.npz", "--state", "arm", "--task", "pick", "--camera", "front_image"
    )
    assert status == 0, said
    with np.load(tmp_path / "out.npz") as written, h5py.File(demos) as file:
        expected = np.concatenate([file[f"data/demo_{episode}/obs/arm"][()] for episode in (0, 2)])
        assert np.array_equal(written["states"], expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--state", "nothing"], "unknown key for state 'nothing'. Known: actions, obs/arm"),
        (["--episodes", "7"], "episodes: 7 ends beyond the 3 episodes"),
        (["--episodes", "x"], "expected a number such as 7 or a range"),
        (["--task", "push"], "unknown task 'push'. Known: pick, place"),
        (["--filter-key", "train"], "unknown filter key"),
    ],
)
def test_refusals(cli, demos, tmp_path, options, says):
    status, said = cli("train", demos, "--out", tmp_path / "run", "--steps", "2", *options)
    assert status == 1
    assert says in said or "has no filter keys" in said


def test_instructions_are_followed_by_one_word(cli, demos, tmp_path):
    """As docs/instructions.md and the messages write it."""
    run = tmp_path / "run"
    options = [
        "--state",
        "hand",
        "arm",
        "--instructions",
        "--instruction-dropout",
        "0.2",
        "--steps",
        "2",
        "--threads",
        "1",
    ]
    status, said = cli("train", demos, "--out", run, *options)
    assert status == 0, said
    language = load_recipe(run).policy.language
    assert language is not None
    assert (language.instructions, language.dropout) == (("pick", "place"), 0.2)
    assert "which of the 2 instructions is meant" not in said
    status, said = cli("train", demos, "--out", tmp_path / "other", "--state", "arm", "--instruction-dropout", "0.2")
    assert (status, "need --instructions" in said) == (1, True)
