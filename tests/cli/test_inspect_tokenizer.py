"""`holdfast inspect DATA --tokenizer NAME`, as users run it."""

import json

import pytest
import torch

from holdfast.data import MinMax, Windows, read, write
from holdfast.tokens import Binning, load_tokenizer
from holdfast.types import Episodes


@pytest.fixture(scope="module")
def inspected(cli, demos_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokenizer") / "out"
    status, said = cli("inspect", demos_folder, "--tokenizer", "binning", "--horizon", 8, "--out", out)
    assert status == 0, said
    return out, said


def test_what_it_writes(inspected, demos_folder):
    out, said = inspected
    assert {path.name for path in out.iterdir()} == {"result.json", "tokenizer.png", "tokenizer.safetensors"}
    for path in out.iterdir():
        assert str(path).replace(" ", "") in said.replace(" ", "")
    result = json.loads((out / "result.json").read_text())
    assert (result["tokenizer"]["kind"], result["tokenizer"]["bins"], result["horizon"]) == ("Binning", 256, 8)
    episodes = read(demos_folder)
    # one of four episodes is held out
    assert result["held_out"] is True
    assert result["chunks"] + result["fitted_on_chunks"] == len(episodes.actions)
    assert (result["tokens"], result["compression"], result["dt"]) == (8, 1, episodes.dt)
    assert len(result["sensitivity_at"]) == 8
    assert [change["size"] for change in result["smoothness"]] == [0.001, 0.01, 0.1]
    assert "held-out episodes" in said
    assert "effect of one wrong token" in said


def test_it_measures_the_episodes_that_are_chosen(cli, demos_folder, tmp_path):
    chosen = ("--episodes", "0-2", "--drop-episodes", "1")
    out = tmp_path / "out"
    assert cli("inspect", demos_folder, "--tokenizer", "binning", "--horizon", 8, "--out", out, *chosen)[0] == 0
    result = json.loads((out / "result.json").read_text())
    assert result["chunks"] + result["fitted_on_chunks"] == int(read(demos_folder).lengths[[0, 2]].sum())


def test_the_tokenizer_that_it_writes_can_be_used(inspected, demos_folder):
    tokenizer = load_tokenizer(inspected[0] / "tokenizer.safetensors")
    episodes = read(demos_folder)
    windows = Windows(lengths=episodes.lengths, n_obs_steps=1, horizon=8)
    chunks = MinMax.fit(episodes.actions).normalize(episodes.actions)[windows.chunk_rows(torch.arange(20))[0]]
    assert tokenizer.options == Binning()
    tokenizer.check_rate(episodes.dt)
    assert tokenizer.decode(tokenizer.encode(chunks)).shape == chunks.shape


def test_without_pictures(cli, tmp_path):
    time = torch.arange(200.0)[:, None] / 10
    waves = torch.cat([time.sin(), (2 * time).cos()], dim=1)
    write(Episodes(actions=waves, states=waves, lengths=torch.tensor([120, 80]), dt=0.1), tmp_path / "waves")
    arguments = ("--tokenizer", "fast", "--out", tmp_path / "out", "--no-pictures")
    status, said = cli("inspect", tmp_path / "waves", *arguments)
    assert status == 0, said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "tokenizer.safetensors"}
    status, said = cli("inspect", tmp_path / "waves", *arguments)
    assert (status, "exists already" in said) == (1, True)


def test_unknown_names_list_the_known(cli, demos_folder, tmp_path):
    status, said = cli("inspect", demos_folder, "--tokenizer", "morse", "--out", tmp_path / "out")
    assert status == 1
    assert "unknown tokenizer 'morse'. Known: binning, fast, fsq, kmeans, residual-vq." in said
    assert not (tmp_path / "out").exists()
    status, said = cli("inspect", tmp_path / "none", "--tokenizer", "fast", "--out", tmp_path / "out")
    assert (status, "does not exist" in said) == (1, True)
    assert not (tmp_path / "out").exists()


def test_what_a_tokenizer_refuses(cli, demos_folder, tmp_path):
    """The scalar system's actions are nearly zero but for an episode's first: no vocabulary for their extremes."""
    status, said = cli("inspect", demos_folder, "--tokenizer", "fast", "--out", tmp_path / "out")
    assert status == 1
    assert "a vocabulary of 1024 has no token for each of them. Coordinate 0 reaches farthest" in said
    assert not (tmp_path / "out").exists()
