"""Options that prepare demonstrations: values that are needed are asked for before any work."""

import json
import re

import numpy as np
import pytest

import holdfast as hf
from holdfast.cli.preparing import preparation_changes, preparation_of
from holdfast.data import Preparation


def test_options_that_were_not_given_change_nothing():
    assert preparation_changes(None, None, None, None) == {}
    assert preparation_of(None, None, None, None) == Preparation()


@pytest.mark.parametrize("option", ["--drop-episodes", "--drop-idle"])
@pytest.mark.parametrize("verb", ["train", "inspect"])
def test_an_option_without_values_is_refused(cli, demos_folder, tmp_path, verb, option):
    out = tmp_path / "out"
    status, said = cli(verb, demos_folder, "--out", out, option)
    assert status == 1
    assert said.startswith(f"error: expected at least one value after {option}, got none.")
    assert not out.exists()


def test_given_options_are_fields_of_a_preparation():
    found = preparation_of(("0", "3-7"), ("start", "end"), -2, None)
    assert found == Preparation(drop_episodes=("0", "3-7"), drop_idle=("start", "end"), shift_actions=-2)


def test_train_says_and_stores_what_was_left_out(cli, tmp_path):
    rng = np.random.default_rng(0)
    actions, states = rng.normal(size=(120, 2)).cumsum(0), rng.normal(size=(120, 3)).cumsum(0)
    # twenty steps of a pause in the second episode
    actions[45:65], states[45:65] = actions[45], states[45]
    states[0, 0] = np.nan
    np.savez(tmp_path / "a.npz", actions=actions, states=states, lengths=np.array([30.0, 50, 40]))
    prepare = ["--drop-episodes", "0", "--drop-idle", "middle", "--shift-actions", "1"]
    small = ["--steps", "1", "--threads", "1", "--batch-size", "8", "--horizon", "2", "--n-action-steps", "1"]
    run = tmp_path / "run"
    status, said = cli("train", tmp_path / "a.npz", "--out", run, *prepare, *small)
    assert status == 0
    stored = json.loads((run / "interface.json").read_text())["preparation"]
    assert stored == [
        "lengths is float64 and holds whole numbers: read as whole numbers.",
        "--drop-episodes left out 1 of 3 episodes with 30 of 120 steps",
        "--shift-actions left out 2 of 90 steps",
        stored[3],
    ]
    assert re.fullmatch(r"--drop-idle left out 1[5-9] of 88 steps", stored[3])
    assert f"prepared: {'; '.join(stored[1:])}" in " ".join(said.split())
    assert hf.load(run).interface.preparation == tuple(stored)


def test_nothing_is_said_of_data_that_are_used_whole(cli, demos_folder, tmp_path):
    status, said = cli("train", demos_folder, "--out", tmp_path / "run", "--steps", "1", "--threads", "1")
    assert status == 0
    assert "prepared:" not in said


def test_train_says_which_episodes_or_segments_are_shorter_than_a_chunk(cli, tmp_path):
    rng = np.random.default_rng(0)
    actions, states = rng.normal(size=(40, 1)).cumsum(0), rng.normal(size=(40, 2)).cumsum(0)
    # segments of 9, 3 and 8 steps are called a, those of 11 and 9 steps b
    skill = np.repeat([0, 1, 0, 1, 0], [9, 11, 3, 9, 8])
    np.savez(tmp_path / "a.npz", actions=actions, states=states, lengths=np.array([20, 20]), skill=skill)
    small = ["--steps", "1", "--threads", "1", "--batch-size", "8", "--n-action-steps", "1"]
    chosen = ["--segments", "skill=0", "--horizon", "9"]
    status, said = cli("train", tmp_path / "a.npz", "--out", tmp_path / "run", *chosen, *small)
    assert status == 0
    expected = "2 of 3 segments are shorter than a chunk of 9 steps (the shortest has 3): their chunks repeat the last"
    assert expected in " ".join(said.split())
    _, said = cli("train", tmp_path / "a.npz", "--out", tmp_path / "other", "--horizon", "20", *small)
    assert "shorter than a chunk" not in said
    _, said = cli("train", tmp_path / "a.npz", "--out", tmp_path / "third", "--horizon", "21", *small)
    assert "2 of 2 episodes are shorter than a chunk of 21 steps (the shortest has 20)" in " ".join(said.split())
