"""Places of outputs: default folders that are links, links in circles, empty folders."""

import os
import shutil

import pytest

import holdfast


@pytest.fixture
def run(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


@pytest.mark.parametrize(("verb", "name"), [("evaluate", "evaluation"), ("diagnose", "diagnosis")])
def test_a_default_folder_that_leads_elsewhere_is_refused(cli, run, tmp_path, verb, name):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "result.json").write_text("precious")
    (run / name).symlink_to(tmp_path / "victim")
    status, said = cli(verb, run)
    assert (status, f"{name} is a symbolic link to another place. To write there, give it as --out" in said) == (
        1,
        True,
    )
    assert (tmp_path / "victim" / "result.json").read_text() == "precious"
    assert os.listdir(tmp_path / "victim") == ["result.json"]


@pytest.mark.parametrize("part", ["train_state", "recipe.json"])
def test_a_run_with_a_part_elsewhere_is_not_resumed(cli, run, tmp_path, part):
    (run / part).rename(tmp_path / "elsewhere")
    (run / part).symlink_to(tmp_path / "elsewhere")
    status, said = cli("train", "--resume", run)
    assert (status, f"{part} is a symbolic link" in said) == (1, True)


def test_a_seed_elsewhere_is_not_resumed(cli, run, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "seed0").symlink_to(run)
    status, said = cli("train", "--resume", tmp_path / "runs")
    assert (status, "seed0 is a symbolic link" in said) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{demos}", "--steps", 1],
        ["demonstrate", "scalar", "--episodes", 1],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_link_in_a_circle_is_refused_in_words(cli, demos_folder, tmp_path, arguments):
    (tmp_path / "loop").symlink_to("loop")
    given = [str(argument).format(demos=demos_folder) for argument in arguments]
    status, said = cli(*given, "--out", tmp_path / "loop")
    assert (status, "loop" in said, "Traceback" in said) == (1, True, False)


@pytest.mark.parametrize("inside", [False, True])
def test_an_empty_folder_is_filled(start, demos_folder, tmp_path, monkeypatch, inside):
    for name, *arguments in (("made", "demonstrate", "scalar", "--episodes", 4), ("copied", "convert", demos_folder)):
        (tmp_path / name).mkdir()
        if inside:
            monkeypatch.chdir(tmp_path / name)
        out = "." if inside else tmp_path / name
        given = [*arguments, out] if name == "copied" else [*arguments, "--out", out]
        process = start(*given)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert len(holdfast.read(tmp_path / name)) == 4
    assert sorted(os.listdir(tmp_path)) == ["copied", "made"]
